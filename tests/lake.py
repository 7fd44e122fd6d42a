"""A whole configuration in a temporary folder: what tests run, kill, look at and compare."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.options import AskedWindow, RunOptions
from ingestion_runtime.model.result import RunResult
from ingestion_runtime.orchestrator import RunRequest, run

# The client compiler alone: these runs are too short for the other one (demo ingest 27 s of processor time against 44).
# It gets 48 MB for code then, which a session of a few hundred tests used up: a message of Spark's was lost, and its
# job waited for ever.
JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
# A block that no DataNode serves is given up after half a second; by default the client waits 16 s for one to come back.
IMPATIENT = ("spark.hadoop.dfs.client.retry.window.base", "50")
PROJECT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--output json`` printed."""
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed


class Lake:
    """One configuration under ``root``, with everything it writes in the same folder."""

    def __init__(self, root: Path, connection: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> None:
        self.root = root
        self.path = root / "conf.json"
        self.document: dict[str, Any] = {
            "connections": {"source": dict(connection)},
            "runtime": {
                "job_name": "test",
                "raw_root": str(root / "raw"),
                "final_root": str(root / "final"),
                "timezone": "UTC",
                "intermediate": {
                    "catalog_type": "sql",
                    "name": "lake",
                    "database": str(root / "catalog.db"),
                    "warehouse": str(root / "warehouse"),
                },
                "staging": {"root": str(root / "staging")},
                "state": {"database": str(root / "state.db")},
                "logging": {"event_sink": str(root / "logs")},
                "spark": {"master": "local[2]", "driver_memory": "1g", "conf": {"spark.driver.defaultJavaOptions": JVM}},
            },
            "metadata": {"cache_path": str(root / "metadata"), "ttl_hours": 0},
            "tables": [dict(table) for table in tables],
        }
        self.save()

    def save(self) -> None:
        """Write the configuration file; call it after changing ``document``."""
        self.path.write_text(json.dumps(self.document, indent=2))

    def run(
        self,
        session: SparkSession | None,
        *,
        day: date = date(2026, 7, 1),
        reload: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        backfill: str = "",
        columns: Sequence[str] = (),
        window: AskedWindow | None = None,
        lag: int | None = None,
        allow_shrink: Sequence[str] = (),
    ) -> RunResult:
        """Run all tables in this process, on a Spark session that is up already; or backfill the one that is named, or read
        a window again."""
        configuration = open_configuration(self.path)
        options = RunOptions(run_id=os.urandom(4).hex(), load_date=day, heartbeat_seconds=0, reload=frozenset(reload))
        options = dataclasses.replace(options, window=window, wm_lag_seconds=lag, allow_shrink=frozenset(allow_shrink))
        tables = configuration.tables
        if backfill:
            tables = tuple(table for table in tables if table.name == backfill)
            options = dataclasses.replace(options, backfill=True, backfill_columns=tuple(columns))
        return run(RunRequest(configuration, tables, options), environment or {}, session)

    def command(self, *arguments: str) -> list[str]:
        """The command that runs this configuration."""
        return [sys.executable, str(PROJECT / "ingestion.py"), "--config", str(self.path), *arguments]

    def call(self, *arguments: str, failpoints: str = "", environment: Mapping[str, str] | None = None) -> Ended:
        """Run the program as a user would, in a process group of its own, to its end."""
        variables = {**os.environ, "INGESTION_FAILPOINTS": failpoints, **(environment or {})}
        ended = subprocess.run(
            self.command(*arguments),
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            start_new_session=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @property
    def catalog(self) -> SqlCatalog:
        """The Iceberg catalog, through a client of its own."""
        uri = f"sqlite:///{self.root / 'catalog.db'}?timeout=30"
        return SqlCatalog("lake", uri=uri, warehouse=f"file://{self.root / 'warehouse'}")

    def table(self, name: str) -> Table:
        """A published Iceberg table, as its metadata is now."""
        return self.catalog.load_table(name)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The data columns of a published table, as dictionaries in no particular order."""
        found: pa.Table = self.table(name).scan().to_arrow()
        return found.select([c for c in found.column_names if not c.startswith("_ingest_")]).to_pylist()

    def receipt(self, name: str) -> dict[str, Any]:
        """The receipt that a table carries."""
        parsed: dict[str, Any] = json.loads(self.table(name).properties["ingest.receipt"])
        return parsed

    def events(self) -> list[dict[str, Any]]:
        """All lines of all event logs, oldest run first."""
        files = sorted((self.root / "logs").glob("run-*.jsonl"), key=lambda path: path.stat().st_mtime)
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]
