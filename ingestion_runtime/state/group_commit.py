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

        The work may run on the thread of another caller, and twice: where one of several pieces fails, all of them are
        undone and done again, each in a transaction of its own.
        """
        work = _Work(do)
        with self._queue:
            self._waiting.append(work)
        with self._writing:
            if not work.done:
                self._write()
            if not work.done:  # whoever had taken it from the queue was interrupted
                self._write_alone(work)
        if work.error is not None:
            raise work.error
        value: T = work.value
        return value

    def _write(self) -> None:
        """Do what waits, together; where that fails, each piece alone, so that everyone gets an error of its own."""
        with self._queue:
            together, self._waiting = self._waiting, []
        if len(together) > 1 and self._write_together(together):
            return
        for work in together:
            self._write_alone(work)

    def _write_together(self, together: list[_Work]) -> bool:
        """Whether all of it is committed. What a database may undo beside a failed statement differs (SQLite gives up the
        whole transaction when the disk is full), so nothing of a transaction with an error is ever kept."""
        values = []
        try:
            with self._begin() as connection:
                values = [work.do(connection) for work in together]
        except Exception:  # noqa: BLE001 - it is raised again by the piece whose it is
            return False
        for work, value in zip(together, values, strict=True):
            work.value, work.done = value, True
        return True

    def _write_alone(self, work: _Work) -> None:
        work.done = True
        try:
            with self._begin() as connection:
                work.value = work.do(connection)
        except BaseException as error:  # noqa: BLE001 - raised by the thread whose work it is
            work.error = error
