"""A real Airflow in an environment of its own, with a home and a database that no other one shares."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lake import PROJECT

BIN = PROJECT / ".airflow-venv" / "bin"
# Airflow takes long to start, and a busy machine doubles it.
PATIENCE = 240
# What Airflow made of the files in a folder. Schedules are told by their own timetable.
LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
dags = {
    dag_id: {
        "schedule": getattr(dag.timetable, "expression", None),
        "timezone": str(getattr(dag.timetable, "timezone", "")),
        "tasks": {
            task.task_id: [task.pool, task.pool_slots, task.retries, task.retry_delay.total_seconds(), task.command]
            for task in dag.tasks
        },
    }
    for dag_id, dag in bag.dags.items()
}
print("FOUND " + json.dumps({"errors": bag.import_errors, "dags": dags}))
"""


@dataclass(frozen=True)
class Airflow:
    """One home of Airflow."""

    home: Path

    @property
    def dags(self) -> Path:
        """The folder of DAG files."""
        return self.home / "dags"

    def call(self, *arguments: str, check: bool = True) -> str:
        """Run a program of Airflow's environment and return what it said."""
        command = [str(BIN / arguments[0]), *arguments[1:]]
        ended = subprocess.run(
            command, env=self._environment, cwd=self.home, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0 or not check, said
        return said

    def parse(self) -> Mapping[str, Any]:
        """What Airflow makes of all files: ``dags`` by their ids, and ``errors``."""
        said = self.call("python", "-c", LOOK, str(self.dags))
        found: Mapping[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("FOUND "))[6:])
        return found

    def tasks(self, dag_id: str) -> dict[str, tuple[str, int]]:
        """Task id -> state and number of tries."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            rows = database.execute("SELECT task_id, state, try_number FROM task_instance WHERE dag_id = ?", (dag_id,))
            return {task_id: (state, tries) for task_id, state, tries in rows}

    @property
    def _environment(self) -> dict[str, str]:
        return {
            # The worker's environment is the one that secrets are found in; nothing of this process is.
            "PATH": f"{BIN}:{os.defpath}",
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        }


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """Airflow with an empty database. `make test-airflow` installs it."""
    if not (BIN / "airflow").exists():
        pytest.fail("Airflow is not installed: run `make test-airflow`.")
    found = Airflow(tmp_path_factory.mktemp("airflow"))
    found.dags.mkdir()
    found.call("airflow", "db", "migrate")
    return found
