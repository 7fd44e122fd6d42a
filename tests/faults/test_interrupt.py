"""SIGTERM and SIGINT: the run stops where it is, gives its leases back, and the next one goes on."""

import signal
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult
from tests.faults.gaps import Hold, Process
from tests.faults.shop import (
    ORDERS,
    STOCK,
    events_named,
    make_lake,
    open_batches,
    query_state,
    require_equal,
    standing,
)
from tests.lake import Lake

DAY, SECOND = "2026-07-02", date(2026, 7, 2)
NAMES = ("shop.orders", "shop.stock")

# Five million rows: seconds of reading for Spark, and a signal comes within the first of them.
LARGE_STOCK = """
CREATE VIEW stock AS
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600000) SELECT sku, quantity FROM articles, n
"""

# Counting to a hundred million takes SQLite minutes.
ENDLESS_ORDERS = """
CREATE VIEW orders AS
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000)
SELECT * FROM kept WHERE id <= (SELECT count(*) FROM n)
"""


def test_sigterm_while_slices_are_read_stops_the_run_and_loses_nothing(spark: SparkSession, tmp_path: Path) -> None:
    """A slice that is being read is given up: exit 143, leases back, state whole; a rerun completes the batch."""
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    require_done(lake.run(spark))
    before = {name: standing(lake, name) for name in NAMES}
    shop.change(
        "UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3",
        "UPDATE stock SET quantity = 777",
        "ALTER TABLE stock RENAME TO articles",
        LARGE_STOCK,
    )
    held = Hold(lake.root, "after-stage", "shop.orders")
    with Process(lake.command("--load-date", DAY), [held]) as process:
        process.wait_until_held()
        process.wait_until(lambda: is_read(lake, "stock"), "the stock was read")
        process.signal(signal.SIGTERM)
        process.wait_until_handled(signal.SIGTERM)
        held.let_go()
        ended = process.end()

    assert ended.code == 143, ended.stderr
    require_tidy(lake)
    assert {name: standing(lake, name) for name in NAMES} == before
    assert not [event for event in events_named(lake, "slice_staged", run_of(lake, 143)) if event["table"] == "shop.stock"]
    batches = open_batches(lake)
    assert batches.keys() == set(NAMES)
    shop.change("DROP VIEW stock", "CREATE VIEW stock AS SELECT sku, quantity FROM articles")
    rerun = lake.run(spark, day=SECOND)
    require_done(rerun)
    require_equal(lake, shop, *NAMES)
    assert {name: lake.receipt(name)["batch_id"] for name in NAMES} == batches
    reused = {event["table"]: event["reused"] for event in events_named(lake, "slice_staged", rerun.run_id)}
    assert reused == {"shop.orders": True, "shop.stock": False}


def test_sigint_from_the_terminal_stops_the_run_and_loses_nothing(spark: SparkSession, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group: exit 130, leases back, state whole; a rerun completes the batch."""
    lake, shop = make_lake(tmp_path, ORDERS)
    require_done(lake.run(spark))
    before = standing(lake, "shop.orders")
    shop.change("UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3")
    held = Hold(lake.root, "after-plan", "shop.orders")
    with Process(lake.command("--load-date", DAY), [held]) as process:
        process.wait_until_held()
        process.signal(signal.SIGINT, group=True)
        process.wait_until_handled(signal.SIGINT)
        held.let_go()
        ended = process.end()

    assert ended.code == 130, ended.stderr
    require_tidy(lake)
    assert standing(lake, "shop.orders") == before
    require_done(lake.run(spark, day=SECOND))
    require_equal(lake, shop, "shop.orders")


def is_read(lake: Lake, table: str) -> bool:
    """Whether rows of a table are being written."""
    # Spark's directory, or the file of this process.
    staged = lake.root / "staging" / "shop" / table
    return any(any(staged.glob(f"**/attempt=*/{name}")) for name in ("_temporary", "part-*.parquet"))


def run_of(lake: Lake, exit_code: int) -> str:
    """The run that ended with this exit code."""
    (run_id,) = [event["run_id"] for event in events_named(lake, "run_done") if event["exit_code"] == exit_code]
    return str(run_id)


def require_tidy(lake: Lake) -> None:
    """Nobody holds a lease, and the state is a whole database."""
    assert query_state(lake, "SELECT table_name FROM ingestion_leases WHERE released = 0") == []
    assert query_state(lake, "PRAGMA integrity_check") == [("ok",)]


def test_sigterm_ends_a_query_that_runs_at_the_source(tmp_path: Path) -> None:
    """A probe that would take minutes is ended at once: exit 143, before a JVM was ever started."""
    lake, shop = make_lake(tmp_path, ORDERS)
    shop.change("ALTER TABLE orders RENAME TO kept", ENDLESS_ORDERS)
    with Process(lake.command()) as process:
        process.wait_until(lambda: bool(events_named(lake, "table_start")), "the table was begun")
        process.signal(signal.SIGTERM)
        ended = process.end()

    assert ended.code == 143, ended.stderr
    assert not list(lake.root.glob("logs/spark-*.log"))
    require_tidy(lake)


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]
