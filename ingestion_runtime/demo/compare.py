"""Reads the shop's source and its targets, each with a client of its own, and compares every row."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

TABLES = ("customers", "products", "stores", "orders", "order_items")
PARQUET_TABLES = ("stores",)

Value = str | int | float | Decimal | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table: rows on both sides, and how many of them the other side does not have."""

    table: str
    source_rows: int
    target_rows: int
    differing: int


class Lake:
    """What an ingestion of the demo has published below its directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._database = root / "catalog.db"

    def read(self, table: str, columns: Sequence[str] | None = None, limit: int | None = None) -> pa.Table:
        """Return rows of a table. A table that was never published has none."""
        found = self._read_parquet(table) if table in PARQUET_TABLES else self._read_iceberg(table, limit)
        if columns is not None and found.num_columns:
            found = found.select([name for name in columns if name in found.column_names])
        return found if limit is None else found.slice(0, limit)

    def versions(self) -> dict[str, str]:
        """The metadata file of every Iceberg table: it changes with any commit."""
        with closing(sqlite3.connect(self._database)) as catalog:
            return dict(catalog.execute("SELECT table_name, metadata_location FROM iceberg_tables").fetchall())

    def _read_iceberg(self, table: str, limit: int | None) -> pa.Table:
        warehouse = (self._root / "warehouse").absolute().as_uri()
        catalog = SqlCatalog("lake", uri=f"sqlite:///{self._database}", warehouse=warehouse)
        try:
            return catalog.load_table(f"shop.{table}").scan(limit=limit).to_arrow()
        except NoSuchTableError:
            return pa.table({})

    def _read_parquet(self, table: str) -> pa.Table:
        place = self._root / "final" / "shop" / table
        return ds.dataset(place, format="parquet").to_table() if place.is_dir() else pa.table({})


def compare(source: Path, lake: Lake) -> list[Comparison]:
    """Compare all columns of the source with the target; columns that the ingestion added do not count."""
    with closing(sqlite3.connect(source)) as shop:
        return [_compare(shop, lake, table) for table in TABLES]


def _compare(shop: sqlite3.Connection, lake: Lake, table: str) -> Comparison:
    declared = {str(row[1]): str(row[2]) for row in shop.execute(f"PRAGMA table_info({table})")}
    plain = [_plain(kind) for kind in declared.values()]
    source = Counter(_canonical(row, plain) for row in shop.execute(f"SELECT {', '.join(declared)} FROM {table}"))
    arrived = lake.read(table, tuple(declared))
    columns = [arrived.column(name).to_pylist() for name in declared if name in arrived.column_names]
    target = Counter(_canonical(row, plain) for row in zip(*columns, strict=True))
    differing = (source - target).total() + (target - source).total()
    return Comparison(f"shop.{table}", source.total(), target.total(), differing)


def _canonical(row: Sequence[Value], plain: Sequence[Callable[[Value], Value]]) -> tuple[Value, ...]:
    if len(row) != len(plain):
        return ()  # a column did not arrive
    return tuple(None if value is None else make(value) for value, make in zip(row, plain, strict=True))


def _plain(declared: str) -> Callable[[Value], Value]:
    """How a value of that declared type is written on both sides: SQLite has no dates, decimals or booleans."""
    if declared.startswith("DECIMAL"):
        return lambda value: f"{Decimal(str(value)):.2f}"
    if declared == "BOOLEAN":
        return bool
    if declared in ("TIMESTAMP", "DATE"):
        return lambda value: str(value).removesuffix("+00:00")
    return lambda value: value
