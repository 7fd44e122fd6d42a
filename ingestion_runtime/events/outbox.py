"""Mirrors the event log to another file system, in numbered segment files."""

import contextlib
import logging
import queue
import re
import threading
from collections.abc import Sequence
from typing import Any, Final

from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.events.plain import to_json

_LOG = logging.getLogger(__name__)
_QUEUE_LINES: Final = 10_000
_SEGMENT: Final = re.compile(r"(\d{6,})\.jsonl")


class Outbox:
    """Mirrors lines into ``<root>/run-<run id>/000001.jsonl`` and so on, through fsspec.

    A segment is written under a hidden name and renamed when it is whole, so a reader never sees half of one. All of it
    happens on a thread of its own: a file system that is slow, gone, or never answers must not hold up the tables.
    ``add`` never raises and never waits; lines that find the queue full are counted in ``dropped``.
    """

    def __init__(self, root: str, run_id: str, max_items: int = 50, max_age_seconds: float = 120) -> None:
        self._root = root
        self._folder = f"run-{run_id}"
        self._segments: _SegmentWriter | None = None
        self._sink: TimeAwareBufferedSink[str] = TimeAwareBufferedSink(self._write, max_items, max_age_seconds)
        self._queue: queue.Queue[str | threading.Event] = queue.Queue(_QUEUE_LINES)
        self._dropped = 0
        self._closed = False  # add() takes no more
        self._finished = False  # the thread may end
        self._reported = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="event-outbox", daemon=True)

    @property
    def dropped(self) -> int:
        """Lines that came too late or found no room."""
        return self._dropped + self._sink.dropped

    @property
    def last_error(self) -> str | None:
        """Type and message of the last failed write."""
        return self._sink.last_error

    def add(self, line: str) -> None:
        """Mirror a line; never raises, never waits."""
        with self._lock:
            if self._closed:
                self._dropped += 1
                return
            if self._thread.ident is None:
                self._thread.start()
            try:
                self._queue.put_nowait(line)
            except queue.Full:
                self._dropped += 1

    def flush(self, timeout: float = 30.0) -> bool:
        """Write what was added so far; False if that failed or took longer than ``timeout`` seconds."""
        if self._thread.ident is None or self._finished:
            return len(self._sink) == 0
        done = threading.Event()
        try:
            self._queue.put(done, timeout=timeout)
        except queue.Full:
            return False
        return done.wait(timeout) and len(self._sink) == 0

    def close(self, timeout: float = 30.0) -> bool:
        """Flush and accept nothing more; False if lines were left behind."""
        with self._lock:
            self._closed = True
        clean = self.flush(timeout)
        self._finished = True
        return clean

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=1.0)
            except queue.Empty:
                self._sink.tick()
                if self._finished:
                    return
                continue
            if isinstance(item, str):
                self._sink.add(item)
                continue
            # Counted by the sink and reported by _write.
            with contextlib.suppress(Exception):
                self._sink.flush()
            item.set()

    def _write(self, lines: Sequence[str]) -> None:
        try:
            if self._segments is None:
                self._segments = _SegmentWriter(self._root, self._folder)
            self._segments.write(lines)
        except Exception as error:
            if not self._reported:
                self._reported = True
                line = {"event": "outbox_failed", "error_type": type(error).__name__, "message": str(error)}
                _LOG.warning("%s", to_json(line))
            raise


class _SegmentWriter:
    """Writes whole, numbered files into one folder."""

    def __init__(self, root: str, folder: str) -> None:
        import fsspec.core  # 0.04 s that runs without an outbox need not pay

        filesystem, path = fsspec.core.url_to_fs(root)
        self._fs: Any = filesystem
        self._folder = f"{path.rstrip('/')}/{folder}"
        self._fs.makedirs(self._folder, exist_ok=True)
        self._next = 1 + max(self._numbers(), default=0)

    def write(self, lines: Sequence[str]) -> None:
        target = f"{self._folder}/{self._next:06}.jsonl"
        hidden = f"{self._folder}/.{self._next:06}.jsonl.part"
        with self._fs.open(hidden, "wb") as stream:
            stream.write("".join(f"{line}\n" for line in lines).encode())
        # Left by a try of ours whose answer was lost. HDFS does not rename onto a file, and only says so in a value
        # that fsspec does not pass on; hence the look afterwards.
        if self._fs.exists(target):
            self._fs.rm_file(target)
        self._fs.mv(hidden, target)
        self._fs.invalidate_cache()
        if self._fs.exists(hidden) or not self._fs.exists(target):
            raise OSError(f"{target} could not be put in place")
        self._next += 1

    def _numbers(self) -> list[int]:
        names = (str(path).rsplit("/", 1)[-1] for path in self._fs.ls(self._folder, detail=False))
        return [int(match[1]) for name in names if (match := _SEGMENT.fullmatch(name))]
