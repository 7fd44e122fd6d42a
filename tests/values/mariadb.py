"""MariaDB: every type, its edges, and what the mariadb client prints of them.

Text and bytes are printed as hex, so that a text NULL is told from no value and no formatter touches them; a float is
printed as the double that it is, for its own spelling has six digits.
"""

import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import tzdata

from tests.servers.mariadb import MariaDatabase, MariaServer
from tests.values import samples, spelling
from tests.values.columns import Column, Printed, Row
from tests.values.samples import literals, quoted

_TEXT = literals(samples.TEXT_EDGES)
_HEX_TEXT, _HEX = "HEX(CONVERT({} USING utf8mb4))", "HEX({})"
_FIRST, _LAST = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(2038, 1, 19, 3, 14, 7, 999999, tzinfo=UTC)
_DOUBLES = tuple(map(repr, samples.DOUBLE_EDGES))
_SINGLES = ("0", "-0e0", "0.1", "1e-45", "1.17549435e-38", "3.4028234e38", "-3.4028234e38", "16777217", "0.333333333")
_READABLE = 500
_MODE = "SET sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'; SET time_zone = '+00:00';"
_INSTANT = samples.instant(_FIRST, _LAST)


def _text_of(shown: str) -> str:
    return bytes.fromhex(shown).decode()


def _bytes(longest: int, source: Random) -> str:
    return f"x'{source.randbytes(source.randint(0, longest)).hex()}'"


def _latin(source: Random) -> str:
    # Every byte is a letter of MariaDB's latin1, the five that Windows leaves out included.
    return f"_latin1 {_bytes(20, source)}"


def _clock(digits: int, source: Random) -> str:
    return quoted(
        _INSTANT(source).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")[: 20 + digits].rstrip(".")
    )


def _time(digits: int, source: Random) -> str:
    fraction = f".{source.randrange(10**digits):0{digits}}" if digits else ""
    sign = source.choice(("", "-"))
    return quoted(f"{sign}{source.randint(0, 837):02}:{source.randint(0, 59):02}:{source.randint(0, 59):02}{fraction}")


def _uuid(source: Random) -> str:
    return quoted(str(UUID(bytes=source.randbytes(16), version=4)))


def _address(source: Random) -> str:
    return quoted(".".join(str(source.randint(0, 255)) for _ in range(4)))


def _bits(size: int, source: Random) -> str:
    return f"b'{source.getrandbits(source.randint(1, size)):b}'"


def _point(source: Random) -> str:
    return f"ST_GeomFromText('POINT({source.randint(-99, 99)} {source.random()})', {source.choice((0, 4326))})"


def _json(source: Random) -> str:
    return quoted(f'{{"n":{source.randint(0, 99)},  "x":[{source.random()!r}, null], "t":"é🚲"}}')


def _integers() -> list[Column]:
    sizes = (("tinyint", 8), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64))
    made = []
    for kind, bits in sizes:
        low, high, whole = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 2**bits - 1
        lands, wide = "long" if bits == 64 else "int", {32: "long", 64: "decimal(20, 0)"}.get(bits, "int")
        made.append(Column(f"c_{kind}", kind, lands, samples.integer(low, high), ("0", str(low), str(high))))
        unsigned = f"{kind} unsigned"
        made.append(Column(f"u_{kind}", unsigned, wide, samples.integer(0, whole), ("0", str(whole), str(high + 1))))
    return made


def _number(name: str, precision: int, scale: int, lands: str = "") -> Column:
    nines = "9" * precision
    largest = f"{nines[: precision - scale] or '0'}.{nines[precision - scale :]}".rstrip(".")
    smallest = "1" if scale == 0 else f"0.{'1'.rjust(scale, '0')}"
    edges = ("0", largest, f"-{largest}", smallest, f"-{smallest}")
    lands = lands or f"decimal({precision}, {scale})"
    spell = str if lands == "string" else "{:f}".format
    return Column(name, f"decimal({precision},{scale})", lands, samples.decimal(precision, scale), edges, spell)


def columns(zone: str) -> tuple[Column, ...]:
    """Return the columns; instants are printed in UTC, for the clocks of another zone show an hour twice."""
    whole = partial(Column, normal=lambda text: str(int(text)))
    text = partial(Column, lands="string", normal=_text_of, shown=_HEX_TEXT)
    blob = partial(Column, lands="binary", spell=lambda value: value.hex().upper(), shown=_HEX)
    bits = partial(Column, normal=lambda text: str(int(text, 16)), shown=_HEX)
    real = partial(Column, lands="double", spell=spelling.double, normal=spelling.double_of)
    clock = partial(
        Column,
        lands="timestamp",
        edges=literals(samples.TIMESTAMP_EDGES),
        spell=lambda value: spelling.moment(spelling.micros(value)),
        normal=lambda text: text.rstrip("0").rstrip(".") if "." in text else text,
    )
    stored = tuple(edge for edge in samples.TIMESTAMP_EDGES if "1970-01-01 00:00:01" < edge < "2038-01-19 03:14:08")
    zoned = partial(clock, lands="timestamptz", edges=(*literals(stored), "'1970-01-01 00:00:01'"))
    as_text = partial(Column, lands="string")
    return (
        *_integers(),
        Column("flag", "tinyint(1)", "int", samples.integer(-128, 127), ("0", "1", "2", "-1")),
        Column("b", "boolean", "int", samples.integer(0, 1), ("true", "false", "2")),
        whole("padded", "int(8) zerofill", "long", samples.integer(0, 2**32 - 1), ("0", "5", "4294967295")),
        _number("n5_2", 5, 2),
        _number("n38_0", 38, 0),
        _number("n38_10", 38, 10),
        _number("n38_38", 38, 38),
        _number("n39", 39, 0, "string"),
        _number("n65_30", 65, 30, "string"),
        Column("f", "float", "float", samples.single, _SINGLES, spelling.single, spelling.single_of, "CAST({} AS DOUBLE)"),
        real("dbl", "double", generate=samples.double, edges=_DOUBLES),
        Column(
            "f3",
            "float(10,3)",
            "float",
            samples.decimal(7, 3),
            (),
            spelling.single,
            spelling.single_of,
            "CAST({} AS DOUBLE)",
        ),
        # What is stored, not the two digits that are shown of it.
        real("dbl2", "double(10,2)", generate=samples.decimal(8, 2), edges=("99999999.99",), shown="CAST({} AS DOUBLE)"),
        bits("bit1", "bit(1)", "long", partial(_bits, 1), ("b'0'", "b'1'")),
        bits("bit8", "bit(8)", "long", partial(_bits, 8), ("b'0'", "b'11111111'")),
        bits("bit64", "bit(64)", "decimal(20, 0)", partial(_bits, 64), ("0", f"b'{'1' * 64}'")),
        whole("y", "year", "int", lambda s: str(s.randint(1901, 2155)), ("0000", "1901", "2155")),
        Column("d", "date", "date", samples.day, literals(samples.DATE_EDGES), date.isoformat),
        clock("dt", "datetime(6)", generate=samples.clock()),
        clock("dt0", "datetime", generate=samples.clock(0), edges=literals(samples.TIMESTAMP_EDGES[:-1])),
        clock("dt3", "datetime(3)", generate=samples.clock(3), edges=literals(samples.TIMESTAMP_EDGES[:-1])),
        zoned("ts", "timestamp(6) NULL", generate=partial(_clock, 6)),
        zoned("ts0", "timestamp NULL", generate=partial(_clock, 0)),
        zoned("local", "timestamp(6) NULL", generate=partial(_clock, 6)),
        as_text("tm", "time", generate=partial(_time, 0), edges=literals(("838:59:59", "-838:59:59", "24:00:00", "00:00"))),
        as_text("tm6", "time(6)", generate=partial(_time, 6), edges=literals(("838:59:59.999999", "-00:00:00.000001"))),
        text("t", "longtext", generate=samples.text(40), edges=(*_TEXT, "concat('a', char(0), 'b')", "repeat('é🚲', 5000)")),
        text("tiny", "tinytext", generate=samples.text(20), edges=("''", "repeat('é', 127)")),
        text("v", "varchar(20)", generate=samples.text(20), edges=_TEXT[:12]),
        text("c5", "char(5)", generate=samples.text(5), edges=literals(("", " ", "a", "  a", "🚲é", "a  "))),
        text("bmp", "varchar(20) CHARACTER SET utf8mb3", generate=_latin, edges=literals(("", "\uffff日本", "e\u0301"))),
        text(
            "latin",
            "varchar(20) CHARACTER SET latin1",
            generate=_latin,
            edges=("''", f"_latin1 x'{bytes(range(128, 148)).hex()}'"),
        ),
        text("wide", "varchar(20) CHARACTER SET utf16", generate=samples.text(20), edges=_TEXT[:6]),
        text("folded", "varchar(20) COLLATE utf8mb4_general_ci", generate=samples.text(20), edges=_TEXT[:6]),
        text("e", "enum('sad','so-so','très \"happy\"','')", generate=lambda s: str(s.randint(1, 4)), edges=("''", "'sad'")),
        text("s", "set('a','b','é')", generate=lambda s: str(s.randint(0, 7)), edges=("''", "'a,é'")),
        text("j", "json", generate=_json, edges=literals(("null", "[]", '{"a": 1, "a": 2}', "1.10", '"\\u00e9"'))),
        as_text("g", "uuid", generate=_uuid, edges=("'00000000-0000-0000-0000-000000000000'",)),
        as_text("ip4", "inet4", generate=_address, edges=literals(("1.2.3.4", "255.255.255.255"))),
        as_text(
            "ip6", "inet6", generate=lambda s: quoted(f"2001:db8::{s.getrandbits(16):x}"), edges=literals(("::", "::1"))
        ),
        blob("bin5", "binary(5)", generate=partial(_bytes, 5), edges=("''", "x'00'", "x'ff00fe2020'")),
        blob("vb", "varbinary(20)", generate=partial(_bytes, 20), edges=("''", "x'00'", "x'2020'")),
        blob("blobs", "longblob", generate=partial(_bytes, 300), edges=("''", "x'00'", "repeat(x'00ff', 5000)")),
        blob("p", "geometry", generate=_point, edges=("ST_GeomFromText('LINESTRING(0 0, 1 1)')",)),
        Column("twice", "bigint GENERATED ALWAYS AS (id * 2) VIRTUAL", "long", str),
        text("kept", "varchar(40) GENERATED ALWAYS AS (concat(v, '!')) STORED", generate=str),
    )


class MariaSource:
    """A database with the table ``everything`` on a server whose own zone moves."""

    columns = staticmethod(columns)
    cursor = ("at", "timestamp")

    def __init__(self, server: MariaServer, database: MariaDatabase, root: Path, dialect: str = "mariadb") -> None:
        self.database = database
        self.schema = database.database
        self._server = server
        self._dialect = dialect
        (root / "password").write_text(f"{database.password}\n")

    def create(self) -> None:
        """Create the table with a column of every type."""
        listed = ", ".join(f"{column.name} {column.declared}" for column in columns("UTC"))
        self._client(f"CREATE TABLE everything (id int PRIMARY KEY, at timestamp(6) NOT NULL, {listed})")

    @property
    def connection(self) -> dict[str, Any]:
        """The connection as a configuration has it."""
        server = self.database
        address = {"host": server.host, "port": server.port, "database": server.database, "tls": {"mode": "disable"}}
        return {"dialect": self._dialect, **address, "user": server.user, "password": "${file:password}"}

    def move_to(self, zone: str) -> None:
        """Let every later session start in this zone, and with settings that change what statements mean."""
        self._load(zone)
        self._server.client(f"SET GLOBAL time_zone = '{zone}'; SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")

    def move_home(self) -> None:
        """Take the settings of ``move_to`` back: the server has other databases."""
        self._server.client("SET GLOBAL time_zone = '+00:00'; SET GLOBAL sql_mode = DEFAULT")

    def _load(self, zone: str) -> None:
        if self._server.client(f"SELECT 1 FROM mysql.time_zone_name WHERE Name = '{zone}'"):
            return
        rules = Path(tzdata.__file__).parent / "zoneinfo" / zone
        program = shutil.which("mariadb-tzinfo-to-sql") or "mysql_tzinfo_to_sql"
        load = subprocess.run([program, str(rules), zone], capture_output=True, text=True, timeout=60, check=True)
        self._server.client(load.stdout)

    def fill(self, rows: Sequence[Row], at: datetime, zone: str) -> None:
        """Replace all rows; the column ``local`` is given to some of them as the clocks of the zone show it."""
        names = ", ".join(column.name for column in columns(zone) if column.written)
        moment = quoted(at.strftime("%Y-%m-%d %H:%M:%S"))
        values = ",\n".join(f"({row.id}, {moment}, {', '.join(row.literals)})" for row in rows)
        self._client(f"{_MODE} TRUNCATE everything; INSERT INTO everything (id, at, {names}) VALUES {values};")
        turned = "SET local = '2024-10-27 02:30:00', at = at"
        self._client(f"SET sql_mode = ''; SET time_zone = '{zone}'; UPDATE everything {turned} WHERE id % 20 = 7;")

    def put(self, table: str, declared: str, literal: str) -> None:
        """Create a table with one bad value, in its column ``bad``; no mode of the session refuses it."""
        self._client(
            f"SET sql_mode = 'ALLOW_INVALID_DATES'; CREATE TABLE {table} (id int, bad {declared} NULL);"
            f" INSERT INTO {table} VALUES (1, {literal}), (2, NULL);"
        )

    def printed(self, zone: str) -> Printed:
        """Return what the client prints in a session in UTC."""
        listed = columns(zone)
        names = ", ".join(["id", *(column.shown.format(column.name) for column in listed)])
        found = {}
        for line in self._client(f"{_MODE} SELECT {names} FROM everything;").split("\n"):
            key, *cells = line.split("\t")
            shown = (None if cell == "NULL" else cell for cell in cells)
            found[int(key)] = {column.name: cell for column, cell in zip(listed, shown, strict=True)}
        return found

    def _client(self, script: str) -> str:
        try:
            return self.database.client(script, options=("--binary-mode",))
        except RuntimeError as error:
            raise RuntimeError(f"mariadb: {str(error)[-_READABLE:]}") from None  # it repeats the whole statement
