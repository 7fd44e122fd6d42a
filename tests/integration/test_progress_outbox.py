"""A run is watched from the outbox that it writes to HDFS, by a program without a JVM."""

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion_runtime.events.outbox import Outbox
from ingestion_runtime.maintenance.outbox import find_old_mirrors, remove_mirrors
from ingestion_runtime.progress.history import read_runs
from ingestion_runtime.progress.places import Place
from tests.faults.gaps import Hold, Process
from tests.lake import PROJECT, Lake
from tests.nights import make_night
from tests.servers.hdfs import HdfsServer

FEW = ("sales.orders", "sales.order_items", "hr.salaries")


@pytest.fixture
def lake(tmp_path: Path, hdfs_server: HdfsServer) -> Lake:
    """Three tables, one of which fails, and an outbox on HDFS."""
    found = make_night(tmp_path, rows=200)
    found.document["tables"] = [t for t in found.document["tables"] if f"{t['schema']}.{t['table']}" in FEW]
    found.document["connections"].pop("replica")
    found.document["runtime"]["hdfs_outbox_root"] = f"{hdfs_server.web_uri}/outbox"
    found.save()
    return found


@pytest.mark.timeout(120)
def test_a_run_is_watched_from_hdfs_to_its_end(lake: Lake, hdfs_server: HdfsServer, tmp_path: Path) -> None:
    """A run, and who watches it, meet at the outbox alone; in the end it says what the log says."""
    outbox = f"{hdfs_server.web_uri}/outbox"
    hold = Hold(tmp_path, "before-publish", "sales.orders")
    command = [sys.executable, str(PROJECT / "progress_cli.py"), "watch", "--log-file", outbox, "--interval", "0.2"]
    with subprocess.Popen([*command, "--output", "json"], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        with Process(lake.command(), [hold]) as run:
            run.wait_until_held()
            waiting = json.loads(watcher.stdout.readline())
            hold.let_go()
            ended = run.end()
        output, _ = watcher.communicate(timeout=60)
    assert (ended.code, watcher.returncode, waiting["run"]) == (1, 0, None), ended.stderr
    last = json.loads(output.splitlines()[-1])
    assert (last["run"]["exit_code"], last["run"]["counts"]["done"], last["run"]["counts"]["failed"]) == (1, 2, 1)
    assert last["run"]["rows_read"] == 200 * (25 + 60)
    assert read_runs(outbox) == read_runs(str(lake.root / "logs"))


def test_mirrors_on_hdfs_are_found_by_their_age_and_removed(hdfs_server: HdfsServer) -> None:
    """By the time at which HDFS says that somebody wrote to them; the newest run stays, and so does what is not ours."""
    root = f"{hdfs_server.web_uri}/{uuid.uuid4().hex}"
    for day in (1, 2, 3):
        outbox = Outbox(root, f"2026010{day}T020000-abcdef")
        outbox.add('{"event": "run_start"}')
        assert outbox.close()
    now = datetime.now(UTC)
    assert find_old_mirrors(root, 30, now) == ()
    found = find_old_mirrors(root, 30, now + timedelta(days=31))
    assert [(mirror.path.rpartition("/")[2], mirror.size) for mirror in found] == [
        (f"run-2026010{day}T020000-abcdef", 23) for day in (1, 2)
    ]
    remove_mirrors(root, found)
    assert [log.path.rpartition("/")[2] for log in Place(root).logs()] == ["run-20260103T020000-abcdef"]
    assert find_old_mirrors(f"{root}/nowhere", 30, now) == ()
