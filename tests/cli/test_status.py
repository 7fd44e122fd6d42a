"""``ingestion status``: where the tables stand, by the state alone."""

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.state import sqlite as state_file
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_store
from tests.cli.conftest import Call
from tests.cli.test_explain import tree
from tests.lake import Lake


def status(call: Call, lake: Lake, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return the document; nothing may have changed."""
    before = tree(lake.root)
    result = call("status", "--config", lake.path, "--output", "json", *arguments)
    assert tree(lake.root) == before
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_before_the_first_run_every_table_never_ran(call: Call, shop: Lake) -> None:
    """Exit 0, and nothing is made; with --stale-hours it is stale, for nothing is known of it."""
    document = status(call, shop)
    assert [(table["table"], table["standing"]) for table in document["tables"]] == [
        ("shop.customers", "never ran"),
        ("shop.orders", "never ran"),
    ]
    assert (document["version"], document["last_run"], document["stale"]) == (1, None, [])
    assert status(call, shop, "--stale-hours", "24", code=1)["stale"] == ["shop.customers", "shop.orders"]


def test_after_a_run_each_table_tells_its_last_result(call: Call, shop: Lake) -> None:
    """Rows, watermark, sequence, and a freshness from the watermark where that is a time, else from the success."""
    begun = datetime.now(UTC)
    shop.run(None)
    (shop.root / "shop.db").unlink()  # the source is not asked
    document = status(call, shop)
    customers, orders = document["tables"]
    assert (customers["standing"], customers["last_rows_written"], customers["freshness_of"]) == ("done", 2, "success")
    assert 0 <= customers["freshness_seconds"] <= (datetime.now(UTC) - begun).total_seconds()
    assert (orders["watermark"], orders["freshness_of"]) == ("2024-05-02 07:00:00.000000", "watermark")
    age = datetime.now(UTC) - datetime(2024, 5, 2, 7, tzinfo=UTC)
    assert orders["freshness_seconds"] == pytest.approx(age.total_seconds(), abs=120)
    assert {(table["sequence"], table["failures"], table["open_batch"], table["lease"]) for table in document["tables"]} == {
        (1, 0, None, None)
    }
    run = document["last_run"]
    assert (run["exit_code"], run["tables"], run["at_work"], run["load_date"]) == (0, 2, False, "2026-07-01")
    assert {table["last_run"] for table in document["tables"]} == {run["run_id"]}


def test_staleness_is_an_exit_code(call: Call, shop: Lake) -> None:
    """Only of the tables that were asked for, and only beyond the hours given."""
    shop.run(None)
    assert status(call, shop, "--stale-hours", "1", code=1)["stale"] == ["shop.orders"]
    assert status(call, shop, "--stale-hours", "1", "--only-tables", "shop.customers")["stale"] == []
    assert status(call, shop, "--stale-hours", "1e6")["stale"] == []
    result = call("status", "--config", shop.path, "--stale-hours", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "staler than 1 hours: shop.orders" in result.stderr


def test_a_wall_clock_is_that_of_its_zone(call: Call, shop: Lake) -> None:
    """A watermark of half an hour ago in New York is half an hour old, though UTC is hours ahead."""
    shop.document["tables"][1] |= {"cursor_timezone": "America/New_York", "lag_seconds": 3600}
    shop.save()
    now = datetime.now(ZoneInfo("America/New_York")).replace(tzinfo=None) - timedelta(minutes=30)
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.execute("UPDATE orders SET updated_at = ? WHERE id = 12", (now.isoformat(" ", "seconds"),))
        connection.commit()
    shop.run(None)
    (orders,) = status(call, shop, "--only-tables", "SHOP.orders")["tables"]
    assert 1800 <= orders["freshness_seconds"] <= 1800 + 600


def test_failures_are_counted_with_their_message(call: Call, shop: Lake) -> None:
    """And forgotten once the table ends well."""
    shop.run(None)
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.executescript("ALTER TABLE orders RENAME TO elsewhere")
    shop.run(None)
    shop.run(None)
    orders = status(call, shop)["tables"][1]
    assert (orders["standing"], orders["failures"]) == ("failed", 2)
    assert "has no table 'shop.orders'" in orders["last_error"]
    assert orders["last_success_at"] < orders["last_at"]
    assert "(2 times in a row)" in call("status", "--config", shop.path).stderr
    with closing(sqlite3.connect(shop.root / "shop.db")) as connection:
        connection.executescript("ALTER TABLE elsewhere RENAME TO orders")
    shop.run(None)
    orders = status(call, shop)["tables"][1]
    assert (orders["standing"], orders["failures"], orders["last_error"]) == ("unchanged", 0, None)


def test_a_killed_run_is_told_from_one_that_ended(call: Call, shop: Lake) -> None:
    """It died; its tables are interrupted although nobody could write it down; the open batch is told."""
    shop.call("--load-date", "2026-07-01", failpoints="after-stage@shop.orders=kill")
    document = status(call, shop)
    assert (document["last_run"]["ended_at"], document["last_run"]["at_work"]) == (None, False)
    orders = document["tables"][1]
    assert orders["standing"] == "interrupted"
    assert orders["open_batch"]["run_id"] == document["last_run"]["run_id"]
    assert (orders["lease"]["run_id"], orders["lease"]["at_work"]) == (document["last_run"]["run_id"], False)
    shown = call("status", "--config", shop.path).stderr
    assert "died" in shown
    assert "gone, the next run takes over" in shown
    shop.run(None)
    assert [table["standing"] for table in status(call, shop)["tables"]][1] == "done"


def test_a_table_under_a_living_lease_is_running(call: Call, shop: Lake) -> None:
    """With the process that holds it."""
    shop.run(None)
    configuration = load_configuration(shop.path)
    store = sqlite_store(configuration.runtime.state_database)
    store.open()
    store.acquire_lease(target_key(configuration.runtime, configuration.tables[0]), current_holder("busy"), 0)
    customers = status(call, shop)["tables"][0]
    assert (customers["standing"], customers["lease"]["pid"]) == ("running", os.getpid())
    store.close()


def test_an_older_state_is_read_as_it_is(call: Call, shop: Lake) -> None:
    """Without a migration: that is for the next run."""
    shop.run(None)
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        connection.executescript("DROP TABLE ingestion_runs; DELETE FROM ingestion_schema_version WHERE version > 2;")
    document = status(call, shop)
    assert document["last_run"] is None
    assert [table["standing"] for table in document["tables"]] == ["done", "done"]


def test_a_head_that_cannot_be_read_is_its_own_tables_affair(call: Call, shop: Lake) -> None:
    """The others stand as they do."""
    shop.run(None)
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        connection.execute("UPDATE ingestion_watermarks SET receipt_json = '{' WHERE table_name = 'orders'")
        connection.commit()
    customers, orders = status(call, shop)["tables"]
    assert (customers["problem"], customers["sequence"]) == (None, 1)
    assert "head of lake:shop.orders" in orders["problem"]


def test_tables_of_a_pattern_are_those_that_the_last_run_found(call: Call, shop: Lake) -> None:
    """The source is not asked for them: it may be down."""
    shop.document["tables"] = [{"schema": "shop", "table": "*", "mode": "full"}]
    shop.save()
    assert status(call, shop)["tables"] == []
    ended = shop.call("--load-date", "2026-07-01")
    assert ended.code == 0, ended.stderr
    (shop.root / "shop.db").unlink()
    assert [(table["table"], table["standing"]) for table in status(call, shop)["tables"]] == [
        ("shop.customers", "done"),
        ("shop.orders", "done"),
    ]
    assert len(status(call, shop, "--only-tables", "shop.orders")["tables"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only-tables", "shop.oders"], "--only-tables names shop.oders"),
        (["--stale-hours", "0"], "--stale-hours"),
        (["--stale-hours", "nan"], "--stale-hours"),
        (["--stale-hours", "soon"], "--stale-hours"),
    ],
)
def test_bad_input_is_a_clear_error(call: Call, shop: Lake, arguments: list[str], words: str) -> None:
    """Exit 2, naming what was wrong."""
    result = call("status", "--config", shop.path, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_state_that_cannot_be_read_is_a_clear_error(call: Call, shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked: worth a retry; of a later version, or no database at all: not."""
    monkeypatch.setattr(state_file, "_READ_SECONDS", 0.1)
    shop.run(None)
    path = shop.root / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("INSERT INTO ingestion_schema_version VALUES (99, 'tomorrow')")
        locked = call("status", "--config", shop.path)
        assert (locked.exit_code, "locked" in locked.stderr) == (3, True)
        connection.commit()
    newer = call("status", "--config", shop.path)
    assert (newer.exit_code, "schema version 99" in newer.stderr) == (1, True)
    path.write_text("no database " * 999)
    broken = call("status", "--config", shop.path)
    assert (broken.exit_code, "not a database" in broken.stderr) == (1, True)


def test_people_read_a_line_per_table(call: Call, shop: Lake) -> None:
    """On stderr: how it stands, since when, and how fresh it is."""
    shop.run(None)
    result = call("status", "--config", shop.path)
    assert (result.exit_code, result.stdout) == (0, "")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("shop.orders")]
    assert line.split()[:3] == ["shop.orders", "scd1", "done"]
    assert line.rstrip().endswith("2024-05-02 07:00:00")
    assert "exit code 0" in result.stderr
