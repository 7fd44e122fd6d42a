"""Whole runs that tell others: what arrives, what is recorded, and that nobody who listens can hold a run up."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import SHOP, TABLES
from tests.lake import Ended, Lake
from tests.servers.http import HttpServer, Request
from tests.servers.smtp import SmtpServer

DAY = ("--load-date", "2026-07-01")
CANARY = "hook-canary-5d1e"
MISSING = {"schema": "shop", "table": "missing", "mode": "full", "primary_keys": ["id"]}
KEEP = "import pathlib, sys; print(sys.stdin.read().strip(), file=pathlib.Path(sys.argv[1]).open('a'))"


def lake_in(folder: Path, *tables: dict[str, Any]) -> Lake:
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript(SHOP)
    return Lake(folder, {"dialect": "sqlite", "database": "shop.db"}, [*TABLES, *tables])


def tell(lake: Lake, *targets: dict[str, Any], **settings: Any) -> None:
    lake.document["runtime"]["notify"] = {"targets": list(targets), **settings}
    lake.save()


@dataclass(frozen=True)
class Story:
    """Two runs of a lake that tells everybody: in the first one table fails, in the second it is well again."""

    lake: Lake
    first: Ended
    second: Ended
    hooks: list[Request]
    mails: list[str]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """What the webhook got."""
        return [request.document["notice"] for request in self.hooks]

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.lake.root / "state.db")) as connection:
            return connection.execute(query).fetchall()

    def lineage(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.lake.root / "lineage.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    lake = lake_in(tmp_path_factory.mktemp("told"), MISSING)
    keep = [sys.executable, "-c", KEEP, str(lake.root / "kept.jsonl")]
    lake.document["runtime"]["metadata_gateway"] = {
        "ingestion_metrics": True,
        "ingestion_runtime": True,
        "openlineage": {"file": "lineage.jsonl", "wait_seconds": 30},
    }
    tell(
        lake,
        {"to": "log"},
        {"to": "command", "command": keep, "on": ["end"]},
        {"to": "webhook", "url": "${env:HOOK}"},
        {"to": "email", "url": "${env:MAIL}", "on": ["failure", "end"]},
        wait_seconds=30,
    )
    with HttpServer() as hook, SmtpServer() as post:
        mail = f"mailto://127.0.0.1:{post.port}?mode=insecure&from={CANARY}@example.com&to=team@example.com&format=text"
        secrets = {"HOOK": f"{hook.url}/{CANARY}", "MAIL": mail}
        first = lake.call(*DAY, "--output", "json", environment=secrets)
        with closing(sqlite3.connect(lake.root / "shop.db")) as connection:
            connection.executescript("CREATE TABLE missing (id INTEGER PRIMARY KEY); INSERT INTO missing VALUES (1);")
        second = lake.call(*DAY, "--output", "json", environment=secrets)
        yield Story(lake, first, second, hook.wait_for(2), [str(mail["Subject"]) for mail in post.mails])


def test_every_target_hears_of_the_runs(story: Story) -> None:
    """Begin, failure and end of the first run; begin, recovery and end of the second."""
    assert (story.first.code, story.second.code) == (1, 0), story.first.stderr + story.second.stderr
    runs = [story.first.document["run_id"], story.second.document["run_id"]]
    kinds = [[d["kind"] for d in story.documents if d["run_id"] == run] for run in runs]
    for told in kinds:
        assert told[0] == "start"
        assert told[-1] == "end"
    # What fails right before the end is told with the end.
    assert set(kinds[0]) - {"start", "end"} <= {"failure"}
    assert set(kinds[1]) - {"start", "end"} <= {"recovery"}
    kept = [json.loads(line) for line in (story.lake.root / "kept.jsonl").read_text().splitlines()]
    assert [(d["run_id"], d["kind"], d["exit_code"]) for d in kept] == [(runs[0], "end", 1), (runs[1], "end", 0)]
    assert any("1 failed of 3 tables" in subject.replace("\n", "") for subject in story.mails)
    logged = [event for event in story.lake.events() if event["event"] in ("notice", "alert")]
    ends = [(event["event"], event["level"]) for event in logged if event["kind"] == "end"]
    assert ends == [("alert", "warning"), ("notice", "info")]


def test_the_last_message_says_what_the_result_says(story: Story) -> None:
    """Counts, rows and the failure with its remedy; and in the second run that the table is well again."""
    for ended in (story.first, story.second):
        result = ended.document
        last = next(d for d in story.documents if d["run_id"] == result["run_id"] and d["kind"] == "end")
        statuses = [table["status"] for table in result["tables"]]
        names = ("done", "unchanged", "skipped", "failed", "interrupted")
        assert {name: last["counts"][name] for name in names} == {name: statuses.count(name) for name in names}
        assert last["rows_read"] == sum(table["rows_read"] for table in result["tables"])
        assert last["rows_written"] == sum(table["rows_written"] for table in result["tables"])
        failures = [(t["table"], t["failure"]["message"]) for t in result["tables"] if t["failure"]]
        assert [(failure["table"], failure["message"]) for failure in last["failures"]] == failures
    assert [item["table"] for item in last["recovered"]] == ["shop.missing"]


def test_addresses_are_found_nowhere(story: Story) -> None:
    """Not in the outputs, the event log, the state database, nor in what was sent."""
    outputs = story.first.stdout + story.first.stderr + story.second.stdout + story.second.stderr
    assert CANARY not in outputs
    assert not any(CANARY.encode() in request.body for request in story.hooks)
    found = [path for path in story.lake.root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert found == []


def test_every_table_of_every_run_is_recorded(story: Story) -> None:
    """The figures of the result, for successes and failures; bytes, batch and location where something was published."""
    volumes = story.rows("SELECT run_id, source_table, status, rows_read, rows_written, slices FROM ingestion_volume")
    runtimes = story.rows("SELECT run_id, source_table, status, exit_code, error_type, engine FROM ingestion_runtime")
    results = [(run.document["run_id"], table) for run in (story.first, story.second) for table in run.document["tables"]]
    told = [(run, t["table"], t["status"], t["rows_read"], t["rows_written"], t["slices"]) for run, t in results]
    assert sorted(volumes) == sorted(told)
    ends = [
        (run, t["table"], t["status"], *((t["failure"]["exit_code"], t["failure"]["type"]) if t["failure"] else (0, None)))
        for run, t in results
    ]
    assert sorted(row[:5] for row in runtimes) == sorted(ends)
    engines = {(row[0], row[1]): row[5] for row in runtimes}
    assert all(engines[run, t["table"]] == t["engine"] for run, t in results if not t["failure"])
    published = story.rows("SELECT bytes, batch_id, location FROM ingestion_volume WHERE status = 'done'")
    assert len(published) == 3
    assert all(size > 0 and batch and Path(location.removeprefix("file://")).exists() for size, batch, location in published)


def test_lineage_tells_where_every_table_went(story: Story) -> None:
    """A start and an end of each; rows and columns of the table as they are in the lake."""
    events = story.lineage()
    states: dict[str, list[str]] = {}
    for event in events:
        states.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert sorted(states.values()) == sorted([["START", "COMPLETE"]] * 5 + [["START", "FAIL"]])
    orders = next(e for e in events if e["job"]["name"].endswith("orders") and e["eventType"] == "COMPLETE")
    table = story.lake.table("shop.orders")
    (read,), (written,) = orders["inputs"], orders["outputs"]
    assert (read["namespace"], read["name"]) == (f"sqlite://{story.lake.root / 'shop.db'}", "orders")
    assert (written["namespace"], written["name"]) == ("file", table.location().removeprefix("file://"))
    assert written["facets"]["symlinks"]["identifiers"][0]["name"] == "shop.orders"
    columns = [(field["name"], field["type"]) for field in written["facets"]["schema"]["fields"]]
    assert columns == [(field.name, str(field.field_type)) for field in table.schema().fields]
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 3


def test_whoever_hangs_costs_a_run_the_wait_and_no_more(shop: Lake) -> None:
    """A webhook, a mail server and a lineage server that never answer, and a command that never ends, all at once: the run
    ends as it would without them, says so once for each, and leaves no process behind."""
    assert shop.call(*DAY).code == 0
    begun = time.monotonic()
    plain = shop.call(*DAY, "--output", "json")
    took = time.monotonic() - begun
    wait = 0.4
    pid = shop.root / "pid"
    shop.document["runtime"]["metadata_gateway"] = {"openlineage": {"url": "${url}", "wait_seconds": wait}}
    with HttpServer(hangs=True) as hanging:
        shop.document["runtime"]["metadata_gateway"]["openlineage"]["url"] = hanging.url
        tell(
            shop,
            {"to": "webhook", "url": "${env:HOOK}"},
            {"to": "email", "url": "${env:MAIL}"},
            {"to": "command", "command": ["sh", "-c", 'echo $$ > "$0"; exec sleep 300', str(pid)]},
            wait_seconds=wait,
        )
        # A server that speaks HTTP, and waits before it does, says nothing to a mail client either.
        secrets = {
            "HOOK": f"{hanging.url}/{CANARY}",
            "MAIL": f"mailto://127.0.0.1:{hanging.port}?mode=insecure&from=a@b.de&to=c@d.de",
        }
        begun = time.monotonic()
        told = shop.call(*DAY, "--output", "json", environment=secrets)
        longer = time.monotonic() - begun - took
    assert (told.code, plain.code) == (0, 0)
    assert [t["status"] for t in told.document["tables"]] == [t["status"] for t in plain.document["tables"]]
    print(f"{took:.2f} s, and {longer:.2f} s more with everybody hanging")
    assert longer < 2 * wait + max(4, took)  # libraries are loaded meanwhile, on processors that others want too
    reported = [json.loads(line) for line in told.stderr.splitlines() if line.startswith("{")]
    assert {line["event"] for line in reported} == {"delivery_unfinished"}
    names = ["notify.targets[0] (webhook)", "notify.targets[1] (email)", "notify.targets[2] (command)", "openlineage"]
    assert sorted(line["to"] for line in reported) == names
    assert CANARY not in told.stderr
    assert not psutil.pid_exists(int(pid.read_text()))


def test_a_run_that_is_killed_does_not_wait_for_a_message(shop: Lake) -> None:
    """SIGKILL ends it at once, and whoever waits for its output waits no longer, though the command still runs. The rerun
    tells that the table is well again; recorded is what the rerun did, and nothing of the run that was killed."""
    pid = shop.root / "pid"
    shop.document["runtime"]["metadata_gateway"] = {"ingestion_metrics": True, "ingestion_runtime": True}
    tell(shop, {"to": "command", "command": ["sh", "-c", 'echo $$ > "$0"; exec sleep 120', str(pid)]})
    begun = time.monotonic()
    ended = shop.call(*DAY, failpoints="after-stage=kill")
    assert ended.code == -signal.SIGKILL
    assert time.monotonic() - begun < 60
    os.kill(int(pid.read_text()), signal.SIGKILL)
    tell(shop, {"to": "log", "on": ["recovery", "end"]})
    again = shop.call(*DAY, "--output", "json")
    assert again.code == 0
    told = [event["text"] for event in shop.events() if event["event"] == "notice"]
    assert "of an earlier run: gone on with" in told[-1]
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        for table in ("ingestion_volume", "ingestion_runtime"):
            found = connection.execute(f"SELECT run_id, source_table, status FROM {table} ORDER BY 2").fetchall()
            run = again.document["run_id"]
            assert found == [(run, "shop.customers", "done"), (run, "shop.orders", "done")]


def test_a_run_that_cannot_begin_is_told_too(shop: Lake) -> None:
    """Credentials that are missing end it before there is a log; people hear of it all the same."""
    shop.document["connections"]["source"] = {
        "dialect": "postgresql",
        "host": "127.0.0.1",
        "database": "x",
        "user": "x",
        "password": "${env:NO_SUCH_PASSWORD}",
    }
    for table in shop.document["tables"]:
        table["cursor_timezone"] = "UTC"
    kept = shop.root / "kept.jsonl"
    tell(shop, {"to": "command", "command": [sys.executable, "-c", KEEP, str(kept)]}, wait_seconds=30)
    ended = shop.call(*DAY)
    assert ended.code == 2
    (document,) = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (document["kind"], document["exit_code"]) == ("end", 2)
    assert document["title"] == "test: the run could not begin, exit code 2"
    assert "${env:NO_SUCH_PASSWORD}" in document["text"]


def test_a_pattern_that_cannot_be_resolved_is_told_too(shop: Lake) -> None:
    """The sources are asked before anything else: what they say may be that there is no run tonight."""
    shop.document["tables"] = [{"schema": "shop", "table": "no_such_*", "mode": "full"}]
    kept = shop.root / "kept.jsonl"
    command = [sys.executable, "-c", KEEP, str(kept)]
    tell(shop, {"to": "command", "command": command, "on": ["failure"]}, wait_seconds=30)
    ended = shop.call(*DAY)
    assert ended.code == 2
    (document,) = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (document["kind"], document["title"]) == ("failure", "test: the run failed")
    assert "matches no table" in document["text"]


def test_records_that_cannot_be_kept_leave_the_result_as_it_is(shop: Lake) -> None:
    """The run says so, and its exit code is that of its tables."""
    assert shop.call(*DAY).code == 0
    with closing(sqlite3.connect(shop.root / "state.db")) as connection:
        connection.executescript("DROP TABLE ingestion_volume")
    shop.document["runtime"]["metadata_gateway"] = {"ingestion_metrics": True}
    shop.save()
    ended = shop.call(*DAY)
    assert ended.code == 0
    assert "Records of the metadata gateway were not kept" in ended.stderr


@pytest.mark.parametrize("interval", ["-1", "soon"])
def test_an_interval_that_is_none_is_a_usage_error(shop: Lake, interval: str) -> None:
    ended = shop.call("--notify-interval-seconds", interval)
    assert ended.code == 2
    assert re.search(r"Invalid value for '--notify-interval-seconds'", ended.stderr)


def test_digests_come_while_a_run_goes_on(shop: Lake) -> None:
    """At the interval of the command line, with the tables at work and their rows so far."""
    held = shop.root / "go"
    tell(shop, {"to": "log", "on": ["digest"], "min_interval_seconds": 0})
    process = subprocess.Popen(
        shop.command(*DAY, "--notify-interval-seconds", "1"),
        env={**os.environ, "INGESTION_FAILPOINTS": f"after-stage@shop.orders=hold:{held}"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    texts: list[str] = []
    try:
        while not any("shop.orders: 3 rows in" in text for text in texts) and time.monotonic() < deadline:
            time.sleep(0.1)
            texts = [event["text"] for event in shop.events() if event["event"] == "notice"]
    finally:
        held.touch()
        assert process.wait(60) == 0
    assert "shop.orders: 3 rows in" in texts[-1]
    assert "(of 2)" in texts[-1]
