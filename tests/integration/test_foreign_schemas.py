"""``ingestion init`` on databases of others: what it writes is valid, loads every row, and then finds nothing new."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from click.testing import CliRunner, Result
from pyiceberg.catalog.sql import SqlCatalog

from ingestion_runtime.api import run
from ingestion_runtime.cli import cli
from ingestion_runtime.model.result import TableStatus
from tests.sameness import differing, published
from tests.samples import batch_schema, periodic_table
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PASSWORD_VARIABLE, PostgresDatabase

Rows = Callable[[str, str], tuple[list[str], list[tuple[Any, ...]]]]
TRANSACTIONS = 200
DAY = "2026-07-01"


def call(*arguments: object) -> Result:
    """Call the command line inside this process; it must succeed."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def draft_and_load(path: Path, rows: Rows, place: list[object]) -> dict[str, dict[str, Any]]:
    """Write a configuration, validate and run it, compare, run again; return the entries of the file by table."""
    call("init", *place, "--to", path)
    call("validate", "--config", path)
    assert {table.status for table in run(path, load_date=DAY).tables} == {TableStatus.DONE}
    compare(path, rows)
    assert {table.status for table in run(path, load_date=DAY).tables} <= {TableStatus.UNCHANGED, TableStatus.SKIPPED}
    return {entry["table"]: entry for entry in json.loads(path.read_text())["tables"]}


def compare(path: Path, rows: Rows) -> None:
    """Make sure that every target equals its source."""
    lake = path.parent / f"{path.stem}-lake"
    catalog = SqlCatalog("lake", uri=f"sqlite:///{lake / 'catalog.db'}", warehouse=f"file://{lake / 'warehouse'}")
    for entry in json.loads(path.read_text())["tables"]:
        names, source = rows(entry["schema"], entry["table"])
        target = published(catalog.load_table((entry["schema"], entry["table"])), names)
        assert (len(target), differing(source, target)) == (len(source), 0), entry


@contextmanager
def reading(postgres: PostgresDatabase) -> Iterator[Rows]:
    """Lend what reads a table of PostgreSQL whole."""
    place = {"host": postgres.host, "port": postgres.port, "dbname": postgres.database, "user": postgres.user}
    with psycopg.connect(**place, password=postgres.password, autocommit=True) as connection:

        def rows(schema: str, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
            found = connection.execute(f'SELECT * FROM "{schema}"."{table}"')
            return [column.name for column in found.description or ()], found.fetchall()

        yield rows


def options(database: PostgresDatabase | MariaDatabase, dialect: str) -> list[object]:
    """Return the options that name a database on a server."""
    place = ["--dialect", dialect, "--host", database.host, "--port", database.port, "--database", database.database]
    return [*place, "--user", database.user, "--password-env", PASSWORD_VARIABLE]


def test_pgbench_on_postgresql(postgres: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of the server's own benchmark after some work: one of them has no key and a clock without a zone."""
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    place = ["-h", postgres.host, "-p", str(postgres.port), "-U", postgres.user]
    for work in (["-i", "-q"], ["-t", str(TRANSACTIONS), "-n"]):
        command = [str(postgres.binaries / "pgbench"), *place, *work, postgres.database]
        environment = {**os.environ, "PGPASSWORD": postgres.password}
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    with reading(postgres) as rows:
        entries = draft_and_load(tmp_path / "bench.json", rows, options(postgres, "postgresql"))
        assert len(rows("public", "pgbench_history")[1]) == TRANSACTIONS
    assert {name: entry.get("primary_keys") for name, entry in entries.items()} == {
        "pgbench_accounts": ["aid"],
        "pgbench_branches": ["bid"],
        "pgbench_history": None,
        "pgbench_tellers": ["tid"],
    }


JOBS = """
INSERT INTO BATCH_JOB_INSTANCE VALUES (1, 0, 'import', 'a'), (2, 0, 'export', 'b');
INSERT INTO BATCH_JOB_EXECUTION VALUES
  (1, 2, 1, '2024-05-01 10:00:00', '2024-05-01 10:00:01', '2024-05-01 10:05:00.123', 'COMPLETED', 'COMPLETED', '',
   '2024-05-01 10:05:00.123'),
  (2, 1, 2, '2024-05-02 10:00:00', '2024-05-02 10:00:01', NULL, 'STARTED', 'UNKNOWN', '', '2024-05-02 10:00:01.5');
INSERT INTO BATCH_JOB_EXECUTION_PARAMS VALUES (1, 'day', 'java.lang.String', '2024-05-01', 'Y'), (2, 'day', 's', 'ü', 'N');
INSERT INTO BATCH_STEP_EXECUTION VALUES
  (1, 3, 'load', 1, '2024-05-01 10:00:00', NULL, NULL, 'COMPLETED', 1, 10, 0, 10, 0, 0, 0, 0, 'COMPLETED', '',
   '2024-05-01 10:05:00');
INSERT INTO BATCH_JOB_EXECUTION_CONTEXT VALUES (1, '{}', NULL), (2, '{"a":1}', 'x');
"""
WENT_ON = """
UPDATE BATCH_JOB_EXECUTION SET STATUS = 'FAILED', END_TIME = '2024-05-03 11:00:00', LAST_UPDATED = '2024-05-03 11:00:00'
WHERE JOB_EXECUTION_ID = 2;
INSERT INTO BATCH_JOB_EXECUTION VALUES
  (3, 0, 2, '2024-05-03 12:00:00', NULL, NULL, 'STARTING', NULL, NULL, '2024-05-03 12:00:00');
"""


def test_spring_batch_on_postgresql(postgres: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The book-keeping of Java's batch jobs: clocks without a zone, of which the operator knows that they show UTC.

    What changes afterwards arrives by the column that was chosen.
    """
    monkeypatch.setenv(PASSWORD_VARIABLE, postgres.password)
    postgres.psql(batch_schema("postgresql") + JOBS)
    path = tmp_path / "batch.json"
    with reading(postgres) as rows:
        place = [*options(postgres, "postgresql"), "--cursor-timezone", "UTC"]
        entries = draft_and_load(path, rows, place)
        by_change = {name for name, entry in entries.items() if entry["mode"] == "scd1"}
        assert by_change == {"batch_job_execution", "batch_step_execution"}
        assert {entries[name]["incremental_column"] for name in by_change} == {"last_updated"}
        assert "primary_keys" not in entries["batch_job_execution_params"]
        postgres.psql(WENT_ON)
        (changed,) = run(path, only_tables="public.batch_job_execution", load_date=DAY).tables
        assert (changed.status, changed.rows_written) == (TableStatus.DONE, 2)
        compare(path, rows)


def test_spring_batch_on_mariadb(mariadb: MariaDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on another server, of whose clocks nobody has said anything: every table is read whole."""
    monkeypatch.setenv(PASSWORD_VARIABLE, mariadb.password)
    mariadb.client(batch_schema("mysql") + JOBS)
    place = {"host": mariadb.host, "port": mariadb.port, "user": mariadb.user, "database": mariadb.database}
    with closing(pymysql.connect(**place, password=mariadb.password, charset="utf8mb4")) as connection:

        def rows(_schema: str, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM `{table}`")
                return [column[0] for column in cursor.description], list(cursor.fetchall())

        entries = draft_and_load(tmp_path / "batch.json", rows, options(mariadb, "mariadb"))
    assert {entry["mode"] for entry in entries.values()} == {"full"}
    assert entries["BATCH_JOB_INSTANCE"]["primary_keys"] == ["JOB_INSTANCE_ID"]


def test_the_periodic_table_on_sqlite(tmp_path: Path) -> None:
    """Chemical elements and their isotopes: numbers with and without a point, texts, yes and no, and many NULLs."""
    source = periodic_table(tmp_path)
    with closing(sqlite3.connect(source)) as connection:

        def rows(_schema: str, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
            found = connection.execute(f'SELECT * FROM "{table}"')
            return [column[0] for column in found.description], found.fetchall()

        entries = draft_and_load(tmp_path / "chemistry.json", rows, ["--dialect", "sqlite", "--database", source])
        listed = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(entries) == listed
    assert entries["elements"]["primary_keys"] == ["atomic_number"]
