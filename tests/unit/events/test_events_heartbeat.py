"""The heartbeat: what it counts, when it beats, and that it stops."""

import threading
import time
from collections.abc import Mapping
from datetime import date

import pytest

from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope
from ingestion_runtime.events.heartbeat import Heartbeat
from ingestion_runtime.events.types.batch import SliceProgress, SliceStaged, SliceStarted
from ingestion_runtime.events.types.run import Heartbeat as HeartbeatEvent
from ingestion_runtime.events.types.run import RunningTable, RunStarted
from ingestion_runtime.events.types.table import TableDone, TableFailed, TableStarted
from ingestion_runtime.model.result import TableStatus


class Beats:
    """Collects the heartbeats."""

    def __init__(self) -> None:
        self.seen: list[HeartbeatEvent] = []

    def handle(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, HeartbeatEvent):
            self.seen.append(envelope.event)


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
def emitter(beats: Beats) -> EventEmitter:
    return EventEmitter("run-1", [beats])


def test_tables_are_counted_and_their_slices_followed(emitter: EventEmitter, beats: Beats) -> None:
    """Total, done, failed, and where the others are."""
    heartbeat = Heartbeat(emitter, 0)
    emitter.subscribe(heartbeat)
    emitter.emit(RunStarted("nightly", date(2026, 3, 1), tables=5))
    for name in ("a", "b", "c", "d"):
        emitter.bind(table=name).emit(TableStarted("full", "db"))
    emitter.bind(table="a", slice="0002").emit(SliceStarted(2))
    emitter.bind(table="b").emit(TableDone(TableStatus.DONE))
    emitter.bind(table="c").emit(TableFailed("OSError", "gone", "abc", 1))
    heartbeat.beat()
    assert beats.seen == [HeartbeatEvent(5, 1, 1, (RunningTable("a", "0002"), RunningTable("d", None)))]


def test_the_rows_of_a_table_grow_with_its_slices(emitter: EventEmitter, beats: Beats) -> None:
    """Those that are staged and those of the one that is being read; keys that the source lost are no rows of it."""
    heartbeat = Heartbeat(emitter, 0)
    emitter.subscribe(heartbeat)
    table = emitter.bind(table="a")
    table.emit(TableStarted("scd1", "db"))
    for ordinal, event in enumerate(
        [
            SliceStaged(0, rows=100, bytes=1, seconds=1.0),
            SliceProgress(1, rows=30, bytes=1, seconds=2.0),
            SliceProgress(1, rows=40, bytes=1, seconds=4.0),
            SliceStaged(1, rows=55, bytes=1, seconds=5.0, reused=True),
            SliceStaged(2, rows=7, bytes=1, seconds=1.0, tombstones=True),
        ]
    ):
        table.bind(slice=str(ordinal)).emit(event)
        heartbeat.beat()
    assert [beat.running[0].rows for beat in beats.seen] == [100, 130, 140, 155, 155]


def test_metrics_are_added_and_their_failure_costs_no_beat(emitter: EventEmitter, beats: Beats) -> None:
    """An engine that has gone away is no reason to fall silent."""

    def broken() -> Mapping[str, object]:
        raise RuntimeError("no session")

    Heartbeat(emitter, 0, lambda: {"tasks": 3}).beat()
    Heartbeat(emitter, 0, broken).beat()
    assert [beat.spark for beat in beats.seen] == [{"tasks": 3}, None]


def test_it_beats_at_its_interval_and_never_after_stop(emitter: EventEmitter, beats: Beats) -> None:
    """Also when a beat was under way."""
    with Heartbeat(emitter, 0.01) as heartbeat:
        deadline = time.monotonic() + 10
        while len(beats.seen) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    seen = len(beats.seen)
    heartbeat.beat()
    time.sleep(0.05)
    assert len(beats.seen) == seen


def test_stopping_does_not_wait_for_metrics_that_never_answer(emitter: EventEmitter, beats: Beats) -> None:
    """What they answer later is not emitted."""
    asked, release = threading.Event(), threading.Event()

    def slow() -> Mapping[str, object]:
        asked.set()
        release.wait(30)
        return {}

    heartbeat = Heartbeat(emitter, 0.01, slow)
    heartbeat.start()
    assert asked.wait(10)
    heartbeat.stop()
    release.set()
    time.sleep(0.05)
    assert beats.seen == []


def test_an_interval_of_zero_switches_it_off(emitter: EventEmitter) -> None:
    """No thread at all."""
    before = threading.active_count()
    with Heartbeat(emitter, 0):
        assert threading.active_count() == before
