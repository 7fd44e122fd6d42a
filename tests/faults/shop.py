"""The source of the fault tests, and what must be true of the targets: judged from the source, never from the runtime."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import catalog_conf
from ingestion_runtime.model.spec import CatalogSpec
from tests.lake import Lake
from tests.provenance import proven_manifests

Row = dict[str, Any]

ORDERS: Mapping[str, Any] = {
    "schema": "shop",
    "table": "orders",
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "updated_at",
    "incr_col_type": "timestamp",
    "lag_seconds": 0,
}
STOCK: Mapping[str, Any] = {"schema": "shop", "table": "stock", "mode": "full", "primary_keys": ["sku"]}
PRICES: Mapping[str, Any] = {"schema": "shop", "table": "prices", "mode": "full", "sink": "parquet"}

KEYS = {"shop.orders": "id", "shop.stock": "sku", "shop.prices": "sku"}

_TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, amount INTEGER, updated_at TIMESTAMP);
CREATE TABLE stock (sku TEXT PRIMARY KEY, quantity INTEGER);
CREATE TABLE prices (sku TEXT PRIMARY KEY, cents INTEGER);
"""


class Shop:
    """An SQLite source with an order book (cursor), a stock and a price list (no cursor)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> "Shop":
        """Make the database: 20 orders, one of them from the year 2099, and 8 articles."""
        shop = cls(path)
        orders = [(n, f"note {n}" if n % 5 else None, n * 10, f"2026-06-01 10:00:{n:02}") for n in range(1, 20)]
        with closing(sqlite3.connect(path)) as database:
            database.executescript(_TABLES)
            database.executemany(
                "INSERT INTO orders VALUES (?, ?, ?, ?)", [*orders, (20, "later", 0, "2099-01-01 00:00:00")]
            )
            database.executemany("INSERT INTO stock VALUES (?, ?)", [(f"a{n}", n) for n in range(8)])
            database.executemany("INSERT INTO prices VALUES (?, ?)", [(f"a{n}", 100 + n) for n in range(8)])
            database.commit()
        return shop

    def change(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with closing(sqlite3.connect(self.path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def rows(self, table: str) -> list[Row]:
        """All rows of ``shop.table``, as they are now."""
        name = table.partition(".")[2]
        with closing(sqlite3.connect(self.path)) as database:
            cursor = database.execute(f"SELECT * FROM {name}")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
        for row in rows:
            if "updated_at" in row:
                row["updated_at"] = datetime.fromisoformat(row["updated_at"])  # without a zone, as the source has it
        return rows

    def due(self, table: str) -> list[Row]:
        """The rows that a complete ingestion has in its target: all but those from the future."""
        return [row for row in self.rows(table) if "updated_at" not in row or row["updated_at"].year < 2099]

    def watermark(self) -> str:
        """The newest cursor of the orders that is not in the future, with six digits of fraction."""
        return f"{max(row['updated_at'] for row in self.due('shop.orders')):%Y-%m-%d %H:%M:%S}.000000"


@dataclass(frozen=True)
class Standing:
    """What readers and the next run see of one target: version (snapshot or link), receipt, rows, and the state's head."""

    version: str | None
    receipt: Mapping[str, Any] | None
    rows: tuple[tuple[tuple[str, Any], ...], ...]
    head: tuple[Any, ...] | None


def make_lake(root: Path, *tables: Mapping[str, Any]) -> tuple[Lake, Shop]:
    """Return a configuration of these tables and its source; nothing has been ingested yet."""
    shop = Shop.create(root / "shop.db")
    return Lake(root, {"dialect": "sqlite", "database": str(shop.path)}, tables), shop


def lake_session(spark: SparkSession, lake: Lake) -> SparkSession:
    """Return a Spark session of somebody else's, on the same catalog."""
    session = spark.newSession()
    spec = CatalogSpec("lake", str(lake.root / "catalog.db"), str(lake.root / "warehouse"))
    for key, value in catalog_conf(spec):
        session.conf.set(key, value)
    return session


def published_rows(lake: Lake, name: str) -> list[Row]:
    """The data columns that readers of a target see, whichever its sink."""
    if not _is_parquet(lake, name):
        return lake.rows(name)
    found = pq.read_table(_link(lake, name), partitioning=None)
    return found.select([c for c in found.column_names if not c.startswith("_ingest_")]).to_pylist()


def published_receipt(lake: Lake, name: str) -> dict[str, Any]:
    """The receipt of what readers see."""
    if not _is_parquet(lake, name):
        return lake.receipt(name)
    parsed: dict[str, Any] = json.loads((_link(lake, name) / "_RECEIPT.json").read_text())
    return parsed


def standing(lake: Lake, name: str) -> Standing:
    """Look at a target and at what the state knows of it."""
    if _is_parquet(lake, name):
        version: str | None = str(_link(lake, name).readlink())
    elif lake.catalog.table_exists(name):
        version = str(lake.table(name).metadata.current_snapshot_id)
    else:
        return Standing(None, None, (), state_head(lake, name))
    rows = sorted((tuple(sorted(row.items())) for row in published_rows(lake, name)), key=repr)
    return Standing(version, published_receipt(lake, name), tuple(rows), state_head(lake, name))


def differences(name: str, expected: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """Say how the rows of a target differ from what they should be: lost, twice, not there at the source, or different."""
    key = KEYS[name]
    wanted = {row[key]: row for row in expected}
    seen = [row[key] for row in found]
    actual = {row[key]: row for row in found}
    said = {
        "are there twice": {k for k in seen if seen.count(k) > 1},
        "were lost": wanted.keys() - actual.keys(),
        "should not be there": actual.keys() - wanted.keys(),
        "differ from the source": {k for k in wanted.keys() & actual.keys() if wanted[k] != actual[k]},
    }
    return [f"{name}: keys {sorted(keys)} {what}" for what, keys in said.items() if keys]


def require_equal(lake: Lake, shop: Shop, *names: str) -> None:
    """Fail unless the targets equal the source as it is now, and their receipts prove every manifest of theirs in raw."""
    findings = [text for name in names for text in differences(name, shop.due(name), published_rows(lake, name))]
    assert not findings, "; ".join(findings)
    for name in names:
        proven_manifests(lake.root / "raw" / name.replace(".", "/"), published_receipt(lake, name))


def main_history(lake: Lake, name: str) -> list[int]:
    """The snapshots from main back to the first."""
    metadata = lake.table(name).metadata
    history: list[int] = []
    walked = metadata.current_snapshot_id
    while walked is not None:
        history.append(walked)
        snapshot = metadata.snapshot_by_id(walked)
        walked = snapshot.parent_snapshot_id if snapshot else None
    return history


def query_state(lake: Lake, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the state database directly."""
    with closing(sqlite3.connect(lake.root / "state.db")) as database:
        return database.execute(sql, values).fetchall()


def state_head(lake: Lake, name: str) -> tuple[Any, ...] | None:
    """Sequence, watermark and batch of the head that the state has for a table."""
    found = query_state(
        lake,
        "SELECT sequence, watermark, receipt_json FROM ingestion_watermarks WHERE table_name = ? ORDER BY sequence, id",
        name.partition(".")[2],
    )
    if not found:
        return None
    sequence, watermark, receipt = found[-1]
    return sequence, watermark, json.loads(receipt)["batch_id"]


def finalized(lake: Lake, name: str, load_date: str) -> list[str]:
    """The batches that the state has as finalized for a load date."""
    found = query_state(
        lake,
        "SELECT DISTINCT batch_id FROM ingestion_events"
        " WHERE table_name = ? AND load_date = ? AND phase = 'finalize' AND status = 'success'",
        name.partition(".")[2],
        load_date,
    )
    return [batch for (batch,) in found]


def open_batches(lake: Lake) -> dict[str, str]:
    """The batches that the state has as open, by table."""
    found = query_state(lake, "SELECT table_name, batch_id FROM ingestion_batches WHERE outcome = 'open'")
    return {f"shop.{table}": batch for table, batch in found}


def events_named(lake: Lake, name: str, run_id: str | None = None) -> list[dict[str, Any]]:
    """The logged events of one name, of one run or of all."""
    return [e for e in lake.events() if e["event"] == name and run_id in (None, e["run_id"])]


def _is_parquet(lake: Lake, name: str) -> bool:
    return any(f"{t['schema']}.{t['table']}" == name and t.get("sink") == "parquet" for t in lake.document["tables"])


def _link(lake: Lake, name: str) -> Path:
    return lake.root / "final" / name.replace(".", "/")
