"""Says at intervals that the run is alive, and what it is at."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from ingestion_runtime.events.event import Emitter, Envelope
from ingestion_runtime.events.types.batch import SliceProgress, SliceStaged
from ingestion_runtime.events.types.run import Heartbeat as HeartbeatEvent
from ingestion_runtime.events.types.run import RunningTable, RunStarted
from ingestion_runtime.events.types.table import TableDone, TableFailed, TableStarted


@dataclass(slots=True)
class _Position:
    """Where a table is: its last slice, the rows of those that are staged, and of the one that is being read."""

    slice: str | None = None
    staged: int = 0
    reading: int = 0

    @property
    def rows(self) -> int:
        return self.staged + self.reading

    def follow(self, envelope: Envelope) -> None:
        event = envelope.event
        if envelope.slice is not None:
            self.slice = envelope.slice
        if isinstance(event, SliceProgress):
            self.reading = event.rows
        elif isinstance(event, SliceStaged):
            self.staged, self.reading = self.staged + (0 if event.tombstones else event.rows), 0


class Heartbeat:
    """A subscriber that keeps count of the tables, and a daemon thread that emits ``heartbeat`` events.

    ``metrics`` (for instance Spark's) is asked before each beat; if it raises, the beat goes without. An interval of 0
    switches the thread off. After ``stop`` has returned nothing is emitted any more. Do not call ``stop`` from a
    subscriber: it waits for a beat under way, which waits for the subscribers.
    """

    def __init__(
        self,
        emitter: Emitter,
        interval_seconds: float,
        metrics: Callable[[], Mapping[str, object] | None] | None = None,
    ) -> None:
        self._emitter = emitter
        self._interval = interval_seconds
        self._metrics = metrics
        self._total = 0
        self._done = 0
        self._failed = 0
        self._running: dict[str, _Position] = {}
        self._lock = threading.Lock()  # the counts; never held while emitting
        self._gate = threading.Lock()  # held while emitting; stop() closes it
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def handle(self, envelope: Envelope) -> None:
        """Count tables and follow their slices."""
        event, table = envelope.event, envelope.table
        with self._lock:
            if isinstance(event, RunStarted):
                self._total = event.tables
            if table is None:
                return
            if isinstance(event, TableStarted):
                self._running[table] = _Position()
            elif isinstance(event, TableDone | TableFailed):
                self._running.pop(table, None)
                self._done += isinstance(event, TableDone)
                self._failed += isinstance(event, TableFailed)
            elif table in self._running:
                self._running[table].follow(envelope)

    def start(self) -> None:
        """Start the thread, unless the interval is 0."""
        if self._interval > 0 and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop; nothing is emitted after this has returned."""
        with self._gate:
            self._stopped.set()
        if self._thread is not None:
            # Metrics that never answer keep the thread, but it finds the gate closed.
            self._thread.join(timeout=1.0)

    def __enter__(self) -> "Heartbeat":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def beat(self) -> None:
        """Emit one heartbeat now, unless stopped."""
        metrics = self._ask_metrics()
        with self._lock:
            running = tuple(RunningTable(table, at.slice, at.rows) for table, at in sorted(self._running.items()))
            event = HeartbeatEvent(self._total, self._done, self._failed, running, metrics)
        with self._gate:
            if not self._stopped.is_set():
                self._emitter.emit(event)

    def _work(self) -> None:
        while not self._stopped.wait(self._interval):
            self.beat()

    def _ask_metrics(self) -> Mapping[str, object] | None:
        if self._metrics is None:
            return None
        try:
            return self._metrics()
        except Exception:  # noqa: BLE001  a beat without metrics is still a beat
            return None
