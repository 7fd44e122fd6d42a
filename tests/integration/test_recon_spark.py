"""Spark reads targets as this process does: the same report, whoever read them."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.reconciliation.report import Status, TableReport
from ingestion_runtime.reconciliation.run import Reader, ReconRequest, reconcile
from tests.lake import Lake

SHOP = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, name TEXT, total DECIMAL(10,2), ratio DOUBLE, placed DATE, paid BOOLEAN, updated_at DATETIME
);
CREATE TABLE visits (at DATETIME, page TEXT);
CREATE TABLE countries (code TEXT PRIMARY KEY, name TEXT);
INSERT INTO countries VALUES ('de', 'Deutschland'), ('ci', 'Côte d''Ivoire'), ('🦆', NULL);
INSERT INTO visits VALUES ('2024-05-01 08:00:00', 'a'), ('2024-05-01 08:00:00', 'a'), ('2024-05-03 08:00:00', NULL);
"""
CHANGES = """
UPDATE orders SET name = upper(name) WHERE id = 3;
UPDATE orders SET name = NULL, ratio = -0.0 WHERE id = 4;
UPDATE orders SET total = 0, paid = 1 - paid WHERE id = 5;
DELETE FROM orders WHERE id = 6;
INSERT INTO orders VALUES (1000, 'late', 1, 1, '2024-05-01', 1, '2024-05-01 00:00:30');
UPDATE orders SET name = 'left out', updated_at = '2024-07-01 00:00:00' WHERE id = 7;
UPDATE visits SET page = 'b' WHERE rowid = 1;
"""
CURSOR = {"incremental_column": "updated_at", "incr_col_type": "timestamp"}


def test_both_engines_give_the_same_report(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        (n, f"Näme {n}", f"{n}.50", n / 7, f"2024-05-{n % 28 + 1:02}", n % 2, f"2024-05-01 {n // 60:02}:{n % 60:02}:00")
        for n in range(1, 301)
    ]
    lake = Lake(
        tmp_path,
        {"dialect": "sqlite", "database": "shop.db"},
        [
            {"schema": "shop", "table": "orders", "mode": "scd1", "primary_keys": ["id"], **CURSOR},
            {"schema": "shop", "table": "visits", "mode": "append", **CURSOR, "incremental_column": "at"},
            {"schema": "shop", "table": "countries", "mode": "full", "primary_keys": ["code"], "sink": "parquet"},
        ],
    )
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(SHOP)
        connection.executemany("INSERT INTO orders VALUES (?,?,?,?,?,?,?)", rows)
        connection.commit()
        assert lake.run(None).exit_code == 0
        connection.executescript(CHANGES)
    here, there = (reports(lake, reader, spark) for reader in Reader)
    assert here == there
    orders, visits, countries = there
    assert (orders.status, visits.status, countries.status) == (Status.DIFFERS, Status.DIFFERS, Status.EQUAL)
    (bisection,) = [r.finding.bisection for r in orders.checks if r.finding.bisection]
    assert {key.key[0] for key in bisection.keys} == {"3", "4", "5", "6", "1000"}


def reports(lake: Lake, reader: Reader, spark: SparkSession) -> list[TableReport]:
    """Compare by every check and return what was found, without what it took."""
    configuration = open_configuration(lake.path)
    request = ReconRequest(
        configuration, configuration.tables, "x", checks=tuple(Check), reader=reader, show_values=True, parallel=2
    )
    found = reconcile(request, {}, spark if reader is Reader.SPARK else None).tables
    return [
        replace(table, seconds=0.0, checks=tuple(replace(result, seconds=0.0) for result in table.checks)) for table in found
    ]
