"""Several connections that read at the same time: the first error ends all of them, and nothing is left running."""

import threading
from collections.abc import Callable, Iterator, Sequence

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import Streamer

# A cancellation that came before its statement was lost; so it is sent again until the thread has ended.
_AGAIN_SECONDS = 0.2

#: Works on one statement: the connection, the statement's number and text, and what raises when another one has failed.
Work = Callable[[Streamer, int, str, Callable[[], None]], int]


class _EndedError(Exception):
    """Another one has failed: whatever comes of this one, nobody asks for it."""


class Crew:
    """Reads statements over ``size`` connections of one snapshot, each statement over one of them."""

    def __init__(self, database: Database, join: str | None, size: int) -> None:
        self._database = database
        self._join = join
        self._size = size
        self._lock = threading.Lock()
        self._streamers: list[Streamer] = []
        self._failed: BaseException | None = None

    def work(self, statements: Sequence[str], work: Work) -> None:
        """Have every statement worked on; raises the first error, when all connections are closed."""
        queue = iter(list(enumerate(statements)))
        threads = [threading.Thread(target=self._run, args=(queue, work), daemon=True) for _ in range(1, self._size)]
        for thread in threads:
            thread.start()
        self._run(queue, work)
        for thread in threads:
            while thread.is_alive():
                thread.join(_AGAIN_SECONDS)
                if self._failed is not None:
                    self._cancel()
        if self._failed is not None:
            raise self._failed

    def _run(self, queue: Iterator[tuple[int, str]], work: Work) -> None:
        try:
            with self._database.stream(self._join) as streamer:
                with self._lock:
                    self._streamers.append(streamer)
                try:
                    while (task := self._next(queue)) is not None:
                        work(streamer, *task, self._check)
                finally:
                    with self._lock:
                        self._streamers.remove(streamer)
        except BaseException as error:  # noqa: BLE001 - raised by `work`, in the thread that waits for all
            with self._lock:
                self._failed = self._failed or error
            self._cancel()

    def _next(self, queue: Iterator[tuple[int, str]]) -> tuple[int, str] | None:
        with self._lock:
            return None if self._failed is not None else next(queue, None)

    def _check(self) -> None:
        if self._failed is not None:
            raise _EndedError

    def _cancel(self) -> None:
        with self._lock:
            streamers = tuple(self._streamers)
        for streamer in streamers:
            self._database.cancel(streamer)
