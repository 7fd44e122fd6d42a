"""What a table is read by has changed since its last publish, or was never written down: no row is left behind unnoticed."""

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from tests.faults.shop import query_state
from tests.lake import Lake

FIRST, SECOND = date(2026, 7, 1), date(2026, 7, 2)
DONE, FAILED, UNCHANGED = TableStatus.DONE, TableStatus.FAILED, TableStatus.UNCHANGED

FILTERED, REFILTERED, RECURSORED, ELSEWHERE = "filtered", "refiltered", "recursored", "elsewhere"
REPARTED, RENAMED, FASTER, WHOLE = "reparted", "renamed", "faster", "whole"
STOPPED = (FILTERED, REFILTERED, RECURSORED, ELSEWHERE)
CONNECTION = {ELSEWHERE: "left", WHOLE: "left", RENAMED: "renamed"}

# Rows 2 and 3 lie below the watermark of every table; who reads by "made", or kind 'y', has never seen all of them.
ROWS = """
CREATE TABLE {name} (id INTEGER PRIMARY KEY, kind TEXT, made TEXT, at TEXT);
INSERT INTO {name} VALUES (1, 'x', '2026-06-01 08:00:00', '2026-06-01 10:00:00');
INSERT INTO {name} VALUES (2, 'y', '2026-06-01 09:00:00', '2026-06-01 11:00:00');
INSERT INTO {name} VALUES (3, 'x', '2026-06-01 08:30:00', '2026-06-01 12:00:00');
"""
NEWS = """
INSERT INTO {name} VALUES (4, 'x', '2026-06-01 09:30:00', '2026-06-02 10:00:00');
INSERT INTO {name} VALUES (5, 'y', '2026-06-02 11:00:00', '2026-06-02 11:00:00');
"""
TABLES = (FILTERED, REFILTERED, RECURSORED, ELSEWHERE, REPARTED, RENAMED, FASTER, WHOLE)


def scd1(table: str, kind: str = "timestamp", **settings: Any) -> dict[str, Any]:
    cursor = {"primary_keys": ["id"], "incremental_column": "at", "incr_col_type": kind}
    return {"schema": "shop", "table": table, "mode": "scd1", **cursor, **settings}


BEFORE: dict[str, dict[str, Any]] = {
    FILTERED: scd1(FILTERED, source_filter="kind = 'x'"),
    REFILTERED: scd1(REFILTERED, source_filter="kind = 'x'"),
    RECURSORED: scd1(RECURSORED),
    ELSEWHERE: scd1(ELSEWHERE),
    REPARTED: scd1(REPARTED, intermediate={"partition": [{"column": "kind"}]}),
    RENAMED: scd1(RENAMED),
    FASTER: scd1(FASTER),
    WHOLE: {"schema": "shop", "table": WHOLE, "mode": "full", "sink": "parquet", "source_filter": "kind = 'x'"},
}
SPLIT = {"partitionColumn": "id", "lowerBound": "0", "upperBound": "10", "numPartitions": 2}
AFTER: dict[str, dict[str, Any]] = {
    **BEFORE,
    FILTERED: scd1(FILTERED),
    REFILTERED: scd1(REFILTERED, source_filter="kind = 'y'"),
    RECURSORED: scd1(RECURSORED, incremental_column="made"),
    REPARTED: scd1(REPARTED, intermediate={"partition": [{"column": "id", "transform": "bucket:4"}]}),
    FASTER: scd1(FASTER, fetch_size=7, lag_seconds=3600, partition_read=SPLIT),
    WHOLE: {"schema": "shop", "table": WHOLE, "mode": "full", "sink": "parquet", "source_filter": "kind = 'y'"},
}
# What a table has to hold once it is read by its new settings, said to its source directly.
CHOSEN = {REFILTERED: "WHERE kind = 'y'", WHOLE: "WHERE kind = 'y'"}


class Sources:
    """SQLite files under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        return self._root / f"{name}.db"

    def change(self, name: str, script: str, tables: Sequence[str]) -> None:
        with closing(sqlite3.connect(self.path(name))) as database:
            for table in tables:
                database.executescript(script.format(name=table))

    def rows(self, name: str, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path(name))) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]


@dataclass
class Story:
    """A first load; a night on changed settings, once with the state and once without it; and the remedies."""

    lake: Lake
    left: str
    first: RunResult
    changed: RunResult
    stateless: RunResult
    reloaded: RunResult
    before: dict[str, list[object]]
    after: dict[str, list[object]]
    after_stateless: dict[str, list[object]]
    expected: dict[str, list[dict[str, Any]]]

    def rows(self, table: str) -> list[dict[str, Any]]:
        if table == WHOLE:
            found = pq.read_table(self.lake.root / "final/shop" / table, partitioning=None).to_pylist()
            rows = [{k: v for k, v in row.items() if not k.startswith("_ingest_")} for row in found]
        else:
            rows = self.lake.rows(f"shop.{table}")
        return sorted(rows, key=lambda row: int(row["id"]))


@pytest.fixture(scope="module")
def story(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("settings")
    sources = Sources(root)
    for name in ("here", "left", "renamed"):
        sources.change(name, ROWS, TABLES)
    lake = Lake(root, {}, [])
    configure(lake, BEFORE, {"here": {}, "left": {}, "renamed": {}}, sources)
    first = lake.run(spark, day=FIRST)
    before = {name: standing(lake, name) for name in (*STOPPED, REPARTED)}

    # The left file is history from now on: the table is read from another one, which has had other rows all along.
    left = sources.path("left")
    shutil.copy(left, sources.path("entered"))
    sources.change("entered", "UPDATE {name} SET kind = 'z' WHERE id = 1;", [ELSEWHERE])
    former = f"sqlite:///{str(sources.path('renamed')).lstrip('/')}"
    sources.path("renamed").rename(sources.path("moved"))
    connections = {"here": {}, "left": {"database": str(sources.path("entered"))}}
    moved = {"database": str(sources.path("moved")), "identity": former}
    configure(lake, AFTER, {**connections, "renamed": moved}, sources)
    for name in ("here", "entered", "moved"):
        sources.change(name, NEWS, TABLES)
    changed = lake.run(spark, day=SECOND)
    after = {name: standing(lake, name) for name in (*STOPPED, REPARTED)}

    state = lake.document["runtime"]["state"]
    lake.document["runtime"]["state"] = {"database": str(root / "another-state.db")}
    tables = lake.document["tables"]
    lake.document["tables"] = [table for table in tables if table["table"] in STOPPED]
    lake.save()
    stateless = lake.run(spark, day=SECOND)
    after_stateless = {name: standing(lake, name) for name in STOPPED}

    lake.document["runtime"]["state"] = state
    lake.document["tables"] = [table for table in tables if table["table"] in (*STOPPED, REPARTED)]
    lake.save()
    lake.catalog.drop_table(f"shop.{REPARTED}")
    reloaded = lake.run(spark, day=SECOND, reload=[f"shop.{name}" for name in (*STOPPED, REPARTED)])
    places = {ELSEWHERE: "entered", WHOLE: "entered", RENAMED: "moved"}
    expected = {
        name: sources.rows(places.get(name, "here"), f"SELECT * FROM {name} {CHOSEN.get(name, '')} ORDER BY id")
        for name in TABLES
    }
    return Story(lake, str(left), first, changed, stateless, reloaded, before, after, after_stateless, expected)


def configure(
    lake: Lake, tables: Mapping[str, Mapping[str, Any]], connections: Mapping[str, Mapping[str, Any]], sources: Sources
) -> None:
    lake.document["connections"] = {
        name: {"dialect": "sqlite", "database": str(sources.path(name)), **settings}
        for name, settings in connections.items()
    }
    lake.document["tables"] = [{**table, "connection": CONNECTION.get(name, "here")} for name, table in tables.items()]
    lake.save()


def standing(lake: Lake, name: str) -> list[object]:
    """The table to its last commit, what the state believes of it, and its batches in raw."""
    head = query_state(lake, "SELECT * FROM ingestion_watermarks WHERE table_name = ? ORDER BY id", name)
    raw = sorted((lake.root / "raw/shop" / name).glob("load_date=*/batch=*/*"))
    return [lake.table(f"shop.{name}").metadata_location, head, raw]


def result_of(run: RunResult, name: str) -> TableResult:
    return next(table for table in run.tables if table.table == f"shop.{name}")


def refusal(run: RunResult, name: str) -> str:
    """The message of a table that ended with exit code 1."""
    result = result_of(run, name)
    assert result.status is FAILED
    assert result.failure is not None
    assert result.failure.exit_code == 1
    return result.failure.message


CHANGES = [
    (FILTERED, "source_filter"),
    (REFILTERED, "source_filter"),
    (RECURSORED, "incremental_column"),
    (ELSEWHERE, "source was sqlite:///"),
]


@pytest.mark.parametrize(("table", "what"), CHANGES, ids=[table for table, _ in CHANGES])
def test_a_watermark_is_not_used_under_another_reading(story: Story, table: str, what: str) -> None:
    """A filter gone or changed, another cursor, another file: the table stops, says what it is and what helps."""
    assert result_of(story.first, table).status is DONE

    message = refusal(story.changed, table)

    assert f"changed since the last publish: {what}" in message
    assert f"--reload shop.{table}" in message
    others = {"source_filter", "incremental_column", "source was"} - {what, what.removesuffix(" sqlite:///")}
    assert not [other for other in others if other in message]
    assert story.changed.exit_code == 1
    assert story.after[table] == story.before[table]


@pytest.mark.parametrize("table", STOPPED)
def test_a_lost_state_does_not_let_another_reading_pass(story: Story, table: str) -> None:
    """The receipt knows by itself what the rows were read by; nothing is committed to the table."""
    assert "changed since the last publish" in refusal(story.stateless, table)
    assert story.after_stateless[table][0] == story.before[table][0]


def test_both_addresses_of_the_source_are_named(story: Story) -> None:
    """Whoever reads the message can tell whether it is the same database, and knows the setting for that case."""
    message = refusal(story.changed, ELSEWHERE)

    entered = story.lake.document["connections"]["left"]["database"]
    for path in (story.left, entered):
        assert f"sqlite:///{path.lstrip('/')}" in message
    assert "identity" in message


@pytest.mark.parametrize("table", STOPPED)
def test_a_reload_replaces_the_table_under_its_new_reading(story: Story, table: str) -> None:
    """Every row that the new settings choose is there, those below the old watermark included."""
    assert result_of(story.reloaded, table).status is DONE
    assert story.rows(table) == story.expected[table]


def test_a_database_under_a_new_address_goes_on_under_its_identity(story: Story) -> None:
    """The file was moved and the connection says whose data it is: only the news is read."""
    result = result_of(story.changed, RENAMED)

    # The tie at the watermark has not changed and is not read again.
    assert (result.status, result.rows_read) == (DONE, 2)
    assert story.rows(RENAMED) == story.expected[RENAMED]


def test_how_fast_and_how_far_back_rows_are_read_may_change(story: Story) -> None:
    """Rows per round trip, parallel reading and the lag choose no other rows: the watermark holds."""
    assert result_of(story.changed, FASTER).status is DONE
    assert story.rows(FASTER) == story.expected[FASTER]


def test_a_full_refresh_is_not_stopped_by_another_reading(story: Story) -> None:
    """It reads everything anyway: from another file and by another filter it just becomes what is there."""
    assert result_of(story.changed, WHOLE).status is DONE
    assert story.rows(WHOLE) == story.expected[WHOLE]


def test_another_partition_spec_is_refused_with_the_remedy(story: Story) -> None:
    """Both specs are named and the table stays; dropped and reloaded, it is partitioned as configured."""
    message = refusal(story.changed, REPARTED)

    assert "identity(kind) in the table, bucket[4](id) in the configuration" in message
    assert "Restore intermediate.partition, or give the table the new one with --maintenance-mode apply" in message
    location, head, _ = story.before[REPARTED]
    assert story.after[REPARTED][:2] == [location, head]
    assert result_of(story.reloaded, REPARTED).status is DONE
    assert story.rows(REPARTED) == story.expected[REPARTED]
    (field,) = story.lake.table(f"shop.{REPARTED}").spec().fields
    assert str(field.transform) == "bucket[4]"


# ---------------------------------------------------------------- the first load

OLDEST = """
CREATE TABLE moments (id INTEGER PRIMARY KEY, at TEXT);
INSERT INTO moments VALUES (1, '1899-12-31 23:59:59'), (2, '1900-01-01 00:00:00'), (3, '1900-01-01 00:00:00.000001');
CREATE TABLE seconds (id INTEGER PRIMARY KEY, at INTEGER);
INSERT INTO seconds VALUES (1, -1), (2, 0), (3, 1);
CREATE TABLE codes (id INTEGER PRIMARY KEY, at TEXT);
INSERT INTO codes VALUES (1, ''), (2, 'a'), (3, 'b');
"""
CURSORS = [("moments", "timestamp", "1900-01-01 00:00:00"), ("seconds", "epoch_seconds", 0), ("codes", "text", "a")]


def test_a_first_load_takes_everything_unless_a_line_is_drawn(spark: SparkSession, tmp_path: Path) -> None:
    """1900-01-01, 0 and '' are what applications write for "never": such rows belong to the table, and are read once.

    With an initial watermark the first load begins above it, and the rows at and below it never come.
    """
    sources = Sources(tmp_path)
    sources.change("source", OLDEST, [""])
    whole = [scd1(table, kind) for table, kind, _ in CURSORS]
    lined = [
        scd1(f"{table}_lined", kind, query_sql=f"SELECT * FROM {table}", initial_watermark=line)
        for table, kind, line in CURSORS
    ]
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": str(sources.path("source"))}, [*whole, *lined])

    first, second = lake.run(spark), lake.run(spark)

    assert (first.exit_code, second.exit_code) == (0, 0)
    found = {table["table"]: sorted(row["id"] for row in lake.rows(f"shop.{table['table']}")) for table in (*whole, *lined)}
    assert found == {
        **{table: [1, 2, 3] for table, _, _ in CURSORS},
        **{f"{table}_lined": [3] for table, _, _ in CURSORS},
    }
    assert {table.status for table in second.tables} == {UNCHANGED}
    assert {table.rows_read for table in second.tables} == {0}
