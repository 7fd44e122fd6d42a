"""Lines become pictures of runs."""

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion_runtime.events.types.batch import BatchRecovered, DeletesFound, SliceProgress, SliceStaged, SliceStarted
from ingestion_runtime.events.types.run import Heartbeat, RunningTable
from ingestion_runtime.events.types.source import HorizonWaived, RowsBeyondNow
from ingestion_runtime.events.types.table import EngineChosen, PhaseMarked, PlanMade, TableDone, TableStarted
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus
from ingestion_runtime.progress.documents import run_document
from ingestion_runtime.progress.estimate import estimate
from ingestion_runtime.progress.fold import RunBook
from ingestion_runtime.progress.view import RunView, TableState, TableView
from tests.eventlog import NIGHT, Story

ORDERS, ITEMS, STORES = "shop.orders", "shop.items", "shop.stores"


def fold(story: Story) -> RunView:
    book = RunBook()
    for line in story.lines:
        book.add(line)
    (run,) = book.runs()
    return run


def table(story: Story, name: str = ORDERS) -> TableView:
    (found,) = [table for table in fold(story).tables if table.name == name]
    return found


def test_a_run_is_known_by_its_start_and_its_tables_by_name(tmp_path: Path) -> None:
    """Those whose turn has not come wait, in the order in which the run named them."""
    run = fold(Story(tmp_path).begin([ORDERS, ITEMS], parallel=3, host="night-1", pid=17))
    assert (run.run_id, run.job_name, run.load_date, run.started) == ("run-1", "nightly", "2026-07-01", NIGHT)
    assert (run.max_parallel, run.total, run.host, run.pid) == (3, 2, "night-1", 17)
    assert [(table.name, table.state) for table in run.tables] == [
        (ORDERS, TableState.WAITING),
        (ITEMS, TableState.WAITING),
    ]
    assert (run.ended, run.exit_code, run.over, run.count(TableState.WAITING)) == (None, None, 0, 2)


def test_a_table_goes_through_its_steps_and_ends_with_its_figures(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS, slices=2, rows=3_000)
    assert table(story).phase == "read"
    story.read(ORDERS, 0, 1_000).read(ORDERS, 1, 2_000)
    reading = table(story)
    assert (reading.state, reading.phase, reading.rows_read, reading.slices_read) == (
        TableState.RUNNING,
        "publish",
        3_000,
        2,
    )
    assert (reading.slices_total, reading.estimated_rows, reading.bytes) == (2, 3_000, 30_000)
    assert (reading.engine, reading.engine_reason, reading.source) == ("arrow", "no JVM has to start", "shop")
    ended = table(story.publish(ORDERS, 2_500, deleted=7).after(1).done(ORDERS, rows=3_000, seconds=8.0))
    assert (ended.state, ended.phase, ended.rows_read, ended.rows_written) == (TableState.DONE, "", 3_000, 3_000)
    assert (ended.started, ended.ended) == (NIGHT, NIGHT + timedelta(seconds=8))
    assert (ended.seconds, ended.watermark) == (8.0, "2026-06-30 12:00:00")
    assert [(step.name, step.seconds) for step in ended.steps] == [
        ("prepare", 1.0),
        ("read", 4.0),
        ("write", 1.0),
        ("audit", 0.5),
        ("land", 0.25),
        ("commit", 0.25),
        ("record", 1.0),
    ]
    assert all(before.ended == after.started for before, after in itertools.pairwise(ended.steps))


def test_rows_are_counted_while_a_slice_is_read(tmp_path: Path) -> None:
    """Rows of staged slices and of the one that is read; one that starts again takes its rows back."""
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS, slices=2).read(ORDERS, 0, 1_000)
    story.tell(SliceStarted(1), ORDERS, "b1/00001").after(2).tell(SliceProgress(1, 500, 1, 2.0), ORDERS, "b1/00001")
    assert (table(story).rows_read, table(story).phase) == (1_500, "read")
    story.after(2).tell(SliceProgress(1, 100, 1, 2.0), ORDERS, "b1/00001")
    assert table(story).rows_read == 1_100
    samples = table(story).samples
    assert [rows for _, rows in samples] == [0, 500, 1_000, 1_500, 1_100]
    assert list(samples) == sorted(samples, key=lambda sample: sample[0])


def test_a_slice_that_an_earlier_run_had_staged_is_marked(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS)
    story.tell(SliceStaged(0, 10, 99, 0.5, reused=True), ORDERS, "b1/00000")
    (piece,) = table(story).slices
    assert (piece.reused, piece.rows, piece.bytes, piece.label, piece.connections) == (True, 10, 99, "b1/00000", 0)
    assert (piece.started, piece.ended) == (story.now - timedelta(seconds=0.5), story.now)


def test_keys_that_are_gone_at_the_source_are_nobodys_rows(tmp_path: Path) -> None:
    """Their slice is no slice of rows, and the time they took is a step of its own."""
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS).read(ORDERS, 0, 1_000).after(3)
    story.tell(DeletesFound(4, 64, 1_024, 4, 0, 0.004), ORDERS)
    story.tell(SliceStaged(1, 4, 50, 3.0, tombstones=True), ORDERS, "b1/00001").publish(ORDERS, 1_000, 4)
    found = table(story)
    assert (found.rows_read, found.slices_read, found.slices_total, found.rows_deleted) == (1_000, 1, 1, 4)
    assert [step.name for step in found.steps] == [
        "prepare",
        "read",
        "deletes",
        "write",
        "audit",
        "land",
        "commit",
        "record",
    ]
    assert found.steps[2].seconds == 3.0


def test_a_batch_of_an_earlier_run_counts_beside_the_new_one(tmp_path: Path) -> None:
    """It has no plan in this log: its slices are added to those of the plan that comes after it."""
    story = Story(tmp_path).begin([ORDERS]).tell(TableStarted("scd1", "shop"), ORDERS)
    story.tell(BatchRecovered("b0", "gone on with"), ORDERS).read(ORDERS, 0, 100, batch="b0")
    assert table(story).slices_total is None
    story.publish(ORDERS, 100).tell(PlanMade("1", "2", 2, 50, True, "probed"), ORDERS)
    assert (table(story).slices_total, table(story).estimated_rows, table(story).phase) == (3, 150, "read")


def test_a_full_refresh_lands_before_it_is_published(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS, mode="full").read(ORDERS, 0, 10).after(1)
    assert table(story).phase == "land"
    story.tell(PhaseMarked(Phase.FINALIZE, PhaseStatus.STARTED, batch_id="b1"), ORDERS)
    assert table(story).phase == "publish"


def test_another_engine_for_one_step_is_told(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS]).start(ORDERS)
    story.tell(EngineChosen("spark", "write", "equality deletes"), ORDERS)
    assert table(story).engine == "arrow+spark"
    assert table(story).engine_reason == "no JVM has to start; write: equality deletes"


@pytest.mark.parametrize(
    ("code", "state"), [(1, "failed"), (3, "failed"), (4, "failed"), (130, "interrupted"), (143, "interrupted")]
)
def test_a_failure_keeps_its_reason_and_a_signal_is_none(tmp_path: Path, code: int, state: str) -> None:
    found = table(Story(tmp_path).begin([ORDERS]).fail(ORDERS, code=code))
    failure = found.failure
    assert failure is not None
    assert (found.state, failure.exit_code, failure.stack_hash, failure.stack) == (
        state,
        code,
        "0123456789ab",
        "Traceback ...",
    )
    assert (failure.reason, failure.remedy) == (f"{ORDERS}: The disk is full.", "Free space, then run again.")
    assert (found.seconds, found.phase) == (2.0, "")


@pytest.mark.parametrize("status", [TableStatus.DONE, TableStatus.UNCHANGED, TableStatus.SKIPPED])
def test_a_table_ends_as_its_log_says(tmp_path: Path, status: TableStatus) -> None:
    story = Story(tmp_path).begin([ORDERS]).tell(TableStarted("full", "shop"), ORDERS).after(1)
    found = table(story.tell(TableDone(status, duplicates=2, quarantined=1, rows_deleted=3), ORDERS))
    assert (found.state, found.duplicates, found.quarantined, found.rows_deleted) == (TableState(status), 2, 1, 3)


def test_a_run_ends_with_its_exit_code(tmp_path: Path) -> None:
    run = fold(Story(tmp_path).begin([ORDERS, ITEMS]).whole(ORDERS, 500).fail(ITEMS).after(1).end())
    assert run.ended is not None
    assert (run.exit_code, run.over, run.rows_read) == (3, 2, 500)
    assert run.count(TableState.DONE) == run.count(TableState.FAILED) == 1
    assert run.last_line_at == run.ended


def test_warnings_are_kept_by_table(tmp_path: Path) -> None:
    """Also those that come before a table's turn, which do not make it run."""
    story = Story(tmp_path).begin([ORDERS]).tell(RowsBeyondNow(3), ORDERS)
    assert table(story).state is TableState.WAITING
    story.start(ORDERS).tell(HorizonWaived("off", 0), ORDERS)
    assert [line.event for line in table(story).warnings] == ["rows_beyond_now", "horizon_waived"]


def test_the_last_heartbeat_is_kept_with_its_interval(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS])
    story.tell(Heartbeat(1, 0, 0, (RunningTable(ORDERS, None),), {})).after(30)
    story.tell(Heartbeat(1, 0, 0, (), {"active_jobs": 2, "active_tasks": 8}))
    beat = fold(story).heartbeat
    assert beat is not None
    assert (beat.at, beat.interval, dict(beat.spark)) == (story.now, 30.0, {"active_jobs": 2, "active_tasks": 8})


def test_a_log_that_begins_in_the_middle_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    """An older part was rotated away: what is unknown is empty, what is there counts."""
    story = Story(tmp_path).begin([ORDERS, ITEMS]).start(ORDERS).read(ORDERS, 0, 1_000)
    story.tell(Heartbeat(2, 0, 0)).publish(ORDERS, 1_000).done(ORDERS, rows=1_000)
    book = RunBook()
    for line in story.lines[5:]:
        book.add(line)
    (run,) = book.runs()
    assert (run.job_name, run.total, run.rows_read, run.over) == ("", 2, 1_000, 1)
    assert run.count(TableState.WAITING) == 1


def test_an_older_log_without_names_counts_those_that_wait(tmp_path: Path) -> None:
    story = Story(tmp_path).begin([ORDERS, ITEMS, STORES]).start(ITEMS)
    older = []
    for line in map(json.loads, story.lines):
        for key in ("tables_named", "host", "pid"):
            line.pop(key, None)
        older.append(line)
    book = RunBook()
    for line in older:
        book.add(json.dumps(line))
    (run,) = book.runs()
    assert [table.name for table in run.tables] == [ITEMS]
    assert (run.total, run.count(TableState.WAITING), run.count(TableState.RUNNING), run.pid) == (3, 2, 1, 0)


def test_runs_in_one_log_are_told_apart_in_the_order_of_their_starts(tmp_path: Path) -> None:
    later = Story(tmp_path / "b", "run-b", NIGHT + timedelta(hours=1)).begin([ORDERS]).whole(ORDERS, 7)
    earlier = Story(tmp_path / "a", "run-a").begin([ORDERS]).whole(ORDERS, 5).end()
    book = RunBook()
    for pair in zip(later.lines, earlier.lines, strict=False):
        for line in pair:
            book.add(line)
    assert [(run.run_id, run.rows_read) for run in book.runs()] == [("run-a", 5), ("run-b", 7)]
    latest = book.latest()
    assert latest is not None
    assert latest.run_id == "run-b"


def test_garbage_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    """Before the first line as well; empty lines, which follow half-written ones, are none."""
    story = Story(tmp_path).begin([ORDERS]).whole(ORDERS, 5).end()
    book = RunBook()
    book.add("nonsense")
    assert (book.runs(), book.latest(), book.garbage) == ((), None, 1)
    for line in story.lines:
        for text in (line, "", line[: len(line) // 2], "\x1b[31mred"):
            book.add(text)
    (run,) = book.runs()
    assert (run.garbage, run.rows_read, run.exit_code) == (1 + 2 * len(story.lines), 5, 0)


def test_a_line_that_comes_twice_changes_nothing(tmp_path: Path) -> None:
    """A log and its outbox in one folder, or a segment that was written again."""
    story = Story(tmp_path).begin([ORDERS, ITEMS]).whole(ORDERS, 5).fail(ITEMS).end()
    book = RunBook()
    for line in [*story.lines, *story.lines[3:], *story.lines]:
        book.add(line)
    assert book.runs() == (fold(story),)


EVENTS = st.sampled_from(
    [
        "run_start",
        "run_done",
        "table_start",
        "table_done",
        "table_failed",
        "phase_mark",
        "plan",
        "engine_chosen",
        "slice_start",
        "slice_progress",
        "slice_staged",
        "batch_published",
        "deletes_found",
        "heartbeat",
        "horizon_waived",
        "something_new",
    ]
)
KEYS = st.sampled_from(
    [
        "rows",
        "bytes",
        "seconds",
        "ordinal",
        "slices",
        "estimated_rows",
        "status",
        "phase",
        "tables",
        "tables_named",
        "max_parallel",
        "pid",
        "host",
        "exit_code",
        "reused",
        "tombstones",
        "write_seconds",
        "land_seconds",
        "commit_seconds",
        "spark",
        "message",
        "remedy",
        "error_type",
        "watermark",
        "engine",
        "step",
    ]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**62, -1, 10**30, 3e8, float("inf"), "success", "started", "finalize", "done", "\ud800", "\x1b[2J"])
    | st.lists(st.text(max_size=4) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=3), max_size=3)
)
LINES = st.builds(
    lambda at, level, event, table, piece, fields: {
        **fields,
        "ts": (NIGHT + timedelta(seconds=at)).isoformat(),
        "level": level,
        "event": event,
        "run_id": "r",
        "table": table,
        "slice": piece,
    },
    st.integers(-(10**8), 10**8),
    st.sampled_from(["info", "warning", "loud"]),
    EVENTS,
    st.sampled_from([None, ORDERS, "\u202eevil[red]", ""]),
    st.sampled_from([None, "b1/00000", "b1/00001", "?"]),
    st.dictionaries(KEYS, VALUES, max_size=6),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=15))
def test_nothing_that_a_log_may_hold_raises(lines: list[dict[str, object]]) -> None:
    """Whatever the fields hold, in whatever order the events come: there is a picture, an estimate and a document."""
    book = RunBook()
    for number, line in enumerate(lines):
        book.add(json.dumps({**line, "seq": number}))
        for run in book.runs():
            left = estimate(run, NIGHT)
            assert 0 <= left.fraction <= 1
            assert left.seconds is None or left.seconds >= 0
            assert sum(run.count(state) for state in TableState) == run.total
            assert all(step.ended is None or step.ended >= step.started for table in run.tables for step in table.steps)
            json.dumps(run_document(run), allow_nan=False, ensure_ascii=False).encode()
