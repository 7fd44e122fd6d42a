"""The events of a run. Each class carries the name under which the specification, the log and the state know it.

Fields are plain values, so that every subscriber can write them down without knowing the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import ClassVar, Protocol

from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.schema import ColumnChange
from ingestion_runtime.model.state import Phase, PhaseStatus


class Event:
    """Base of all events. ``level`` is the log level of the line that the event becomes."""

    __slots__ = ()

    name: ClassVar[str]
    level: ClassVar[str] = "info"


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event with its place in the run. ``at`` is aware, in UTC; ``seq`` starts at 1 and has no gaps."""

    event: Event
    run_id: str
    table: str | None
    slice: str | None
    at: datetime
    seq: int


class Subscriber(Protocol):
    """Someone who is told of every event, in order, one at a time. What it raises never reaches the table's work."""

    def handle(self, envelope: Envelope) -> None: ...


class Emitter(Protocol):
    """What emits events: an ``EventEmitter``, bound to a table or not."""

    def emit(self, event: Event) -> None: ...

    def bind(self, *, table: str | None = None, slice: str | None = None) -> "Emitter":  # noqa: A002  the envelope's word
        """Return an emitter that adds these ids to every event."""
        ...


def event_fields(event: Event) -> dict[str, object]:
    """Return the event's own fields by name, in the order of their declaration."""
    return {item.name: getattr(event, item.name) for item in fields(event)}  # type: ignore[arg-type]  # all are dataclasses


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins; ``tables`` is how many it will work on, ``tables_named`` which, in their order. ``host`` and ``pid`` say
    which process it is: one that is gone and never said ``run_done`` has died."""

    name: ClassVar[str] = "run_start"

    job_name: str
    load_date: date
    tables: int
    max_parallel: int = 1
    host: str = ""
    pid: int = 0
    tables_named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatternResolved(Event):
    """A pattern of the configuration stands for so many tables of a connection; ``skipped`` do not fit its mode."""

    name: ClassVar[str] = "pattern_resolved"

    pattern: str
    source: str
    tables: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TablesVanished(Event):
    """Tables that a pattern stood for in earlier runs are no longer at the source: they stay in the lake as they are."""

    name: ClassVar[str] = "tables_vanished"
    level: ClassVar[str] = "warning"

    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    """A run ended; counts of tables by how they ended."""

    name: ClassVar[str] = "run_done"

    exit_code: int
    seconds: float
    done: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True)
class TableStarted(Event):
    """Work on a table begins."""

    name: ClassVar[str] = "table_start"

    mode: str
    source: str


@dataclass(frozen=True, slots=True)
class TableDone(Event):
    """A table ended without a failure."""

    name: ClassVar[str] = "table_done"

    status: TableStatus
    rows_read: int = 0
    rows_written: int = 0
    duplicates: int = 0
    quarantined: int = 0
    slices: int = 0
    seconds: float = 0.0
    watermark: str | None = None
    rows_deleted: int = 0


@dataclass(frozen=True, slots=True)
class TableFailed(Event):
    """A table failed; ``stack_hash`` groups equal failures, ``exit_code`` is what it means for the process."""

    name: ClassVar[str] = "table_failed"
    level: ClassVar[str] = "error"

    error_type: str
    message: str
    stack_hash: str
    exit_code: int
    remedy: str = ""
    seconds: float = 0.0
    stack: str = ""


@dataclass(frozen=True, slots=True)
class PhaseMarked(Event):
    """A phase of the table's day started or ended. The mark itself is written through to the state by the strategy."""

    name: ClassVar[str] = "phase_mark"

    phase: Phase
    status: PhaseStatus
    rows: int | None = None
    location: str | None = None
    batch_id: str | None = None
    sequence: int = 0
    watermark: str | None = None
    metadata: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class PlanMade(Event):
    """The work of a batch was frozen; ``reason`` says why it looks as it does."""

    name: ClassVar[str] = "plan"

    lower: str | None
    upper: str | None
    slices: int
    estimated_rows: int | None
    probed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class EngineChosen(Event):
    """Which engine works on a table, or on one step of it, and why."""

    name: ClassVar[str] = "engine_chosen"

    engine: str
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class SliceStarted(Event):
    """Reading of a slice begins."""

    name: ClassVar[str] = "slice_start"

    ordinal: int


@dataclass(frozen=True, slots=True)
class SliceProgress(Event):
    """A slice is being read: its rows so far, their bytes in memory, and the seconds since its reading began. A read that
    failed for its size and starts again takes its rows back."""

    name: ClassVar[str] = "slice_progress"

    ordinal: int
    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SliceSplit(Event):
    """A read of a slice failed for its size (``reason``) and is tried again in two halves, for the ``depth``-th time."""

    name: ClassVar[str] = "slice_split"
    level: ClassVar[str] = "warning"

    ordinal: int
    depth: int
    reason: str


@dataclass(frozen=True, slots=True)
class SliceStaged(Event):
    """A slice is staged; ``reused``: an earlier attempt of this batch had done it. ``connections`` is over how many at once
    its rows were read, 0 where none were; ``tombstones``: they are keys that the source no longer has, and none was read."""

    name: ClassVar[str] = "slice_staged"

    ordinal: int
    rows: int
    bytes: int
    seconds: float
    reused: bool = False
    connections: int = 0
    tombstones: bool = False


@dataclass(frozen=True, slots=True)
class BatchPublished(Event):
    """A batch is visible, with its receipt; or, not ``changed``, it brought nothing that the target lacked.

    ``rows`` were written and ``deleted`` removed or marked. The seconds are those of the attempt that succeeded:
    preparing the table and writing the rows where no reader looks, the audit of what was written, landing them in raw, and
    the commit.
    """

    name: ClassVar[str] = "batch_published"

    batch_id: str
    rows: int
    deleted: int
    changed: bool
    write_seconds: float
    audit_seconds: float
    land_seconds: float
    commit_seconds: float


@dataclass(frozen=True, slots=True)
class ToolProgress(Event):
    """An execution tool has something to say."""

    name: ClassVar[str] = "tool_progress"
    level: ClassVar[str] = "debug"

    tool: str
    message: str
    metrics: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class ColumnMissing(Event):
    """Columns of the snapshot are gone from the source and arrive as NULL."""

    name: ClassVar[str] = "column_missing"
    level: ClassVar[str] = "warning"

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemaDrift(Event):
    """The source's columns differ from the target's, or from the snapshot. Refused ones stopped the table."""

    name: ClassVar[str] = "schema_drift"
    level: ClassVar[str] = "warning"

    changes: tuple[ColumnChange, ...]


@dataclass(frozen=True, slots=True)
class PrecisionJudged(Event):
    """A column does not land in the type that was wished or declared; ``reason`` says why, with the profile."""

    name: ClassVar[str] = "precision_judged"
    level: ClassVar[str] = "warning"

    column: str
    wished: str
    landed: str
    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrecisionNoted(Event):
    """The same, where the policy ``text`` has nothing against it."""

    name: ClassVar[str] = "precision_noted"

    column: str
    wished: str
    landed: str
    policy: str
    reason: str


@dataclass(frozen=True, slots=True)
class RowsSetAside(Event):
    """Rows without a key went to quarantine."""

    name: ClassVar[str] = "rows_quarantined"
    level: ClassVar[str] = "warning"

    rows: int
    location: str


@dataclass(frozen=True, slots=True)
class DuplicatesResolved(Event):
    """Rows of a batch that lost against a newer row with the same key."""

    name: ClassVar[str] = "duplicate_keys"
    level: ClassVar[str] = "warning"

    rows: int


@dataclass(frozen=True, slots=True)
class DeletesFound(Event):
    """The keys of source and target were compared. ``moved_keys`` were read from the source because ``differing`` of
    ``buckets`` differed; ``missing_in_target`` are at the source only: late rows, which nobody touches. ``fraction`` is
    that of the deleted among the target's live keys."""

    name: ClassVar[str] = "deletes_found"

    deleted: int
    moved_keys: int
    buckets: int
    differing: int
    missing_in_target: int
    fraction: float


@dataclass(frozen=True, slots=True)
class LeaseTakenOver(Event):
    """The lease's former holder never released it; ``token`` is the new fencing token."""

    name: ClassVar[str] = "lease_taken_over"
    level: ClassVar[str] = "warning"

    token: int


@dataclass(frozen=True, slots=True)
class BatchRecovered(Event):
    """A batch of an earlier run was found open; ``how`` says what became of it."""

    name: ClassVar[str] = "batch_recovered"
    level: ClassVar[str] = "warning"

    batch_id: str
    how: str


@dataclass(frozen=True, slots=True)
class PublishRetried(Event):
    """A publish was refused because the table moved, and is tried again from the staged files."""

    name: ClassVar[str] = "publish_retried"
    level: ClassVar[str] = "warning"

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class StateRebuilt(Event):
    """The state lagged the table's receipt and was brought up to it."""

    name: ClassVar[str] = "state_rebuilt"
    level: ClassVar[str] = "warning"

    batch_id: str
    sequence: int
    watermark: str | None = None


@dataclass(frozen=True, slots=True)
class RowsBeyondNow(Event):
    """Rows later than the source's own now; they are read once their time has come."""

    name: ClassVar[str] = "rows_beyond_now"
    level: ClassVar[str] = "warning"

    rows: int


@dataclass(frozen=True, slots=True)
class HorizonHeld(Event):
    """Rows above the safe horizon wait for transactions that are still open; ``bound`` is the largest cursor that is
    read, ``behind_seconds`` how far the horizon lies behind the source's now (None: nobody knows)."""

    name: ClassVar[str] = "horizon_held"

    rows: int
    bound: str
    behind_seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class HorizonStuck(Event):
    """The same, for longer than transactions usually last: someone should look after the one that is open."""

    name: ClassVar[str] = "horizon_stuck"
    level: ClassVar[str] = "warning"

    rows: int
    bound: str
    behind_seconds: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class HorizonWaived(Event):
    """By configuration no horizon is taken: rows of open transactions are covered by the lag alone (``lag``), or not at
    all (``off``)."""

    name: ClassVar[str] = "horizon_waived"
    level: ClassVar[str] = "warning"

    policy: str
    lag: int


@dataclass(frozen=True, slots=True)
class NullCursorRows(Event):
    """Rows without a cursor, and the policy that was applied to them."""

    name: ClassVar[str] = "null_cursor_rows"
    level: ClassVar[str] = "warning"

    rows: int
    policy: str


@dataclass(frozen=True, slots=True)
class RunningTable:
    """A table at work, the slice it was last heard of at, and how many rows of it have been read so far."""

    table: str
    slice: str | None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat(Event):
    """The run is alive: how many tables it has, and which it works on."""

    name: ClassVar[str] = "heartbeat"

    total: int
    done: int
    failed: int
    running: tuple[RunningTable, ...] = ()
    spark: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Noticed(Event):
    """A message to people, for those who read it here: what it is about (a ``NoticeKind``), in one line, and in full."""

    name: ClassVar[str] = "notice"

    kind: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Alerted(Event):
    """The same, where someone should look: a failure, a standstill, a run that did not end well."""

    name: ClassVar[str] = "alert"
    level: ClassVar[str] = "warning"

    kind: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class StagingCleaned(Event):
    """Leftovers of earlier runs were removed from staging."""

    name: ClassVar[str] = "staging_cleaned"

    directories: int
