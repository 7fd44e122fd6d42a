"""A source database as probes see it: a small pool of read-only connections, opened when first asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from ingestion_runtime.endpoints.jdbc.dialect import Dialect, Streamer, fetch
from ingestion_runtime.endpoints.jdbc.pool import ConnectionPool, discard
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.spec import ConnectionSpec


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A view of the database that stays as it is. ``join`` is the statement by which other connections join it.

    ``shared`` says whether they then see the same: not without such a statement, nor of what lies on another server.
    """

    connection: Any
    join: str | None
    shared: bool


class Database:
    """One named connection of the configuration. Safe to share between threads; every error is one of our own."""

    def __init__(self, connection: ConnectionSpec, dialect: Dialect) -> None:
        self.spec = connection
        self.dialect = dialect
        self._pool: ConnectionPool | None = None
        self._streamers: ConnectionPool | None = None
        self._lock = Lock()
        self._lent: list[Any] = []
        self._streaming: list[Streamer] = []

    @property
    def place(self) -> str:
        """Name, dialect and address, as messages give them."""
        return f"Connection {self.spec.name!r} ({self.dialect.name} {self.dialect.place(self.spec)})"

    def check(self) -> None:
        """Make sure that the database answers with these credentials."""
        self.rows("SELECT 1")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows."""
        with self.connect() as connection:
            return fetch(connection, sql)

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """Lend a PEP 249 connection. The driver's errors leave as ours; what was open is rolled back."""
        try:
            pool = self._opened()
            connection = pool.take()
            try:
                with self._lock:
                    self._lent.append(connection)
                yield connection
            finally:
                with self._lock:
                    self._lent.remove(connection)
                _give_back(pool, connection)
        except IngestionError:
            raise
        except Exception as error:
            ours = self.translate(error)
            if ours is None:
                raise
            raise ours from None

    @contextmanager
    def snapshot(self, statement: str) -> Iterator[Snapshot]:
        """Hold one view of the database, in which ``statement`` can be read, for as long as the block runs.

        Waits for whoever empties or rewrites what the statement reads. Raises TransientError at the end when that could have
        been done within the block.
        """
        with ExitStack() as held:
            holder, shared = None, False
            if self.dialect.shares_snapshots:
                # Before the view is fixed, so over another connection: a TRUNCATE or a rewriting ALTER that commits later
                # leaves nothing of the table to an older view (measured: 0 rows of 1000, without an error).
                holder = held.enter_context(self.connect())
                shared = self.dialect.hold_relations(holder, statement)
            connection = held.enter_context(self.connect())
            yield Snapshot(connection, self.dialect.hold_snapshot(connection), shared)
            if holder is not None:
                fetch(holder, "SELECT 1")  # it has held until now, or it fails

    @contextmanager
    def stream(self, join: str | None) -> Iterator[Streamer]:
        """Lend a connection that streams, in a read-only transaction; ``join`` is the snapshot's. Errors leave as ours."""
        try:
            pool = self._opened_streamers()
            streamer = self._begun(pool, join)
            try:
                with self._lock:
                    self._streaming.append(streamer)
                yield streamer
                streamer.end()
            except BaseException:
                self._forget(streamer)
                streamer.close()
                raise
            # A cancellation may still be on its way to the server, and would strike the next statement.
            if self._forget(streamer):
                pool.give_back(streamer)
            else:
                streamer.close()
        except IngestionError:
            raise
        except Exception as error:
            ours = self.translate(error)
            if ours is None:
                raise
            raise ours from None

    def cancel(self, streamer: Streamer) -> None:
        """End what a lent connection streams, from another thread; nothing happens where it has ended by itself."""
        self._forget(streamer)
        with suppress(Exception):
            streamer.cancel()

    def translate(self, error: BaseException) -> IngestionError | None:
        """Return the error of our tree for one of the driver's; None for any other."""
        fault = self.dialect.fault(error)
        return None if fault is None else self.dialect.classify(fault, self.place)

    def interrupt(self) -> None:
        """End the queries that run at this moment: a run that was asked to stop must not wait for them."""
        with self._lock:
            lent, streaming = tuple(self._lent), tuple(self._streaming)
        for streamer in streaming:
            self.cancel(streamer)
        for driver in lent:
            with suppress(Exception):  # it may have ended by itself meanwhile
                self.dialect.interrupt(driver)

    def close(self) -> None:
        """Close all connections. The database may be used again afterwards."""
        with self._lock:
            pools = (self._pool, self._streamers)
            self._pool = self._streamers = None
        for pool in pools:
            if pool is not None:
                pool.close()

    def _opened(self) -> ConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(lambda: self.dialect.connect(self.spec), self.dialect.is_usable)
            return self._pool

    def _opened_streamers(self) -> ConnectionPool:
        with self._lock:
            if self._streamers is None:
                self._streamers = ConnectionPool(lambda: self.dialect.stream(self.spec), lambda _: True)
            return self._streamers

    def _begun(self, pool: ConnectionPool, join: str | None) -> Streamer:
        """Return a connection in a transaction; one that the server has ended while it lay idle is replaced."""
        kept: Streamer = pool.take()
        try:
            kept.begin(join)
        except Exception:  # noqa: BLE001 - a new connection shows whether it was the connection
            discard(kept)
        else:
            return kept
        fresh = self.dialect.stream(self.spec)
        try:
            fresh.begin(join)
        except BaseException:
            discard(fresh)
            raise
        return fresh

    def _forget(self, streamer: Streamer) -> bool:
        """Take a streamer off the list; return whether it still was on it."""
        with self._lock:
            known = streamer in self._streaming
            if known:
                self._streaming.remove(streamer)
            return known


def _give_back(pool: ConnectionPool, connection: Any) -> None:
    try:
        connection.rollback()
    except Exception:  # noqa: BLE001 - whatever the driver calls it, there is nothing left to roll back
        discard(connection)
    else:
        pool.give_back(connection)
