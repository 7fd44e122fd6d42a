"""The demo's shop is the same everywhere, its changes are those a lag has to catch, and its comparison is honest."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pyiceberg.catalog.sql import SqlCatalog

from ingestion_runtime.demo.__main__ import main
from ingestion_runtime.demo.compare import PARQUET_TABLES, TABLES, Lake, compare
from ingestion_runtime.demo.shop import change, create

LAG_SECONDS = 3600
CONVERSIONS = {
    "TIMESTAMP": (pa.timestamp("us"), datetime.fromisoformat),
    "DATE": (pa.date32(), date.fromisoformat),
    "BOOLEAN": (pa.bool_(), bool),
    "INTEGER": (pa.int64(), int),
    "TEXT": (pa.string(), str),
}


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    create(path)
    return path


@pytest.fixture
def shop(created: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(created, tmp_path / "shop.db"))


def query(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def everything(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(path)) as connection:
        yield from connection.iterdump()


def test_the_tables_have_the_announced_sizes(created: Path) -> None:
    counts = {table: query(created, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert counts == {"customers": 20_000, "products": 2_000, "stores": 50, "orders": 60_000, "order_items": 120_000}


def test_the_shop_and_its_changes_are_the_same_on_every_machine(shop: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.db"
    create(again)
    change(again)
    change(shop)
    assert list(everything(shop)) == list(everything(again))


def test_every_cursor_lies_in_the_first_half_of_2026_also_after_the_changes(shop: Path) -> None:
    change(shop)
    for table, cursor in (("customers", "updated_at"), ("orders", "updated_at")):
        assert query(shop, f"SELECT min({cursor}) >= '2026-01-01', max({cursor}) < '2026-07-01' FROM {table}") == [(1, 1)]
    assert query(shop, "SELECT datetime(max(changed_at), 'unixepoch') < '2026-07-01' FROM order_items") == [(1,)]


def test_changed_rows_have_newer_cursors_and_late_rows_lie_inside_the_lag(shop: Path) -> None:
    (newest,) = query(shop, "SELECT max(updated_at) FROM orders")[0]
    (epoch,) = query(shop, "SELECT max(changed_at) FROM order_items")[0]
    done = change(shop)
    assert (done.updated, done.inserted, done.late, done.prices) == (500, 300, 40, 100)
    newer = sum(
        query(shop, f"SELECT count(*) FROM {table} WHERE updated_at > '{newest}'")[0][0] for table in ("customers", "orders")
    )
    newer += query(shop, f"SELECT count(*) FROM order_items WHERE changed_at > {epoch}")[0][0]
    assert newer == 800
    late = query(
        shop,
        f"SELECT (julianday('{newest}') - julianday(updated_at)) * 86400 FROM orders"
        f" WHERE order_id > 60000 AND updated_at <= '{newest}'",
    )
    assert len(late) == 40
    assert max(seconds for (seconds,) in late) <= LAG_SECONDS / 2


def test_the_shop_is_made_within_a_few_seconds(tmp_path: Path) -> None:
    """Measured 1.1 s; the demo as a whole has 60."""
    began = time.monotonic()
    create(tmp_path / "shop.db")
    assert time.monotonic() - began < 15


def publish(shop: Path, root: Path) -> Lake:
    """What an ingestion would publish, written by pyiceberg and pyarrow alone."""
    warehouse = root / "warehouse"
    warehouse.mkdir(parents=True)
    catalog = SqlCatalog("lake", uri=f"sqlite:///{root / 'catalog.db'}", warehouse=warehouse.as_uri())
    catalog.create_namespace("shop")
    for table in TABLES:
        rows = as_arrow(shop, table)
        if table in PARQUET_TABLES:
            (root / "final" / "shop" / table).mkdir(parents=True)
            pq.write_table(rows, root / "final" / "shop" / table / "part-0.parquet")
        else:
            catalog.create_table(f"shop.{table}", rows.schema).append(rows)
    return Lake(root)


def as_arrow(shop: Path, table: str) -> pa.Table:
    columns = {}
    for _, name, declared, *_ in query(shop, f"PRAGMA table_info({table})"):
        if declared.startswith("DECIMAL"):
            kind, make = pa.decimal128(12, 2), lambda value: Decimal(str(value)).quantize(Decimal("0.01"))
        else:
            kind, make = CONVERSIONS[declared]
        values = [
            None if value is None else make(value) for (value,) in query(shop, f"SELECT {name} FROM {table} ORDER BY rowid")
        ]
        columns[name] = pa.array(values, kind)
    columns["_ingest_run_id"] = pa.array(["r1"] * len(next(iter(columns.values()))))
    return pa.table(columns)


def test_equal_rows_in_other_types_are_equal_and_every_difference_is_counted(shop: Path, tmp_path: Path) -> None:
    lake = publish(shop, tmp_path / "lake")
    assert [(one.table, one.differing) for one in compare(shop, lake)] == [(f"shop.{table}", 0) for table in TABLES]
    assert set(lake.versions()) == set(TABLES) - set(PARQUET_TABLES)
    change(shop)
    differing = {one.table: one.differing for one in compare(shop, lake)}
    assert differing["shop.stores"] == 0
    assert differing["shop.products"] == 2 * 100
    assert differing["shop.orders"] == 2 * 250 + 100 + 40


def test_a_table_that_was_never_published_differs_by_all_its_rows(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    stores = next(one for one in compare(shop, Lake(tmp_path / "lake")) if one.table == "shop.stores")
    assert (stores.source_rows, stores.target_rows, stores.differing) == (50, 0, 50)


def test_show_prints_rows(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shop, tmp_path / ".demo")
    monkeypatch.chdir(tmp_path)
    for table in ("shop.orders", "shop.stores"):
        shown = CliRunner().invoke(main, ["show", table, "--limit", "3"])
        assert shown.exit_code == 0, shown.output
        assert table in shown.output
        assert "_ingest" not in shown.output
    assert CliRunner().invoke(main, ["show", "shop.nothing"]).exit_code == 2


def test_show_without_a_demo_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(main, ["show", "shop.orders"])
    assert shown.exit_code == 2
    assert "make demo" in shown.output
