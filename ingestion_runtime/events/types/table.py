"""Events of one table's way through a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ingestion_runtime.events.event import Event
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus


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
class ToolProgress(Event):
    """An execution tool has something to say."""

    name: ClassVar[str] = "tool_progress"
    level: ClassVar[str] = "debug"

    tool: str
    message: str
    metrics: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class LeaseTakenOver(Event):
    """The lease's former holder never released it; ``token`` is the new fencing token."""

    name: ClassVar[str] = "lease_taken_over"
    level: ClassVar[str] = "warning"

    token: int


@dataclass(frozen=True, slots=True)
class StateRebuilt(Event):
    """The state lagged the table's receipt and was brought up to it."""

    name: ClassVar[str] = "state_rebuilt"
    level: ClassVar[str] = "warning"

    batch_id: str
    sequence: int
    watermark: str | None = None
