"""Random tables through random nights, staged now by one engine and now by the other: raw adds up to each of them.

``REBUILD_EXAMPLES=20`` looks longer, at stories that were never told before; what differs is printed with its seed.
"""

import os
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import SystemRandom

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import Mode
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.maintenance.running import run as maintain
from ingestion_runtime.provenance.replay import UnprovableError
from tests.lake import Lake
from tests.replayed import published, replayed
from tests.stories import RUNS, Story, tell, tell_log

EXAMPLES = int(os.environ.get("REBUILD_EXAMPLES") or 0)
FIRST_DAY = date(2026, 7, 1)


class Nights:
    """A lake over an SQLite source, and stories that befall its tables."""

    def __init__(self, root: Path, seed: int, spark: SparkSession) -> None:
        self.stories = [*(tell(f"t{n}", "sqlite", "s", seed) for n in range(3)), tell_log("log", "sqlite", "s", seed)]
        self._file = root / "source.db"
        self._spark = spark
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self._file)}, [])

    def pass_by(self, number: int) -> None:
        """Let one chapter of each story happen, and run."""
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript("".join(story.chapters[number] for story in self.stories))
        tables = [{**story.spec, "connection": "source", "engine": story.engines[number]} for story in self.stories]
        self.lake.document["tables"] = tables
        self.lake.save()
        self.lake.run(self._spark, day=FIRST_DAY + timedelta(days=number))

    def published(self) -> list[Story]:
        """The stories whose tables have rows to be read: a first load may have been refused."""
        catalog = self.lake.catalog
        names = [story for story in self.stories if catalog.table_exists(story.name)]
        return [story for story in names if catalog.load_table(story.name).current_snapshot() is not None]

    def require_equal(self, story: Story) -> None:
        """Fail where raw adds up to something else; only columns that were kept may make that impossible to say."""
        try:
            found = replayed(self.lake, story.name)
        except UnprovableError:
            assert story.spec["schema_policy"]["dropped"] == "ignore", str(story)
        else:
            assert found == published(self.lake, story.name), str(story)


SEEDS = [SystemRandom().randrange(10**9) for _ in range(EXAMPLES)] if EXAMPLES else [3]


@pytest.mark.parametrize("seed", SEEDS)
def test_raw_adds_up_to_every_table(seed: int, tmp_path: Path, spark: SparkSession) -> None:
    """After every night, whichever engine staged it; and the rebuilt tables are the very same."""
    nights = Nights(tmp_path, seed, spark)
    for number in range(RUNS):
        nights.pass_by(number)
        for story in nights.published():
            nights.require_equal(story)
    before = {story.name: published(nights.lake, story.name) for story in nights.published()}
    assert len(before) > 1

    configuration = open_configuration(nights.lake.path)
    report = maintain(MaintenanceRequest(configuration, configuration.tables, Mode.REBUILD), {})

    failures = {table.table: table.error.type for table in report.tables if table.error}
    assert set(failures.values()) <= {"UnprovableError"}, failures
    assert {name: published(nights.lake, name) for name in before} == before
