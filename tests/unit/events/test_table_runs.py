"""Every table's run as one object, made of the events that tell of it."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest

from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Event
from ingestion_runtime.events.state_subscriber import TableIdentity
from ingestion_runtime.events.table_runs import RunFacts, TableRunSubscriber
from ingestion_runtime.events.types.batch import BatchPublished, RowsSetAside, SliceStaged
from ingestion_runtime.events.types.table import EngineChosen, PhaseMarked, TableDone, TableFailed, TableStarted
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.metrics import TableRun
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus

DAY = date(2026, 3, 1)
AT = datetime(2026, 3, 1, 2, tzinfo=UTC)
KEY = TableKey("lake", "shop", "orders")
PUBLISHED = BatchPublished(
    "b1", rows=90, deleted=3, changed=True, write_seconds=1, audit_seconds=1, land_seconds=1, commit_seconds=1
)
STAGED = (
    SliceStaged(0, rows=100, bytes=1000, seconds=1),
    SliceStaged(1, rows=50, bytes=500, seconds=0, reused=True),
    SliceStaged(2, rows=7, bytes=70, seconds=0, tombstones=True),
)
FAILED = TableFailed("TerminalError", "gone", "abc", 1, seconds=2.5)


@dataclass
class Listener:
    """What a test heard."""

    begun: list[TableRun] = field(default_factory=list)
    over: list[TableRun] = field(default_factory=list)

    def began(self, run: TableRun) -> None:
        self.begun.append(run)

    def ended(self, run: TableRun) -> None:
        self.over.append(run)


def heard(*told: Event, table: str = "shop.orders") -> Listener:
    listener = Listener()
    identities = {"shop.orders": TableIdentity(KEY, "crm", "scd1")}
    subscriber = TableRunSubscriber(RunFacts("nightly", DAY), identities.get, [listener])
    emitter = EventEmitter("run-1", [subscriber], clock=lambda: AT)
    for event in told:
        emitter.bind(table=table).emit(event)
    return listener


def only(listener: Listener) -> TableRun:
    assert len(listener.begun) == len(listener.over) == 1
    (run,) = listener.over
    return run


def test_a_run_that_ends_well_has_the_counts_of_its_result() -> None:
    """And what only the events on the way tell: bytes, batch, location, engine."""
    done = TableDone(
        TableStatus.DONE,
        rows_read=150,
        rows_written=90,
        rows_deleted=3,
        duplicates=4,
        quarantined=2,
        slices=2,
        watermark="w2",
    )
    mark = PhaseMarked(Phase.WATERMARK, PhaseStatus.SUCCESS, location="/lake/m.json", batch_id="b1", watermark="w2")
    chosen = EngineChosen("arrow", "table", "fits"), EngineChosen("spark", "keys", "does not")
    listener = heard(TableStarted("scd1", "crm"), *chosen, *STAGED, PUBLISHED, mark, done)
    (begun,) = listener.begun
    assert (begun.table, begun.key, begun.source_id, begun.mode, begun.started) == ("shop.orders", KEY, "crm", "scd1", AT)
    assert (begun.run_id, begun.job_name, begun.load_date, begun.ended) == ("run-1", "nightly", DAY, None)
    run = only(listener)
    assert (run.status, run.exit_code, run.error_type, run.ended) == ("done", 0, None, AT)
    assert (run.rows_read, run.rows_written, run.rows_deleted) == (150, 90, 3)
    assert (run.duplicates, run.quarantined, run.slices, run.watermark) == (4, 2, 2, "w2")
    assert (run.bytes, run.batch_id, run.location, run.engine) == (1570, "b1", "/lake/m.json", "arrow")


def test_a_run_that_fails_counts_what_had_happened() -> None:
    """Rows that it read itself, and a batch that was visible before it failed; no more."""
    set_aside = RowsSetAside(5, "/raw")
    run = only(heard(TableStarted("scd1", "crm"), *STAGED, set_aside, PUBLISHED, FAILED))
    assert (run.status, run.exit_code, run.error_type, run.message) == ("failed", 1, "TerminalError", "gone")
    assert (run.stack_hash, run.seconds) == ("abc", 2.5)
    assert (run.rows_read, run.rows_written, run.rows_deleted, run.quarantined) == (100, 90, 3, 5)


def test_nothing_is_claimed_of_a_batch_that_changed_nothing() -> None:
    """Neither rows nor a batch."""
    unchanged = BatchPublished("b1", 0, 0, False, 1, 1, 0, 0)
    started = PhaseMarked(Phase.RAW, PhaseStatus.STARTED, batch_id="b1", location="/raw")
    run = only(heard(TableStarted("full", "crm"), started, unchanged, FAILED))
    assert (run.rows_written, run.batch_id, run.location, run.engine) == (0, None, None, None)


def test_what_an_earlier_run_did_is_not_claimed() -> None:
    """Marks that bring the state up to the table's receipt tell of a batch that another run published."""
    rebuilt = PhaseMarked(Phase.WATERMARK, PhaseStatus.SUCCESS, rows=5, batch_id="b0", watermark="w1")
    run = only(heard(TableStarted("scd1", "crm"), rebuilt, TableDone(TableStatus.UNCHANGED, watermark="w1")))
    assert (run.batch_id, run.location, run.rows_written, run.watermark) == (None, None, 0, "w1")


def test_an_interrupted_run_is_no_failure() -> None:
    """As in the result."""
    stopped = TableFailed("InterruptedRunError", "stopped", "abc", 130)
    run = only(heard(TableStarted("scd1", "crm"), stopped))
    assert (run.status, run.exit_code) == ("interrupted", 130)


def test_a_table_that_is_not_configured_is_the_subscribers_problem() -> None:
    """Nothing is recorded under a made-up name."""
    listener = heard(TableStarted("scd1", "crm"), FAILED, table="shop.other")
    assert (listener.begun, listener.over) == ([], [])


@pytest.mark.parametrize("event", [TableDone(TableStatus.DONE), FAILED, *STAGED, PUBLISHED])
def test_what_belongs_to_no_begun_run_is_passed_over(event: Any) -> None:
    """A listener never hears of an end without a beginning."""
    listener = heard(event)
    assert (listener.begun, listener.over) == ([], [])
