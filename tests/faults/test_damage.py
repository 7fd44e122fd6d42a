"""A target or a state that is not as the last run left it: no row is skipped silently, and a reload repairs it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableStatus
from tests.faults.shop import (
    ORDERS,
    PRICES,
    STOCK,
    Shop,
    finalized,
    lake_session,
    main_history,
    make_lake,
    query_state,
    require_equal,
    standing,
    state_head,
)
from tests.lake import Lake

NAMES = ("shop.orders", "shop.stock")
SECOND, THIRD = date(2026, 7, 2), date(2026, 7, 3)

Damage = Callable[[Lake, SparkSession, str], object]


def roll_back(lake: Lake, session: SparkSession, name: str) -> None:
    earlier = main_history(lake, name)[1]
    session.sql(f"CALL lake.system.rollback_to_snapshot('{name}', {earlier})").collect()


def truncate(lake: Lake, session: SparkSession, name: str) -> None:
    session.sql(f"DELETE FROM lake.{name}").collect()


def replace(lake: Lake, session: SparkSession, name: str) -> None:
    session.sql(f"CREATE OR REPLACE TABLE lake.{name} USING iceberg AS SELECT * FROM lake.{name} LIMIT 3").collect()


def append(lake: Lake, session: SparkSession, name: str) -> None:
    found: pa.Table = lake.table(name).scan().to_arrow()
    lake.table(name).append(found.slice(0, 1))


def drop(lake: Lake, session: SparkSession, name: str) -> None:
    lake.catalog.drop_table(name)


@pytest.mark.parametrize("damage", [roll_back, truncate, replace, append, drop])
def test_damaged_table_stops_until_it_is_reloaded(damage: Damage, spark: SparkSession, tmp_path: Path) -> None:
    """The run stops with the remedy and touches nothing, whether or not the source has news; the reload repairs it."""
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    require_done(lake.run(spark))
    shop.change(
        "UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3",
        "UPDATE stock SET quantity = 777 WHERE sku = 'a1'",
    )
    require_done(lake.run(spark, day=SECOND))
    session = lake_session(spark, lake)
    for name in NAMES:
        damage(lake, session, name)
    before = everything(lake)

    unchanged_source = lake.run(spark, day=SECOND)
    shop.change(
        "INSERT INTO orders VALUES (30, 'new', 1, '2026-06-03 08:00:00')",
        "INSERT INTO stock VALUES ('b1', 1)",
    )
    changed_source = lake.run(spark, day=THIRD)

    for stopped in (unchanged_source, changed_source):
        assert stopped.exit_code == 1
        for table in stopped.tables:
            assert table.failure is not None
            assert f"--reload {table.table}" in table.failure.message
    assert everything(lake) == before

    require_done(lake.run(spark, day=THIRD, reload=NAMES))
    require_equal(lake, shop, *NAMES)
    assert state_watermark(lake) == lake.receipt("shop.orders")["watermark"]["literal"] == shop.watermark()
    require_idle(lake.run(spark, day=THIRD))


def test_lost_state_database_is_rebuilt_from_the_receipts(spark: SparkSession, tmp_path: Path) -> None:
    """Without its state the next run reads nothing and publishes nothing; it knows watermark and day again."""
    names = (*NAMES, "shop.prices")
    lake, shop = make_lake(tmp_path, ORDERS, STOCK, PRICES)
    require_done(lake.run(spark))
    before = {name: standing(lake, name) for name in names}
    locations = {name: lake.table(name).metadata_location for name in NAMES}
    for path in tmp_path.glob("state.db*"):
        path.unlink()

    require_idle(lake.run(spark))

    assert {name: standing(lake, name) for name in names} == before
    assert {name: lake.table(name).metadata_location for name in NAMES} == locations
    assert state_watermark(lake) == shop.watermark()
    for name in names[1:]:
        receipt = before[name].receipt
        assert receipt is not None
        assert finalized(lake, name, "2026-07-01") == [receipt["batch_id"]]
    shop.change(
        "UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3",
        "DELETE FROM stock WHERE sku = 'a1'",
        "DELETE FROM prices WHERE sku = 'a1'",
    )
    require_done(lake.run(spark, day=SECOND))
    require_equal(lake, shop, *names)


def test_table_of_another_configuration_is_refused_until_it_is_taken_over(spark: SparkSession, tmp_path: Path) -> None:
    """Two configurations with two states meet at the receipt: its owner is named, and a reload makes the table ours."""
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    require_done(lake.run(spark))
    other = configure_other(lake, shop)
    before = {name: standing(lake, name) for name in NAMES}

    refused = other.run(spark, day=SECOND)

    assert refused.exit_code == 1
    for table in refused.tables:
        assert table.failure is not None
        assert "'test'" in table.failure.message
        assert f"--reload {table.table}" in table.failure.message
    assert {name: standing(lake, name) for name in NAMES} == before
    require_done(other.run(spark, day=SECOND, reload=NAMES))
    require_equal(other, shop, *NAMES)
    owned = lake.run(spark, day=SECOND)
    assert owned.exit_code == 1
    assert all(table.failure is not None and "'other'" in table.failure.message for table in owned.tables)


def configure_other(lake: Lake, shop: Shop) -> Lake:
    """Another job with a state of its own, on the same catalog."""
    root = lake.root / "other"
    root.mkdir()
    other = Lake(root, {"dialect": "sqlite", "database": str(shop.path)}, lake.document["tables"])
    other.document["runtime"]["job_name"] = "other"
    other.document["runtime"]["intermediate"] = lake.document["runtime"]["intermediate"]
    other.save()
    (root / "catalog.db").symlink_to(lake.root / "catalog.db")
    (root / "warehouse").symlink_to(lake.root / "warehouse")
    return other


def everything(lake: Lake) -> list[object]:
    """What a run that stops must leave alone: tables to the last commit, and what the state believes of them."""
    locations = [lake.table(name).metadata_location if lake.catalog.table_exists(name) else None for name in NAMES]
    heads = query_state(lake, "SELECT * FROM ingestion_watermarks ORDER BY id")
    batches = query_state(lake, "SELECT * FROM ingestion_batches ORDER BY batch_id")
    return [locations, heads, batches]


def state_watermark(lake: Lake) -> object:
    head = state_head(lake, "shop.orders")
    return head and head[1]


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]


def require_idle(result: RunResult) -> None:
    require_done(result)
    assert {table.status for table in result.tables} == {TableStatus.UNCHANGED, TableStatus.SKIPPED}
    assert all(table.rows_read == table.rows_written == 0 for table in result.tables)
