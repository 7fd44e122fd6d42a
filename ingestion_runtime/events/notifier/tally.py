"""What a run has come to so far, counted from its events."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.notifier.notice import AtWork, Counts, FailedTable, WellAgain
from ingestion_runtime.events.types.batch import BatchRecovered, SliceProgress, SliceStaged
from ingestion_runtime.events.types.run import RunStarted
from ingestion_runtime.events.types.table import TableDone, TableFailed, TableStarted
from ingestion_runtime.model.errors import InterruptedRunError
from ingestion_runtime.model.result import TableStatus


@dataclass(slots=True)
class _Work:
    """A table at work, times by the monotonic clock. ``told``: its standstill has been told."""

    began: float
    moved: float
    slice: str | None = None
    staged: int = 0
    reading: int = 0
    told: bool = False

    def follow(self, event: Event, now: float) -> None:
        if isinstance(event, SliceProgress):
            if event.rows == self.reading:
                return  # a sign of life is no progress
            self.reading = event.rows
        elif isinstance(event, SliceStaged):
            self.staged, self.reading = self.staged + (0 if event.tombstones else event.rows), 0
        self.moved, self.told = now, False


@dataclass(slots=True)
class Tally:
    """Counts of one run. ``now`` is always the monotonic clock; nothing here is safe for several threads at once."""

    tables: int = 0
    ends: Counter[TableStatus] = field(default_factory=Counter)
    failures: list[FailedTable] = field(default_factory=list)
    recovered: list[WellAgain] = field(default_factory=list)
    rows_written: int = 0
    rows_deleted: int = 0
    _rows_read: int = 0
    _running: dict[str, _Work] = field(default_factory=dict)
    _troubles: dict[str, list[str]] = field(default_factory=dict)

    def expect_recovery(self, tables: Iterable[str]) -> None:
        """These tables failed in their last run: it is worth telling when they end well."""
        for table in tables:
            self._troubles.setdefault(table, []).append("failed in its last run")

    def follow(self, envelope: Envelope, now: float) -> None:
        """Count an event."""
        event, table = envelope.event, envelope.table
        if isinstance(event, RunStarted):
            self.tables = event.tables
        if table is None:
            return
        if isinstance(event, TableStarted):
            self._running[table] = _Work(now, now)
        elif isinstance(event, TableDone):
            self._end_well(table, event)
        elif isinstance(event, TableFailed):
            self._fail(table, event)
        elif table in self._running:
            if isinstance(event, BatchRecovered):
                self._troubles.setdefault(table, []).append(f"batch {event.batch_id} of an earlier run: {event.how}")
            self._running[table].follow(event, now)
            if envelope.slice is not None:
                self._running[table].slice = envelope.slice

    def _end_well(self, table: str, event: TableDone) -> None:
        self._running.pop(table, None)
        self.ends[event.status] += 1
        self._rows_read += event.rows_read
        self.rows_written += event.rows_written
        self.rows_deleted += event.rows_deleted
        troubles = self._troubles.pop(table, None)
        if troubles:
            self.recovered.append(WellAgain(table, "; ".join(troubles)))

    def _fail(self, table: str, event: TableFailed) -> None:
        self._running.pop(table, None)
        self._troubles.pop(table, None)
        if event.exit_code == InterruptedRunError.exit_code:
            self.ends[TableStatus.INTERRUPTED] += 1
            return
        self.ends[TableStatus.FAILED] += 1
        self.failures.append(
            FailedTable(table, event.error_type, event.message, event.remedy, event.stack_hash, event.exit_code)
        )

    @property
    def rows_read(self) -> int:
        """Rows that were read so far: of tables that ended well, and of those at work."""
        return self._rows_read + sum(work.staged + work.reading for work in self._running.values())

    def counts(self) -> Counts:
        """Return how many tables ended in which way."""
        return Counts(
            tables=self.tables,
            done=self.ends[TableStatus.DONE],
            unchanged=self.ends[TableStatus.UNCHANGED],
            skipped=self.ends[TableStatus.SKIPPED],
            failed=self.ends[TableStatus.FAILED],
            interrupted=self.ends[TableStatus.INTERRUPTED],
            running=len(self._running),
        )

    def running(self, now: float) -> tuple[AtWork, ...]:
        """Return the tables at work, the one that stands still longest first."""
        found = [_at_work(table, work, now) for table, work in self._running.items()]
        return tuple(sorted(found, key=lambda item: (-item.still_seconds, item.table)))

    def take_stalled(self, seconds: float, now: float) -> tuple[AtWork, ...]:
        """Return the tables without progress for so long; each once, until it moves again."""
        return tuple(self._take_stalled(seconds, now))

    def _take_stalled(self, seconds: float, now: float) -> Iterator[AtWork]:
        for table, work in sorted(self._running.items()):
            if not work.told and now - work.moved >= seconds:
                work.told = True
                yield _at_work(table, work, now)


def _at_work(table: str, work: _Work, now: float) -> AtWork:
    rows = work.staged + work.reading
    return AtWork(table, work.slice, rows, round(now - work.began, 3), round(now - work.moved, 3))
