"""Lines of a log as they come, from a log that is written, rotated and replaced by others meanwhile."""

import os
from collections.abc import Iterator
from typing import Final, Protocol

from ingestion_runtime.progress.places import Log, Place

_CHUNK: Final = 1 << 20
_LONGEST: Final = 16 << 20  # a line beyond has no end, and is no line of ours: the longest hold a stack of 12,000 characters
_MARK: Final = 64  # bytes before the place reached; others there mean that the file was written anew


LOST: Final = "(a line without an end)"


class LineSplitter:
    """Turns bytes, as they come, into whole lines. What has no line end yet is kept, up to 16 MiB of it."""

    def __init__(self) -> None:
        self._rest = b""
        self._endless = False

    def feed(self, content: bytes) -> Iterator[str]:
        """Yield the lines that ended, without their line ends; ``LOST`` for one that grew too long."""
        *whole, self._rest = (self._rest + content).split(b"\n")
        for number, line in enumerate(whole):
            if number == 0 and self._endless:
                self._endless = False  # the end of what was given up
                continue
            yield line.decode(errors="replace")
        if len(self._rest) > _LONGEST:
            if not self._endless:
                yield LOST
            self._rest, self._endless = b"", True

    def cut(self) -> Iterator[str]:
        """Yield what is left without a line end, which will never come."""
        rest, self._rest = self._rest, b""
        if rest and not self._endless:
            yield rest.decode(errors="replace")
        self._endless = False


class Tail(Protocol):
    """One log."""

    def read(self) -> Iterator[str]:
        """Yield the lines that have come since the last call."""
        ...

    def close(self) -> None: ...


class FileTail:
    """A local file, which may be missing, renamed, replaced or emptied at any time."""

    def __init__(self, path: str, place: Place) -> None:
        self._path = path
        self._place = place
        self._file: int | None = None
        self._reached = 0
        self._mark = b""
        self._splitter = LineSplitter()

    def read(self) -> Iterator[str]:
        """Yield the new lines; those of a file that was renamed come before those of its successor."""
        with self._place.reachable():
            if self._file is not None:
                yield from self._read_on(self._file)
                if not self._is_replaced(self._file):
                    return
                yield from self._splitter.cut()
                self.close()
            try:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
            except FileNotFoundError:
                return
            yield from self._read_on(self._file)

    def close(self) -> None:
        """Let go of the file; the next read begins anew."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._reached, self._mark = None, 0, b""

    def _is_replaced(self, file: int) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116 - beside fstat
        except FileNotFoundError:
            return False  # until a successor comes, what is written goes here
        here = os.fstat(file)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _read_on(self, file: int) -> Iterator[str]:
        before = os.pread(file, len(self._mark), self._reached - len(self._mark))
        if before != self._mark:
            # Emptied, and perhaps filled again beyond the place reached.
            yield from self._splitter.cut()
            self._reached, self._mark = 0, b""
        while content := os.pread(file, _CHUNK, self._reached):
            self._reached += len(content)
            self._mark = (self._mark + content)[-_MARK:]
            yield from self._splitter.feed(content)


class SegmentTail:
    """A log whose files appear whole: those of an outbox, or a file on another file system.

    A file whose size has changed is read again from its beginning: an outbox that got no answer writes its last segment
    anew, with more in it. Lines come twice then, which a ``RunFold`` does not mind.
    """

    def __init__(self, log: Log, place: Place) -> None:
        self._log = log
        self._place = place
        self._sizes: dict[str, int] = {}

    def read(self) -> Iterator[str]:
        """Yield the lines of files that are new or have changed."""
        try:
            found = list(self._place.segments(self._log))
        except FileNotFoundError:
            return
        for path, size in found:
            if self._sizes.get(path) == size:
                continue
            try:
                content = self._place.read(path)
            except FileNotFoundError:
                continue  # replaced at this moment; it is there the next time
            splitter = LineSplitter()
            yield from splitter.feed(content)
            if self._log.segmented:
                yield from splitter.cut()
            self._sizes[path] = size

    def close(self) -> None:
        """Nothing is held."""


class Follower:
    """The lines of the newest log of a place, from its beginning; those of a newer one as soon as it appears."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._log: Log | None = None
        self._tail: Tail | None = None

    @property
    def log(self) -> str | None:
        """The file or folder that is followed; None while there is none."""
        return self._log.path if self._log else None

    def poll(self) -> Iterator[str]:
        """Yield the lines that have come since the last call. Raises as ``Place`` does; another call may go on then."""
        newest = self._place.newest()
        if self._tail is not None:
            yield from self._tail.read()
        # An older one is the newest where the log was moved away or removed: what is open is read on.
        if newest is None or newest == self._log or (self._log is not None and newest.began < self._log.began):
            return
        self.close()
        self._log, self._tail = newest, open_tail(newest, self._place)
        yield from self._tail.read()

    def close(self) -> None:
        """Let go of the log."""
        if self._tail is not None:
            self._tail.close()
        self._log = self._tail = None


def open_tail(log: Log, place: Place) -> Tail:
    """Return what reads a log from its beginning on."""
    return FileTail(log.path, place) if place.is_local and not log.segmented else SegmentTail(log, place)
