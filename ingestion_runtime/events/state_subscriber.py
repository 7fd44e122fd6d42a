"""Events as rows of the state database."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from ingestion_runtime.events.event import Envelope, Event, event_fields
from ingestion_runtime.events.plain import to_json
from ingestion_runtime.events.types.batch import SliceProgress
from ingestion_runtime.events.types.run import Heartbeat
from ingestion_runtime.events.types.table import PhaseMarked, TableDone, TableFailed, TableStarted, ToolProgress
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus, StateRecord


class RecordSink(Protocol):
    """Where the rows go; the buffered state is one."""

    def record_event(self, record: StateRecord) -> None: ...

    def tick(self) -> None:
        """Write what has waited long enough."""
        ...


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """What the state knows a table by."""

    key: TableKey
    source_id: str
    mode: str


class StateEventSubscriber:
    """Turns the events of tables into state rows of phase ``event``; ``metadata_json`` holds the event's fields.

    Phase marks are left out, for the strategy has written them through already; so are heartbeats and the progress of
    slices and tools, which only the log needs. Events of the run as a whole belong to no table and are left to the log too.
    """

    def __init__(self, sink: RecordSink, identify: Callable[[str], TableIdentity | None], load_date: date) -> None:
        self._sink = sink
        self._identify = identify
        self._load_date = load_date

    def handle(self, envelope: Envelope) -> None:
        """Record the event, or let a heartbeat wake the buffer."""
        event = envelope.event
        if isinstance(event, Heartbeat):
            self._sink.tick()
        if envelope.table is None or isinstance(event, PhaseMarked | Heartbeat | SliceProgress | ToolProgress):
            return
        identity = self._identify(envelope.table)
        if identity is None:
            raise LookupError(f"event {event.name} names the table {envelope.table}, which is not configured")
        self._sink.record_event(self._record(envelope, identity))

    def _record(self, envelope: Envelope, identity: TableIdentity) -> StateRecord:
        event = envelope.event
        values = event_fields(event)
        return StateRecord(
            key=identity.key,
            source_id=identity.source_id,
            run_id=envelope.run_id,
            load_date=self._load_date,
            mode=identity.mode,
            phase=Phase.EVENT,
            status=_status(event),
            at=envelope.at,
            strategy=identity.mode,
            batch_id=_text(values.get("batch_id")),
            rows_written=event.rows_written if isinstance(event, TableDone) else None,
            watermark=_text(values.get("watermark")),
            location=_text(values.get("location")),
            error=f"{event.error_type}: {event.message}" if isinstance(event, TableFailed) else None,
            metadata_json=to_json({"event": event.name, "seq": envelope.seq, "slice": envelope.slice, **values}),
        )


def _status(event: Event) -> PhaseStatus:
    if isinstance(event, TableStarted):
        return PhaseStatus.STARTED
    if isinstance(event, TableFailed):
        return PhaseStatus.FAILED
    if isinstance(event, TableDone) and event.status is TableStatus.SKIPPED:
        return PhaseStatus.SKIPPED
    return PhaseStatus.SUCCESS


def _text(value: object) -> str | None:
    return None if value is None else str(value)
