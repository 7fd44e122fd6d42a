"""A buffer that writes many items at once, by size and by age."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeAwareBufferedSink(Generic[T]):
    """Collects items and writes them together: when there are ``max_items``, or when the oldest is too old.

    Age is looked at when an item is added and by ``tick``; there is no thread. Items stay in order and are removed only
    after ``write`` returned, so a failed write loses nothing and is tried again at the next flush. ``add`` and ``tick``
    swallow the error (see ``failures`` and ``last_error``) and then wait for as many items, or as long, as after a
    successful one; ``flush`` and ``close`` raise it.

    Memory is bounded: at most ``capacity`` items (default: 200 times ``max_items``) are kept, newer ones are dropped
    and counted in ``dropped``. The oldest are worth more: they say how the trouble began.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], None],
        max_items: int = 50,
        max_age_seconds: float = 120,
        clock: Callable[[], float] = time.monotonic,
        capacity: int | None = None,
    ) -> None:
        if max_items < 1:
            raise ValueError("max_items must be at least 1")
        self._write = write
        self._max_items = max_items
        self._max_age = max_age_seconds
        self._clock = clock
        self._capacity = max(capacity or 200 * max_items, max_items)
        self._items: list[T] = []
        self._due_size = max_items
        self._due_time: float | None = None
        self._closed = False
        self._dropped = 0
        self._failures = 0
        self._last_error: str | None = None
        self._lock = threading.Lock()  # guards the fields above; held for moments only
        self._writing = threading.Lock()  # one write at a time keeps the order

    @property
    def dropped(self) -> int:
        """Items that were refused because the buffer was full."""
        return self._dropped

    @property
    def failures(self) -> int:
        """Writes that failed."""
        return self._failures

    @property
    def last_error(self) -> str | None:
        """Type and message of the last failed write."""
        return self._last_error

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def add(self, item: T) -> None:
        """Keep an item; write all of them if it is time. Never raises because of a failed write."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the buffer is closed")
            if len(self._items) >= self._capacity:
                self._dropped += 1
            else:
                self._items.append(item)
                if self._due_time is None:
                    self._due_time = self._clock() + self._max_age
        self.tick()

    def tick(self) -> None:
        """Write if enough items are waiting or the oldest is too old. Never raises because of a failed write."""
        # A thread that finds another one writing goes on with its own work.
        if not self._is_due() or not self._writing.acquire(blocking=False):
            return
        try:
            if self._is_due():
                self._write_out()
        except Exception:  # noqa: BLE001  counted in _write_out, tried again later
            return
        finally:
            self._writing.release()

    def flush(self) -> None:
        """Write everything now; raises what the write raises, and then keeps the items."""
        with self._writing:
            self._write_out()

    def close(self) -> None:
        """Flush, and accept nothing more; raises what the write raises, and may then be called again."""
        with self._lock:
            self._closed = True
        self.flush()

    def _is_due(self) -> bool:
        with self._lock:
            if not self._items:
                return False
            aged = self._due_time is not None and self._clock() >= self._due_time
            return aged or len(self._items) >= self._due_size

    def _write_out(self) -> None:
        with self._lock:
            batch = tuple(self._items)
        if not batch:
            return
        try:
            self._write(batch)
        except Exception as error:
            with self._lock:
                self._failures += 1
                self._last_error = f"{type(error).__name__}: {error}"
                # Not at every item: each try may cost the caller a timeout.
                self._due_size = len(self._items) + self._max_items
                self._due_time = self._clock() + self._max_age
            raise
        with self._lock:
            del self._items[: len(batch)]
            self._due_size = self._max_items
            self._due_time = self._clock() + self._max_age if self._items else None
