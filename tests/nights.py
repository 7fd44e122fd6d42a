"""A night's work as a company has it: 50 tables of seven departments, some of them large, five of which fail."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.lake import Lake
from tests.servers.ports import free_port

DEPARTMENTS: Final = {
    "ref": ("currencies", "countries", "calendars", "units", "languages", "tax_rates", "holidays"),
    "hr": ("employees", "salaries", "departments", "absences", "trainings"),
    "crm": ("accounts", "contacts", "leads", "opportunities", "activities", "campaigns", "segments", "consents"),
    "sales": (
        *("customers", "regions", "channels", "order_items", "orders"),
        *("invoices", "payments", "returns", "prices", "promotions"),
    ),
    "erp": (
        *("products", "suppliers", "ledger", "movements", "purchase_orders"),
        *("receipts", "stock", "warehouses", "cost_centers", "assets"),
    ),
    "web": ("experiments", "page_views", "sessions", "clicks", "searches", "carts"),
    "iot": ("devices", "readings", "alarms", "firmware"),
}
NAMES: Final = tuple(f"{schema}.{table}" for schema, tables in DEPARTMENTS.items() for table in tables)
# How many times as many rows as the others they have.
LARGE: Final = {
    "sales.order_items": 60,
    "sales.orders": 25,
    "sales.invoices": 10,
    "crm.activities": 15,
    "erp.movements": 50,
    "erp.stock": 10,
    "web.page_views": 80,
    "web.clicks": 60,
    "iot.readings": 90,
}
BROKEN: Final = {
    "crm.leads": "its source is out of reach",
    "crm.campaigns": "its source is out of reach",
    "erp.ledger": "it has no column changed_at",
    "hr.salaries": "it holds a text in a column of numbers",
    "web.experiments": "there is no such table",
}


def make_night(root: Path, rows: int) -> Lake:
    """Return a lake whose ordinary tables have so many rows; nothing has run yet. The large ones are read in slices."""
    root.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(root / "company.db")) as source:
        source.execute("PRAGMA synchronous = off")
        for name in NAMES:
            if name not in BROKEN or name in ("erp.ledger", "hr.salaries"):
                _fill(source, name.partition(".")[2], rows * LARGE.get(name, 1))
        source.execute("UPDATE salaries SET amount = 'n/a' WHERE id = 3")
        source.commit()
    lake = Lake(root, {"dialect": "sqlite", "database": "company.db"}, [_table(name) for name in NAMES])
    lake.document["connections"]["replica"] = {
        "dialect": "postgresql",
        "host": "127.0.0.1",
        "port": free_port(),
        "database": "crm",
        "user": "reader",
    }
    lake.document["runtime"] |= {
        "job_name": "nightly",
        "max_parallel_tables": 4,
        "scd1_slicing": {"max_count": max(rows * 5, 1), "target_rows_per_slice": max(rows * 4, 1), "max_partitions": 24},
    }
    lake.save()
    return lake


def _fill(source: sqlite3.Connection, table: str, rows: int) -> None:
    source.execute(
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT NOT NULL, amount INTEGER, updated_at TIMESTAMP NOT NULL)"
    )
    source.execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        f" INSERT INTO {table} SELECT i, '{table} number ' || i, (i * 7919) % 10007,"
        f" datetime('2026-01-01', '+' || (i * 15000000 / {rows}) || ' seconds') FROM n"
    )
    source.execute(f"CREATE INDEX {table}_updated_at ON {table} (updated_at)")


def _table(name: str) -> Mapping[str, Any]:
    schema, _, table = name.partition(".")
    found: dict[str, Any] = {
        "schema": schema,
        "table": table,
        "mode": "full",
        "primary_keys": ["id"],
        "connection": "source",
    }
    if name in LARGE or name == "erp.ledger":
        cursor = "changed_at" if name == "erp.ledger" else "updated_at"
        found |= {"mode": "scd1", "incremental_column": cursor, "incr_col_type": "timestamp"}
    if name in ("crm.leads", "crm.campaigns"):
        found["connection"] = "replica"
    return found
