"""What a message says: how a run stands, as facts."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from ingestion_runtime.model.notify import NoticeKind


@dataclass(frozen=True, slots=True)
class RunAbout:
    """Which run it is, and where it runs."""

    job_name: str
    run_id: str
    load_date: date
    host: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Tables of the run by how they ended, and those at work. The others have not begun, ``waiting`` of them."""

    tables: int = 0
    done: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    interrupted: int = 0
    running: int = 0

    @property
    def complete(self) -> int:
        """Tables that ended well."""
        return self.done + self.unchanged + self.skipped

    @property
    def waiting(self) -> int:
        """Tables that have not begun."""
        return max(0, self.tables - self.complete - self.failed - self.interrupted - self.running)


@dataclass(frozen=True, slots=True)
class FailedTable:
    """A table that failed; ``table`` is empty where the run itself could not begin or go on."""

    table: str
    error_type: str
    message: str
    remedy: str = ""
    stack_hash: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class WellAgain:
    """A table that ended well after something had gone wrong; ``reason`` says what."""

    table: str
    reason: str


@dataclass(frozen=True, slots=True)
class AtWork:
    """A table that is being worked on: rows read so far, seconds since it began and since it was last heard to move."""

    table: str
    slice: str | None
    rows: int
    seconds: float
    still_seconds: float


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. Counts and rows are those of the moment ``at``; ``exit_code`` is known at the end only.

    ``failures`` are those that the message is about: all so far in a digest and at the end. ``stalled`` tables are among
    the ``running`` ones.
    """

    kind: NoticeKind
    at: datetime
    about: RunAbout
    seconds: float = 0.0
    counts: Counts = Counts()
    rows_read: int = 0
    rows_written: int = 0
    rows_deleted: int = 0
    failures: tuple[FailedTable, ...] = ()
    recovered: tuple[WellAgain, ...] = ()
    stalled: tuple[AtWork, ...] = ()
    running: tuple[AtWork, ...] = ()
    exit_code: int | None = None

    @property
    def alarming(self) -> bool:
        """Whether someone should look."""
        return self.kind in (NoticeKind.FAILURE, NoticeKind.STALL) or bool(self.exit_code)

    def gathered(self, earlier: "Notice") -> "Notice":
        """Return this message with what an earlier one of its kind, not sent yet, has to tell besides."""
        if self.kind not in (NoticeKind.FAILURE, NoticeKind.RECOVERY, NoticeKind.STALL):
            return self
        stalled = {item.table: item for item in (*earlier.stalled, *self.stalled)}
        return replace(
            self,
            failures=(*earlier.failures, *self.failures),
            recovered=(*earlier.recovered, *self.recovered),
            stalled=tuple(stalled.values()),
        )
