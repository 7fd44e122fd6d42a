"""How many connections a run may have open to one source at a time, and who waits for whom.

Whoever needs several at once reserves them at once: two reads that each held one and waited for another would wait for ever.
Those who wait come in their order, so that a large read is not passed over for ever by small questions.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Reserved:
    """Connections that one thread may have open; it may give some of them up early."""

    def __init__(self, gate: "Gate", count: int) -> None:
        self._gate = gate
        self.count = count

    def keep(self, count: int) -> None:
        """Give up what is above ``count``."""
        surplus = max(0, self.count - count)
        self.count -= surplus
        self._gate.give_back(surplus)


class Gate:
    """Lets connections be open, ``most`` of them at a time (None: any number). Safe for several threads."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._free = most or 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holding = threading.local()

    @contextmanager
    def reserve(self, least: int, most: int) -> Iterator[Reserved]:
        """Wait for ``least`` connections, and take up to ``most`` if they are free; all are given back behind the block.

        A thread that holds some must not ask for more: it would wait for what others, waiting too, do not give back.
        """
        if self.most is None:
            yield Reserved(self, most)
            return
        if getattr(self._holding, "some", False):
            raise RuntimeError("a thread that holds connections asks for more, beside those that it has reserved")
        reserved = Reserved(self, self._take(least, most))
        self._holding.some = True
        try:
            yield reserved
        finally:
            self._holding.some = False
            reserved.keep(0)

    def give_back(self, count: int) -> None:
        """Let others have so many connections."""
        if self.most is not None and count:
            with self._changed:
                self._free += count
                self._changed.notify_all()

    def _take(self, least: int, most: int) -> int:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._free < least:
                    self._changed.wait()
                count = min(self._free, most)
                self._free -= count
                return count
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
