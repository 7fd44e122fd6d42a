"""Iceberg tables kept in shape in this process: no row changes by it, no file goes that anybody needs, and an ingestion that
is under way goes on."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.commits import read_head
from ingestion_runtime.endpoints.iceberg.spark_upkeep import SparkUpkeep
from ingestion_runtime.endpoints.iceberg.upkeep import IcebergUpkeep
from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.errors import PublishRaceError, StaleMainError, TerminalError
from ingestion_runtime.model.maintenance import TableMaintenance
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import PartitionField, TableSpec
from ingestion_runtime.model.upkeep import Rewritten
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch, make_payload, make_receipt
from tests.faults.gaps import Hold, meddling, until
from tests.integration.test_process_merge import NARROW, TYPES, rows_of
from tests.logbook import NAME, Logbook
from tests.targets import IcebergPlace, local_tools
from tests.upkeep import keeping, lost, needed, on_disk

DAY = 86_400.0
PAGES = ("/", '/it\'s "quoted"', "[red]a,b\n", "naïve 🚲", "x" * 5_000, None)
EAGER = {"min_small_files": 2, "expire_days": 1, "keep_snapshots": 1, "orphan_hours": 1}


def later() -> float:
    """The clock of somebody two days ahead: everything is old."""
    return time.time() + 2 * DAY


def add_batches(book: Logbook, *days: int) -> None:
    """Add a handful of rows for each day, in a batch of its own."""
    for day in days:
        book.write(*[(f"2026-06-{day:02} 10:00:0{place}", page, place * day) for place, page in enumerate(PAGES)])
        assert book.run().status is TableStatus.DONE


def make_book(root: Path, batches: int, **changes: Any) -> Logbook:
    book = Logbook(root, **{"maintenance": EAGER, **changes})
    add_batches(book, *range(1, batches + 1))
    return book


@pytest.fixture
def book(tmp_path: Path) -> Logbook:
    """A table of four batches, each in a small file of its own."""
    return make_book(tmp_path, 4)


def whole(book: Logbook) -> list[dict[str, Any]]:
    """All columns of all rows, housekeeping included, in a fixed order."""
    rows: pa.Table = book.lake.table(NAME).scan().to_arrow()
    return sorted(rows.to_pylist(), key=repr)


def data_files(book: Logbook) -> set[str]:
    return {task.file.file_path for task in book.lake.table(NAME).scan().plan_files()}


def rewritten(book: Logbook) -> Rewritten:
    with keeping(book.lake, NAME) as upkeep:
        found = upkeep.rewrite()
    assert found is not None
    return found


# ---------------------------------------------------------------- small files


def test_small_files_become_one_with_the_same_rows_in_one_commit_that_changes_no_receipt(book: Logbook) -> None:
    """Every value of every column is there as often as it was; the next run sees nothing that it has to look at."""
    rows, receipt, before = whole(book), book.lake.receipt(NAME), book.lake.table(NAME)

    done = rewritten(book)

    after = book.lake.table(NAME)
    assert (done.removed.files, done.added.files, done.rows) == (4, 1, len(rows))
    assert whole(book) == rows
    assert book.operation == "replace"
    assert len(after.metadata.snapshots) == len(before.metadata.snapshots) + 1
    assert book.lake.receipt(NAME) == receipt
    assert after.metadata.refs["ingest_last"] == before.metadata.refs["ingest_last"]
    assert read_head(after).damage is None
    assert book.run().status is TableStatus.UNCHANGED
    add_batches(book, 9)
    assert book.target() == book.source()


def test_a_snapshot_of_files_written_anew_adds_its_figures_up(book: Logbook) -> None:
    """Totals are what Spark and people count by."""
    rewritten(book)
    summary = book.snapshot().summary
    assert summary is not None
    totals = {
        name: summary[name] for name in ("total-records", "total-data-files", "added-data-files", "deleted-data-files")
    }
    assert totals == {
        "total-records": str(4 * len(PAGES)),
        "total-data-files": "1",
        "added-data-files": "1",
        "deleted-data-files": "4",
    }


def test_what_is_in_shape_is_left_alone(book: Logbook) -> None:
    """A second look commits nothing."""
    rewritten(book)
    location = book.lake.table(NAME).metadata_location
    with keeping(book.lake, NAME) as upkeep:
        survey = upkeep.survey()
        assert upkeep.rewrite() is None
    assert survey is not None
    assert not survey.wants_rewrite
    assert book.lake.table(NAME).metadata_location == location


def test_fewer_small_files_than_configured_stay(book: Logbook) -> None:
    """To write two files anew every night costs more than it brings; zero means never."""
    for least in (5, 0):
        book.settle(maintenance={**EAGER, "min_small_files": least})
        with keeping(book.lake, NAME) as upkeep:
            assert upkeep.rewrite() is None


def test_a_survey_tells_what_would_be_done_and_touches_nothing(book: Logbook) -> None:
    """Not a file anywhere, nor its time."""

    def tree() -> dict[str, tuple[int, int]]:
        paths = [path for path in book.root.rglob("*") if path.name not in ("catalog.db-shm", "catalog.db-wal")]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = tree()
    with keeping(book.lake, NAME, clock=later) as upkeep:
        survey = upkeep.survey()
    assert tree() == before
    assert survey is not None
    assert (survey.data.files, survey.small.files, survey.rewritable.files) == (4, 4, 4)
    assert (survey.snapshots, survey.expirable, survey.damage, survey.unclear) == (4, 3, None, None)
    assert {(ref.name, ref.kind) for ref in survey.references} == {("main", "branch"), ("ingest_last", "tag")}


def test_a_table_that_is_not_there_or_was_never_published_has_nothing_to_be_told(tmp_path: Path) -> None:
    """And nothing to be done."""
    book = Logbook(tmp_path)
    with keeping(book.lake, NAME) as upkeep:
        assert upkeep.survey() is None
        assert upkeep.rewrite() is None
        assert (upkeep.expire(1).snapshots, upkeep.drop_stale((), 1), upkeep.remove_orphans(1).removed.files) == (0, (), 0)


def test_a_table_that_someone_else_wrote_to_is_left_as_it_is(book: Logbook) -> None:
    """Its files are what people need to find out what happened."""
    table = book.lake.table(NAME)
    table.append(table.scan(limit=1).to_arrow())
    location = table.refresh().metadata_location
    with keeping(book.lake, NAME) as upkeep, pytest.raises(StaleMainError, match=r"--reload web\.visits"):
        upkeep.rewrite()
    assert book.lake.table(NAME).metadata_location == location


# ---------------------------------------------------------------- partitions

PARTITIONS: list[list[Any]] = [
    ["day:at"],
    ["bucket:3:bytes"],
    ["bucket:5:bytes"],
    ["truncate:2:page", "month:at"],
    ["identity:page", "year:at", "bucket:5:bytes"],
    [],
]


def spelled(fields: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for field in fields:
        parts = field.split(":")
        found.append({"column": parts[-1], "transform": ":".join(parts[:-1])})
    return found


def test_a_table_goes_from_any_partition_to_any_other_with_all_its_rows(book: Logbook) -> None:
    """In one commit each; what is read of one partition is what lies there, and the next run writes by the new one."""
    for place, fields in enumerate(PARTITIONS):
        book.settle(intermediate={"partition": spelled(fields)})
        rows = whole(book)
        book.write((f"2026-06-{10 + place} 10:00:00", "/refused first", place))
        refused = book.run()
        assert refused.status is TableStatus.FAILED
        with keeping(book.lake, NAME) as upkeep:
            survey = upkeep.survey()
        assert survey is not None
        assert survey.partition is not None
        assert survey.rewritable == survey.former == survey.data

        done = rewritten(book)

        table = book.lake.table(NAME)
        assert done.repartitioned
        assert whole(book) == rows
        assert [str(field.transform) for field in table.spec().fields] == [transform_of(field) for field in fields]
        assert {task.file.spec_id for task in table.scan().plan_files()} == {table.spec().spec_id}
        assert table.scan(row_filter="bytes = 6").count() == sum(row["bytes"] == 6 for row in rows)
        assert read_head(table).damage is None
        assert book.run().status is TableStatus.DONE
        assert book.target() == book.source()
    names = [field.name for spec in book.lake.table(NAME).specs().values() for field in spec.fields]
    assert len(set(names)) == len(
        {field.field_id for spec in book.lake.table(NAME).specs().values() for field in spec.fields}
    )


def transform_of(field: str) -> str:
    kind, _, rest = field.partition(":")
    return kind if kind not in ("bucket", "truncate") else f"{kind}[{rest.partition(':')[0]}]"


def test_rows_split_over_many_partitions_lie_in_one_file_each(tmp_path: Path) -> None:
    """However many streams they came in."""
    book = Logbook(tmp_path, maintenance=EAGER)
    for day in (1, 2, 3, 4):
        book.write(*[(f"2026-06-0{day} 10:00:{number:02}", "/", number) for number in range(20)])
        assert book.run().status is TableStatus.DONE
    book.settle(intermediate={"partition": spelled(["identity:bytes"])})
    done = rewritten(book)
    assert (done.removed.files, done.added.files) == (4, 20)
    assert book.target() == book.source()


def test_files_stay_where_only_new_ones_are_to_follow_another_partition(book: Logbook) -> None:
    """A commit of metadata alone; small files of the former partition go over when they are put together."""
    book.settle(intermediate={"partition": spelled(["day:at"]), "spec_mode": "append"}, maintenance={"min_small_files": 0})
    files, rows = data_files(book), whole(book)

    done = rewritten(book)

    assert (done.repartitioned, done.removed.files, done.added.files) == (True, 0, 0)
    assert data_files(book) == files
    add_batches(book, 10)
    assert {task.file.spec_id for task in book.lake.table(NAME).scan().plan_files()} == {0, 1}
    assert book.target() == book.source()
    book.settle(maintenance=EAGER)
    assert rewritten(book).removed.files == 4
    assert [row for row in whole(book) if row["at"].day < 10] == rows
    assert {task.file.spec_id for task in book.lake.table(NAME).scan().plan_files()} == {1}


def test_a_partition_column_that_is_not_there_is_refused_with_those_that_are(book: Logbook) -> None:
    """Nothing is committed."""
    book.settle(intermediate={"partition": [{"column": "region", "transform": "identity"}]})
    location = book.lake.table(NAME).metadata_location
    with keeping(book.lake, NAME) as upkeep, pytest.raises(TerminalError, match=r"region is not a column.*page"):
        upkeep.rewrite()
    assert book.lake.table(NAME).metadata_location == location


# ---------------------------------------------------------------- values

KINDS = (
    (PartitionField("amount", "truncate", 500_000), PartitionField("flag", "identity")),
    (PartitionField("double", "identity"), PartitionField("instant", "bucket", 2)),
    (PartitionField("text key", "bucket", 4), PartitionField("huge", "bucket", 3)),
    (),
)


def test_values_of_every_type_are_the_same_bit_by_bit_wherever_they_are_moved(tmp_path: Path) -> None:
    """NaN, both zeros, NULL, days of the year 1, and columns that were widened in between."""
    place = IcebergPlace(tmp_path, None)
    spec = TableSpec(
        "shop", "kinds", "append", "source", incremental_column="id", maintenance=TableMaintenance(min_small_files=2)
    )
    source = random.Random(7)  # noqa: S311 - a sample, no secret
    base: Batch | None = None
    for number, types in enumerate(({**TYPES, **NARROW}, TYPES), start=1):
        batch = make_batch(spec, number, base=base.id if base else None, write=WriteMode.APPEND)
        target = place.open(spec)
        rows = rows_of(source, list(range(number * 300)), types)
        payload = make_payload(tmp_path / str(number), batch, rows, target=target)
        written = target.write(batch, "a1", payload, target.prepare(payload))
        target.publish(batch.base, written, make_receipt(batch))
        base = batch
    stood = exactly(place.load(spec))

    for partition in KINDS:
        changed = replace(spec, partition=partition)
        catalog = IcebergCatalog(place.spec)
        far = SparkUpkeep(catalog, changed, place.session, LocalFiles(), Failpoints({}))
        done = IcebergUpkeep(catalog, changed, local_tools(tmp_path), far, Failpoints({})).rewrite()
        catalog.close()
        assert done is not None
        assert exactly(place.load(spec)) == stood
    place.close()


def exactly(table: Table) -> list[str]:
    return sorted(map(repr, table.scan().to_arrow().to_pylist()))


# ---------------------------------------------------------------- beside an ingestion


def test_a_table_that_moved_in_the_meantime_refuses_the_rewrite_which_leaves_nothing(book: Logbook) -> None:
    """The run that was faster loses no row, and the second try takes its file with it."""
    hold = Hold(book.root, "rewrite-staged", NAME)
    with keeping(book.lake, NAME, failpoints=hold.failpoint) as upkeep:
        worker = threading.Thread(
            target=lambda: (until(lambda: hold.reached, "it was staged"), add_batches(book, 9), hold.let_go())
        )
        worker.start()
        with pytest.raises(PublishRaceError):
            upkeep.rewrite()
        worker.join()
        assert on_disk(book.lake.table(NAME)) == needed(book.lake.table(NAME))
        done = upkeep.rewrite()
    assert done is not None
    assert done.removed.files == 5
    assert book.target() == book.source()


def test_a_run_that_is_overtaken_by_a_rewrite_publishes_what_it_has_staged_on_top_of_it(book: Logbook) -> None:
    """It looks at its source once."""
    book.write(("2026-06-20 10:00:00", "/late", 1))
    hold = Hold(book.root, "before-publish", NAME)
    with meddling([hold], lambda: rewritten(book) and None) as environment:
        result = book.lake.run(None, environment=environment)
    assert result.exit_code == 0
    assert book.target() == book.source()
    retries = [line for line in book.lake.events() if line["event"] == "publish_retried"]
    assert len(retries) == 1
    assert lost(book.lake.table(NAME)) == set()


def test_readers_writers_rewrites_and_expiry_at_the_same_time_never_see_half_of_anything(book: Logbook) -> None:
    """Readers of the newest state and readers who pinned theirs before; batches come whole, and no file is missed."""
    over, failures = threading.Event(), list[BaseException]()
    lease = threading.Lock()  # as expiry has it: never beside an ingestion
    counts = {"reads": 0, "rewrites": 0, "expired": 0}
    settings = {"min_small_files": 2, "expire_days": 0, "keep_snapshots": 3, "orphan_hours": 1}
    book.settle(maintenance=settings)

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def body() -> None:
            try:
                while not over.is_set():
                    work()
            except BaseException as failure:  # noqa: BLE001 - raised again where the test sees it
                failures.append(failure)
                over.set()

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    def read() -> None:
        table = book.lake.table(NAME)
        pinned = table.current_snapshot()
        assert pinned is not None
        for _ in range(2):  # what was pinned is read again, whatever has happened since
            rows = table.scan(snapshot_id=pinned.snapshot_id).to_arrow()
            assert rows.num_rows % len(PAGES) == 0
            counts["reads"] += 1

    def rewrite() -> None:
        with keeping(book.lake, NAME) as upkeep:
            try:
                counts["rewrites"] += upkeep.rewrite() is not None
            except PublishRaceError:
                time.sleep(0)

    def expire() -> None:
        with lease, keeping(book.lake, NAME) as upkeep:
            fence = read_head(book.lake.table(NAME)).fence
            try:
                counts["expired"] += upkeep.expire(fence).snapshots
            except PublishRaceError:
                time.sleep(0)

    threads = [guarded(work) for work in (read, rewrite, expire)]
    try:
        for day in range(5, 15):
            with lease:
                add_batches(book, day)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    assert all(counts.values()), counts
    assert book.target() == book.source()
    assert lost(book.lake.table(NAME)) == set()
    assert read_head(book.lake.table(NAME)).damage is None
