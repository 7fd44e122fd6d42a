"""A run as its event log shows it: pictures that do not change. ``fold`` makes them of lines, ``history`` of whole logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingestion_runtime.progress.lines import Line


class TableState(StrEnum):
    """Where a table is in its run. ``done``: something was published; ``unchanged``: nothing new; ``skipped``: complete for
    the load date already."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """Whether the run has nothing more to do for a table in this state."""
        return self not in (TableState.WAITING, TableState.RUNNING)


@dataclass(frozen=True, slots=True)
class SliceView:
    """A part of a table's rows that is read at once; ``label`` is ``<batch id>/<ordinal>``.

    ``rows`` so far while it is read, then those that were staged; ``bytes`` of its staged files, 0 before. ``reused``: an
    earlier run had staged it. ``tombstones``: they are keys that the source no longer has, and count as nobody's rows.
    ``connections`` it was read over, 0 where nobody said. ``seconds`` of its reading; None while it goes on.
    """

    label: str
    ordinal: int
    started: datetime | None
    ended: datetime | None
    rows: int
    bytes: int
    reused: bool
    tombstones: bool = False
    connections: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StepView:
    """A stretch of a table's work: ``prepare``, ``read``, ``deletes``, ``publish`` (until the log says more), ``write``,
    ``audit``, ``land``, ``commit``, ``record``. ``ended`` is None for the one that goes on."""

    name: str
    started: datetime
    ended: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()


@dataclass(frozen=True, slots=True)
class FailureView:
    """Why a table failed. ``message`` ends with ``remedy``; ``stack_hash`` is equal for equal failures."""

    error_type: str
    message: str
    remedy: str
    stack_hash: str
    exit_code: int
    stack: str

    @property
    def reason(self) -> str:
        """The message without the remedy."""
        return self.message.removesuffix(self.remedy).rstrip() or self.message


@dataclass(frozen=True, slots=True)
class TableView:
    """One table in one run.

    ``phase`` is the step it is at; empty before and after. ``rows_read`` is what has been read so far. ``slices_total`` and
    ``estimated_rows`` come from the plan, and are None where it does not say. ``samples``: rows read so far over time.
    ``seconds``: of its work, once it is over.
    """

    name: str
    mode: str
    source: str
    state: TableState
    phase: str
    engine: str
    engine_reason: str
    started: datetime | None
    ended: datetime | None
    seconds: float | None
    slices: tuple[SliceView, ...]
    slices_total: int | None
    estimated_rows: int | None
    rows_read: int
    rows_written: int
    rows_deleted: int
    bytes: int
    watermark: str | None
    failure: FailureView | None
    warnings: tuple[Line, ...]
    steps: tuple[StepView, ...]
    samples: tuple[tuple[datetime, int], ...]
    duplicates: int = 0
    quarantined: int = 0

    @property
    def slices_read(self) -> int:
        """How many slices of rows are staged."""
        return sum(piece.ended is not None for piece in self.slices if not piece.tombstones)


@dataclass(frozen=True, slots=True)
class HeartbeatView:
    """The last heartbeat: when, how long after the one before it (None: it was the first), and Spark's load by name."""

    at: datetime
    interval: float | None
    spark: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RunView:
    """One run. ``ended`` None: it goes on, or died; ``host`` and ``pid`` say which process it is, empty and 0 in older logs.

    ``total`` tables belong to it; ``tables`` holds those that are known by name, in the order of the run. ``warnings`` are
    those of no table. ``garbage`` is how many lines of its log were none.
    """

    run_id: str
    job_name: str
    load_date: str
    started: datetime
    ended: datetime | None
    exit_code: int | None
    max_parallel: int
    total: int
    tables: tuple[TableView, ...]
    last_line_at: datetime
    garbage: int
    host: str = ""
    pid: int = 0
    heartbeat: HeartbeatView | None = None
    warnings: tuple[Line, ...] = ()

    def count(self, *states: TableState) -> int:
        """Return how many tables are in one of these states."""
        if TableState.WAITING in states:
            known = sum(table.state is not TableState.WAITING for table in self.tables)
            return self.total - known + self.count(*(state for state in states if state is not TableState.WAITING))
        return sum(table.state in states for table in self.tables)

    @property
    def over(self) -> int:
        """How many tables the run is through with, however they ended."""
        return sum(table.state.is_over for table in self.tables)

    @property
    def rows_read(self) -> int:
        """Rows read so far, all tables together."""
        return sum(table.rows_read for table in self.tables)
