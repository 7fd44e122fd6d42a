"""``ingestion retry``: what a run left undone is done, and nothing else."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.faults.gaps import Hold, Process
from tests.lake import Lake

DAY = "2026-06-30"


@contextmanager
def missing(lake: Lake, table: str) -> Iterator[None]:
    """Take a table away from the source, and bring it back."""
    with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    yield
    with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
        connection.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


def retried(call: Call, lake: Lake, *arguments: str, code: int = 0) -> dict[str, str]:
    """Return how the retried tables ended."""
    result = call("retry", "--config", lake.path, "--output", "json", *arguments)
    assert result.exit_code == code, result.output
    document = json.loads(result.stdout)
    assert document["tables"] == [] or document["load_date"] == DAY
    return {table["table"]: table["status"] for table in document["tables"]}


def run(call: Call, lake: Lake, *arguments: str) -> str:
    """Run as a user would, and return the run's id."""
    result = call("--config", lake.path, "--load-date", DAY, "--output", "json", *arguments)
    run_id: str = json.loads(result.stdout)["run_id"]
    return run_id


def test_without_a_run_there_is_nothing_to_retry(call: Call, shop: Lake) -> None:
    """Exit 0, and it is said; nothing is made."""
    assert retried(call, shop) == {}
    assert "nothing to retry" in call("retry", "--config", shop.path).stderr
    assert not (shop.root / "state.db").exists()


def test_a_run_that_ended_well_leaves_nothing(call: Call, shop: Lake) -> None:
    """Exit 0."""
    run(call, shop)
    assert retried(call, shop) == {}
    assert "Nothing is left to retry" in call("retry", "--config", shop.path).stderr


def test_only_what_failed_is_run_again_with_the_load_date_of_the_run(call: Call, shop: Lake) -> None:
    """As long as it fails, a retry fails; then it ends well, and nothing is left."""
    with missing(shop, "orders"):
        first = run(call, shop)
        assert retried(call, shop, code=1) == {"shop.orders": "failed"}
    shown = call("retry", "--config", shop.path).stderr
    assert "left undone: shop.orders" in shown
    assert "1 of 1 tables complete" in shown
    assert shop.receipt("shop.orders")["load_date"] == DAY
    assert retried(call, shop) == {}
    shown = call("retry", "--config", shop.path, "--run", first).stderr
    assert "ended well since: shop.orders" in shown


def test_a_reload_is_retried_as_a_reload(call: Call, shop: Lake) -> None:
    """What the run was asked to do, its tables are asked again: a row that is gone is gone afterwards."""
    run(call, shop)
    with missing(shop, "orders"):
        run(call, shop, "--reload", "*", "--wm-lag-seconds", "60")
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.execute("DELETE FROM orders WHERE id = 10")
        connection.commit()
    assert retried(call, shop) == {"shop.orders": "done"}
    assert sorted(row["id"] for row in shop.rows("shop.orders")) == [11, 12]
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        rows = connection.execute("SELECT options_json FROM ingestion_runs ORDER BY started_at").fetchall()
    before, again = (json.loads(text) for (text,) in rows[-2:])
    for options in (before, again):
        options |= {"run_id": "", "reload": sorted(options["reload"])}
    assert before == again


def test_tables_of_a_killed_run_are_taken_up(call: Call, shop: Lake) -> None:
    """Nobody wrote down that they were interrupted; the one that was not begun belongs to them."""
    shop.document["runtime"]["max_parallel_tables"] = 1
    shop.document["tables"].reverse()
    shop.save()
    shop.call("--load-date", DAY, failpoints="after-stage@shop.orders=kill")
    assert retried(call, shop) == {"shop.orders": "done", "shop.customers": "done"}
    assert len(shop.rows("shop.orders")) == 3


def test_failures_of_another_run_are_pointed_out(call: Call, shop: Lake) -> None:
    """By hand one table was run again: the other one is still to do, under the id of the night."""
    with missing(shop, "orders"):
        night = run(call, shop)
    run(call, shop, "--only-tables", "shop.customers")
    shown = call("retry", "--config", shop.path).stderr
    assert f"Failed in run {night}, and did not end well since: shop.orders (retry --run {night})" in shown
    assert retried(call, shop, "--run", night) == {"shop.orders": "done"}


def test_a_table_that_is_not_configured_any_more_is_left_out(call: Call, shop: Lake) -> None:
    """And named."""
    with missing(shop, "orders"):
        run(call, shop)
    del shop.document["tables"][1]
    shop.save()
    shown = call("retry", "--config", shop.path)
    assert shown.exit_code == 0
    assert "not configured any more: shop.orders" in shown.stderr


def test_an_unknown_run_is_refused(call: Call, shop: Lake) -> None:
    """Exit 2; nothing is run."""
    run(call, shop)
    result = call("retry", "--config", shop.path, "--run", "yesterday")
    assert result.exit_code == 2
    assert "No run 'yesterday' of the job 'test'" in result.stderr


def test_a_run_at_work_is_not_retried(call: Call, shop: Lake, tmp_path: Path) -> None:
    """Exit 4, with the process that does it."""
    hold = Hold(tmp_path, "after-plan", "shop.orders")
    with Process(shop.command("--load-date", DAY), [hold]) as process:
        process.wait_until_held()
        result = call("retry", "--config", shop.path)
        assert (result.exit_code, "still at work" in result.stderr) == (4, True)
        hold.let_go()
        assert process.end().code == 0


@pytest.mark.parametrize(("spoil", "code"), [("{", 2), ("", 2)])
def test_a_broken_configuration_is_refused(call: Call, shop: Lake, spoil: str, code: int) -> None:
    """Exit 2 with the place."""
    shop.path.write_text(spoil)
    result = call("retry", "--config", shop.path)
    assert result.exit_code == code
    assert "not JSON at line 1" in result.stderr
