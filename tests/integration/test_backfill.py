"""An added column's older rows are filled in afterwards: what is read, what stays, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import PROJECT, Lake
from tests.servers.postgresql import PostgresDatabase, PostgresServer

# Row n is of hour n; the watermark of the first load is 20:00. The ids are dense at one end: 1 to 15, then 1,000,000 on.
SOURCE = """
CREATE TABLE {table} ({key}, at timestamptz, note text);
INSERT INTO {table} SELECT {value}, TIMESTAMPTZ '2024-01-01 00:00+00' + g * INTERVAL '1 hour', 'n' || g
  FROM generate_series(1, 20) g;
INSERT INTO {table} SELECT {value}, NULL, 'none' FROM generate_series(21, 21) g;
"""
ID = "CASE WHEN g <= 15 THEN g ELSE 1000000 * g END"
KEYS = {
    "numbered": ("id bigint PRIMARY KEY", ID),
    "killed": ("id bigint PRIMARY KEY", ID),
    "named": ('id text COLLATE "C" PRIMARY KEY', "'k' || g"),
    "lines": ("id int, line int, PRIMARY KEY (id, line)", "g / 3, g % 3"),
}
WHOLE = {"schema": "public", "table": "whole", "mode": "full", "primary_keys": ["id"]}
SECOND, THIRD = date(2026, 7, 2), date(2026, 7, 3)


@dataclass(frozen=True)
class Place:
    """The source and the lake of all tables of this module."""

    lake: Lake
    database: PostgresDatabase

    def loaded(self, table: str) -> dict[Any, tuple[Any, ...]]:
        """Return note and the added column of every row by key."""
        keys = ["id", "line"] if table == "lines" else ["id"]
        rows = self.lake.rows(f"public.{table}")
        return {tuple(row[key] for key in keys): (row["note"], row.get("extra")) for row in rows}

    def expected(self, table: str, condition: str = "true") -> dict[Any, tuple[Any, ...]]:
        """Return the same of the source, as psql has it."""
        keys = "id, line" if table == "lines" else "id"
        text = self.database.psql(
            f"SELECT json_build_array(json_build_array({keys}), note, extra) FROM {table} WHERE {condition}"
        )
        return {tuple(key): (note, extra) for key, note, extra in map(json.loads, text.splitlines())}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, spark: SparkSession) -> Iterator[Place]:
    """Four tables, loaded; then a column was added whose value differs in every row, and nothing else was touched."""
    root = tmp_path_factory.mktemp("backfill")
    database = postgres_server.create_database()
    (root / "password").write_text(database.password)
    address = {"host": database.host, "port": database.port, "database": database.database}
    tables = [
        {
            "schema": "public",
            "table": name,
            "mode": "scd1",
            "primary_keys": ["id", "line"] if name == "lines" else ["id"],
            "incremental_column": "at",
            "incr_col_type": "timestamp",
            "null_cursor": "ignore" if name == "named" else "read",
        }
        for name in KEYS
    ]
    connection = {"dialect": "postgresql", **address, "user": database.user, "password": "${file:password}"}
    lake = Lake(root, connection, [*tables, WHOLE])
    lake.document["runtime"]["scd1_slicing"] = {"target_rows_per_slice": 6, "max_partitions": 4}
    lake.save()
    for name, (key, value) in KEYS.items():
        database.psql(SOURCE.format(table=name, key=key, value=value))
    database.psql("CREATE TABLE whole (id int PRIMARY KEY)")
    assert lake.run(spark).exit_code == 0
    for name in KEYS:
        database.psql(f"ALTER TABLE {name} ADD extra text; UPDATE {name} SET extra = 'e-' || id")
    yield Place(lake, database)
    postgres_server.drop_database(database.database)


def only(result: Any) -> TableResult:
    (table,) = result.tables
    found: TableResult = table
    return found


def test_every_older_row_is_filled_in_and_nothing_else_moves(place: Place, spark: SparkSession) -> None:
    """In slices of the key that follow the rows; watermark and fingerprint stay, rows above the watermark are left alone,
    and the next ordinary run has nothing to do but them."""
    first = place.lake.receipt("public.numbered")
    place.database.psql("INSERT INTO numbered VALUES (16, '2024-01-01 21:00+00', 'late', 'e-16')")

    result = only(place.lake.run(spark, day=SECOND, backfill="public.numbered", columns=["extra"]))

    assert result.status is TableStatus.DONE
    assert (result.rows_read, result.slices) == (21, 4)
    assert place.loaded("numbered") == place.expected("numbered", "id <> 16")
    receipt = place.lake.receipt("public.numbered")
    assert (receipt["watermark"], receipt["fingerprint"]) == (first["watermark"], first["fingerprint"])
    assert (receipt["sequence"], receipt["previous"]) == (first["sequence"] + 1, first["batch_id"])
    (plan,) = [e for e in place.lake.events() if e["event"] == "plan" and "backfill" in e["reason"]]
    assert "backfill of extra: 4 slices of id" in plan["reason"]
    slices = [e["rows"] for e in place.lake.events() if e["event"] == "slice_staged" and e["run_id"] == plan["run_id"]]
    assert sum(slices) == 21
    assert max(slices) <= 12  # twice its share

    again = only(place.lake.run(spark, day=SECOND, backfill="public.numbered"))
    assert (again.status, again.rows_written) == (TableStatus.UNCHANGED, 0)


def test_the_runs_that_follow_are_ordinary_ones(place: Place, spark: SparkSession) -> None:
    """The late row arrives, and raw holds a batch without gaps for each publish."""
    place.lake.run(spark, day=SECOND, backfill="public.lines")
    results = {table.table: table for table in place.lake.run(spark, day=THIRD).tables}
    assert results["public.numbered"].status is TableStatus.DONE
    assert place.loaded("numbered") == place.expected("numbered")
    assert place.loaded("lines") == place.expected("lines")
    marks = [json.loads(p.read_text()) for p in (place.lake.root / "raw").rglob("_PUBLISHED") if "/numbered/" in str(p)]
    assert sorted(mark["sequence"] for mark in marks) == [1, 2, 3]


def test_a_text_key_is_read_in_one_slice(place: Place, spark: SparkSession) -> None:
    """Nobody but the source knows its order. Rows without a cursor are left out where the table leaves them out."""
    result = only(place.lake.run(spark, day=SECOND, backfill="public.named"))
    assert (result.status, result.slices, result.rows_read) == (TableStatus.DONE, 1, 20)
    assert place.loaded("named") == place.expected("named", "at IS NOT NULL")


def test_a_backfill_that_was_killed_is_finished_by_whatever_runs_next(place: Place, spark: SparkSession) -> None:
    """Killed before its publish nothing is visible; killed after it everything is. The same command or an ordinary run
    goes on, and the target equals the source."""
    command = [sys.executable, str(PROJECT / "ingestion.py"), "backfill", "--config", str(place.lake.path)]
    before = place.loaded("killed")
    killed = subprocess.run(
        [*command, "--table", "public.killed", "--columns", "extra", "--output", "json"],
        env={**os.environ, "INGESTION_FAILPOINTS": "before-publish=kill"},
        start_new_session=True,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert place.loaded("killed") == before
    # The ordinary run since has read the row at the watermark again, and the one without a cursor.
    assert sorted(note for note, extra in before.values() if extra is not None) == ["n20", "none"]

    finished = {t.table: t for t in place.lake.run(spark, day=SECOND).tables}["public.killed"]
    assert finished.status is TableStatus.DONE
    assert place.loaded("killed") == place.expected("killed")

    place.database.psql("UPDATE killed SET extra = 'f-' || id")
    failing = {"INGESTION_FAILPOINTS": "after-publish@public.killed=fail"}
    assert place.lake.run(spark, day=SECOND, backfill="public.killed", environment=failing).exit_code == 3
    published = place.lake.receipt("public.killed")
    assert place.loaded("killed") == place.expected("killed")
    again = only(place.lake.run(spark, day=SECOND, backfill="public.killed"))
    assert again.status is TableStatus.UNCHANGED
    assert place.lake.receipt("public.killed") == published


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        ("numbered", ["extra", "extr"], ["the source has no column extr.", "Correct --columns"]),
        ("whole", [], ["has the mode full", "each of its runs reads all columns"]),
    ],
)
def test_what_cannot_be_filled_in_is_refused(
    place: Place, spark: SparkSession, table: str, columns: list[str], words: list[str]
) -> None:
    """Before anything is read; the target stays as it is."""
    head = place.lake.table(f"public.{table}").metadata_location
    failure = only(place.lake.run(spark, day=SECOND, backfill=f"public.{table}", columns=columns)).failure
    assert failure is not None
    assert all(word in failure.message for word in words)
    assert place.lake.table(f"public.{table}").metadata_location == head


def test_a_table_that_was_never_loaded_has_nothing_to_fill_in(place: Place, spark: SparkSession, tmp_path: Path) -> None:
    """Its first load reads all columns anyway."""
    lake = Lake(tmp_path, place.lake.document["connections"]["source"], [place.lake.document["tables"][0]])
    (tmp_path / "password").write_text(place.database.password)
    failure = only(lake.run(spark, backfill="public.numbered")).failure
    assert failure is not None
    assert "has never been loaded" in failure.message


@pytest.mark.parametrize("nulls", ["read", "ignore"])
def test_rows_below_a_configured_initial_watermark_are_not_filled_in(
    place: Place, spark: SparkSession, tmp_path: Path, nulls: str
) -> None:
    """A person has drawn a line: rows at or below it were never read, and a backfill does not bring them."""
    table = f"drawn_{nulls}"
    place.database.psql(SOURCE.format(table=table, key="id bigint PRIMARY KEY", value="g"))
    drawn = {
        **place.lake.document["tables"][0],
        "table": table,
        "null_cursor": nulls,
        "initial_watermark": "2024-01-01 10:00",
    }
    lake = Lake(tmp_path, place.lake.document["connections"]["source"], [drawn])
    (tmp_path / "password").write_text(place.database.password)
    ours = Place(lake, place.database)
    assert only(lake.run(spark)).rows_written == (11 if nulls == "read" else 10)
    place.database.psql(f"ALTER TABLE {table} ADD extra text; UPDATE {table} SET extra = 'e-' || id")

    assert only(lake.run(spark, day=SECOND, backfill=f"public.{table}")).status is TableStatus.DONE

    above = "at > '2024-01-01 10:00+00'" + (" OR at IS NULL" if nulls == "read" else "")
    assert ours.loaded(table) == ours.expected(table, above)
