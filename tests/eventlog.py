"""Event logs of runs that a test makes up: told by the real emitter to the real subscribers, on a clock of the test's."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Event
from ingestion_runtime.events.outbox import Outbox
from ingestion_runtime.events.structured_log import StructuredLogSubscriber
from ingestion_runtime.events.types.batch import BatchPublished, SliceProgress, SliceStaged, SliceStarted
from ingestion_runtime.events.types.run import RunDone, RunStarted
from ingestion_runtime.events.types.table import EngineChosen, PhaseMarked, PlanMade, TableDone, TableFailed, TableStarted
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus

NIGHT = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)


class Story:
    """A run as it is told, event by event. ``after`` lets time pass, everything else happens at once."""

    def __init__(
        self, directory: Path, run_id: str = "run-1", began: datetime = NIGHT, outbox: str | None = None, level: str = "info"
    ) -> None:
        self.now = began
        self.run_id = run_id
        self.outbox = Outbox(outbox, run_id, max_items=1) if outbox else None
        self._log = StructuredLogSubscriber(directory, run_id, self.outbox, level, started=began)
        self._emitter = EventEmitter(run_id, [self._log], lambda: self.now)
        self._codes: list[int] = []

    @property
    def path(self) -> Path:
        """The log file."""
        return self._log.path

    @property
    def lines(self) -> list[str]:
        """What the log holds by now."""
        return self.path.read_text(encoding="utf-8").splitlines()

    def after(self, seconds: float) -> "Story":
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return self

    def tell(self, event: Event, table: str | None = None, piece: str | None = None) -> "Story":
        """Emit an event."""
        bound = self._emitter if table is None else self._emitter.bind(table=table, slice=piece)
        bound.emit(event)
        return self

    def begin(self, tables: Sequence[str], *, parallel: int = 4, host: str = "elsewhere", pid: int = 0) -> "Story":
        """The run starts."""
        names = tuple(tables)
        return self.tell(RunStarted("nightly", date(2026, 7, 1), len(names), parallel, host, pid, names))

    def start(self, table: str, mode: str = "scd1", slices: int = 1, rows: int | None = None) -> "Story":
        """A table is prepared for a second, and planned."""
        self.tell(TableStarted(mode, "shop"), table).tell(EngineChosen("arrow", "table", "no JVM has to start"), table)
        self.after(1).tell(PlanMade("1", "9", slices, rows, True, "probed"), table)
        phase = Phase.RAW if mode == "full" else Phase.INTERMEDIATE
        return self.tell(PhaseMarked(phase, PhaseStatus.STARTED, batch_id="b1"), table)

    def read(self, table: str, ordinal: int, rows: int, seconds: float = 2.0, batch: str = "b1") -> "Story":
        """A slice is read, with word of its progress halfway."""
        piece = f"{batch}/{ordinal:05d}"
        self.tell(SliceStarted(ordinal), table, piece).after(seconds / 2)
        self.tell(SliceProgress(ordinal, rows // 2, rows * 8, seconds / 2), table, piece).after(seconds / 2)
        return self.tell(SliceStaged(ordinal, rows, rows * 10, seconds, connections=1), table, piece)

    def publish(self, table: str, rows: int, deleted: int = 0) -> "Story":
        """A batch is published, which takes two seconds."""
        self.after(2)
        return self.tell(BatchPublished("b1", rows, deleted, True, 1.0, 0.5, 0.25, 0.25), table)

    def done(self, table: str, status: TableStatus = TableStatus.DONE, rows: int = 0, seconds: float = 0.0) -> "Story":
        """A table ends well."""
        mark = "2026-06-30 12:00:00" if rows else None
        return self.tell(TableDone(status, rows, rows, slices=1, seconds=seconds, watermark=mark), table)

    def whole(self, table: str, rows: int = 1_000, seconds: float = 2.0) -> "Story":
        """A table is read in one slice, published, and done."""
        begun = self.now
        self.start(table, rows=rows).read(table, 0, rows, seconds).publish(table, rows)
        return self.done(table, rows=rows, seconds=(self.now - begun).total_seconds())

    def fail(
        self, table: str, message: str = "The disk is full.", remedy: str = "Free space, then run again.", code: int = 3
    ) -> "Story":
        """A table fails, two seconds after it was begun."""
        self._codes.append(code)
        kind = "TerminalError" if code == 1 else "TransientError"
        self.tell(TableStarted("full", "shop"), table).after(2)
        failed = TableFailed(kind, f"{table}: {message} {remedy}", "0123456789ab", code, remedy, 2.0, "Traceback ...")
        return self.tell(failed, table)

    def end(self) -> "Story":
        """The run ends."""
        self.tell(RunDone(max(self._codes, default=0), 1.0))
        if self.outbox is not None:
            assert self.outbox.close()
        return self
