"""Nights in the life of tables: full refresh and scd1 from a SQLite file into the lake, as users run them."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from tests.lake import Lake

FIRST, SECOND = date(2026, 7, 1), date(2026, 7, 2)
FAILING = {"INGESTION_FAILPOINTS": "before-publish=fail"}
DONE, UNCHANGED, SKIPPED, FAILED = TableStatus.DONE, TableStatus.UNCHANGED, TableStatus.SKIPPED, TableStatus.FAILED


def full(table: str, **changes: Any) -> dict[str, Any]:
    return {"schema": "shop", "table": table, "mode": "full", **changes}


def scd1(table: str, kind: str = "timestamp", **changes: Any) -> dict[str, Any]:
    incremental = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "at", "incr_col_type": kind}
    return {"schema": "shop", "table": table, **incremental, **changes}


class Story:
    """A source file and the lake it is ingested into."""

    def __init__(self, root: Path, spark: SparkSession, script: str, tables: Sequence[Mapping[str, Any]]) -> None:
        self.root = root
        self.shop = root / "shop.db"
        self.change(script)
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self.shop)}, tables)
        self._spark = spark

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self.shop)) as connection:
            connection.executescript(script)

    def source(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.shop)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def run(self, day: date = FIRST, reload: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> RunResult:
        return self.lake.run(self._spark, day=day, reload=reload, environment=environment)

    def night(self, day: date = FIRST, **options: Any) -> TableResult:
        """Run a lake of one table."""
        (result,) = self.run(day, **options).tables
        return result

    def rows(self, table: str) -> list[dict[str, Any]]:
        return sorted(self.lake.rows(f"shop.{table}"), key=lambda row: row["id"])

    def exists(self, table: str) -> bool:
        return self.lake.catalog.table_exists(f"shop.{table}")

    def location(self, table: str) -> str:
        return str(self.lake.table(f"shop.{table}").metadata_location)

    def history(self, table: str) -> int:
        """How many snapshots readers of the table have seen."""
        return len(self.lake.table(f"shop.{table}").history())

    def final(self, table: str) -> list[dict[str, Any]]:
        found = ds.dataset(self.root / "final/shop" / table, format="parquet").to_table()
        names = [name for name in found.column_names if not name.startswith("_ingest_")]
        return sorted(found.select(names).to_pylist(), key=lambda row: row["id"])

    def raw_batches(self, table: str) -> list[Path]:
        return sorted((self.root / "raw/shop" / table).glob("load_date=*/batch=*"))

    def phases(self, table: str) -> list[str]:
        """The phase marks in the state, in the order in which they were written."""
        query = "SELECT phase, status FROM ingestion_events WHERE table_name = ? AND phase <> 'event' ORDER BY id"
        with closing(sqlite3.connect(self.root / "state.db")) as state:
            return [f"{phase} {status}" for phase, status in state.execute(query, (table,))]

    def told(self, event: str, table: str) -> list[dict[str, Any]]:
        return [line for line in self.lake.events() if line["event"] == event and line.get("table") == f"shop.{table}"]


# ---------------------------------------------------------------- full refresh

STORES = """
CREATE TABLE stores (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO stores VALUES (1, 'north'), (2, NULL);
"""
NEW_STORES = "DELETE FROM stores WHERE id = 1; INSERT INTO stores VALUES (3, 'south');"


@dataclass
class FullNights:
    """A table into Iceberg and a table into Parquet: two days, each run twice, and what stood after every run."""

    story: Story
    results: list[dict[str, TableResult]]
    rows: list[list[dict[str, Any]]]
    final: list[list[dict[str, Any]]]
    locations: list[str]
    sources: list[list[dict[str, Any]]]


@pytest.fixture(scope="module")
def full_nights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FullNights:
    tables = [full("stores", primary_keys=["id"]), full("plain", sink="parquet", query_sql="SELECT * FROM stores")]
    story = Story(tmp_path_factory.mktemp("full"), spark, STORES, tables)
    nights = FullNights(story, [], [], [], [], [])
    for day, change in ((FIRST, ""), (FIRST, NEW_STORES), (SECOND, ""), (SECOND, "")):
        story.change(change)
        result = story.run(day)
        assert result.exit_code == 0
        nights.results.append({table.table: table for table in result.tables})
        nights.rows.append(story.rows("stores"))
        nights.final.append(story.final("plain"))
        nights.locations.append(story.location("stores"))
        nights.sources.append(story.source("SELECT * FROM stores ORDER BY id"))
    return nights


def test_a_full_refresh_equals_its_source_once_a_load_date(full_nights: FullNights) -> None:
    """Into Iceberg and into Parquet: rows that went at the source are gone with the next load date, and not before."""
    first, changed = full_nights.sources[0], full_nights.sources[1]
    assert changed == [{"id": 2, "name": None}, {"id": 3, "name": "south"}]

    assert full_nights.rows == [first, first, changed, changed]
    assert full_nights.final == [first, first, changed, changed]


@pytest.mark.parametrize("table", ["shop.stores", "shop.plain"])
def test_a_load_date_that_is_done_is_skipped(full_nights: FullNights, table: str) -> None:
    """Zero rows are read, and nothing is written."""
    runs = [results[table] for results in full_nights.results]

    assert [run.status for run in runs] == [DONE, SKIPPED, DONE, SKIPPED]
    assert [(run.rows_read, run.rows_written) for run in runs] == [(2, 2), (0, 0), (2, 2), (0, 0)]


def test_a_skipped_full_refresh_commits_nothing(full_nights: FullNights) -> None:
    """The table's metadata stands where the last publish left it."""
    first, idle, second, idle_again = full_nights.locations

    assert first == idle
    assert second == idle_again
    assert first != second


@pytest.mark.parametrize("table", ["stores", "plain"])
def test_the_phases_of_a_full_refresh_are_recorded_in_order(full_nights: FullNights, table: str) -> None:
    """Raw first, then finalize, each started and ended, once a load date; the skipped runs add none."""
    a_day = ["raw started", "raw success", "finalize started", "finalize success"]

    assert full_nights.story.phases(table) == a_day * 2


def test_a_published_full_refresh_stays_in_raw_and_leaves_no_staging(full_nights: FullNights) -> None:
    """One batch a load date, marked as published, with the rows that were published."""
    story = full_nights.story

    batches = story.raw_batches("stores")

    assert [batch.parent.name for batch in batches] == ["load_date=2026-07-01", "load_date=2026-07-02"]
    for batch, source in zip(batches, (full_nights.sources[0], full_nights.sources[2]), strict=True):
        assert (batch / "_PUBLISHED").exists()
        assert ds.dataset(batch, format="parquet").to_table(columns=["id", "name"]).sort_by("id").to_pylist() == source
    assert not list((story.root / "staging").rglob("*.parquet"))


@pytest.fixture
def stores(spark: SparkSession, tmp_path: Path) -> Story:
    """A lake of one full table, not run yet."""
    return Story(tmp_path, spark, STORES, [full("stores", primary_keys=["id"])])


def test_raw_alone_completes_the_day_where_nothing_is_finalized(stores: Story) -> None:
    """finalize_full_refresh false: the batch is in raw, no table is made, and the same day is skipped."""
    stores.lake.document["runtime"]["finalize_full_refresh"] = False
    stores.lake.save()

    first, again = stores.night(), stores.night()

    assert (first.status, first.rows_written) == (DONE, 2)
    assert (again.status, again.rows_read) == (SKIPPED, 0)
    assert stores.phases("stores") == ["raw started", "raw success"]
    (batch,) = stores.raw_batches("stores")
    assert ds.dataset(batch, format="parquet").count_rows() == 2
    assert not stores.exists("stores")


def test_a_failed_finalize_is_finished_without_reading_again(stores: Story) -> None:
    """What raw holds is published by the rerun, although the source has moved on; a reload then reads the day anew."""
    snapshot = stores.source("SELECT * FROM stores ORDER BY id")
    failed = stores.night(environment=FAILING)
    stores.change(NEW_STORES)

    rerun = stores.night()

    assert (failed.status, rerun.status) == (FAILED, DONE)
    assert stores.rows("stores") == snapshot
    assert stores.phases("stores") == [
        "raw started",
        "raw success",
        "finalize started",
        "finalize failed",
        "finalize started",
        "finalize success",
    ]
    assert len(stores.raw_batches("stores")) == 1
    assert stores.night(reload=["shop.stores"]).status is DONE
    assert stores.rows("stores") == stores.source("SELECT * FROM stores ORDER BY id")


def test_a_raw_phase_older_than_the_receipt_does_not_finalize(stores: Story) -> None:
    """Another state database has published since: the old raw batch is given up, and the newer rows stand."""
    stores.night(environment=FAILING)
    stores.change(NEW_STORES)
    state = stores.lake.document["runtime"]["state"]
    mine = state["database"]
    state["database"] = str(stores.root / "other-state.db")
    stores.lake.save()
    assert stores.night().status is DONE
    state["database"] = mine
    stores.lake.save()
    location = stores.location("stores")

    late = stores.night()

    assert late.status is SKIPPED
    assert stores.location("stores") == location
    assert stores.rows("stores") == stores.source("SELECT * FROM stores ORDER BY id")
    outcomes = {(batch / "_ABANDONED").exists() for batch in stores.raw_batches("stores")}
    assert outcomes == {True, False}


# ---------------------------------------------------------------- scd1

SOURCES = """
CREATE TABLE moments (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO moments VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-02 10:00:00.5');
CREATE TABLE days (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO days VALUES (1, 'a', '2026-06-01'), (2, 'b', '2026-06-02');
CREATE TABLE seconds (id INTEGER PRIMARY KEY, v TEXT, at INTEGER);
INSERT INTO seconds VALUES (1, 'a', 1780300000), (2, 'b', 1780300001);
CREATE TABLE millis (id INTEGER PRIMARY KEY, v TEXT, at INTEGER);
INSERT INTO millis VALUES (1, 'a', 1780300000000), (2, 'b', 1780300000001);
CREATE TABLE counted (id INTEGER PRIMARY KEY, v TEXT, at INTEGER);
INSERT INTO counted VALUES (1, 'a', -5), (2, 'b', 7);
CREATE TABLE codes (id INTEGER PRIMARY KEY, v TEXT, at TEXT COLLATE NOCASE);
INSERT INTO codes VALUES (1, 'a', 'A'), (2, 'b', 'b');

CREATE TABLE ties (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO ties VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-02 10:00:00');
CREATE TABLE late (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO late VALUES (1, 'a', '2026-06-02 09:30:00'), (2, 'b', '2026-06-02 10:00:00');
CREATE TABLE erased (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO erased VALUES (1, 'a', '2026-06-02 10:00:00'), (2, 'b', '2026-06-02 10:00:00');
CREATE TABLE nulls (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO nulls VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', NULL), (3, 'c', NULL);
CREATE TABLE future (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO future VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2099-01-01 00:00:00');
CREATE TABLE growing (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
CREATE TABLE holes (id INTEGER, v TEXT, at TEXT);
INSERT INTO holes VALUES (1, 'a', '2026-06-01 10:00:00'), (NULL, 'b', '2026-06-01 10:00:00');
INSERT INTO holes VALUES (3, 'c', '2026-06-01 10:00:00');
CREATE TABLE shared (id INTEGER PRIMARY KEY, v TEXT, at TEXT, kind TEXT);
INSERT INTO shared VALUES (1, 'a', '2026-06-01 10:00:00', 'x'), (2, 'b', '2026-06-01 10:00:00', 'y');
"""
CHANGES = """
UPDATE moments SET v = 'changed', at = '2026-06-02 10:00:00.500001' WHERE id = 1;
INSERT INTO moments VALUES (3, 'late', '2026-06-02 10:00:00'), (4, 'new', '2026-06-03 00:00:00');
UPDATE days SET v = 'changed', at = '2026-06-03' WHERE id = 1;
INSERT INTO days VALUES (3, 'late', '2026-06-01'), (4, 'new', '2026-06-04');
UPDATE seconds SET v = 'changed', at = 1780300002 WHERE id = 1;
INSERT INTO seconds VALUES (3, 'late', 1780300000), (4, 'new', 1780300003);
UPDATE millis SET v = 'changed', at = 1780300000002 WHERE id = 1;
INSERT INTO millis VALUES (3, 'late', 1780300000000), (4, 'new', 1780300000003);
UPDATE counted SET v = 'changed', at = 9 WHERE id = 1;
INSERT INTO counted VALUES (3, 'late', 6), (4, 'new', 10);
UPDATE codes SET v = 'changed', at = 'C' WHERE id = 1;
INSERT INTO codes VALUES (3, 'late', 'a'), (4, 'new', 'd');

INSERT INTO ties VALUES (3, 'tie', '2026-06-02 10:00:00'), (4, 'late', '2026-06-02 09:59:59.999999');
INSERT INTO late VALUES (3, 'in the window', '2026-06-02 09:00:00'), (4, 'before it', '2026-06-02 08:59:59.999999');
UPDATE late SET v = 'moved', at = '2026-06-02 09:31:00' WHERE id = 1;
DELETE FROM erased WHERE id = 2;
UPDATE nulls SET v = 'changed' WHERE id = 2;
UPDATE future SET at = '2026-06-03 10:00:00' WHERE id = 2;
INSERT INTO growing VALUES (1, 'first', '2026-06-01 10:00:00');
INSERT INTO shared VALUES (3, 'c', '2026-06-02 10:00:00', 'x'), (4, 'd', '2026-06-02 10:00:00', 'y');
"""
TABLES = [
    scd1("moments"),
    scd1("days", "date"),
    scd1("seconds", "epoch_seconds"),
    scd1("millis", "epoch_millis"),
    scd1("counted", "int", initial_watermark=-10),
    scd1("codes", "text"),
    scd1("ties"),
    scd1("late", lag_seconds=3600),
    scd1("erased"),
    scd1("nulls"),
    scd1("nulls_ignored", query_sql="SELECT * FROM nulls", null_cursor="ignore"),
    scd1("future"),
    scd1("growing"),
    scd1("holes", null_keys="quarantine"),
    scd1("refused", query_sql="SELECT * FROM holes"),
    scd1("queried", query_sql="SELECT id, upper(v) AS v, at FROM shared WHERE kind = 'x'"),
    scd1("shared", source_filter=["kind = 'y'", "id > 0"]),
]


@dataclass
class Scd1Nights:
    """All tables: the first load, the night after the changes, and a night without any."""

    story: Story
    runs: list[RunResult]
    rows: list[dict[str, list[dict[str, Any]]]]
    locations: list[dict[str, str]]
    began: datetime

    def results(self, table: str) -> list[TableResult]:
        return [next(t for t in run.tables if t.table == f"shop.{table}") for run in self.runs]

    def ids(self, table: str) -> list[list[int]]:
        return [[row["id"] for row in night[table]] for night in self.rows]


@pytest.fixture(scope="module")
def nights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Scd1Nights:
    story = Story(tmp_path_factory.mktemp("scd1"), spark, SOURCES, TABLES)
    found = Scd1Nights(story, [], [], [], datetime.now(UTC))
    names = [table["table"] for table in TABLES if table["table"] != "refused"]
    for change in ("", CHANGES, ""):
        story.change(change)
        found.runs.append(story.run())
        found.rows.append({name: story.rows(name) for name in names})
        found.locations.append({name: story.location(name) for name in names})
    return found


BY_TYPE = [
    ("moments", "2026-06-02 10:00:00.500000", "2026-06-03 00:00:00.000000"),
    ("days", "2026-06-02", "2026-06-04"),
    ("seconds", "1780300001", "1780300003"),
    ("millis", "1780300000001", "1780300000003"),
    ("counted", "7", "10"),
    ("codes", "b", "d"),
]


@pytest.mark.parametrize(("table", "first", "second"), BY_TYPE, ids=[case[0] for case in BY_TYPE])
def test_every_type_of_cursor_advances_a_table(nights: Scd1Nights, table: str, first: str, second: str) -> None:
    """New and changed rows above the watermark are merged, nothing below it is read, and the watermark is the newest.

    The text cursor follows its collation at the source, where "C" lies above "b"; byte by byte it would not.
    """
    results = nights.results(table)

    assert [result.status for result in results] == [DONE, DONE, UNCHANGED]
    assert [result.watermark for result in results] == [first, second, second]
    # Of the second night: the two rows above the watermark. The row that came late lies below it.
    assert nights.ids(table) == [[1, 2], [1, 2, 4], [1, 2, 4]]
    wanted = nights.story.source(f"SELECT * FROM {table} WHERE v <> 'late' ORDER BY id")
    assert nights.rows[1][table] == wanted
    assert nights.story.lake.receipt(f"shop.{table}")["watermark"]["literal"] == second


def test_a_night_without_news_reads_and_commits_nothing(nights: Scd1Nights) -> None:
    """Every table, lag window or not: unchanged, no row read, its metadata where it was."""
    tables = [result for result in nights.runs[2].tables if result.status is not FAILED]

    assert {result.status for result in tables} == {UNCHANGED}
    assert {(result.rows_read, result.slices) for result in tables} == {(0, 0)}
    assert nights.locations[2] == nights.locations[1]


def test_ties_that_arrive_later_are_taken(nights: Scd1Nights) -> None:
    """A row with the very value of the watermark is read in the next night; one a microsecond older is not."""
    assert nights.ids("ties") == [[1, 2], [1, 2, 3], [1, 2, 3]]
    assert nights.results("ties")[1].watermark == "2026-06-02 10:00:00.000000"


def test_late_rows_within_the_lag_are_taken(nights: Scd1Nights) -> None:
    """An hour below the watermark counts, its first moment included; older rows do not. The watermark never goes back."""
    rows = {row["id"]: row["v"] for row in nights.rows[1]["late"]}

    assert rows == {1: "moved", 2: "b", 3: "in the window"}
    assert [result.watermark for result in nights.results("late")] == ["2026-06-02 10:00:00.000000"] * 3


def test_a_window_that_is_read_and_holds_nothing_new_makes_no_snapshot(nights: Scd1Nights) -> None:
    """A row vanished from the ties: the others are read once more, nothing differs, and no later night reads them again."""
    _, second, third = nights.results("erased")

    assert (second.status, second.rows_read, second.rows_written) == (UNCHANGED, 1, 0)
    assert (third.status, third.rows_read) == (UNCHANGED, 0)
    assert nights.ids("erased") == [[1, 2], [1, 2], [1, 2]]
    assert nights.story.history("erased") == 1
    assert set(nights.story.lake.table("shop.erased").metadata.refs) == {"main", "ingest_last"}


def test_rows_without_a_cursor_are_read_and_read_again(nights: Scd1Nights) -> None:
    """The default policy: they belong to what is looked at every night, and a change in them is noticed."""
    assert [[row["v"] for row in night["nulls"]] for night in nights.rows] == [
        ["a", "b", "c"],
        ["a", "changed", "c"],
        ["a", "changed", "c"],
    ]
    assert [line["rows"] for line in nights.story.told("null_cursor_rows", "nulls")] == [2, 2, 2]
    assert nights.story.told("null_cursor_rows", "nulls")[0]["policy"] == "read"


def test_rows_without_a_cursor_may_be_ignored(nights: Scd1Nights) -> None:
    """They are counted, and that is all."""
    assert nights.ids("nulls_ignored") == [[1], [1], [1]]
    told = nights.story.told("null_cursor_rows", "nulls_ignored")
    assert [(line["rows"], line["policy"]) for line in told] == [(2, "ignore")] * 3


def test_rows_beyond_now_wait_for_their_time(nights: Scd1Nights) -> None:
    """A row from 2099 is counted, not read, and does not become the watermark; corrected, it is read."""
    results = nights.results("future")

    assert [result.watermark for result in results[:2]] == ["2026-06-01 10:00:00.000000", "2026-06-03 10:00:00.000000"]
    assert nights.ids("future") == [[1], [1, 2], [1, 2]]
    assert [line["rows"] for line in nights.story.told("rows_beyond_now", "future")] == [1]


def test_an_empty_source_makes_an_empty_table_that_then_fills(nights: Scd1Nights) -> None:
    """The columns are there from the first night on; the first row is taken when it comes."""
    assert nights.ids("growing") == [[], [1], [1]]
    assert [result.rows_written for result in nights.results("growing")] == [0, 1, 0]
    assert {"id", "v", "at"} <= {field.name for field in nights.story.lake.table("shop.growing").schema().fields}


def test_rows_without_a_key_are_set_aside_or_refused(nights: Scd1Nights) -> None:
    """By policy: whole rows beside raw, counted, and the rest published; or the table is refused and does not exist."""
    aside, refused = nights.results("holes")[0], nights.results("refused")[0]

    assert (aside.status, aside.rows_read, aside.rows_written, aside.quarantined) == (DONE, 3, 2, 1)
    assert nights.ids("holes")[0] == [1, 3]
    quarantine = nights.story.root / "raw/shop/holes/_quarantine"
    found = [ds.dataset(batch, format="parquet").to_table() for batch in quarantine.glob("load_date=*/batch=*")]
    assert [(row["id"], row["v"]) for table in found for row in table.to_pylist()] == [(None, "b")]
    assert refused.status is FAILED
    assert refused.failure is not None
    assert "1 rows have a NULL in the primary key (id)" in refused.failure.message
    assert not nights.story.exists("refused")
    assert [run.exit_code for run in nights.runs] == [1, 1, 1]


def test_a_query_is_a_table_like_any_other(nights: Scd1Nights) -> None:
    """query_sql is read by watermark, its own conditions included."""
    assert [[(row["id"], row["v"]) for row in night["queried"]] for night in nights.rows[:2]] == [
        [(1, "A")],
        [(1, "A"), (3, "C")],
    ]


def test_a_filter_keeps_rows_at_the_source(nights: Scd1Nights) -> None:
    """Every expression of source_filter holds for every row, in the first load and later; others are not even read."""
    assert nights.ids("shared") == [[2], [2, 4], [2, 4]]
    assert nights.results("shared")[0].rows_read == 1


def test_every_row_carries_where_it_came_from(nights: Scd1Nights) -> None:
    """Run, load date, moment, source and slice; a row that was not written again keeps those of its own night."""
    first, second, _ = nights.runs
    found = {row["id"]: row for row in nights.story.lake.table("shop.moments").scan().to_arrow().to_pylist()}

    assert {key: row["_ingest_run_id"] for key, row in found.items()} == {
        1: second.run_id,
        2: first.run_id,
        4: second.run_id,
    }
    batch = nights.story.lake.receipt("shop.moments")["batch_id"]
    assert found[4]["_ingest_slice"].startswith(f"{batch}/")
    for row in found.values():
        assert row["_ingest_load_date"] == FIRST
        assert row["_ingest_source"] == "source"
        assert nights.began <= row["_ingest_loaded_at"] <= datetime.now(UTC)


def test_the_phases_of_scd1_are_recorded_in_order(nights: Scd1Nights) -> None:
    """A batch is started, merged, in raw, and moves the watermark; a night without news records none of it."""
    a_night = ["intermediate started", "intermediate success", "raw success", "watermark success"]

    assert nights.story.phases("moments") == a_night * 2


HISTORY = """
CREATE TABLE readings (id INTEGER, v TEXT, at INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO readings SELECT i % 23, 'v' || i, i FROM n;
"""
NEWEST = "SELECT id, v, max(at) AS at FROM readings GROUP BY id ORDER BY id"


def test_many_slices_give_the_rows_of_one(spark: SparkSession, tmp_path: Path) -> None:
    """Keys that occur in several slices keep their newest row; what lost is counted."""
    story = Story(tmp_path, spark, HISTORY, [scd1("readings", "int", initial_watermark=0)])
    story.lake.document["runtime"]["scd1_slicing"] = {"max_count": 10, "target_rows_per_slice": 15, "max_partitions": 8}
    story.lake.save()

    result = story.night()

    assert (result.slices, result.rows_read, result.rows_written, result.duplicates) == (4, 60, 23, 37)
    assert story.rows("readings") == story.source(NEWEST)
    assert result.watermark == "60"


ORDERS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, at TEXT);
INSERT INTO orders VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-02 10:00:00');
"""


@pytest.fixture
def orders(spark: SparkSession, tmp_path: Path) -> Story:
    """A lake of one scd1 table, loaded once; then a row vanished at the source and an old one changed unnoticed."""
    story = Story(tmp_path, spark, ORDERS, [scd1("orders")])
    assert story.night().status is DONE
    story.change("DELETE FROM orders WHERE id = 2; UPDATE orders SET v = 'corrected' WHERE id = 1;")
    return story


def test_a_reload_replaces_the_target_in_one_publish(orders: Story) -> None:
    """Until it is published the old rows and the old watermark stand; then deleted rows are gone and the rest is equal."""
    old_rows, old_receipt = orders.rows("orders"), orders.lake.receipt("shop.orders")

    failed = orders.night(reload=["shop.orders"], environment=FAILING)

    assert failed.status is FAILED
    assert orders.rows("orders") == old_rows
    assert orders.lake.receipt("shop.orders") == old_receipt
    versions = orders.history("orders")

    reloaded = orders.night(reload=["shop.orders"])

    assert (reloaded.status, reloaded.rows_read) == (DONE, 1)
    assert orders.rows("orders") == orders.source("SELECT * FROM orders")
    assert orders.history("orders") == versions + 1
    assert reloaded.watermark == "2026-06-01 10:00:00.000000"
    assert orders.night().status is UNCHANGED


def test_a_reload_of_an_emptied_source_empties_the_target(orders: Story) -> None:
    """It starts over at the initial watermark, so that whatever comes next is taken, however old."""
    orders.change("DELETE FROM orders")

    emptied = orders.night(reload=["shop.orders"])

    assert emptied.status is DONE
    assert orders.rows("orders") == []
    orders.change("INSERT INTO orders VALUES (7, 'old', '1999-12-31 23:59:59')")
    assert orders.night().status is DONE
    assert orders.rows("orders") == orders.source("SELECT * FROM orders")
