"""A run's view of the state: what is written through, what is cached, what is collected."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.model.batch import Batch, IngestionPlan, PlannerMetadata, Receipt, TableKey, WriteMode
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.state import DayStatus, Phase, PhaseStatus, StateRecord, TableHead
from ingestion_runtime.state.buffered import BufferedState
from ingestion_runtime.state.sql import SqlStateStore
from ingestion_runtime.state.sqlite import sqlite_engine, sqlite_store
from ingestion_runtime.state.tables import WATERMARKS

KEY = TableKey("lake", "shop", "orders")
OTHER = TableKey("lake", "shop", "customers")
DAY = date(2026, 3, 1)
PLAN = IngestionPlan((), None, None, PlannerMetadata(None, None, None, probed=False, reason="full"))
BATCH = Batch("b1", 1, KEY, "full", WriteMode.REPLACE, DAY, "run-1", None, PLAN)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStateStore]:
    opened = sqlite_store(tmp_path / "state.db")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def state(store: SqlStateStore) -> BufferedState:
    made = BufferedState(store, TimeAwareBufferedSink(store.append_records, max_items=3))
    made.preload([KEY, OTHER], DAY)
    return made


def head(sequence: int, key: TableKey = KEY) -> TableHead:
    receipt = Receipt(f"b{sequence}", sequence, None, "full", WriteMode.REPLACE, DAY, None, None, 1, "nightly", 5)
    return TableHead(key, "shop-db", receipt, None, None)


def record(phase: Phase = Phase.EVENT, batch_id: str | None = None, sequence: int = 0) -> StateRecord:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return StateRecord(KEY, "s", "run-1", DAY, "full", phase, PhaseStatus.SUCCESS, now, batch_id=batch_id, sequence=sequence)


def fresh(store: SqlStateStore) -> BufferedState:
    return BufferedState(store, TimeAwareBufferedSink(store.append_records))


def test_a_mark_is_in_the_database_when_the_call_returns(store: SqlStateStore, state: BufferedState) -> None:
    """And the view of the day follows."""
    assert state.day(KEY) == DayStatus()
    state.mark(record(Phase.RAW, "b1", 1))
    assert store.load_days([KEY], DAY)[KEY] == DayStatus(raw="b1")
    assert state.day(KEY) == DayStatus(raw="b1")


def test_a_mark_that_could_not_be_written_is_not_in_the_view(
    store: SqlStateStore, state: BufferedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view never runs ahead of the database."""

    def refuse(_: object) -> None:
        raise TransientError("no.", remedy="Run again.")

    with monkeypatch.context() as patched:
        patched.setattr(store, "append_records", refuse)
        patched.setattr(store, "append_head", refuse)
        with pytest.raises(TransientError):
            state.mark(record(Phase.RAW, "b1", 1))
        with pytest.raises(TransientError):
            state.record_head(head(1))
    assert state.day(KEY) == DayStatus()
    assert state.head(KEY) is None


def test_the_view_of_a_head_keeps_the_highest_sequence(store: SqlStateStore, state: BufferedState) -> None:
    """Written through; an older one never becomes the table's."""
    state.record_head(head(2))
    state.record_head(head(1))
    assert state.head(KEY) == head(2) == store.load_heads([KEY])[KEY]


def test_a_head_recorded_before_the_key_was_loaded_hides_nothing(store: SqlStateStore) -> None:
    """The database may hold a newer one."""
    store.append_head(head(5))
    state = fresh(store)
    state.record_head(head(1))
    assert state.head(KEY) == head(5)


def test_a_key_that_was_not_preloaded_is_loaded_when_asked_for(store: SqlStateStore) -> None:
    """Only the load date has to be known."""
    store.append_head(head(1))
    store.open_batch(BATCH)
    state = fresh(store)
    assert state.head(KEY) == head(1)
    assert state.open_batch(KEY) == BATCH
    with pytest.raises(RuntimeError, match="load date"):
        state.day(KEY)


def test_an_unreadable_head_stops_its_own_table_only(store: SqlStateStore, tmp_path: Path) -> None:
    """Preloading many tables survives a broken one, and the broken one is not taken for a new table."""
    store.append_head(head(1))
    store.append_head(head(1, OTHER))
    engine = sqlite_engine(tmp_path / "state.db")
    with engine.begin() as connection:
        broken = update(WATERMARKS).where(WATERMARKS.c.table_name == KEY.table)
        connection.execute(broken.values(receipt_json="?"))
    engine.dispose()
    state = fresh(store)
    state.preload([KEY, OTHER], DAY)
    assert state.head(OTHER) == head(1, OTHER)
    with pytest.raises(TerminalError):
        state.head(KEY)


def test_batches_are_written_through(store: SqlStateStore, state: BufferedState) -> None:
    """Another run would find the open batch at once."""
    assert state.open_batch(KEY) is None
    state.begin_batch(BATCH)
    assert state.open_batch(KEY) == BATCH == store.load_open_batches([KEY])[KEY]
    state.close_batch(BATCH, "published")
    assert state.open_batch(KEY) is None
    assert store.load_open_batches([KEY]) == {}
    assert state.last_sequence(KEY) == 1


def test_refreshing_a_key_sees_what_another_run_did(store: SqlStateStore, state: BufferedState) -> None:
    """Between preloading and the lease, another run may have published."""
    store.append_head(head(4))
    assert state.head(KEY) is None
    state.refresh(KEY)
    assert state.head(KEY) == head(4)


def test_events_are_collected_and_written_at_the_end(store: SqlStateStore, state: BufferedState) -> None:
    """Three at a time here; ``flush`` and ``close`` leave nothing behind."""
    loads = [replace(record(Phase.RAW, "b1", 1)), record(), record(), record()]
    state.record_event(loads[0])
    assert store.load_days([KEY], DAY)[KEY].raw is None
    state.flush()
    assert store.load_days([KEY], DAY)[KEY].raw == "b1"
    state.record_event(record(Phase.FINALIZE, "b1", 1))
    state.tick()
    assert store.load_days([KEY], DAY)[KEY].finalize is None
    state.close()
    assert store.load_days([KEY], DAY)[KEY].finalize == "b1"
