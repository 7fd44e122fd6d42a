"""Fifteen kinds of differences at random places in many rows: bisect names all and only their keys, and moves few rows.

They are made at the source, behind the cursor's back, after the table was loaded.
"""

import math
import random
import sqlite3
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.reconciliation.bisection import EXPLAINED
from ingestion_runtime.reconciliation.report import Bisection, KeyFault
from ingestion_runtime.reconciliation.run import ReconRequest, reconcile
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

MILLION = 1_000_000
FEW = 20_000
EACH = 3  # places for each kind
FIRST = datetime(2024, 1, 1, 0, 0, 0, 123456)  # noqa: DTZ001 - as a column without a zone holds it

Value = str | float | None
Change = Callable[[int], dict[str, Value]]


def name(n: int) -> str:
    """The name in a row; each has a capital, and a letter that can be written in two ways."""
    return f"Name é {n}"


def note(n: int) -> str | None:
    """The note in a row; every seventh has none."""
    return f"note {n % 100}" if n % 7 else None


def seen(n: int) -> datetime:
    """The moment in a row, with microseconds."""
    return FIRST + timedelta(seconds=n)


@dataclass(frozen=True)
class Kind:
    """A kind of difference: what it puts into a row at the source, in which words that is told, how the key then differs."""

    name: str
    change: Change = lambda _: {}
    how: str = ""
    fault: KeyFault = KeyFault.CHANGED
    without_note: bool = False


KINDS = (
    Kind("missing", fault=KeyFault.MISSING),
    Kind("extra", fault=KeyFault.EXTRA),
    Kind("changed", lambda _: {"name": "somebody else"}, "name: another text"),
    Kind("value to NULL", lambda _: {"note": None}, "note: a value in the target, NULL at the source"),
    Kind("NULL to value", lambda _: {"note": "x"}, "note: NULL in the target", without_note=True),
    Kind("NULL to empty", lambda _: {"note": ""}, "note: NULL in the target, empty at the source", without_note=True),
    Kind("rounding", lambda n: {"amount": f"{n}.12"}, "amount: rounded to 2 digits behind the point at the source"),
    Kind("time zone", lambda n: {"seen": f"{seen(n) + timedelta(hours=2)}"}, "seen: 2 h earlier, as in another time zone"),
    Kind("case", lambda n: {"name": name(n).upper()}, "name: upper and lower case"),
    Kind("trailing blanks", lambda n: {"name": name(n) + "  "}, "name: blanks at the end"),
    Kind("truncated", lambda n: {"name": name(n)[:4]}, "name: longer than at the source"),
    Kind(
        "unicode form",
        lambda n: {"name": unicodedata.normalize("NFD", name(n))},
        "name: another Unicode form of the same characters",
    ),
    Kind("last bit", lambda n: {"ratio": math.nextafter(math.sqrt(n), math.inf)}, "ratio: the last bit"),
    Kind(
        "microseconds dropped", lambda n: {"seen": f"{seen(n).replace(microsecond=0)}"}, "seen: cut to seconds at the source"
    ),
    Kind(
        "swapped columns",
        lambda n: {"name": note(n), "note": name(n)},
        "name: swapped with note; note: swapped with name",
    ),
)

KEYS: dict[str, tuple[list[str], Callable[[int], tuple[str, ...]]]] = {
    "by_int": (["n"], lambda n: (str(n),)),
    "by_text": (["code"], lambda n: (f"Kéy, '{n}'",)),
    "by_pair": (["part", "line"], lambda n: (str(n % 1000), f"l{n}")),
}
"""Of each table its key columns, and the key of a row by its number."""


@dataclass(frozen=True)
class Planted:
    """A difference: of which kind, in the row of this number."""

    kind: Kind
    row: int


def plant(rows: int, seed: int) -> list[Planted]:
    """Choose rows for every kind, each row once."""
    chance = random.Random(seed)  # noqa: S311 - places, not secrets
    # Not the last row, which stands at the watermark: what changes there is looked at again by the next run, and left out.
    chosen = chance.sample(range(1, rows), 20 * len(KINDS) * EACH)
    having, without = [n for n in chosen if note(n)], [n for n in chosen if not note(n)]
    return [Planted(kind, (without if kind.without_note else having).pop()) for kind in KINDS for _ in range(EACH)]


def rows_of(planted: Sequence[Planted], fault: KeyFault) -> str:
    return ", ".join(str(p.row) for p in planted if p.kind.fault is fault)


def hold_back(planted: Sequence[Planted], table: str) -> str:
    """SQL that puts those rows aside that are to be missing in the target."""
    missing = rows_of(planted, KeyFault.MISSING)
    return (
        f"CREATE TABLE {table}_held AS SELECT * FROM {table} WHERE n IN ({missing});"
        f"DELETE FROM {table} WHERE n IN ({missing});"
    )


def make_differences(planted: Sequence[Planted], table: str) -> str:
    """SQL that makes all differences."""
    lines = [
        f"INSERT INTO {table} SELECT * FROM {table}_held;",
        f"DELETE FROM {table} WHERE n IN ({rows_of(planted, KeyFault.EXTRA)});",
    ]
    for place in planted:
        values = ", ".join(f"{column} = {literal(value)}" for column, value in place.kind.change(place.row).items())
        lines += [f"UPDATE {table} SET {values} WHERE n = {place.row};"] if values else []
    return "\n".join(lines)


def literal(value: Value) -> str:
    if value is None:
        return "NULL"
    return f"{value!r}e0" if isinstance(value, float) else f"'{value}'"


def bisection(lake: Lake, table: str) -> Bisection:
    """Look for the keys of a table that differ."""
    configuration = open_configuration(lake.path)
    tables = tuple(t for t in configuration.tables if t.table == table)
    report = reconcile(ReconRequest(configuration, tables, table, checks=(Check.BISECT,)), {})
    (found,) = report.tables
    assert found.trouble is None, found.trouble
    assert found.checks[0].finding.bisection is not None
    return found.checks[0].finding.bisection


def require_all(found: Bisection, planted: Sequence[Planted], table: str, most_moved: float) -> None:
    """All keys and only they, each with its fault; for a part of them how the values differ; and few rows moved."""
    key_of = KEYS[table][1]
    expected = {key_of(place.row): place.kind for place in planted}
    assert {key.key: key.fault for key in found.keys} == {key: kind.fault for key, kind in expected.items()}
    assert found.total == len(planted) == len(KINDS) * EACH
    explained = {key.key: "; ".join(f"{v.column}: {v.how}" for v in key.values) for key in found.keys if key.values}
    assert len(explained) == EXPLAINED
    assert explained == {key: expected[key].how for key in explained}
    assert found.fraction < most_moved


def tables(mode: str, *names: str, **more: Any) -> list[dict[str, Any]]:
    cursor = {"incremental_column": "updated_at", "incr_col_type": "timestamp"} if mode == "scd1" else {}
    return [{"table": name, "mode": mode, "primary_keys": KEYS[name][0], **cursor, **more} for name in names]


POSTGRESQL = """
CREATE TABLE by_int AS
SELECT n, 'Kéy, ''' || n || '''' AS code, n % 1000 AS part, 'l' || n AS line, 'Name é ' || n AS name,
       CASE WHEN n % 7 > 0 THEN 'note ' || n % 100 END AS note, (n + 0.1234)::numeric(14, 4) AS amount,
       sqrt(n::float8) AS ratio, timestamp '{first}' + n * interval '1 s' AS seen,
       timestamptz '2024-01-01 00:00+00' + n * interval '1 s' AS updated_at
FROM generate_series(1, {rows}) AS n;
ALTER TABLE by_int ADD PRIMARY KEY (n);
{held}
ANALYZE by_int;
"""


def test_all_and_only_the_keys_that_differ_are_found_in_a_million_rows(postgres: PostgresDatabase, tmp_path: Path) -> None:
    """By keys of one number, of a text, and of two columns; less than 5 % of the rows are read for it."""
    planted = plant(MILLION, seed=7)
    postgres.psql(POSTGRESQL.format(first=FIRST, rows=MILLION, held=hold_back(planted, "by_int")))
    again = tables("full", "by_text", "by_pair", schema="public", query_sql="SELECT * FROM by_int")
    lake = Lake(tmp_path, postgres.configured(), [*tables("scd1", "by_int", schema="public"), *again])
    assert [t.failure for t in lake.run(None).tables] == [None] * len(KEYS)
    postgres.psql(make_differences(planted, "by_int"))
    for table in KEYS:
        found = bisection(lake, table)
        assert found.rows == 2 * (MILLION - EACH)
        require_all(found, planted, table, 0.05)


def test_they_are_found_in_sqlite(tmp_path: Path) -> None:
    planted = {table: plant(FEW, seed=len(table)) for table in KEYS}
    rows = [
        (n, f"Kéy, '{n}'", n % 1000, f"l{n}", name(n), note(n), f"{n}.1234", math.sqrt(n), f"{seen(n)}", f"{seen(n)}")
        for n in range(1, FEW + 1)
    ]
    with closing(sqlite3.connect(tmp_path / "source.db")) as source:
        for table, (key, _) in KEYS.items():
            source.execute(
                f"CREATE TABLE {table} (n INTEGER, code TEXT, part INTEGER, line TEXT, name TEXT, note TEXT,"
                f" amount DECIMAL(14, 4), ratio DOUBLE, seen DATETIME, updated_at DATETIME, PRIMARY KEY ({', '.join(key)}))"
            )
            source.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            source.executescript(hold_back(planted[table], table))
        lake = Lake(tmp_path, {"dialect": "sqlite", "database": "source.db"}, tables("scd1", *KEYS, schema="shop"))
        assert [t.failure for t in lake.run(None).tables] == [None] * len(KEYS)
        for table in KEYS:
            source.executescript(make_differences(planted[table], table))
    for table in KEYS:
        require_all(bisection(lake, table), planted[table], table, 0.05)


MARIADB = """
CREATE TABLE {table} (
  n INT, code VARCHAR(40) COLLATE utf8mb4_bin, part INT, line VARCHAR(20) COLLATE utf8mb4_bin, name VARCHAR(60),
  note VARCHAR(60), amount DECIMAL(14, 4), ratio DOUBLE, seen DATETIME(6), updated_at DATETIME, PRIMARY KEY ({key})
) CHARACTER SET utf8mb4;
INSERT INTO {table} SELECT seq, concat('Kéy, ''', seq, ''''), seq % 1000, concat('l', seq), concat('Name é ', seq),
  if(seq % 7 > 0, concat('note ', seq % 100), NULL), seq + 0.1234, sqrt(seq), timestamp'{first}' + INTERVAL seq SECOND,
  '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_{rows};
"""


def test_they_are_found_in_mariadb(mariadb: MariaDatabase, tmp_path: Path) -> None:
    planted = {table: plant(FEW, seed=len(table)) for table in KEYS}
    for table, (key, _) in KEYS.items():
        mariadb.client(MARIADB.format(table=table, first=FIRST, rows=FEW, key=", ".join(key)))
        mariadb.client(hold_back(planted[table], table))
    found = tables("scd1", *KEYS, schema=mariadb.database, cursor_timezone="UTC")
    lake = Lake(tmp_path, mariadb.configured(), found)
    assert [t.failure for t in lake.run(None).tables] == [None] * len(KEYS)
    for table in KEYS:
        mariadb.client("SET sql_mode = 'SIMULTANEOUS_ASSIGNMENT';" + make_differences(planted[table], table))
        require_all(bisection(lake, table), planted[table], table, 0.05)
