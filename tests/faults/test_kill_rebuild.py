"""The process group is killed while tables are rebuilt from raw, one in each gap between two durable effects.

Before the commit readers have the old table, after it the new one; nothing in between. Whatever comes next makes everything
right: another rebuild, or an ordinary run.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import Mode, Status
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.maintenance.running import run as maintain
from tests.faults.gaps import Hold, Process
from tests.faults.shop import open_batches
from tests.faults.test_kill import unnamed_files
from tests.lake import Lake
from tests.replayed import chain_of, published

pytestmark = pytest.mark.timeout(600)

BEFORE = ("after-plan", "after-stage", "rebuild-kept", "before-publish")
AFTER = ("after-publish", "rebuild-recorded")
SPEC = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "at", "incr_col_type": "timestamp", "deletes": "soft"}
CREATE = """
CREATE TABLE {0} (id INTEGER PRIMARY KEY, note TEXT, at TIMESTAMP);
INSERT INTO {0} VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-01 10:00:01'), (3, 'c', '2026-06-01 10:00:02');
"""
CHANGE = "UPDATE {0} SET note = 'z', at = '2026-06-02 10:00:00' WHERE id = 1; DELETE FROM {0} WHERE id = 2;"
NEW = "INSERT INTO {0} VALUES (4, 'd', '2026-06-03 10:00:00');"


class Tables:
    """A table for each gap, and their lake."""

    def __init__(self, root: Path) -> None:
        self.names = {point: point.replace("-", "_") for point in (*BEFORE, *AFTER)}
        self._file = root / "shop.db"
        tables = [{"schema": "shop", "table": name, **SPEC, "max_delete_fraction": 1} for name in self.names.values()]
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self._file)}, tables)
        self.lake.document["runtime"] |= {"engine": "arrow", "max_parallel_tables": len(self.names)}
        self.lake.save()

    def ingest(self, script: str) -> None:
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript("".join(script.format(name) for name in self.names.values()))
        result = self.lake.run(None)
        assert result.exit_code == 0, [table.failure for table in result.tables if table.failure]

    def kill_rebuild(self) -> None:
        """Rebuild until every table stands in its gap, and kill the process group."""
        holds = [Hold(self.lake.root, point, f"shop.{name}") for point, name in self.names.items()]
        with Process(self.lake.command("--maintenance-mode", "rebuild-from-raw"), holds) as process:
            process.wait_until_held()
            process.kill()

    def rebuild(self) -> None:
        configuration = open_configuration(self.lake.path)
        report = maintain(MaintenanceRequest(configuration, configuration.tables, Mode.REBUILD), {})
        assert {table.status for table in report.tables} == {Status.APPLIED}, [table.error for table in report.tables]

    def snapshots(self) -> dict[str, int | None]:
        return {name: self.lake.table(f"shop.{name}").metadata.current_snapshot_id for name in self.names.values()}

    def require_tidy(self) -> None:
        """Nothing is open, lies about, or is held back by a name; every batch in raw is published or given up."""
        assert not open_batches(self.lake)
        for name in self.names.values():
            assert set(self.lake.table(f"shop.{name}").refs()) == {"main", "ingest_last"}
            assert unnamed_files(self.lake, f"shop.{name}") == set()
            chain = chain_of(self.lake, f"shop.{name}")
            assert (chain.gaps, chain.unreadable) == ((), ())
            assert {link.state.value for link in chain.loose} <= {"abandoned"}


def test_a_rebuild_that_is_killed_leaves_the_old_table_or_the_new_one(tmp_path: Path) -> None:
    """In every gap; then the next rebuild works as if nothing had happened, and an ordinary run after the next kill."""
    tables = Tables(tmp_path)
    tables.ingest(CREATE)
    tables.ingest(CHANGE)
    rows = {name: published(tables.lake, f"shop.{name}") for name in tables.names.values()}
    stood = tables.snapshots()

    tables.kill_rebuild()

    now = tables.snapshots()
    assert {point: now[name] == stood[name] for point, name in tables.names.items()} == {
        **dict.fromkeys(BEFORE, True),
        **dict.fromkeys(AFTER, False),
    }
    assert {name: published(tables.lake, f"shop.{name}") for name in rows} == rows
    tables.rebuild()
    assert {name: published(tables.lake, f"shop.{name}") for name in rows} == rows
    tables.require_tidy()

    for path in tmp_path.glob("*.reached"):
        path.unlink()
    tables.kill_rebuild()
    tables.ingest(NEW)
    for name in tables.names.values():
        found = {row["id"]: row["note"] for row in tables.lake.rows(f"shop.{name}")}
        assert found == {1: "z", 2: "b", 3: "c", 4: "d"}, name
        assert {link.batch_id for link in chain_of(tables.lake, f"shop.{name}").links} >= {
            tables.lake.receipt(f"shop.{name}")["batch_id"]
        }
    tables.rebuild()
    tables.require_tidy()
