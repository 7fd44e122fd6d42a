"""The event log: JSON lines, one file a run."""

import threading
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from ingestion_runtime.events.event import Envelope, event_fields
from ingestion_runtime.events.plain import to_json

LEVELS: Final = ("debug", "info", "warning", "error")


class LineMirror(Protocol):
    """Something that wants every line too, without its line end, and never raises."""

    def add(self, line: str) -> None: ...


class StructuredLogSubscriber:
    """Writes every event as one JSON line into ``<directory>/run-<UTC stamp>-<run id>.jsonl``, or ``<name>.jsonl`` there.

    Each line is handed to the operating system whole before ``handle`` returns, so that it survives the process. The
    file is created with the first event. An ``OSError`` goes to the emitter, which isolates it; the mirror has had
    the line by then.
    """

    def __init__(
        self,
        directory: str | Path,
        run_id: str,
        outbox: LineMirror | None = None,
        level: str = "info",
        started: datetime | None = None,
        name: str | None = None,
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        stamp = (started or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._path = Path(directory) / f"{name or f'run-{stamp}-{run_id}'}.jsonl"
        self._outbox = outbox
        self._threshold = LEVELS.index(level)
        self._file: FileIO | None = None
        self._torn = False
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The log file of this run."""
        return self._path

    def handle(self, envelope: Envelope) -> None:
        """Write the event's line, unless its level is below the configured one."""
        if LEVELS.index(envelope.event.level) < self._threshold:
            return
        line = self._line(envelope)
        if self._outbox is not None:
            self._outbox.add(line)
        with self._lock:
            self._append(line)

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _line(self, envelope: Envelope) -> str:
        values: dict[str, object] = {
            "ts": envelope.at.isoformat(timespec="microseconds"),
            "seq": envelope.seq,
            "level": envelope.event.level,
            "event": envelope.event.name,
            "run_id": envelope.run_id,
            "table": envelope.table,
            "slice": envelope.slice,
            **event_fields(envelope.event),
        }
        return to_json(values)

    def _append(self, line: str) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._path, "ab")
        # After a write that stopped half-way (disk full) a new line keeps the next event readable.
        rest = memoryview(("\n" if self._torn else "").encode() + line.encode() + b"\n")
        self._torn = True
        while rest:
            rest = rest[self._file.write(rest) :]
        self._torn = False
