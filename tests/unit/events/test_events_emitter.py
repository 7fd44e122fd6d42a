"""The emitter: one order for everybody, and no subscriber's failure reaches a table."""

import logging
import pkgutil
import threading
from dataclasses import fields
from datetime import UTC, datetime
from importlib import import_module

import pytest

from ingestion_runtime.events import types
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.types.batch import DuplicatesResolved
from ingestion_runtime.events.types.run import Heartbeat
from ingestion_runtime.events.types.source import RowsBeyondNow

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODULES = [import_module(f"{types.__name__}.{found.name}") for found in pkgutil.iter_modules(types.__path__)]
EVENT_TYPES: list[type[Event]] = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


class Listener:
    def __init__(self) -> None:
        self.seen: list[Envelope] = []

    def handle(self, envelope: Envelope) -> None:
        self.seen.append(envelope)


class Broken:
    def handle(self, envelope: Envelope) -> None:
        raise OSError(f"cannot take {envelope.seq}")


def test_ids_of_run_table_and_slice_are_on_every_event() -> None:
    """Binding adds ids, keeps those above it, and shares the sequence."""
    listener = Listener()
    emitter = EventEmitter("run-1", [listener], clock=lambda: NOW)
    table = emitter.bind(table="shop.orders")
    emitter.emit(RowsBeyondNow(1))
    table.emit(RowsBeyondNow(2))
    table.bind(slice="0001").emit(RowsBeyondNow(3))
    assert [(e.run_id, e.table, e.slice, e.at, e.seq) for e in listener.seen] == [
        ("run-1", None, None, NOW, 1),
        ("run-1", "shop.orders", None, NOW, 2),
        ("run-1", "shop.orders", "0001", NOW, 3),
    ]


def test_a_failing_subscriber_is_isolated_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """The others get everything; the problem is counted and shown."""
    first, last = Listener(), Listener()
    emitter = EventEmitter("run-1", [first, Broken(), last])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            emitter.emit(DuplicatesResolved(1))
    assert [e.seq for e in first.seen] == [e.seq for e in last.seen] == [1, 2, 3]
    (problem,) = emitter.problems
    assert (problem.subscriber, problem.failures, problem.error_type) == ("Broken", 3, "OSError")
    (line,) = caplog.messages
    assert '"event": "subscriber_failed"' in line
    assert '"message": "cannot take 1"' in line


def test_every_subscriber_sees_the_same_order_from_many_threads() -> None:
    """Numbers without gaps, in the order of delivery."""
    listeners = [Listener(), Listener()]
    emitter = EventEmitter("run-1", listeners)

    def work(name: str) -> None:
        bound = emitter.bind(table=name)
        for _ in range(200):
            bound.emit(RowsBeyondNow(1))

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.seq for e in listeners[0].seen] == list(range(1, 801))
    assert listeners[0].seen == listeners[1].seen


def test_a_subscriber_may_emit_and_may_join_later() -> None:
    """It is told of its own event too, and nobody waits for anybody."""
    emitter = EventEmitter("run-1")
    listener = Listener()

    class Echo:
        def handle(self, envelope: Envelope) -> None:
            if isinstance(envelope.event, RowsBeyondNow):
                emitter.emit(DuplicatesResolved(envelope.event.rows))

    emitter.subscribe(listener)
    emitter.subscribe(Echo())
    emitter.emit(RowsBeyondNow(4))
    assert [e.event for e in listener.seen] == [RowsBeyondNow(4), DuplicatesResolved(4)]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_event_has_a_name_of_its_own_and_fields_that_hide_no_id(kind: type[Event]) -> None:
    """A line of the log is flat: an event's field must not take the place of an id."""
    assert [other for other in EVENT_TYPES if other.name == kind.name] == [kind]
    taken = {"ts", "seq", "level", "event", "run_id", "table", "slice"}
    assert not taken & {item.name for item in fields(kind)}  # type: ignore[arg-type]


def test_the_specification_names_are_there() -> None:
    """They are what operators search for."""
    expected = {
        "run_start", "run_done", "table_start", "table_done", "table_failed", "phase_mark", "plan", "slice_start",
        "slice_progress", "batch_published",
        "slice_staged", "slice_split", "engine_chosen", "tool_progress", "column_missing", "schema_drift",
        "precision_judged", "precision_noted",
        "rows_quarantined", "duplicate_keys", "deletes_found",
        "lease_taken_over", "batch_recovered", "publish_retried", "state_rebuilt", "rows_beyond_now",
        "horizon_held", "horizon_stuck", "horizon_waived",
        "null_cursor_rows", "heartbeat", "staging_cleaned", "notice", "alert",
        "pattern_resolved", "tables_vanished",
        "maintenance_start", "maintenance_table", "maintenance_done", "table_rebuilt",
        "recon_start", "recon_check", "recon_difference", "recon_failed", "recon_done",
    }  # fmt: skip
    assert {kind.name for kind in EVENT_TYPES} == expected
    assert Heartbeat in EVENT_TYPES
