"""What lands in Iceberg is what the database's own client prints, value by value, for every dialect.

Each source is loaded three times: with other values under every key, with the source, this process and the JVM in other
time zones, by a full refresh and by a merge that changes every row.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake
from tests.servers.mariadb import MariaServer
from tests.servers.postgresql import PostgresDatabase, PostgresServer
from tests.values.columns import Column, Printed, Row, complaint, differences, rows
from tests.values.mariadb import MariaSource
from tests.values.postgresql import PostgresSource
from tests.values.refusals import MARIADB, POSTGRESQL, POSTGRESQL_ASCII, SQLITE, SQLITE_UTF16, Refusal
from tests.values.sqlite import SqliteSource

TABLES = ("everything", "merged")
# Where the source's sessions live, and where this program does; no zone twice, one off by half an hour.
ZONES = (
    ("UTC", "America/New_York"),
    ("Europe/Berlin", "Asia/Kolkata"),
    ("America/New_York", "Europe/Berlin"),
)


class Source(Protocol):
    """A database with one column of every type, that its own client fills and prints."""

    schema: str
    cursor: tuple[str, str]

    def columns(self, zone: str) -> tuple[Column, ...]: ...

    @property
    def connection(self) -> dict[str, Any]: ...

    def create(self) -> None: ...

    def move_to(self, zone: str) -> None: ...

    def move_home(self) -> None: ...

    def fill(self, rows: Sequence[Row], at: datetime, zone: str) -> None: ...

    def printed(self, zone: str) -> Printed: ...

    def put(self, table: str, declared: str, literal: str) -> None: ...


@dataclass
class Load:
    """One run over both tables: what the client printed before it, and what stood in the lake after it."""

    zone: str
    printed: Printed
    landed: dict[str, list[dict[str, Any]]]


@dataclass
class Story:
    """The loads of one source."""

    source: Source
    lake: Lake
    loads: list[Load]


@contextmanager
def living_in(spark: SparkSession, zone: str) -> Iterator[None]:
    """Move this process and its JVM to a time zone for as long as the block runs."""
    zones = spark._jvm.java.util.TimeZone
    before, jvm_before = os.environ.get("TZ"), zones.getDefault()
    os.environ["TZ"] = zone
    time.tzset()
    zones.setDefault(zones.getTimeZone(zone))
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
        zones.setDefault(jvm_before)


def tables(source: Source) -> list[dict[str, Any]]:
    """The same rows twice: refreshed whole, and merged through a query."""
    column, kind = source.cursor
    common = {"connection": "source", "schema": source.schema}
    merged = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": column, "incr_col_type": kind}
    return [
        {**common, "table": "everything", "mode": "full", "primary_keys": ["id"]},
        {**common, "table": "merged", "query_sql": "SELECT * FROM everything", **merged},
    ]


def load(source: Source, lake: Lake, spark: SparkSession, generation: int) -> Load:
    at_source, here = ZONES[generation]
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=generation)
    try:
        source.move_to(at_source)
        source.fill(rows(source.columns(at_source), generation), moment, at_source)
        with living_in(spark, here):
            result = lake.run(spark, day=date(2026, 7, 1 + generation))
    finally:
        source.move_home()
    failures = [f"{table.table}: {table.failure.message}" for table in result.tables if table.failure]
    assert failures == []
    landed = {name: lake.rows(f"{source.schema}.{name}") for name in TABLES}
    return Load(at_source, source.printed(at_source), landed)


def source_of(kind: str, root: Path, request: pytest.FixtureRequest) -> Source:
    engine, _, variant = kind.partition(" ")
    if engine == "sqlite":
        encoding = next((name for name in ("utf-16le", "utf-16be") if name in variant), "utf-8")
        return SqliteSource(root / "source.db", encoding, variant.removeprefix(encoding).strip())
    if engine == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        options = f"ENCODING '{variant}' TEMPLATE template0 LOCALE 'C'" if variant else ""
        return PostgresSource(postgres.create_database(options=options), root)
    maria: MariaServer = request.getfixturevalue("mariadb_server")
    return MariaSource(maria, maria.create_database(), root, engine)


ENGINES = ("spark", "arrow")
# Which engine reads what; both must land the same.
READ = [(kind, engine) for engine in ENGINES for kind in ("postgresql", "sqlite", "mariadb")]


def lake_over(root: Path, source: Source, engine: str, listed: Sequence[dict[str, Any]], **connection: Any) -> Lake:
    lake = Lake(root, {**source.connection, **connection}, listed)
    lake.document["runtime"]["engine"] = engine
    lake.save()
    return lake


@pytest.fixture(scope="module", params=READ, ids=" ".join)
def story(request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("values")
    kind, engine = request.param
    source = source_of(kind, root, request)
    source.create()
    lake = lake_over(root, source, engine, tables(source))
    return Story(source, lake, [load(source, lake, spark, generation) for generation in range(len(ZONES))])


@pytest.mark.parametrize("table", TABLES)
def test_every_type_lands_in_the_type_that_the_reference_names(story: Story, table: str) -> None:
    schema = story.lake.table(f"{story.source.schema}.{table}").schema()
    expected = {column.name: column.lands for column in story.source.columns("UTC")}
    assert {name: str(schema.find_field(name).field_type) for name in expected} == expected


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("generation", range(len(ZONES)))
def test_every_value_lands_as_the_client_prints_it(story: Story, table: str, generation: int) -> None:
    seen = story.loads[generation]
    said = differences(story.source.columns(seen.zone), seen.printed, seen.landed[table])
    assert not said, complaint(said)


def test_the_comparison_finds_one_changed_value_of_any_column(story: Story) -> None:
    """NULL in its place, or the value of another row: a difference that names row and column."""
    seen = story.loads[0]
    rows_by_id = {row["id"]: row for row in seen.landed["everything"]}
    for column in story.source.columns(seen.zone):
        shown = {key: cells[column.name] for key, cells in seen.printed.items()}
        victim = next(key for key, cell in shown.items() if cell is not None)
        other = next(key for key, cell in shown.items() if cell not in (None, shown[victim]))
        for lie in (None, rows_by_id[other][column.name]):
            landed = {**rows_by_id, victim: {**rows_by_id[victim], column.name: lie}}
            (said,) = differences((column,), seen.printed, list(landed.values()))
            assert said.startswith(f"row {victim}, column {column.name} ")
    (said,) = differences(story.source.columns(seen.zone), seen.printed, list(rows_by_id.values())[1:])
    assert "rows landed" in said


# What differs from the above in a database's encoding, in how its tables are kept, or in the dialect's name alone.
@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        *((f"sqlite {kept}", engine) for kept in ("utf-16be WITHOUT ROWID", "utf-16le", "STRICT") for engine in ENGINES),
        ("singlestore", "spark"),
    ],
)
def test_every_value_of_other_sources_lands_as_the_client_prints_it(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path, kind: str, engine: str
) -> None:
    source = source_of(kind, tmp_path, request)
    source.create()
    # It shows nobody its transactions; none is open here.
    horizon = {"horizon": "off"} if kind == "singlestore" else {}
    seen = load(source, lake_over(tmp_path, source, engine, tables(source), **horizon), spark, 1)
    for landed in seen.landed.values():
        said = differences(source.columns(seen.zone), seen.printed, landed)
        assert not said, complaint(said)


class LakeOnPostgres(Lake):
    """A lake whose catalog lies in a PostgreSQL database."""

    def __init__(self, root: Path, source: Source, database: PostgresDatabase) -> None:
        super().__init__(root, source.connection, tables(source))
        self._database = database
        (root / "catalog-password").write_text(f"{database.password}\n")
        address = {"host": database.host, "port": database.port, "database": database.database, "user": database.user}
        self.document["connections"]["catalog"] = {
            "dialect": "postgresql",
            **address,
            "password": "${file:catalog-password}",
        }
        intermediate = self.document["runtime"]["intermediate"]
        del intermediate["database"]
        intermediate["connection"] = "catalog"
        self.save()

    @property
    def catalog(self) -> SqlCatalog:
        server = self._database
        login = f"{server.user}:{quote(server.password)}@{server.host}:{server.port}"
        warehouse = f"file://{self.root / 'warehouse'}"
        return SqlCatalog("lake", uri=f"postgresql+psycopg://{login}/{server.database}", warehouse=warehouse)


def test_every_value_lands_alike_with_a_catalog_in_postgresql(
    spark: SparkSession, postgres: PostgresDatabase, tmp_path: Path
) -> None:
    source = SqliteSource(tmp_path / "source.db")
    source.create()
    lake = LakeOnPostgres(tmp_path, source, postgres)
    for generation in (0, 1):
        seen = load(source, lake, spark, generation)
        for landed in seen.landed.values():
            said = differences(source.columns(seen.zone), seen.printed, landed)
            assert not said, complaint(said)


REFUSALS = {
    "postgresql": POSTGRESQL,
    "postgresql SQL_ASCII": POSTGRESQL_ASCII,
    "sqlite": SQLITE,
    "sqlite utf-16le": SQLITE_UTF16,
    "mariadb": MARIADB,
}


@pytest.fixture(scope="module")
def refused(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], dict[Refusal, tuple[TableResult, bool]]]:
    """Return how each table with a bad value ended, and whether the catalog knows it; one run for all of a source."""

    @cache
    def run(kind: str, engine: str) -> dict[Refusal, tuple[TableResult, bool]]:
        root = tmp_path_factory.mktemp("refused")
        source = source_of(kind, root, request)
        names = {refusal: f"t{place}" for place, refusal in enumerate(REFUSALS[kind])}
        for refusal, name in names.items():
            source.put(name, refusal.declared, refusal.literal)
        listed = [{"schema": source.schema, "table": name, "mode": "full"} for name in names.values()]
        lake = lake_over(root, source, engine, listed)
        results = {result.table: result for result in lake.run(spark).tables}
        qualified = {refusal: f"{source.schema}.{name}" for refusal, name in names.items()}
        return {refusal: (results[name], lake.catalog.table_exists(name)) for refusal, name in qualified.items()}

    return run


@pytest.mark.parametrize(
    ("kind", "engine", "refusal"),
    [(kind, engine, refusal) for kind, listed in REFUSALS.items() for engine in ENGINES for refusal in listed],
    ids=str,
)
def test_a_value_that_nothing_holds_is_refused_with_column_and_reason(
    refused: Callable[[str, str], dict[Refusal, tuple[TableResult, bool]]], kind: str, engine: str, refusal: Refusal
) -> None:
    result, published = refused(kind, engine)[refusal]
    assert result.status is TableStatus.FAILED
    assert result.failure is not None
    assert "column 'bad'" in result.failure.message
    assert f": 1 values are {refusal.reason}" in result.failure.message.replace("infinite, or ", "")
    assert not published
