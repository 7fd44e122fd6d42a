"""Connections that stay open between uses: opening one costs a login (10 ms here), a table asks some ten times."""

import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class ConnectionPool:
    """Lends open connections, the last one given back first. Safe to use from several threads.

    It keeps as many as were ever lent at once: as many as there are tables at work. ``open`` makes a connection and
    ``is_usable`` says, without asking the server, whether an idle one still is.
    """

    def __init__(self, open: Callable[[], Any], is_usable: Callable[[Any], bool]) -> None:  # noqa: A002 - the plain word
        self.open = open
        self._is_usable = is_usable
        self._idle: list[Any] = []
        self._closed = False
        self._lock = threading.Lock()  # held for moments only

    @property
    def idle(self) -> int:
        """How many connections are open for nobody."""
        return len(self._idle)

    def take_idle(self) -> Any:
        """Return a connection that is open and nobody has, None where there is none."""
        while (kept := self._pop()) is not None:
            if self._is_usable(kept):
                return kept
            discard(kept)
        return None

    def part_with_one(self) -> Any:
        """Return the connection that has been idle for longest, for the caller to close; None where there is none."""
        with self._lock:
            return self._idle.pop(0) if self._idle else None

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next one who asks; its transaction must be over."""
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        discard(connection)

    def close(self) -> None:
        """Close all connections: those that are lent at this moment when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            discard(connection)

    def _pop(self) -> Any:
        with self._lock:
            return self._idle.pop() if self._idle else None


def discard(connection: Any) -> None:
    """Close a connection that may be broken."""
    with suppress(Exception):  # whatever the driver calls it, there is nothing left to lose
        connection.close()


def is_quiet(descriptor: int) -> bool:
    """Return whether nothing has arrived on the socket of an idle connection.

    A server that ends a session says so, or closes; so no round trip is needed to notice.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)
