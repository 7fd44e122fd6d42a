"""PostgreSQL: every type, its edges, and what psql's COPY prints of them."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.servers.postgresql import PostgresDatabase
from tests.values import samples, spelling
from tests.values.columns import Column, Printed, Row
from tests.values.samples import literals, quoted

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TYPES = """
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'so-so', 'très "happy"', '');
CREATE TYPE pair AS (n int, t text, at timestamptz);
CREATE DOMAIN price AS numeric(12,2) CHECK (value > -1e9);
CREATE DOMAIN net_price AS price;
CREATE DOMAIN code AS char(5);
"""
_FLOAT_EDGES = ("'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "0.1", "1")
_LONG = "9" * 38
_JSON = (
    '{"b":1,  "a":2}',
    '{"a": 1, "a": 2}',
    "null",
    "[]",
    '"\\u00e9 \\ud83d\\udeb2"',
    "1.10",
    "1e2",
    " [1 ,2]\n",
    '{"": {}}',
)
_INTERVALS = ("1 mon 2 days 03:04:05.6", "-1 day", "178000000 years", "-00:00:00.000001", "1 year -1 mon", "0", "24:00")


def _hex(value: bytes) -> str:
    return "\\x" + value.hex()


def _bytes(source: Random) -> str:
    return quoted(_hex(source.randbytes(source.choice((0, 1, 2, 16, 300)))))


def _array(source: Random) -> str:
    return quoted("{" + ",".join(str(source.randint(-9, 9)) for _ in range(source.randint(0, 5))) + "}")


def _uuid(source: Random) -> str:
    text = source.randbytes(16).hex()
    return quoted(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def _interval(source: Random) -> str:
    months, days, seconds = (source.randint(-999, 999) for _ in range(3))
    return quoted(f"{months} mons {days} days {seconds * 1.000001:.6f} seconds")


def _time(source: Random) -> str:
    return quoted(f"{source.randint(0, 23):02}:{source.randint(0, 59):02}:{source.randint(0, 59999999) / 1e6:09.6f}")


def _address(source: Random) -> str:
    if source.random() < 0.5:
        return quoted(".".join(str(source.randint(0, 255)) for _ in range(4)) + source.choice(("", "/24", "/32")))
    return quoted(":".join(f"{source.getrandbits(16):x}" for _ in range(8)) + source.choice(("", "/64")))


def _network(source: Random) -> str:
    return quoted(f"{source.randint(0, 255)}.{source.randint(0, 255)}.0.0/16")


def _hardware(size: int, source: Random) -> str:
    return quoted(source.randbytes(size).hex(":"))


def _bits(shortest: int, longest: int, source: Random) -> str:
    return "B" + quoted("".join(source.choice("01") for _ in range(source.randint(shortest, longest))))


def _range(source: Random) -> str:
    low = source.randint(-99, 99)
    return quoted(source.choice(("empty", "(,)", f"[{low},)", f"[{low},{low + 5})", f"({low},{low + 9}]")))


def _moments(source: Random) -> str:
    return f"tstzrange({samples.zoned(source)}::timestamptz, NULL)"


def _json(source: Random) -> str:
    return quoted(f'{{"n":{source.randint(0, 99)},  "x":[{source.random()!r}, null], "t":"é🚲\\"{source.randint(0, 9)}"}}')


def _float(value: float) -> str:
    return quoted(repr(value))


_INT = ("0", "-1")
_TEXT = literals(samples.TEXT_EDGES)
_DOUBLES = _FLOAT_EDGES + tuple(map(_float, samples.DOUBLE_EDGES))
_SINGLES = (*_FLOAT_EDGES, "'1e-45'", "'-1e-45'", "'1.17549435e-38'", "'3.4028235e38'", "16777216", "'3.4028234e38'")
_clock = partial(dict, lands="timestamp", spell=lambda value: spelling.moment(spelling.micros(value)))
_ZONED = "timestamptz"


def _as_text(name: str, declared: str, generate: Any, edges: Sequence[str] = ()) -> Column:
    """A type that lands as the text which the server prints."""
    return Column(name, declared, "string", generate, tuple(edges))


def _number(name: str, precision: int, scale: int) -> Column:
    nines = "9" * precision
    largest = f"{nines[: precision - scale] or '0'}.{nines[precision - scale :]}".rstrip(".")
    smallest = "1" if scale == 0 else f"0.{'1'.rjust(scale, '0')}"
    edges = ("0", largest, f"-{largest}", smallest, f"-{smallest}")
    declared, lands = f"numeric({precision},{scale})", f"decimal({precision}, {scale})"
    return Column(name, declared, lands, samples.decimal(precision, scale), edges, spell=lambda value: f"{value:f}")


def columns(zone: str) -> tuple[Column, ...]:
    """Return the columns, instants being printed as the clocks of ``zone`` show them."""
    zoned = partial(
        Column,
        lands=_ZONED,
        generate=samples.zoned,
        # With an offset, and without: those are what the clocks of the inserting session's zone show.
        edges=tuple(quoted(f"{edge}+00") for edge in samples.TIMESTAMP_EDGES) + literals(samples.TIMESTAMP_EDGES[2:-1]),
        spell=lambda value: spelling.moment_in(value, zone),
    )
    return (
        Column("b", "boolean", "boolean", lambda s: s.choice(("true", "false")), spell=lambda value: "ft"[value]),
        Column("i2", "smallint", "int", samples.integer(-(2**15), 2**15 - 1), (*_INT, "-32768", "32767")),
        Column("i4", "integer", "int", samples.integer(-(2**31), 2**31 - 1), (*_INT, "-2147483648", "2147483647")),
        Column(
            "i8",
            "bigint",
            "long",
            samples.integer(-(2**63), 2**63 - 1),
            (*_INT, "-9223372036854775808", "9223372036854775807", "9007199254740993"),
        ),
        Column("f4", "real", "float", samples.single, _SINGLES, spelling.single, spelling.single_of),
        Column("f8", "double precision", "double", samples.double, _DOUBLES, spelling.double, spelling.double_of),
        _number("n5_2", 5, 2),
        _number("n10", 10, 0),
        _number("n38_0", 38, 0),
        _number("n38_10", 38, 10),
        _number("n38_38", 38, 38),
        _as_text(
            "n",
            "numeric",
            samples.decimal(60, 30),
            ("'NaN'", "'Infinity'", "'-Infinity'", "1e130", "1e-130", "1.10", _LONG, f"-{_LONG}.{_LONG}"),
        ),
        _as_text("n50_10", "numeric(50,10)", samples.decimal(50, 10), ("9" * 40 + "." + "9" * 10, "'NaN'", "1e-10")),
        _as_text("n5_neg2", "numeric(5,-2)", samples.integer(-9_999_900, 9_999_900), ("9999900", "149", "150")),
        _as_text("n3_5", "numeric(3,5)", lambda s: f"0.00{s.randint(0, 999):03}", ("0.00999", "-0.00001")),
        Column("dom", "net_price", "decimal(12, 2)", samples.decimal(10, 2), ("9999999999.99", "-0.01")),
        Column("t", "text", "string", samples.text(40), (*_TEXT, "repeat('é🚲', 5000)")),
        Column("v", "varchar(20)", "string", samples.text(20), _TEXT[:12]),
        Column("c5", "char(5)", "string", samples.text(5), literals(("", " ", "a", "  a", "🚲é", "'"))),
        Column("dom_c", "code", "string", samples.text(5), literals(("", " ", "a  "))),
        Column("y", "bytea", "binary", _bytes, literals(("", "\\x00", "\\xff00fe", "\\x" + "00ff" * 5000)), _hex),
        Column("d", "date", "date", samples.day, literals(samples.DATE_EDGES), date.isoformat),
        Column("ts", "timestamp", generate=samples.clock(), edges=literals(samples.TIMESTAMP_EDGES), **_clock()),
        Column("ts0", "timestamp(0)", generate=samples.clock(0), **_clock()),
        zoned("tz", "timestamptz"),
        zoned("tz3", "timestamptz(3)", edges=()),
        _as_text("tm", "time", _time, literals(("00:00", "24:00", "23:59:59.999999", "02:30:00.5"))),
        _as_text("tm0", "time(0)", _time, ("'23:59:59.6'",)),
        _as_text("ttz", "timetz", _time, literals(("00:00+14", "24:00-15:59", "12:34:56.789-05:30"))),
        _as_text("iv", "interval", _interval, literals(_INTERVALS)),
        _as_text("mo", "money", samples.decimal(15, 2), ("'-92233720368547758.08'", "'92233720368547758.07'", "0")),
        _as_text("g", "uuid", _uuid, literals(("00000000-0000-0000-0000-000000000000", "f" * 32))),
        _as_text("j", "json", _json, literals(_JSON)),
        _as_text("jb", "jsonb", _json, literals(_JSON)),
        _as_text("x", "xml", lambda s: quoted(f"<a b='{s.randint(0, 99)}'>é&amp;</a>"), literals(("", "<a/>", "text 🚲"))),
        _as_text("ip", "inet", _address, literals(("10.0.0.1", "10.0.0.1/32", "10.0.0.1/24", "::1", "::/0"))),
        _as_text("net", "cidr", _network, literals(("10.0.0.1/32", "0.0.0.0/0", "::1", "2001:db8::/32"))),
        _as_text("mac", "macaddr", partial(_hardware, 6)),
        _as_text("mac8", "macaddr8", partial(_hardware, 8)),
        _as_text("bit5", "bit(5)", partial(_bits, 5, 5), ("B'00000'", "B'11111'")),
        _as_text("bits", "bit varying", partial(_bits, 0, 70), ("B''", "B'0'")),
        _as_text("m", "mood", lambda s: s.choice(literals(("sad", "so-so", 'très "happy"', "")))),
        _as_text("ints", "int[]", _array, literals(("{}", "{NULL}", "{{1,2},{3,4}}", "[0:1]={1,2}"))),
        _as_text("texts", "text[]", _array, literals(("{}", '{""," ","NULL",NULL,"a\\"b","é🚲","a,b"}'))),
        _as_text("floats", "float8[]", _array, literals(("{0.1,NaN,-Infinity,-0,5e-324,1e22}",))),
        _as_text("blobs", "bytea[]", _array, ("ARRAY['\\x00ff'::bytea, NULL, '']",)),
        _as_text("chars", "char(3)[]", _array, literals(('{a,"b "}',))),
        _as_text("zones", "timestamptz[]", lambda s: f"ARRAY[{samples.zoned(s)}::timestamptz]", literals(("{infinity}",))),
        _as_text("r4", "int4range", _range),
        _as_text("rn", "numrange", _range, literals(("[1.10,2.0)",))),
        _as_text("rtz", "tstzrange", _moments, literals(("empty", "[,infinity]"))),
        _as_text("mr", "int4multirange", lambda s: quoted(f"{{[1,{s.randint(2, 9)}),[20,30)}}"), ("'{}'",)),
        _as_text("p", "point", lambda s: f"point({samples.double(s)}, {s.random()})", literals(("(-0,NaN)", "(0.1,1e300)"))),
        _as_text("circle", "circle", lambda s: quoted(f"<({s.random()},0),{s.random()}>")),
        _as_text("words", "tsvector", lambda s: quoted(f"b:{s.randint(1, 9)} a 'x y'")),
        _as_text("one", '"char"', lambda s: quoted(s.choice("aZ'\\\x01 ")), literals(("", "é"))),
        _as_text("nm", "name", samples.text(15), literals(("", "x" * 63))),
        _as_text("o", "oid", samples.integer(0, 2**32 - 1), ("0", "4294967295")),
        _as_text("lsn", "pg_lsn", lambda s: quoted(f"{s.getrandbits(32):X}/{s.getrandbits(32):X}")),
        _as_text(
            "rec",
            "pair",
            lambda s: f"ROW({s.randint(0, 9)}, 'a,\"b', {samples.zoned(s)})::pair",
            ("ROW(NULL, NULL, NULL)::pair", "ROW(NULL, '', NULL)::pair"),
        ),
        _as_text("h", "hstore", lambda s: quoted(f"a=>{s.randint(0, 9)}, b=>NULL"), literals(("", '"é 🚲"=>""'))),
        _as_text("ci", "citext", samples.text(20), _TEXT[:6]),
        _as_text("tree", "ltree", lambda s: quoted(f"a.b{s.randint(0, 99)}")),
        _as_text("jp", "jsonpath", lambda s: quoted(f"$.a[{s.randint(0, 9)}]")),
        Column("double_id", "bigint GENERATED ALWAYS AS (id * 2) STORED", "long", str),
        Column("serial", "bigint GENERATED ALWAYS AS IDENTITY", "long", str),
    )


class PostgresSource:
    """A database with the table ``everything``; the reading role lives in a zone of its own."""

    schema = "public"
    columns = staticmethod(columns)
    cursor = ("at", "timestamp")

    def __init__(self, database: PostgresDatabase, root: Path) -> None:
        self.database = database
        (root / "password").write_text(f"{database.password}\n")

    def create(self) -> None:
        """Create the table with a column of every type."""
        listed = ", ".join(f"{column.name} {column.declared}" for column in columns("UTC"))
        self.database.psql(f"{_TYPES} CREATE TABLE everything (id int PRIMARY KEY, at timestamptz NOT NULL, {listed})")

    @property
    def connection(self) -> dict[str, Any]:
        """The connection as a configuration has it."""
        server = self.database
        login = {"user": server.user, "password": "${file:password}"}
        return {"dialect": "postgresql", "host": server.host, "port": server.port, "database": server.database, **login}

    def move_to(self, zone: str) -> None:
        """Let every later session of the role start in this zone, with other styles than the usual ones."""
        settings = {"timezone": zone, "intervalstyle": "iso_8601", "datestyle": "SQL, DMY", "bytea_output": "escape"}
        role = f"ALTER ROLE {self.database.user} IN DATABASE {self.database.database}"
        self.database.psql("; ".join(f"{role} SET {name} = '{value}'" for name, value in settings.items()))

    def move_home(self) -> None:
        """Do nothing: the settings are those of one database."""

    def fill(self, rows: Sequence[Row], at: datetime, zone: str) -> None:
        """Replace all rows, in a session of that zone."""
        names = ", ".join(column.name for column in columns(zone) if column.written)
        moment = quoted(at.isoformat())
        values = ",\n".join(f"({row.id}, {moment}, {', '.join(row.literals)})" for row in rows)
        self.database.psql(
            f"SET timezone = '{zone}'; SET datestyle = 'ISO, YMD'; TRUNCATE everything;"
            f" INSERT INTO everything (id, at, {names}) VALUES {values}"
        )

    def put(self, table: str, declared: str, literal: str) -> None:
        """Create a table with one bad value, in its column ``bad``."""
        self.database.psql(
            f"CREATE TABLE {table} (id int, bad {declared}); INSERT INTO {table} VALUES (1, {literal}), (2, NULL)"
        )

    def printed(self, zone: str) -> Printed:
        """Return what COPY prints: instants in a session of that zone, all else in UTC."""
        listed = columns(zone)
        plain = [column for column in listed if column.lands != _ZONED]
        zoned = [column for column in listed if column.lands == _ZONED]
        first, second = self._copy(plain, "UTC"), self._copy(zoned, zone)
        return {key: {**first[key], **second[key]} for key in first}

    def _copy(self, listed: Sequence[Column], zone: str) -> dict[int, dict[str, str | None]]:
        names = ", ".join(["id", *(column.shown.format(column.name) for column in listed)])
        text = self.database.psql(
            f"SET timezone = '{zone}'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex';"
            f" COPY (SELECT {names} FROM everything) TO STDOUT"
        )
        found = {}
        for line in text.split("\n"):
            key, *cells = map(_cell, line.split("\t"))
            found[int(key or "")] = {column.name: cell for column, cell in zip(listed, cells, strict=True)}
        return found


def _cell(text: str) -> str | None:
    r"""Return a value of COPY's text format: ``\N`` is NULL, a backslash before any other letter escapes it."""
    return None if text == "\\N" else re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)
