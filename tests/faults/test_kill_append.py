"""The process group is killed while tables without a key stand in every gap; one rerun makes them right.

Without a key nothing can be mended afterwards: a row that is added twice stays there twice. Each gap has several tables:
rows are only added to one, in another some take the place of others, the third is loaded for the first time, and of a fourth
a window is read again.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.gaps import Hold, Process
from tests.faults.shop import open_batches, query_state
from tests.faults.test_kill import unnamed_files
from tests.lake import Ended, Lake

pytestmark = pytest.mark.timeout(600)

POINTS = ("after-plan", "after-stage", "after-branch", "before-publish", "after-publish")
KINDS = ("added", "tied", "first")
PARTITION = {"partition": [{"column": "at", "transform": "day"}]}

CREATE = """
CREATE TABLE {0} (at TIMESTAMP, page TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO {0} SELECT printf('2026-06-01 10:00:%02d', i), 'page ' || i % 3 FROM n;
INSERT INTO {0} SELECT * FROM {0};
"""
NEW = "INSERT INTO {0} VALUES ('2026-06-02 08:00:00', 'new'), ('2026-06-02 08:00:00', 'new'), ('2026-06-02 09:00:00', 'b');"
TIES = "INSERT INTO {0} VALUES ('2026-06-01 10:00:40', 'tie'), ('2026-06-01 10:00:40', 'tie');"
# While nobody looks: one that ties with the bound of the killed batch, and one above it.
AFTER = "INSERT INTO {0} VALUES ('2026-06-02 09:00:00', 'tie'), ('2026-06-03 00:00:00', 'later');"

Rows = Counter[tuple[Any, ...]]


class Logs:
    """All tables in one file, and their lake."""

    def __init__(self, root: Path, *kinds: str) -> None:
        self.names = {(point, kind): f"{kind}_{point.replace('-', '_')}" for point in POINTS for kind in kinds}
        self._file = root / "web.db"
        cursor = {"mode": "append", "incremental_column": "at", "incr_col_type": "timestamp", "intermediate": PARTITION}
        tables = [{"schema": "shop", "table": name, **cursor} for name in self.names.values()]
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self._file)}, tables)
        self.lake.document["runtime"] |= {"engine": "arrow", "max_parallel_tables": len(self.names)}
        self.lake.save()

    def change(self, script: str, *kinds: str) -> None:
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript("".join(script.format(name) for (_, kind), name in self.names.items() if kind in kinds))

    def source(self, name: str) -> Rows:
        with closing(sqlite3.connect(self._file)) as connection:
            return Counter(connection.execute(f"SELECT at, page FROM {name}").fetchall())

    def target(self, name: str) -> Rows:
        if not self.lake.catalog.table_exists(f"shop.{name}"):
            return Counter()
        return Counter((str(row["at"]), row["page"]) for row in self.lake.rows(f"shop.{name}"))

    def kill(self, *arguments: str) -> None:
        """Run until every table stands in its gap, and kill the process group."""
        holds = [Hold(self.lake.root, point, f"shop.{name}") for (point, _), name in self.names.items()]
        with Process(self.lake.command(*arguments), holds) as process:
            process.wait_until_held()
            process.kill()

    def require_right(self, ended: Ended) -> None:
        """Every target equals its source, row by row and as often; nothing is open, and nothing lies about."""
        assert ended.code == 0, ended.stderr
        for name in self.names.values():
            assert self.target(name) == self.source(name), name
            assert set(self.lake.table(f"shop.{name}").refs()) == {"main", "ingest_last"}
            assert unnamed_files(self.lake, f"shop.{name}") == set()
        assert not open_batches(self.lake)
        assert not list((self.lake.root / "staging").rglob("*.parquet"))


def test_kill_in_every_gap_of_tables_without_a_key(tmp_path: Path) -> None:
    """Before the publish readers see nothing of it, after it all of it; the rerun loses no row and adds none twice."""
    logs = Logs(tmp_path, *KINDS)
    logs.change(CREATE, "added", "tied")
    logs.change("CREATE TABLE {0} (at TIMESTAMP, page TEXT);", "first")
    empty = [{**table} for table in logs.lake.document["tables"]]
    logs.lake.document["tables"] = [table for table in empty if not table["table"].startswith("first")]
    logs.lake.save()
    assert logs.lake.call().code == 0
    logs.lake.document["tables"] = empty
    logs.lake.save()
    loaded = {name: logs.target(name) for name in logs.names.values()}
    logs.change(NEW, *KINDS)
    logs.change(TIES, "tied")
    read = {name: logs.source(name) for name in logs.names.values()}

    logs.kill()

    for (point, _), name in logs.names.items():
        assert logs.target(name) == (read if point == "after-publish" else loaded)[name], name
    logs.change(AFTER, *KINDS)
    logs.require_right(logs.lake.call())

    published = {name: (str(logs.lake.table(f"shop.{name}").metadata_location)) for name in logs.names.values()}
    assert logs.lake.call().code == 0
    assert {name: str(logs.lake.table(f"shop.{name}").metadata_location) for name in logs.names.values()} == published
    sequences = query_state(
        logs.lake, "SELECT table_name, max(sequence), count(DISTINCT sequence) FROM ingestion_watermarks GROUP BY 1"
    )
    assert all(last == many for _, last, many in sequences)


def test_kill_in_every_gap_of_a_window(tmp_path: Path) -> None:
    """What was deleted and added at the source in between arrives once, by the next ordinary run; outside of the window
    everything stays."""
    logs = Logs(tmp_path, "added")
    logs.change(CREATE, "added")
    logs.change(NEW, "added")
    assert logs.lake.call().code == 0
    loaded = {name: logs.target(name) for name in logs.names.values()}
    logs.change("DELETE FROM {0} WHERE page = 'page 1'; INSERT INTO {0} VALUES ('2026-06-01 10:00:07', 'late');", "added")
    read = {name: logs.source(name) for name in logs.names.values()}

    logs.kill("--start-date", "2026-06-01", "--end-date", "2026-06-02")

    for (point, _), name in logs.names.items():
        assert logs.target(name) == (read if point == "after-publish" else loaded)[name], name
    logs.change(AFTER, "added")
    logs.require_right(logs.lake.call())
