"""Bad input at the source: one clear message that says what to do, the right exit code, and nothing published."""

import dataclasses
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from tests.cli.conftest import Call
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase, PostgresServer

SOURCE = """
CREATE TABLE people (id int PRIMARY KEY, name text, note text, at timestamp NOT NULL);
INSERT INTO people SELECT g, 'n' || g, 'x', TIMESTAMP '2024-05-01' + g * INTERVAL '1 second' FROM generate_series(1, 50) g;
"""
PEOPLE: dict[str, Any] = {"schema": "public", "table": "people", "mode": "full", "primary_keys": ["id"]}
CURSOR = {"incremental_column": "at", "incr_col_type": "timestamp", "cursor_timezone": "UTC"}
CHANGES: dict[str, Any] = {**PEOPLE, "mode": "scd1", **CURSOR}


@pytest.fixture
def source(postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """A database with one table, and its password in the environment."""
    monkeypatch.setenv("SOURCE_PASSWORD", postgres.password)
    postgres.psql(SOURCE)
    return postgres


def connection_to(server: PostgresDatabase, **changes: Any) -> dict[str, Any]:
    address = {"host": server.host, "port": server.port, "database": server.database}
    return {"dialect": "postgresql", **address, "user": server.user, "password": "${env:SOURCE_PASSWORD}", **changes}


def lake_of(root: Path, server: PostgresDatabase, *tables: Mapping[str, Any], **changes: Any) -> Lake:
    return Lake(root, connection_to(server, **changes), tables)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def published(lake: Lake) -> dict[str, Any]:
    """Return what readers can see: every table's metadata file, and what landed in raw and final."""
    names = [name for space in lake.catalog.list_namespaces() for name in lake.catalog.list_tables(space)]
    roots = (lake.root / "raw", lake.root / "final")
    landed = sorted(str(path) for root in roots for path in root.rglob("*.parquet"))
    return {"landed": landed} | {".".join(name): lake.table(".".join(name)).metadata_location for name in names}


NOTHING: dict[str, Any] = {"landed": []}


def only(result: RunResult) -> TableResult:
    (table,) = result.tables
    return table


def message_of(table: TableResult) -> str:
    assert table.status is TableStatus.FAILED
    assert table.failure is not None
    assert "\n" not in table.failure.message
    return table.failure.message


# Connections


def test_an_unknown_database_ends_the_run_before_anything_is_touched(
    call: Call, tmp_path: Path, source: PostgresDatabase
) -> None:
    """Exit 2, naming the database and the key to check; the folder is as it was."""
    lake = lake_of(tmp_path, source, PEOPLE, database="nowhere")
    result = call("--config", lake.path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert 'database "nowhere" does not exist' in result.stderr
    assert "Check database of this connection." in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["conf.json"]


def test_an_unreachable_host_is_worth_a_retry(call: Call, tmp_path: Path, source: PostgresDatabase) -> None:
    """Exit 3 for every table of that connection, with the address and the advice to run again; nothing is published."""
    lake = lake_of(tmp_path, source, PEOPLE, {**CHANGES, "table": "others"}, port=closed_port())
    result = call("--config", lake.path)
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line.startswith("TransientError")]
    assert [line.split(":")[0] for line in lines] == ["TransientError public.people, public.others"]
    assert all("refused" in line and "run the same command again" in line for line in lines)
    assert published(lake) == NOTHING


def test_tables_of_other_connections_complete_beside_an_unreachable_host(
    tmp_path: Path, source: PostgresDatabase, spark: SparkSession
) -> None:
    """Exit 3 for the one, rows for the other; what failed is told of its own tables only."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript("CREATE TABLE stores (id INTEGER PRIMARY KEY); INSERT INTO stores VALUES (1), (2)")
    stores = {"schema": "shop", "table": "stores", "mode": "full", "connection": "shop"}
    lake = lake_of(tmp_path, source, {**PEOPLE, "connection": "source"}, stores, port=closed_port())
    lake.document["connections"]["shop"] = {"dialect": "sqlite", "database": "shop.db"}
    lake.save()
    result = lake.run(spark)
    assert result.exit_code == 3
    assert [table.status for table in result.tables] == [TableStatus.FAILED, TableStatus.DONE]
    assert sorted(row["id"] for row in lake.rows("shop.stores")) == [1, 2]
    assert not lake.catalog.table_exists("public.people")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"password": "${env:WRONG_PASSWORD}"}, 2, "Access denied for user"),
        ({"database": "nowhere"}, 2, "check database of this connection"),
        ({"port": 1}, 3, "run the same command again"),
        ({"table": "peple"}, 1, "Did you mean"),
    ],
)
def test_mariadb_says_what_is_wrong_in_one_line(
    call: Call, tmp_path: Path, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
    code: int, words: str,
) -> None:  # fmt: skip
    """Credentials and database: exit 2; a server that does not answer: 3; a table that is not there: 1. Never a stack."""
    monkeypatch.setenv("SOURCE_PASSWORD", mariadb.password)
    monkeypatch.setenv("WRONG_PASSWORD", "wrong-secret")
    mariadb.client("CREATE TABLE people (id int PRIMARY KEY)")
    table = {**PEOPLE, "schema": mariadb.database, "table": changes.get("table", "people")}
    address = {"host": mariadb.host, "port": mariadb.port, "database": mariadb.database, "user": mariadb.user}
    settings = {key: value for key, value in changes.items() if key != "table"}
    lake = Lake(tmp_path, {"dialect": "mariadb", **address, "password": "${env:SOURCE_PASSWORD}", **settings}, [table])
    result = call("--config", lake.path)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "wrong-secret" not in result.stderr
    assert mariadb.password not in result.stderr


def test_a_sqlite_file_that_does_not_exist_is_refused_and_not_made(call: Call, shop: Lake) -> None:
    """Exit 2 with the path; no empty database appears in its place."""
    (shop.root / "shop.db").unlink()
    result = call("--config", shop.path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(shop.root / "shop.db") in result.stderr
    assert "Check that database names an existing SQLite file" in result.stderr
    assert [path.name for path in shop.root.iterdir()] == ["conf.json"]


def test_a_file_that_is_no_sqlite_database_is_refused(call: Call, shop: Lake) -> None:
    """Exit 2 with the path, before anything is touched."""
    (shop.root / "shop.db").write_text("id;name\n" * 200)
    result = call("--config", shop.path)
    assert result.exit_code == 2
    assert f"{shop.root / 'shop.db'}" in result.stderr
    assert "not a database" in result.stderr
    assert sorted(path.name for path in shop.root.iterdir()) == ["conf.json", "shop.db"]


def test_a_catalog_that_is_no_database_file_is_told_by_its_path(call: Call, shop: Lake) -> None:
    """The tables fail with the catalog's path and what to do; the file stays as it is, and nothing is read."""
    (shop.root / "catalog.db").write_text("not a catalog\n" * 100)
    result = call("--config", shop.path)
    assert result.exit_code == 1
    failures = [line for line in result.stderr.splitlines() if line.startswith("TerminalError")]
    assert [line.split(":")[0] for line in failures] == ["TerminalError shop.customers, shop.orders"]
    assert str(shop.root / "catalog.db") in failures[0]
    assert "runtime.intermediate" in failures[0]
    assert "SELECT" not in failures[0]
    assert (shop.root / "catalog.db").read_text() == "not a catalog\n" * 100
    assert not any((shop.root / name).exists() for name in ("raw", "staging", "warehouse"))


# Configured names that the source does not have


@pytest.mark.parametrize(
    ("spec", "words", "remedy"),
    [
        pytest.param(
            {**PEOPLE, "table": "peple"},
            "has no table 'public.peple'. Did you mean 'public.people'?",
            "Correct schema and table in the configuration",
            id="unknown table",
        ),
        pytest.param(
            {**PEOPLE, "primary_keys": ["idd"]},
            "Table public.people has no column 'idd' (primary_keys). Did you mean 'id'?",
            "Correct primary_keys in the configuration",
            id="unknown primary key",
        ),
        pytest.param(
            {**CHANGES, "incremental_column": "updated_at"},
            "Table public.people has no column 'updated_at' (incremental_column).",
            "Correct incremental_column in the configuration",
            id="unknown incremental column",
        ),
        pytest.param(
            {**CHANGES, "incr_col_type": "epoch_millis", "cursor_timezone": None},
            "Column 'at' of table public.people is timestamp without time zone: it cannot serve as a cursor of type"
            " epoch_millis (fitting types: timestamp).",
            "Correct incremental_column or incr_col_type",
            id="wrong incr_col_type",
        ),
        pytest.param(
            {**CHANGES, "source_filter": "colour = 'red'"},
            'column "colour" does not exist',
            "Check the column names in the configuration",
            id="unknown column in a filter",
        ),
        pytest.param(
            {**CHANGES, "query_sql": "SELECT * FROM public.nowhere"},
            'relation "public.nowhere" does not exist',
            "Check schema and table, or query_sql",
            id="query over an unknown table",
        ),
    ],
)
def test_a_name_that_the_source_does_not_have_is_told_with_what_it_has(
    call: Call, tmp_path: Path, source: PostgresDatabase, spec: dict[str, Any], words: str, remedy: str
) -> None:
    """Exit 1, one message with the nearest name or the fitting types; no batch, no JVM, nothing published."""
    lake = lake_of(tmp_path, source, spec)
    result = call("--config", lake.path)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("TerminalError")]
    assert words in line
    assert remedy in line
    assert "Traceback" not in result.stderr
    assert published(lake) == NOTHING
    assert not list((lake.root / "logs").glob("spark-*.log"))


# Sources that changed since they were loaded

FULL = ("vanishing", "shrinking", "shrinking_on_purpose", "closing")
SCD1 = ("shrinking_changes", "closing_changes")
EACH = """
CREATE TABLE {0} AS SELECT * FROM people;
ALTER TABLE {0} ADD PRIMARY KEY (id);
"""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A source all of whose tables were loaded once; every test breaks a table of its own."""

    root: Path
    source: PostgresDatabase

    def lake(self, table: str, *, allow_missing: bool = False) -> Lake:
        """Return the lake with that table alone in its configuration."""
        spec = {**(CHANGES if table in SCD1 else PEOPLE), "table": table}
        lake = lake_of(self.root, self.source, spec, password="${file:password}")
        lake.document["metadata"]["schema_policy"] = {"allow_missing_columns": allow_missing}
        lake.save()
        return lake


@pytest.fixture(scope="module")
def loaded(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, spark: SparkSession
) -> Iterator[Loaded]:
    root = tmp_path_factory.mktemp("loaded")
    source = postgres_server.create_database()
    (root / "password").write_text(source.password)
    source.psql(SOURCE)
    for table in (*FULL, *SCD1):
        source.psql(EACH.format(table))
    # Without a column that has to be judged first, the read fails inside the JVM.
    source.psql("ALTER TABLE closing DROP COLUMN at")
    tables = [{**(CHANGES if table in SCD1 else PEOPLE), "table": table} for table in (*FULL, *SCD1)]
    assert lake_of(root, source, *tables, password="${file:password}").run(spark).exit_code == 0
    yield Loaded(root, source)
    postgres_server.drop_database(source.database)


TOMORROW = date(2026, 7, 2)


def test_a_table_that_vanished_keeps_its_target(call: Call, loaded: Loaded) -> None:
    """Exit 1; the message names the table and what to do; the target stands as it was."""
    lake = loaded.lake("vanishing")
    before = published(lake)
    loaded.source.psql("DROP TABLE vanishing")
    result = call("--config", lake.path, "--load-date", TOMORROW)
    assert result.exit_code == 1
    assert "has no table 'public.vanishing'." in result.stderr
    assert "restore the table at the source" in result.stderr
    assert published(lake) == before


def test_a_column_that_vanished_is_refused(call: Call, loaded: Loaded) -> None:
    """Exit 1; the message names column, type and the setting that would let it pass; the target stands as it was."""
    lake = loaded.lake("shrinking")
    before = published(lake)
    loaded.source.psql("ALTER TABLE shrinking DROP COLUMN note")
    result = call("--config", lake.path, "--load-date", TOMORROW)
    assert result.exit_code == 1
    assert "public.shrinking are not those of its snapshot (missing: note (string))" in result.stderr
    assert "metadata.schema_policy.allow_missing_columns: true" in result.stderr
    assert published(lake) == before


def test_a_column_that_may_be_missing_arrives_as_null(loaded: Loaded, spark: SparkSession) -> None:
    """With allow_missing_columns a full table is published with NULL in its place, and an event names the column."""
    lake = loaded.lake("shrinking_on_purpose", allow_missing=True)
    loaded.source.psql("ALTER TABLE shrinking_on_purpose DROP COLUMN note")
    assert only(lake.run(spark, day=TOMORROW)).status is TableStatus.DONE
    rows = lake.rows("public.shrinking_on_purpose")
    assert {(row["id"], row["name"], row["note"]) for row in rows} == {(g, f"n{g}", None) for g in range(1, 51)}
    (event,) = [e for e in lake.events() if e["event"] == "column_missing" and e["table"] == "public.shrinking_on_purpose"]
    assert event["columns"] == ["note"]


def test_a_missing_column_is_null_in_merged_rows_only(loaded: Loaded, spark: SparkSession) -> None:
    """An scd1 table keeps what it had of the column, and gets NULL for the rows that are read again: the two that were
    updated, and the one at the watermark, which is another row without the column."""
    lake = loaded.lake("shrinking_changes", allow_missing=True)
    loaded.source.psql("ALTER TABLE shrinking_changes DROP COLUMN note")
    loaded.source.psql("UPDATE shrinking_changes SET at = at + INTERVAL '1 day' WHERE id IN (7, 8)")
    assert only(lake.run(spark, day=TOMORROW)).rows_read == 3
    notes = {row["id"]: row["note"] for row in lake.rows("public.shrinking_changes")}
    assert notes == {g: None if g in (7, 8, 50) else "x" for g in range(1, 51)}
    told = [e for e in lake.events() if e["event"] == "column_missing" and e["table"] == "public.shrinking_changes"]
    assert {tuple(event["columns"]) for event in told} == {("note",)}


def test_a_probe_without_permission_says_what_to_grant(call: Call, loaded: Loaded) -> None:
    """Exit 1 with the server's words and the grant; no JVM; the target stands as it was."""
    lake = loaded.lake("closing_changes")
    before = published(lake)
    loaded.source.psql("REVOKE SELECT ON closing_changes FROM ingest")
    result = call("--config", lake.path, "--load-date", TOMORROW)
    assert result.exit_code == 1
    assert "permission denied for table closing_changes. Grant the connection's user SELECT on it" in result.stderr
    assert published(lake) == before


def test_a_read_without_permission_says_the_same(loaded: Loaded, spark: SparkSession) -> None:
    """Also where only Spark's own connection meets the refusal: no Java stack, the same words, nothing published."""
    lake = loaded.lake("closing")
    before = published(lake)
    loaded.source.psql("REVOKE SELECT ON closing FROM ingest")
    result = lake.run(spark, day=TOMORROW)
    assert result.exit_code == 1
    message = message_of(only(result))
    assert "permission denied for table closing. Grant the connection's user SELECT on it" in message
    assert published(lake) == before


# Values


def test_a_text_in_an_integer_column_is_refused_with_column_and_reason(shop: Lake, spark: SparkSession) -> None:
    """SQLite lets 'abc' into an INTEGER column and a driver reads 0: exit 1 with column, type and count instead; the
    other table arrives."""
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.execute("INSERT INTO orders VALUES (13, 'abc', '2024-05-03 00:00:00')")
        connection.commit()
    result = shop.run(spark)
    assert result.exit_code == 1
    customers, orders = result.tables
    assert customers.status is TableStatus.DONE
    message = message_of(orders)
    assert "Table shop.orders holds values that cannot land exactly" in message
    assert "column 'customer' (INTEGER): 1 values are no integers" in message
    assert "Correct them at the source" in message
    assert not shop.catalog.table_exists("shop.orders")
    assert not list((shop.root / "raw" / "shop" / "orders").rglob("*.parquet"))
