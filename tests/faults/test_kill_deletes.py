"""The process group is killed while four tables, each with deletes, stand in four gaps; one rerun makes them right."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableStatus
from tests.faults.gaps import Hold, Process
from tests.lake import Lake

pytestmark = pytest.mark.timeout(600)

POINTS = ("after-stage", "after-branch", "before-publish", "after-publish")
TABLES = tuple(point.replace("-", "_") for point in POINTS)

CREATE = """
CREATE TABLE {0} (id INTEGER PRIMARY KEY, note TEXT, changed TIMESTAMP);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO {0} SELECT i, 'note ' || i, printf('2026-06-01 10:00:%02d', i) FROM n;
"""
BEFORE = """
DELETE FROM {0} WHERE id IN (3, 40);
UPDATE {0} SET note = 'changed', changed = '2026-06-02 08:00:00' WHERE id = 4;
INSERT INTO {0} VALUES (41, 'new', '2026-06-02 09:00:00');
"""
# One tombstone of the killed batch comes back, one more row goes.
AFTER = """
INSERT INTO {0} VALUES (3, 'back', '2026-06-03 00:00:00');
DELETE FROM {0} WHERE id = 9;
"""


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("".join(script.format(table) for table in TABLES))


def source(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT id, note FROM {table} ORDER BY id").fetchall()


def published(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["note"]) for row in lake.rows(f"shop.{table}"))


def test_kill_in_every_gap_of_a_batch_with_deletes(tmp_path: Path, spark: SparkSession) -> None:
    """Before the publish readers see nothing of it, after it all of it; the rerun loses no delete and repeats none."""
    path = tmp_path / "shop.db"
    change(path, CREATE)
    shared = {"schema": "shop", "mode": "scd1", "primary_keys": ["id"], "incremental_column": "changed", "deletes": "hard"}
    tables = [{**shared, "table": table, "incr_col_type": "timestamp"} for table in TABLES]
    lake = Lake(tmp_path, {"dialect": "sqlite", "database": str(path)}, tables)
    assert {table.status for table in lake.run(spark).tables} == {TableStatus.DONE}
    loaded = {table: source(path, table) for table in TABLES}
    change(path, BEFORE)
    read = {table: source(path, table) for table in TABLES}

    holds = [Hold(tmp_path, point, f"shop.{table}") for point, table in zip(POINTS, TABLES, strict=True)]
    with Process(lake.command(), holds) as process:
        process.wait_until_held()
        process.kill()

    for table in TABLES:
        assert published(lake, table) == (read if table == "after_publish" else loaded)[table], table
    change(path, AFTER)
    rerun = {result.table: result for result in lake.run(spark).tables}
    for table in TABLES:
        assert rerun[f"shop.{table}"].failure is None
        assert published(lake, table) == source(path, table), table
        assert rerun[f"shop.{table}"].rows_deleted == (1 if table == "after_publish" else 3), table
        folders = (tmp_path / "raw/shop" / table).glob("load_date=*/batch=*/_tombstones")
        assert len([folder for folder in folders if (folder.parent / "_PUBLISHED").exists()]) == 2
        assert set(lake.table(f"shop.{table}").refs()) == {"main", "ingest_last"}
    assert not list((tmp_path / "staging").rglob("*.parquet"))
