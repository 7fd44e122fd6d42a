"""Two runs on one table: the living holder is left alone, a dead one is taken over at once."""

from datetime import UTC, date, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult
from tests.faults.gaps import Hold, Process
from tests.faults.shop import ORDERS, Shop, events_named, make_lake, query_state, require_equal, standing
from tests.lake import Lake

NAME = "shop.orders"
DAY, SECOND = "2026-07-02", date(2026, 7, 2)


def test_living_holder_is_left_alone_and_a_dead_one_is_taken_over_at_once(spark: SparkSession, tmp_path: Path) -> None:
    """The second run names the holder and publishes nothing; once that is dead, the next one fences it off and goes on."""
    lake, shop = make_changed_lake(spark, tmp_path)
    before, fence = standing(lake, NAME), table_fence(lake)
    location = lake.table(NAME).metadata_location
    with Process(lake.command("--load-date", DAY), [Hold(lake.root, "after-plan", NAME)]) as holder:
        holder.wait_until_held()

        other = lake.call("--load-date", DAY, "--output", "json")

        assert other.code == 4, other.stderr
        ((run_id, pid),) = query_state(lake, "SELECT holder, pid FROM ingestion_leases WHERE released = 0")
        assert pid == holder.pid
        message = other.document["tables"][0]["failure"]["message"]
        assert f"run {run_id} (process {pid} on " in message
        assert lake.table(NAME).metadata_location == location
        holder.kill()

    ((expires_at,),) = query_state(lake, "SELECT expires_at FROM ingestion_leases WHERE released = 0")
    # Stopped before it can publish: the fence must be up by then.
    stopped = lake.run(spark, day=SECOND, environment={"INGESTION_FAILPOINTS": "before-publish=fail"})
    assert stopped.exit_code != 0
    (taken_over,) = events_named(lake, "lease_taken_over")
    assert datetime.fromisoformat(taken_over["ts"]) < parse_utc(expires_at)
    assert taken_over["token"] == table_fence(lake) > fence
    assert standing(lake, NAME) == before

    require_done(lake.run(spark, day=SECOND))
    require_equal(lake, shop, NAME)
    assert lake.receipt(NAME)["fence"] == table_fence(lake) > taken_over["token"]
    assert len(events_named(lake, "lease_taken_over")) == 1


def make_changed_lake(spark: SparkSession, root: Path) -> tuple[Lake, Shop]:
    """An ingested order book with one change that has not been ingested."""
    lake, shop = make_lake(root, ORDERS)
    require_done(lake.run(spark))
    shop.change("UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id = 3")
    return lake, shop


def table_fence(lake: Lake) -> int:
    return int(lake.table(NAME).properties["ingest.fence"])


def parse_utc(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]
