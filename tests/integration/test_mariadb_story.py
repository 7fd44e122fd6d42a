"""A real MariaDB from the configuration file to the lake: loaded, changed, killed, loaded again."""

import signal
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import TableStatus
from tests.lake import Lake
from tests.servers.mariadb import MariaDatabase

SOURCE = """
SET time_zone = '+00:00';
CREATE TABLE customers (id bigint unsigned PRIMARY KEY, name varchar(40) NOT NULL, balance decimal(14,4), settings json,
  active tinyint(1), born date, updated_at timestamp(6) NOT NULL);
INSERT INTO customers SELECT seq + 18446744073709540000, CONCAT(ELT(seq % 3 + 1, 'Zoë 🚲 ', 'tab\\t ', ''), seq),
  IF(seq % 7, (CAST(seq AS SIGNED) - 500) * 1.2345, NULL), IF(seq % 5, JSON_OBJECT('n', seq), NULL), seq % 3,
  DATE'1899-12-31' + INTERVAL seq DAY,
  TIMESTAMP'2024-10-26 12:00:00.000001' + INTERVAL seq MINUTE FROM seq_1_to_3000;
CREATE TABLE products (sku varchar(20) PRIMARY KEY, price decimal(8,3), weight float, seen datetime(3), data varbinary(16));
INSERT INTO products SELECT CONCAT('SKU-', seq), seq / 1000, seq / 8, TIMESTAMP'2024-02-28 00:00:00' + INTERVAL seq HOUR,
  UNHEX(MD5(seq))
  FROM seq_1_to_2000;
"""
CHANGES = """
SET time_zone = '+00:00';
UPDATE customers SET name = CONCAT(name, '!'), updated_at = updated_at + INTERVAL 30 DAY WHERE id % 100 = 0;
INSERT INTO customers VALUES (7, 'new 🚀', NULL, '{}', 2, '2000-01-01', '2024-12-31 23:59:59.999999');
DELETE FROM products WHERE sku LIKE 'SKU-19%'; UPDATE products SET weight = 0 WHERE sku = 'SKU-7';
"""
TABLES: tuple[dict[str, Any], ...] = (
    {"table": "customers", "mode": "scd1", "primary_keys": ["id"], "incremental_column": "updated_at"},
    {"table": "products", "mode": "full", "primary_keys": ["sku"]},
)


@pytest.fixture
def lake(tmp_path: Path, mariadb: MariaDatabase) -> Lake:
    mariadb.client(SOURCE)
    (tmp_path / "password").write_text(mariadb.password)
    login = {"user": mariadb.user, "password": "${file:password}"}
    address = {"host": mariadb.host, "port": mariadb.port, "database": mariadb.database}
    tables = [{"schema": mariadb.database, **table} for table in TABLES]
    tables[0]["incr_col_type"] = "timestamp"
    return Lake(tmp_path, {"dialect": "mariadb", **address, **login}, tables)


def printed(database: MariaDatabase, table: str) -> set[tuple[str, ...]]:
    """Return the rows as the client prints them, bytes in hex; its own escapes taken back."""
    columns = {"customers": "*", "products": "sku, price, weight * 1e0, seen, HEX(data)"}[table]
    lines = database.client(f"SET time_zone = '+00:00'; SELECT {columns} FROM {table}", options=("--raw",)).split("\n")
    return {tuple(line.replace("tab\t", "tab ").split("\t")) for line in lines}


def published(lake: Lake, database: MariaDatabase, table: str) -> set[tuple[str, ...]]:
    """Return the rows of a target, spelled as the client would."""
    rows = lake.rows(f"{database.database}.{table}")
    return {tuple(spell(value).replace("tab\t", "tab ") for value in row.values()) for row in rows}


def spell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        digits = 3 if value.tzinfo is None else 6  # as declared
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[: 20 + digits]
    if isinstance(value, bytes):
        return value.hex().upper()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def test_tables_equal_their_source_after_load_change_and_kill(
    lake: Lake, mariadb: MariaDatabase, spark: SparkSession
) -> None:
    """The first run is killed (-9) between staging and publishing: nothing is visible, and the next one completes it."""
    ended = lake.call(failpoints=f"before-publish@{mariadb.database}.customers=kill", environment={})
    assert ended.code == -signal.SIGKILL
    assert not lake.catalog.table_exists(f"{mariadb.database}.customers") or not lake.rows(f"{mariadb.database}.customers")
    first = lake.run(spark, day=date(2026, 7, 1))
    assert [table.status for table in first.tables] == [TableStatus.DONE, TableStatus.DONE], first.tables
    for table in ("customers", "products"):
        assert published(lake, mariadb, table) == printed(mariadb, table)
    mariadb.client(CHANGES)
    second = {table.table.split(".")[1]: table for table in lake.run(spark, day=date(2026, 7, 2)).tables}
    for table in ("customers", "products"):
        assert published(lake, mariadb, table) == printed(mariadb, table)
    assert second["customers"].rows_read == 31
    third = lake.run(spark, day=date(2026, 7, 3))
    assert third.tables[0].status is TableStatus.UNCHANGED
    assert third.tables[0].rows_read == 0
