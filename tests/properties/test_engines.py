"""Both engines lead to equal tables: random tables and batches through each of them, end to end.

A few tables are read now by one engine and now by the other: what one has written the other must be able to go on with.

``ENGINES_EXAMPLES=20`` looks longer, at stories that were never told before. A story that differs is printed with its
seed; add ``@example(seed=...)`` to keep it.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import catalog_conf
from ingestion_runtime.model.result import RunResult, TableResult
from ingestion_runtime.model.spec import CatalogSpec
from tests.lake import Lake
from tests.servers.postgresql import PostgresDatabase, PostgresServer
from tests.stories import RUNS, Story, tell, tell_log

EXAMPLES = int(os.environ.get("ENGINES_EXAMPLES") or 0)
TABLES = {"postgresql": 5, "sqlite": 3}
FIRST_DAY = date(2026, 7, 1)
SHOWN = 6
# What a receipt says of its own lake: ids, and the digest of a manifest that holds them.
_OWN = frozenset({"batch_id", "previous", "owner", "manifest"})


@dataclass
class World:
    """One lake, and the runs that it has seen."""

    lake: Lake
    session: SparkSession
    runs: dict[str, int] = field(default_factory=dict)

    def run(self, stories: list[Story], engines: Mapping[str, str], number: int, *, last: bool) -> RunResult:
        tables = [{**story.spec, "engine": engines[story.name]} for story in stories]
        self.lake.document["tables"] = tables
        self.lake.save()
        reload = [story.name for story in stories if story.reloads and last]
        result = self.lake.run(self.session, day=FIRST_DAY + timedelta(days=number), reload=reload)
        self.runs[result.run_id] = number
        return result

    def is_published(self, story: Story) -> bool:
        """Whether there are rows to read: a first load that was refused may leave an empty table, or none."""
        catalog = self.lake.catalog
        return catalog.table_exists(story.name) and catalog.load_table(story.name).current_snapshot() is not None

    def picture(self, story: Story) -> dict[str, Any]:
        """All that a reader, and the next run, can see of a table."""
        name = story.name
        if not self.is_published(story):
            return {"table": None}
        table = self.lake.table(name)
        names = {item.field_id: item.name for item in table.schema().fields}
        receipt = self.lake.receipt(name)
        return {
            "columns": [(item.name, str(item.field_type), item.required) for item in table.schema().fields],
            "partition": [(names[item.source_id], str(item.transform)) for item in table.spec().fields],
            "rows": Counter(self._spelled(row) for row in table.scan().to_arrow().to_pylist()),
            "receipt": {key: value for key, value in receipt.items() if key not in _OWN},
            "branches": [ref for ref in table.refs() if ref.startswith("ingest_2")],
        }

    def seen_by_spark(self, story: Story) -> Counter[str]:
        """The rows of a table, by another reader."""
        session = self.session.newSession()
        spec = CatalogSpec("lake", str(self.lake.root / "catalog.db"), str(self.lake.root / "warehouse"))
        for key, value in catalog_conf(spec):
            session.conf.set(key, value)
        name = ".".join(f"`{part}`" for part in ("lake", *story.name.split(".")))
        return Counter(self._spelled(row) for row in session.table(name).toArrow().to_pylist())

    def _spelled(self, row: dict[str, Any]) -> str:
        """A row as text: in which run it was written, and in which of its slices, but not how runs were called."""
        told = dict(row)
        told["_ingest_run_id"] = self.runs[row["_ingest_run_id"]]
        told["_ingest_slice"] = row["_ingest_slice"].rpartition("/")[2]
        loaded = told.pop("_ingest_loaded_at")
        if row.get("_ingest_deleted_at") is not None:
            told["_ingest_deleted_at"] = "when it was written" if row["_ingest_deleted_at"] == loaded else "else"
        return str({name: value.hex() if isinstance(value, float) else value for name, value in told.items()})


def ending(result: TableResult) -> dict[str, Any]:
    """How a table ended, without the time it took."""
    failure = result.failure
    told = {name: getattr(result, name) for name in ("status", "rows_read", "rows_written", "rows_deleted", "duplicates")}
    told |= {name: getattr(result, name) for name in ("quarantined", "slices", "watermark")}
    return {**told, "failure": None if failure is None else (failure.type, failure.exit_code)}


@dataclass
class Sources:
    """The databases that both lakes read."""

    server: PostgresDatabase
    file: Path

    def change(self, stories: list[Story], number: int) -> None:
        for story in stories:
            if story.spec["connection"] == "postgresql":
                self.server.psql(f"SET timezone = 'UTC'; {story.chapters[number]}")
            else:
                with closing(sqlite3.connect(self.file)) as connection:
                    connection.executescript(story.chapters[number])

    def lake(self, root: Path) -> Lake:
        root.mkdir()
        (root / "password").write_text(f"{self.server.password}\n")
        login = {"user": self.server.user, "password": "${file:password}", "database": self.server.database}
        lake = Lake(root, {}, [])
        lake.document["connections"] = {
            "postgresql": {
                "dialect": "postgresql",
                "host": self.server.host,
                "port": self.server.port,
                "horizon": "off",
                **login,
            },
            "sqlite": {"dialect": "sqlite", "database": str(self.file)},
        }
        return lake


def differences(story: Story, spark: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between two pictures of a table."""
    said = []
    for name in spark.keys() | other.keys():
        one, two = spark.get(name), other.get(name)
        if one == two:
            continue
        if isinstance(one, Counter) and isinstance(two, Counter):
            said += [f"{story.name}: only with spark: {row}" for row in list((one - two).elements())[:SHOWN]]
            said += [f"{story.name}: only with arrow: {row}" for row in list((two - one).elements())[:SHOWN]]
        else:
            said.append(f"{story.name}: {name} with spark: {one}, with arrow: {two}")
    return said


def follow(stories: list[Story], sources: Sources, spark: World, other: World) -> None:
    """Let both lakes follow the sources; after every run they must be equal."""
    for number in range(RUNS + 1):
        if number < RUNS:
            sources.change(stories, number)
        # The last run finds nothing new, on the day of the one before.
        day, last = min(number, RUNS - 1), number == RUNS - 1
        results = [
            world.run(stories, engines, day, last=last)
            for world, engines in (
                (spark, dict.fromkeys((story.name for story in stories), "spark")),
                (other, {story.name: story.engines[day] for story in stories}),
            )
        ]
        ended = [{table.table: table for table in result.tables} for result in results]
        for story in stories:
            one, two = (found[story.name] for found in ended)
            said = differences(story, ending(one), ending(two))
            said += differences(story, spark.picture(story), other.picture(story))
            why = [table.failure.message for table in (one, two) if table.failure]
            assert not said, f"run {number}:\n" + "\n".join([*said, *why, str(story)])


@pytest.mark.timeout(3600 if EXAMPLES else 600)
@settings(
    max_examples=EXAMPLES or 1,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    # No shrinking: a story is short, and every attempt would take half a minute.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_tables_and_batches_end_equal_under_both_engines(
    seed: int, postgres_server: PostgresServer, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows to the bit, types, nullability, partitions, watermarks and receipts; which rows were written in which run, and
    how every run ended. Spark reads the same from the tables."""
    root = tmp_path_factory.mktemp("engines")
    database = postgres_server.create_database()
    schemas = {"postgresql": "public", "sqlite": "main"}
    stories = [
        tell(f"{dialect[0]}{number}", dialect, schemas[dialect], seed)
        for dialect, many in TABLES.items()
        for number in range(many)
    ]
    stories += [tell_log(f"log_{dialect}", dialect, schemas[dialect], seed) for dialect in TABLES]
    sources = Sources(database, root / "source.db")
    worlds = [World(sources.lake(root / name), spark) for name in ("spark", "arrow")]
    try:
        follow(stories, sources, *worlds)
        for story in stories:
            if worlds[1].is_published(story):
                said = differences(
                    story, {"rows": worlds[1].picture(story)["rows"]}, {"rows": worlds[1].seen_by_spark(story)}
                )
                assert not said, "\n".join(["Spark reads other rows than pyiceberg:", *said, str(story)])
    finally:
        postgres_server.drop_database(database.database)
