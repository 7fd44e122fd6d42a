"""DAG files in real Airflow: it parses them, and their tasks end as the exit codes say."""

import json
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.demo.compare import Lake, compare
from ingestion_runtime.demo.shop import create
from tests.airflow.conftest import Airflow
from tests.lake import PROJECT
from tests.servers.ports import free_port

HOSTILE = ("o'rders", 'say "hi"', "naïve ☃", "a b", "x;rm -rf", "<script>", "$(id)")


class Demo:
    """A copy of the demo's configuration, and the folder that it ingests into."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "conf" / "demo.json"
        self.root = folder / ".demo"
        self.path.parent.mkdir(parents=True)
        self.document: dict[str, Any] = json.loads((PROJECT / "conf" / "demo.json").read_text())
        self.save()

    def save(self) -> None:
        self.path.write_text(json.dumps(self.document))

    def write_dag(self, airflow: Airflow, dag_id: str, *arguments: str) -> dict[str, Any]:
        """Write a DAG file as a user would and return what the command says of it."""
        command = [
            sys.executable,
            str(PROJECT / "ingestion.py"),
            "airflow-dag",
            "--config",
            str(self.path),
            "--dag-id",
            dag_id,
        ]
        options = ["--to", str(airflow.dags / f"{dag_id}.py"), "--output", "json", *arguments]
        ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    def load_dates(self) -> set[str]:
        """The load dates of all runs."""
        events = (json.loads(line) for log in (self.root / "logs").glob("run-*.jsonl") for line in log.open())
        return {event["load_date"] for event in events if event["event"] == "run_start"}


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def test_airflow_parses_what_is_written(airflow: Airflow, demo: Demo) -> None:
    """A task per table, group and run; alerts; a schedule in a zone, or none; and whatever tables are called."""
    demo.document["orchestration"] = {
        "schedule": {"cron": "15 2 * * 1-5", "timezone": "Europe/Berlin"},
        "retries": {"count": 2, "delay_seconds": 90},
        "alerts": {"email": ["data-team@example.com"], "on": ["failure", "retry", "success"]},
    }
    demo.save()
    demo.write_dag(airflow, "parsed-tables")
    demo.write_dag(airflow, "parsed-group", "--per", "group", "--pool", "shared")
    demo.write_dag(airflow, "parsed-run", "--per", "run", "--schedule", "none", "--load-date-from", "today")
    demo.document["tables"] = [{"schema": "shop", "table": name, "mode": "full", "sink": "parquet"} for name in HOSTILE]
    demo.save()
    demo.write_dag(airflow, "parsed-hostile")

    found = airflow.parse()

    assert found["errors"] == {}
    tables, group, run = (found["dags"][f"parsed-{name}"] for name in ("tables", "group", "run"))
    assert (tables["schedule"], tables["timezone"]) == ("15 2 * * 1-5", "Europe/Berlin")
    assert list(tables["tasks"]) == ["shop.customers", "shop.orders", "shop.order_items", "shop.products", "shop.stores"]
    assert tables["tasks"]["shop.orders"][:4] == ["parsed-tables", 1, 2, 90.0]
    assert group["tasks"]["shop"][:2] == ["shared", 2]
    assert run["schedule"] is None
    assert run["tasks"]["ingest"][:2] == ["default_pool", 1]
    shown = [task[-1][-1] for task in found["dags"]["parsed-hostile"]["tasks"].values()]
    assert shown == [f"shop.{name}" for name in HOSTILE]


def test_a_run_of_the_demo(airflow: Airflow, demo: Demo) -> None:
    """Every table is a task that succeeds at the first try, for the day of the run; the targets equal the source."""
    create(demo.root / "shop.db")
    told = demo.write_dag(airflow, "demo")
    airflow.call(*shlex.split(told["pool"]["command"]))

    airflow.call("airflow", "dags", "test", "demo", "2026-07-01")

    assert airflow.tasks("demo") == {task["task_id"]: ("success", 1) for task in told["tasks"]}
    assert len(told["tasks"]) == 5
    assert [one.differing for one in compare(demo.root / "shop.db", Lake(demo.root))] == [0] * 5
    assert demo.load_dates() == {"2026-07-01"}
    pools = json.loads(airflow.call("airflow", "pools", "list", "--output", "json").splitlines()[-1])
    assert {"pool": "demo", "slots": "2"}.items() <= next(pool for pool in pools if pool["pool"] == "demo").items()


def test_only_what_may_mend_is_tried_again(airflow: Airflow, demo: Demo) -> None:
    """An unreachable source is, a table that is not there is not, and neither stops the others, whatever they are called.
    Alerts that cannot be sent, because Airflow was not told by which server, change none of it."""
    strange = 'o\'r $(exit 3) "☃"'
    demo.root.mkdir()
    with closing(sqlite3.connect(demo.root / "shop.db")) as shop:
        quoted = strange.replace('"', '""')
        shop.executescript(f'CREATE TABLE "{quoted}" (id INTEGER PRIMARY KEY); INSERT INTO "{quoted}" VALUES (1)')
    demo.document["connections"]["far"] = {
        "dialect": "postgresql",
        "host": "127.0.0.1",
        "port": free_port(),
        "database": "far",
        "user": "reader",
        "connect_timeout_seconds": 2,
    }
    demo.document["tables"] = [
        {"schema": "shop", "table": strange, "mode": "full", "sink": "parquet", "connection": "shop"},
        {"schema": "shop", "table": "missing", "mode": "full", "sink": "parquet", "connection": "shop"},
        {"schema": "far", "table": "away", "mode": "full", "sink": "parquet", "connection": "far"},
    ]
    demo.document["orchestration"] = {
        "retries": {"count": 2, "delay_seconds": 1},
        "alerts": {"email": ["data-team@example.com"], "on": ["failure", "retry"]},
    }
    demo.save()
    told = demo.write_dag(airflow, "trouble")

    said = airflow.call("airflow", "dags", "test", "trouble", "2026-07-01", check=False)

    assert airflow.tasks("trouble") == {
        told["tasks"][0]["task_id"]: ("success", 1),
        "shop.missing": ("failed", 1),
        "far.away": ("failed", 3),
    }
    assert said.count("worth another try") >= 3
    assert "Exit code 1: not tried again" in said
    assert "smtp_default" in said
