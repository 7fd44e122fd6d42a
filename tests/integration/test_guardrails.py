"""Precision guardrails on real numbers: a profile before the judgement, and never a value that is not the source's."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from ingestion_runtime.model.spec import TableSpec
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase, PostgresServer

FITS = ("1234567890123456789012345678.0123456789", "-0.0000000001", "7", "0")
MANY_DIGITS = (*FITS, "0.12345678901")
HUGE = (*FITS, "12345678901234567890123456789")


@dataclass(frozen=True)
class Case:
    """One table with a column ``v`` and a wish for it, and what must come of it.

    ``lands`` is the type in Iceberg and ``found`` the values in order of their ids; or ``words`` of the refusal.
    """

    name: str
    values: Sequence[str]
    type: str = "numeric"
    wish: Mapping[str, str] | None = None
    lands: str = ""
    found: Sequence[Any] = ()
    words: Sequence[str] = ()
    told: tuple[str, str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


WISH = {"type": "decimal(38,10)"}
DECIMALS = [Decimal(v) for v in FITS]
CASES = [
    Case("unwished", HUGE, lands="string", found=HUGE),
    Case("confirmed", FITS, wish=WISH, lands="decimal(38, 10)", found=DECIMALS),
    Case(
        "too_many_digits",
        MANY_DIGITS,
        wish=WISH,
        words=[
            "column 'v' (numeric) should land as decimal(38,10)",
            "1 of 5 values are no numbers of 38 digits, 10 of them after the point",
            "digits in use: 28 before and 11 after the point",
            "from -1E-10 to 1234567890123456789012345678.0123456789",
        ],
    ),
    Case("too_large", HUGE, wish=WISH, words=["1 of 5 values", "digits in use: 29 before and 10 after the point"]),
    Case("not_a_number", (*FITS, "NaN"), wish=WISH, words=["1 of 5 values", "1 NaN"]),
    Case("infinite", (*FITS, "Infinity", "-Infinity"), wish=WISH, words=["2 of 6 values", "2 infinite"]),
    Case("warned", HUGE, wish={**WISH, "guardrail": "warn"}, lands="string", found=HUGE,
         told=("precision_judged", "warning")),
    Case("as_text", MANY_DIGITS, wish={**WISH, "guardrail": "text"}, lands="string", found=MANY_DIGITS,
         told=("precision_noted", "info")),
    Case("all_null", ("NULL", "NULL"), wish=WISH, lands="decimal(38, 10)", found=(None, None)),
    Case("declared_nan", ("1.50", "NaN"), type="numeric(10,2)", words=["column 'v' (numeric(10,2)): 1 values are NaN"]),
    Case("int_as_decimal", ("1", "-2147483648"), type="int", wish={"type": "decimal(12,2)"}, lands="decimal(12, 2)",
         found=(Decimal(1), Decimal(-2147483648))),
    Case("wide_as_long", ("9223372036854775807", "-9223372036854775808"), type="numeric(30,0)", wish={"type": "long"},
         lands="long", found=(9223372036854775807, -9223372036854775808)),
    Case("too_wide_for_long", ("9223372036854775808",), type="numeric(30,0)", wish={"type": "long"},
         words=["1 of 1 values are no whole numbers from -9223372036854775808 to 9223372036854775807"]),
    Case("float_as_decimal", ("0.1",), type="float8", wish={"type": "decimal(10,2)"},
         words=["Column 'v' of table public.float_as_decimal is double precision: it cannot land as decimal128(10, 2)"]),
    Case("date_as_text", ("'2024-02-29'",), type="date", wish={"type": "string"}, lands="string", found=("2024-02-29",)),
]  # fmt: skip
GOOD = [case for case in CASES if not case.words]
BAD = [case for case in CASES if case.words]


def table_of(name: str, wish: Mapping[str, str] | None, mode: str = "scd1") -> dict[str, Any]:
    cursor = {"incremental_column": "at", "incr_col_type": "timestamp"} if mode == "scd1" else {}
    wishes = {"columns": {"v": dict(wish)}} if wish else {}
    return {"schema": "public", "table": name, "mode": mode, "primary_keys": ["id"], **cursor, **wishes}


def quoted(value: str, kind: str) -> str:
    return value if value == "NULL" or value[0] == "'" else f"'{value}'::{kind}"


def fill(database: PostgresDatabase, name: str, kind: str, values: Sequence[str]) -> None:
    rows = ", ".join(
        f"({i}, {quoted(v, kind)}, TIMESTAMPTZ '2024-01-01 00:00+00' + {i} * INTERVAL '1 hour')"
        for i, v in enumerate(values, start=1)
    )
    database.psql(f"CREATE TABLE {name} (id int PRIMARY KEY, v {kind}, at timestamptz); INSERT INTO {name} VALUES {rows}")


def landed(lake: Lake, name: str) -> tuple[str, list[Any]]:
    """Return type and values of the column ``v``."""
    rows = sorted(lake.rows(f"public.{name}"), key=lambda row: row["id"])
    return str(lake.table(f"public.{name}").schema().find_field("v").field_type), [row["v"] for row in rows]


def by_name(result: RunResult) -> dict[str, TableResult]:
    return {table.table.removeprefix("public."): table for table in result.tables}


@dataclass(frozen=True)
class Place:
    """The source and the lake of this module."""

    root: Any
    database: PostgresDatabase
    connection: Mapping[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("guardrails")
    database = postgres_server.create_database()
    yield Place(root, database, database.configured())
    postgres_server.drop_database(database.database)


@pytest.fixture(scope="module")
def first(place: Place, spark: SparkSession) -> tuple[Lake, Mapping[str, TableResult]]:
    """All cases, loaded for the first time."""
    for case in CASES:
        fill(place.database, case.name, case.type, case.values)
    lake = Lake(place.root, place.connection, [table_of(case.name, case.wish) for case in CASES])
    return lake, by_name(lake.run(spark))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_number_lands_in_a_type_that_holds_all_of_it(first: tuple[Lake, Mapping[str, TableResult]], case: Case) -> None:
    """As wished where the profile confirms it, else as text, where the policy says so; with an event that says why."""
    lake, results = first
    assert results[case.name].failure is None
    assert landed(lake, case.name) == (case.lands, list(case.found))
    names = ("precision_judged", "precision_noted")
    told = [e for e in lake.events() if e["event"] in names and e["table"] == f"public.{case.name}"]
    assert [(e["event"], e["level"]) for e in told] == ([case.told] if case.told else [])
    for event in told:
        assert (event["column"], event["wished"], event["landed"]) == ("v", "decimal(38,10)", "string")
        assert "1 of 5 values are no numbers of 38 digits" in event["reason"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_number_that_does_not_fit_refuses_its_table(first: tuple[Lake, Mapping[str, TableResult]], case: Case) -> None:
    """With column, type, reason and the profile, before anything is published."""
    lake, results = first
    failure = results[case.name].failure
    assert failure is not None
    assert all(words in failure.message for words in case.words), failure.message
    assert not lake.catalog.table_exists(f"public.{case.name}")


def test_a_type_does_not_flip_between_nights(place: Place, spark: SparkSession) -> None:
    """The target's type decides once it is there: text stays text when every number would fit, a decimal stays one when
    the wish is gone, and a number that it does not hold refuses the table until a person reloads it."""
    fill(place.database, "text_first", "numeric", HUGE)
    fill(place.database, "decimal_first", "numeric", FITS)
    warn = {**WISH, "guardrail": "warn"}
    (place.root / "nights").mkdir()
    lake = Lake(place.root / "nights", place.connection, [table_of("text_first", warn), table_of("decimal_first", warn)])
    assert lake.run(spark).exit_code == 0
    place.database.psql(
        "DELETE FROM text_first WHERE id = 5; UPDATE text_first SET v = 8, at = now() - interval '1 hour' WHERE id = 3;"
        " UPDATE decimal_first SET v = 9, at = now() - interval '1 hour' WHERE id = 4"
    )
    lake.document["tables"][1] = table_of("decimal_first", None)
    lake.save()

    assert lake.run(spark, day=date(2026, 7, 2)).exit_code == 0
    assert landed(lake, "text_first") == ("string", [FITS[0], FITS[1], "8", FITS[3], HUGE[4]])
    assert landed(lake, "decimal_first") == ("decimal(38, 10)", [*DECIMALS[:3], Decimal(9)])

    place.database.psql("INSERT INTO decimal_first VALUES (5, 'NaN', now() - interval '30 minutes')")
    before = lake.table("public.decimal_first").metadata_location
    failure = by_name(lake.run(spark, day=date(2026, 7, 3)))["decimal_first"].failure
    assert failure is not None
    assert "column 'v' (numeric): 1 values are no numbers of 38 digits" in failure.message
    assert lake.table("public.decimal_first").metadata_location == before


def test_one_line_wishes_for_all_numbers_without_digits(place: Place, spark: SparkSession) -> None:
    """``unbounded`` is the wish of every such column; what the profile does not confirm goes by the policy."""
    fill(place.database, "confident", "numeric", ("1.5", "2.25"))
    fill(place.database, "others", "numeric", ("1.5", "0.00001"))
    fill(place.database, "declared", "numeric(10,2)", ("1.5", "NaN"))
    (place.root / "unbounded").mkdir()
    lake = Lake(
        place.root / "unbounded", place.connection, [table_of(n, None, "full") for n in ("confident", "others", "declared")]
    )
    lake.document["metadata"]["precision_guardrails"] = {"policy": "warn", "unbounded": "decimal(20,4)"}
    lake.save()
    result = lake.run(spark)
    assert {table.status for table in result.tables} == {TableStatus.DONE}
    assert landed(lake, "confident") == ("decimal(20, 4)", [Decimal("1.5"), Decimal("2.25")])
    assert landed(lake, "others") == ("string", ["1.5", "0.00001"])
    assert landed(lake, "declared") == ("string", ["1.50", "NaN"])
    told = {e["table"]: e["reason"] for e in lake.events() if e["event"] == "precision_judged"}
    assert set(told) == {"public.others", "public.declared"}
    assert "1 NaN" in told["public.declared"]


def test_numbers_of_sqlite_are_judged_value_by_value(spark: SparkSession, tmp_path: Any) -> None:
    """Each value has a type of its own: one text among numbers, and the column lands as text or the table is refused."""
    with sqlite3.connect(tmp_path / "shop.db") as database:
        for name, values in {"fits": "(1, 1.25), (2, 7)", "mixed": "(1, 1.25), (2, 'n/a')"}.items():
            database.executescript(
                f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v NUMERIC); INSERT INTO {name} VALUES {values}"
            )
        database.executescript("CREATE TABLE counted (id INTEGER PRIMARY KEY, v INTEGER);"
                               "INSERT INTO counted VALUES (1, 1), (2, 'two'), (3, 3.5)")  # fmt: skip
    wish = {"type": "decimal(10,2)"}
    tables = [table_of("fits", wish, "full"), table_of("mixed", wish, "full")]
    counted = {**table_of("counted", {"type": "long", "guardrail": "text"}, "full")}
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": str(tmp_path / "shop.db")}, [*tables, counted])
    results = by_name(lake.run(spark))
    assert landed(lake, "fits") == ("decimal(10, 2)", [Decimal("1.25"), Decimal(7)])
    failure = results["mixed"].failure
    assert failure is not None
    assert "column 'v' (NUMERIC) should land as decimal(10,2): 1 of 2 values are no numbers of 10 digits" in failure.message
    assert landed(lake, "counted") == ("string", ["1", "two", "3.5"])


def test_a_profile_of_mariadb_counts_what_is_there(mariadb: MariaDatabase) -> None:
    """Digits in use, range and misfits, by one query, of numbers with up to 65 digits and of doubles that are no floats."""
    values = f"({'9' * 35}.{'0' * 9}1{'0' * 20}), (-1.5), (NULL), (0.{'0' * 29}1)"
    mariadb.client(f"CREATE TABLE wide (v decimal(65,30), n bigint); INSERT INTO wide (v) VALUES {values}")
    secret = SimpleNamespace(resolve=lambda: mariadb.password)
    connection = ConnectionSpec(
        "source", "mariadb", mariadb.database, mariadb.host, mariadb.port, mariadb.user, secret, Tls("disable")
    )
    database = Database(connection, dialect_for("mariadb"))
    table = TableSpec(mariadb.database, "wide", "full", "source")
    source = JdbcSource(table, database, SparkReader(SimpleNamespace()))
    (profile,) = source.profile({"v": pa.decimal128(38, 10), "n": pa.int64()})
    database.close()
    assert (profile.rows, profile.nulls, profile.unfit) == (4, 1, 2)
    assert (profile.whole, profile.fraction) == (35, 30)
    assert (Decimal(profile.low or ""), profile.nans, profile.infinities) == (Decimal("-1.5"), None, None)
