"""Transactions that share a commit: what several threads write at the same moment goes to disk once.

A commit waits for the disk (2 ms, measured), and SQLite takes one writer at a time. Whoever comes first works for all who
wait; each of them returns when its own work is committed, as if it had been alone.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


@dataclass(slots=True)
class _Work:
    """One caller's work and what came of it."""

    do: Callable[[Connection], Any]
    done: bool = False
    value: Any = None
    error: BaseException | None = None


class GroupCommit:
    """Runs pieces of work in shared transactions. ``begin`` opens one that commits at its end; safe for several threads."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._begin = begin
        self._waiting: list[_Work] = []
        self._queue = threading.Lock()
        self._writing = threading.Lock()

    def run(self, do: Callable[[Connection], T]) -> T:
        """Return what ``do`` returns, committed; raises what it raises, with nothing of it written.

        The work may run on the thread of another caller. Where the commit itself fails, all who shared it get its error.
        """
        work = _Work(do)
        with self._queue:
            self._waiting.append(work)
        with self._writing:
            if not work.done:
                with self._queue:
                    together, self._waiting = self._waiting, []
                self._write(together)
        if work.error is not None:
            raise work.error
        value: T = work.value
        return value

    def _write(self, together: list[_Work]) -> None:
        try:
            with self._begin() as connection:
                if len(together) == 1:
                    together[0].value = together[0].do(connection)
                else:
                    for work in together:
                        _write_one(connection, work)
        except BaseException as error:  # noqa: BLE001 - it is raised by everyone whose work it undid
            for work in together:
                work.error = work.error or error
        for work in together:
            work.done = True


def _write_one(connection: Connection, work: _Work) -> None:
    try:
        with connection.begin_nested():
            work.value = work.do(connection)
    except Exception as error:  # noqa: BLE001 - the others' work stands
        work.error = error
