"""Somebody else commits to the table between the branch of a batch and its publish."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.table.snapshots import Operation
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableStatus
from tests.faults.gaps import Hold, meddling
from tests.faults.shop import (
    ORDERS,
    PRICES,
    STOCK,
    differences,
    events_named,
    lake_session,
    make_lake,
    open_batches,
    published_rows,
    require_equal,
    standing,
)
from tests.lake import Lake

SECOND, THIRD, FOURTH = date(2026, 7, 2), date(2026, 7, 3), date(2026, 7, 4)


def test_foreign_append_in_the_gap_refuses_the_batch_until_a_reload(spark: SparkSession, tmp_path: Path) -> None:
    """A refused publish shows nothing of its batch and names the remedy; only a reload makes the table the source again."""
    names = ("shop.orders", "shop.stock")
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    require_done(lake.run(spark))
    before = {name: standing(lake, name) for name in names}
    strangers = {
        "shop.orders": {"id": 900, "note": "stranger"},
        "shop.stock": {"sku": "stranger", "quantity": 900},
    }
    shop.change("UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3", "DELETE FROM stock")
    shop.change("INSERT INTO stock VALUES ('b1', 1)")

    refused = run_with_meddler(lake, spark, names, lambda: [append(lake, name, strangers[name]) for name in names])

    assert refused.exit_code == 1
    for name in names:
        require_remedy(refused, name)
        # What readers see is what was there before, and the stranger's row: nothing of the batch.
        key = next(iter(strangers[name]))
        seen = [row for row in published_rows(lake, name) if row[key] != strangers[name][key]]
        assert sorted(tuple(sorted(row.items())) for row in seen) == sorted(before[name].rows)
        assert standing(lake, name).receipt == before[name].receipt
        assert standing(lake, name).head == before[name].head
        assert reads(lake, refused, name) == 1

    again = lake.run(spark, day=SECOND)

    assert again.exit_code == 1
    for name in names:
        require_remedy(again, name)
        assert reads(lake, again, name) == 0
    given_up = open_batches(lake)
    require_done(lake.run(spark, day=SECOND, reload=names))
    require_equal(lake, shop, *names)
    assert not open_batches(lake)
    for name in names:
        (batch,) = (tmp_path / "raw" / name.replace(".", "/")).glob(f"load_date=*/batch={given_up[name]}")
        assert (batch / "_ABANDONED").exists()
        assert not (batch / "_PUBLISHED").exists()


def test_compaction_in_the_gap_is_published_over_from_the_staged_files(spark: SparkSession, tmp_path: Path) -> None:
    """A snapshot that only rewrites files costs one more attempt, and no second look at the source."""
    lake, shop = make_lake(tmp_path, ORDERS)
    require_done(lake.run(spark))
    for day, moment in ((SECOND, "2026-06-02"), (THIRD, "2026-06-03")):
        shop.change(f"INSERT INTO orders SELECT max(id) + 1, 'n', 1, '{moment} 08:00:00' FROM orders")
        require_done(lake.run(spark, day=day))
    shop.change("UPDATE orders SET amount = 777, updated_at = '2026-06-04 08:00:00' WHERE id IN (3, 4)")
    staged = shop.due("shop.orders")
    session = lake_session(spark, lake)
    rewritten: list[int] = []

    def compact() -> None:
        shop.change("UPDATE orders SET note = 'read again' WHERE id = 3")
        sql = "CALL lake.system.rewrite_data_files(table => 'shop.orders', options => map('rewrite-all', 'true'))"
        rewritten.append(session.sql(sql).collect()[0]["rewritten_data_files_count"])
        snapshot = lake.table("shop.orders").current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        assert snapshot.summary.operation is Operation.REPLACE

    result = run_with_meddler(lake, spark, ("shop.orders",), compact, FOURTH)

    require_done(result)
    assert rewritten[0] >= 3
    assert len(events_named(lake, "publish_retried", result.run_id)) == 1
    assert reads(lake, result, "shop.orders") == 1
    assert differences("shop.orders", staged, published_rows(lake, "shop.orders")) == []
    assert lake.receipt("shop.orders")["watermark"]["literal"] == shop.watermark()
    assert [name for name in lake.table("shop.orders").refs() if name.startswith("ingest_")] == ["ingest_last"]


def test_higher_fence_in_the_gap_refuses_the_batch_for_a_retry(spark: SparkSession, tmp_path: Path) -> None:
    """Another run has announced itself: nothing is published, and a later run goes on from what was staged."""
    names = ("shop.orders", "shop.stock", "shop.prices")
    lake, shop = make_lake(tmp_path, ORDERS, STOCK, PRICES)
    require_done(lake.run(spark))
    before = {name: standing(lake, name) for name in names}
    shop.change(
        "UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3",
        "UPDATE stock SET quantity = 777",
        "UPDATE prices SET cents = 777",
    )

    def announce() -> None:
        for name in names[:2]:
            with lake.table(name).transaction() as transaction:
                transaction.set_properties({"ingest.fence": "1000"})
        (tmp_path / "final" / "shop" / ".prices" / "_FENCE").write_text("1000")

    refused = run_with_meddler(lake, spark, names, announce)

    assert refused.exit_code == 3
    assert {table.status for table in refused.tables} == {TableStatus.FAILED}
    assert all("fence" in failure_of(refused, name) for name in names)
    assert {name: standing(lake, name) for name in names} == before
    later = lake.run(spark, day=SECOND)
    require_done(later)
    require_equal(lake, shop, *names)
    assert [reads(lake, later, name) for name in names] == [0, 0, 0]
    assert int(lake.table("shop.orders").properties["ingest.fence"]) > 1000


def run_with_meddler(
    lake: Lake, spark: SparkSession, names: tuple[str, ...], act: Callable[[], object], day: date = SECOND
) -> RunResult:
    """Run while somebody acts between the branches of these tables and their publishes."""
    with meddling([Hold(lake.root, "before-publish", name) for name in names], act) as environment:
        return lake.run(spark, day=day, environment=environment)


def append(lake: Lake, name: str, values: dict[str, Any]) -> None:
    """Append one row as another tool would."""
    table = lake.table(name)
    found: pa.Table = table.scan().to_arrow()
    table.append(pa.Table.from_pylist([{**found.slice(0, 1).to_pylist()[0], **values}], schema=found.schema))


def reads(lake: Lake, result: RunResult, name: str) -> int:
    """How often a run read slices of a table from the source."""
    return sum(e["table"] == name and not e["reused"] for e in events_named(lake, "slice_staged", result.run_id))


def failure_of(result: RunResult, name: str) -> str:
    (table,) = [table for table in result.tables if table.table == name]
    assert table.failure is not None
    return table.failure.message


def require_remedy(result: RunResult, name: str) -> None:
    assert f"--reload {name}" in failure_of(result, name)


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]
