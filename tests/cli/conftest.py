"""The command line as a test calls it, and the smallest lake it can be called for."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.cli import cli
from tests.lake import Lake

Call = Callable[..., Result]

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace');
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, updated_at DATETIME);
INSERT INTO orders VALUES (10, 1, '2024-05-01 08:00:00'), (11, 2, '2024-05-01 09:30:00'), (12, 2, '2024-05-02 07:00:00');
"""
TABLES = [
    {"schema": "shop", "table": "customers", "mode": "full", "primary_keys": ["id"]},
    {
        "schema": "shop",
        "table": "orders",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "updated_at",
        "incr_col_type": "timestamp",
    },
]


@pytest.fixture
def call() -> Call:
    """Call the command line inside this process: for what ends before Spark is needed."""

    def invoke(*arguments: object) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        # Anything but an exit code would reach the user as a traceback.
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


@pytest.fixture
def shop(tmp_path: Path) -> Lake:
    """Two small tables in SQLite, one full and one scd1; nothing has run yet."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(SHOP)
    return Lake(tmp_path, {"dialect": "sqlite", "database": "shop.db"}, TABLES)
