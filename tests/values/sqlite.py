"""SQLite: every declaration, its edges, and what the sqlite3 shell prints of them.

Text is printed as hex of its bytes, reals as the hex of their eight bytes (``ieee754_to_blob``, a function of the shell),
so that neither goes through a formatter.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Context, Decimal, Inexact
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.values import samples, spelling
from tests.values.columns import Column, Printed, Row
from tests.values.samples import literals, quoted

_NULL = "\\N"
_HEX_TEXT = "CASE WHEN {0} IS NOT NULL THEN hex(CAST({0} AS BLOB)) END"
_HEX_REAL = "CASE WHEN {0} IS NOT NULL THEN hex(ieee754_to_blob({0})) END"
_ANY = f"CASE typeof({{0}}) WHEN 'text' THEN 't ' || {_HEX_TEXT} WHEN 'real' THEN 'r ' || {_HEX_REAL} ELSE 'i ' || {{0}} END"
_LIKE_REAL = re.compile(r"-?(?:\d+\.\d+(?:e[+-]\d+)?|Inf)")
_INTS = ("0", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993")
_REALS = ("9e999", "-9e999", "-0.0", "0", "1", "9007199254740992", *map(repr, samples.DOUBLE_EDGES))
# A NUL within a text is no end of it.
_TEXTS = (*literals(samples.TEXT_EDGES), "'a' || char(0) || 'b'", "char(0)")
_STRICT = ("INTEGER", "REAL", "TEXT", "BLOB", "")
_EXACT = Context(prec=60, traps=[Inexact])


def _bytes(source: Random) -> str:
    return f"x'{source.randbytes(source.choice((0, 1, 2, 16, 300))).hex()}'"


def _any(source: Random) -> str:
    # Texts that look like a real are left out: as text they land alike.
    return source.choice((samples.double, samples.integer(-(2**63), 2**63 - 1), _prose))(source)


def _prose(source: Random) -> str:
    return quoted(f"é🚲 {source.random()}")


def _any_spelled(landed: str) -> str:
    if _LIKE_REAL.fullmatch(landed):
        return f"real {spelling.double_of(landed)}"
    return landed


def _decimal(scale: int) -> Callable[[str], str]:
    return lambda text: f"{Decimal(text).quantize(Decimal(1).scaleb(-scale), context=_EXACT):f}"


def _moment(text: str) -> str:
    whole, _, fraction = text.replace("T", " ").partition(".")
    return f"{whole}.{fraction}".rstrip("0").rstrip(".") if fraction else whole


def columns(zone: str, encoding: str = "utf-8") -> tuple[Column, ...]:
    """Return the columns of a database in that encoding; SQLite knows no zones."""

    def text_of(shown: str) -> str:
        return bytes.fromhex(shown).decode(encoding)

    def any_of(shown: str) -> str:
        kind, _, value = shown.partition(" ")
        if kind == "r":
            return f"real {value.lower()}"
        return text_of(value) if kind == "t" else value

    number = partial(Column, lands="long", generate=samples.integer(-(2**63), 2**63 - 1), edges=_INTS)
    real = partial(
        Column,
        lands="double",
        generate=samples.double,
        edges=_REALS,
        spell=spelling.double,
        normal=str.lower,
        shown=_HEX_REAL,
    )
    text = partial(Column, lands="string", generate=samples.text(30), edges=_TEXTS, normal=text_of, shown=_HEX_TEXT)
    loose = partial(Column, lands="string", spell=_any_spelled, normal=any_of, shown=_ANY)
    blob = partial(Column, lands="binary", generate=_bytes, spell=lambda value: value.hex().upper(), shown=_HEX_TEXT)
    clock = partial(
        Column,
        lands="timestamp",
        generate=samples.clock(),
        edges=literals(samples.TIMESTAMP_EDGES) + tuple(quoted(e.replace(" ", "T")) for e in samples.TIMESTAMP_EDGES[:5]),
        spell=lambda value: spelling.moment(spelling.micros(value)),
        normal=_moment,
    )
    truth = lambda source: source.choice(("0", "1", "TRUE", "FALSE"))  # noqa: E731

    def exact(name: str, precision: int, scale: int, digits: int, edges: tuple[str, ...]) -> Column:
        declared, lands = f"DECIMAL({precision},{scale})", f"decimal({precision}, {scale})"
        return Column(
            name, declared, lands, samples.decimal(digits, scale), edges, lambda value: f"{value:f}", _decimal(scale)
        )

    return (
        number("i", "INTEGER"),
        number("tiny", "TINYINT"),
        number("big", "UNSIGNED BIG INT"),
        real("r", "REAL"),
        real("dbl", "DOUBLE PRECISION"),
        exact("n12_2", 12, 2, 12, ("0", "19.99", "-0.01", "9999999999.99", "-9999999999.99", "7", "'1.50'")),
        exact("n30", 30, 0, 18, ("123456789012345", "9223372036854775807", "-1", "'12'")),
        exact("n38_10", 38, 10, 14, ("0.0000000001", "1.5", "12345.0123456789", "99999", "9223372036854775807")),
        Column("b", "BOOLEAN", "boolean", truth, ("0", "1"), spell=lambda value: str(int(value))),
        Column("d", "DATE", "date", samples.day, literals(samples.DATE_EDGES), date.isoformat),
        clock("at2", "DATETIME"),
        clock("ts", "TIMESTAMP"),
        blob("y", "BLOB", edges=("x''", "x'00'", "x'ff00fe'", "zeroblob(70000)")),
        blob("vb", "VARBINARY(9)"),
        text("t", "TEXT", edges=(*_TEXTS, f"{quoted('é🚲' * 5000)}")),
        text("v", "VARCHAR(20)"),
        text("c5", "CHAR(5)"),
        text("clob", "CLOB"),
        loose("x", "", generate=_any, edges=("0.1", "1", "'text'", "''", "1e22", "-0.5", "9e999", "-9e999", "5e-324")),
        text("tm", "TIME", generate=lambda s: quoted(f"{s.randint(0, 23):02}:30"), edges=("'24:00'", "'é'")),
        loose("loose", "NUMERIC", generate=_any, edges=("'12'", "'abc'", "'1.50'", "1.50")),
        loose("js", "JSON", generate=lambda s: quoted(f'{{"b": {s.randint(0, 9)},  "a":"é🚲"}}')),
        number("twice", "INTEGER GENERATED ALWAYS AS (id * 2) VIRTUAL", generate=str),
        text("kept", "TEXT GENERATED ALWAYS AS (t || '!') STORED", generate=str),
    )


class SqliteSource:
    """A file with the table ``everything``, written and printed by the sqlite3 shell.

    ``options`` end its CREATE TABLE; a STRICT table has only the declarations that such a table may have.
    """

    schema = "main"
    cursor = ("at", "timestamp")

    def __init__(self, path: Path, encoding: str = "utf-8", options: str = "") -> None:
        self.path = path
        self._encoding = encoding
        self._options = options
        self.shell(f"PRAGMA encoding = '{encoding}'; CREATE TABLE first (id INTEGER);")

    def create(self) -> None:
        """Create the table with a column of every declaration."""
        listed = ", ".join(f"{column.name} {column.declared}" for column in self.columns("UTC"))
        at = "TEXT" if self._options == "STRICT" else "DATETIME"
        table = f"CREATE TABLE everything (id INTEGER PRIMARY KEY, at {at}, {listed}) {self._options}"
        self.shell(f"{table};")

    def columns(self, zone: str) -> tuple[Column, ...]:
        listed = columns(zone, self._encoding)
        if self._options != "STRICT":
            return listed
        return tuple(replace(c, declared=c.declared or "ANY") for c in listed if c.declared.split(" ")[0] in _STRICT)

    @property
    def connection(self) -> dict[str, Any]:
        """The connection as a configuration has it."""
        return {"dialect": "sqlite", "database": str(self.path)}

    def move_to(self, zone: str) -> None:
        """Do nothing: a file has no zone."""

    def move_home(self) -> None:
        """Do nothing, as above."""

    def fill(self, rows: Sequence[Row], at: datetime, zone: str) -> None:
        """Replace all rows."""
        names = ", ".join(column.name for column in self.columns(zone) if column.written)
        moment = quoted(at.strftime("%Y-%m-%d %H:%M:%S"))
        values = ",\n".join(f"({row.id}, {moment}, {', '.join(row.literals)})" for row in rows)
        self.shell(f"BEGIN; DELETE FROM everything; INSERT INTO everything (id, at, {names}) VALUES {values}; COMMIT;")

    def put(self, table: str, declared: str, literal: str) -> None:
        """Create a table with one bad value, in its column ``bad``."""
        self.shell(
            f"CREATE TABLE {table} (id INTEGER, bad {declared}); INSERT INTO {table} VALUES (1, {literal}), (2, NULL);"
        )

    def printed(self, zone: str) -> Printed:
        """Return what the shell prints."""
        listed = self.columns(zone)
        names = ", ".join(["id", *(column.shown.format(column.name) for column in listed)])
        found = {}
        for line in self.shell(f"SELECT {names} FROM everything;").split("\n"):
            key, *cells = line.split("|")
            shown = (None if cell == _NULL else cell for cell in cells)
            found[int(key)] = {column.name: cell for column, cell in zip(listed, shown, strict=True)}
        return found

    def shell(self, script: str) -> str:
        """Run a script in the sqlite3 shell and return what it printed."""
        client = shutil.which("sqlite3")
        if client is None:
            raise RuntimeError("sqlite3 is not installed; run `make servers`, which installs it or says what is missing")
        done = subprocess.run(
            [client, "-bail", "-list", "-nullvalue", _NULL, str(self.path)],
            input=script.encode(),
            capture_output=True,
            timeout=240,
            check=False,
        )
        if done.returncode != 0 or done.stderr:
            raise RuntimeError(f"sqlite3: {done.stderr.decode(errors='replace').strip()[:500]}")
        return done.stdout.decode().removesuffix("\n")
