"""A run is watched from the outbox that it writes to HDFS, by a program without a JVM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ingestion_runtime.progress.history import read_runs
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
