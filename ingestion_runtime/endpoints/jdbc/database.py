"""A source database as probes and reads see it: a small pool of read-only connections, opened when first asked for."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from time import monotonic, sleep
from typing import Any

from ingestion_runtime.endpoints.jdbc.cap import Gate, Reserved
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, Streamer, fetch
from ingestion_runtime.endpoints.jdbc.pool import ConnectionPool, discard
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import IngestionError, TransientError

# A session that was closed may count at the server for a moment longer (seen: 1 login of 2000 refused for its like).
_FAREWELL_SECONDS, _AGAIN_SECONDS = 2.0, 0.02


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A view of the database that stays as it is. ``join`` is the statement by which other connections join it.

    ``shared`` says whether they then see the same: not without such a statement, nor of what lies on another server.
    ``connection`` is the one that holds the view. None where the connections that may be open are too few to hold one: then
    one statement over one connection reads everything, and has its own view.
    """

    connection: Any
    join: str | None
    shared: bool
    database: "Database"
    reserved: Reserved

    @contextmanager
    def asked(self) -> Iterator[Any]:
        """Lend the connection that holds the view, or while nothing is read any other."""
        if self.connection is not None:
            yield self.connection
        else:
            with self.database.lend() as connection:
                yield connection

    def readers(self, wanted: int) -> int:
        """Return over how many connections may be read at once, ``wanted`` at most. Others may then have the rest."""
        if self.database.spec.max_connections is None:
            return wanted
        holders = 0 if self.connection is None else 2 if self.database.dialect.shares_snapshots else 1
        self.reserved.keep(holders + wanted)
        return self.reserved.count - holders

    @contextmanager
    def read_elsewhere(self, connections: int) -> Iterator[None]:
        """Let another process read over so many connections while the block runs; idle ones of ours give way."""
        with self.database.counting(connections):
            yield


class Database:
    """One named connection of the configuration. Safe to share between threads; every error is one of our own."""

    def __init__(self, connection: ConnectionSpec, dialect: Dialect) -> None:
        self.spec = connection
        self.dialect = dialect
        self._pool: ConnectionPool | None = None
        self._streamers: ConnectionPool | None = None
        self._gate = Gate(connection.max_connections)
        self._out = 0
        self._closed_at = monotonic()  # whoever asked the source before us in this process has only just left
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
        """Lend a PEP 249 connection. The driver's errors leave as ours; what was open is rolled back.

        Waits for one where ``max_connections`` are open. A thread that has one must not ask for another.
        """
        with self._gate.reserve(1, 1), self.lend() as connection:
            yield connection

    @contextmanager
    def lend(self) -> Iterator[Any]:
        """Lend one of the connections that this thread has reserved; else as ``connect``."""
        with self._translating():
            pool = self._opened()
            connection = self._take(pool)
            try:
                with self._lock:
                    self._lent.append(connection)
                yield connection
            finally:
                with self._lock:
                    self._lent.remove(connection)
                self._put_back(pool, connection, keep=_is_rolled_back(connection))

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """Let the driver's errors leave as ours."""
        try:
            yield
        except IngestionError:
            raise
        except Exception as error:
            ours = self.translate(error)
            if ours is None:
                raise
            raise ours from None

    @contextmanager
    def snapshot(self, statement: str, readers: int = 1) -> Iterator[Snapshot]:
        """Hold one view of the database, in which ``statement`` can be read, for as long as the block runs.

        Waits for whoever empties or rewrites what the statement reads. Raises TransientError at the end when that could have
        been done within the block. All connections of the read are reserved at once: ``readers`` of them are to read, or as
        many as are free.
        """
        shares, most = self.dialect.shares_snapshots, self._gate.most
        least = 3 if shares else 2
        if most is not None and most < least:
            with self._gate.reserve(1, 1) as reserved:
                yield Snapshot(None, None, shared=False, database=self, reserved=reserved)
            return
        with ExitStack() as held:
            reserved = held.enter_context(self._gate.reserve(least, least - 1 + readers if shares else least))
            holder, shared = None, False
            if shares:
                # Before the view is fixed, so over another connection: a TRUNCATE or a rewriting ALTER that commits later
                # leaves nothing of the table to an older view (measured: 0 rows of 1000, without an error).
                holder = held.enter_context(self.lend())
                shared = self.dialect.hold_relations(holder, statement)
            connection = held.enter_context(self.lend())
            yield Snapshot(connection, self.dialect.hold_snapshot(connection), shared, self, reserved)
            if holder is not None:
                fetch(holder, "SELECT 1")  # it has held until now, or it fails

    @contextmanager
    def stream(self, join: str | None) -> Iterator[Streamer]:
        """Lend a connection that streams, in a read-only transaction; ``join`` is the snapshot's. Errors leave as ours.

        It is one of those that the snapshot has reserved; see ``Snapshot.readers``.
        """
        with self._translating():
            pool = self._opened_streamers()
            streamer = self._begun(pool, join)
            try:
                with self._lock:
                    self._streaming.append(streamer)
                yield streamer
                streamer.end()
            except BaseException:
                self._forget(streamer)
                self._put_back(pool, streamer, keep=False)
                raise
            # A cancellation may still be on its way to the server, and would strike the next statement.
            self._put_back(pool, streamer, keep=self._forget(streamer))

    @contextmanager
    def counting(self, connections: int) -> Iterator[None]:
        """Count connections that somebody else opens while the block runs; they are among those that are reserved."""
        with self._lock:
            self._out += connections
            spare = self._spare()
        self._close(spare)
        try:
            yield
        finally:
            self._closed_at = monotonic()
            with self._lock:
                self._out -= connections

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
        kept: Streamer = self._take(pool)
        try:
            kept.begin(join)
        except Exception:  # noqa: BLE001 - a new connection shows whether it was the connection
            self._put_back(pool, kept, keep=False)
        else:
            return kept
        fresh: Streamer = self._take(pool, new=True)
        try:
            fresh.begin(join)
        except BaseException:
            self._put_back(pool, fresh, keep=False)
            raise
        return fresh

    def _take(self, pool: ConnectionPool, *, new: bool = False) -> Any:
        """Return a connection that nobody else has; raises what the driver raises."""
        with self._lock:
            kept = None if new else pool.take_idle()
            self._out += 1
            spare = self._spare()
        self._close(spare)
        if kept is not None:
            return kept
        try:
            return self._open(pool)
        except BaseException:
            with self._lock:
                self._out -= 1
            raise

    def _open(self, pool: ConnectionPool) -> Any:
        """Open a connection; where their number is limited, also in the moment in which one that was closed still counts."""
        while True:
            try:
                return pool.open()
            except Exception as error:
                closing = self._gate.most is not None and monotonic() - self._closed_at < _FAREWELL_SECONDS
                if not closing or not isinstance(self.translate(error), TransientError):
                    raise
            sleep(_AGAIN_SECONDS)

    def _put_back(self, pool: ConnectionPool, connection: Any, *, keep: bool) -> None:
        if keep:
            pool.give_back(connection)
        else:
            self._close([connection])
        with self._lock:
            self._out -= 1

    def _close(self, connections: list[Any]) -> None:
        for connection in connections:
            discard(connection)
            self._closed_at = monotonic()

    def _spare(self) -> list[Any]:
        """Return idle connections that have to be closed for those that are in use; asked while the lock is held."""
        spare: list[Any] = []
        pools = [pool for pool in (self._streamers, self._pool) if pool is not None]
        while self._gate.most is not None and self._out + sum(pool.idle for pool in pools) > self._gate.most:
            one = next(filter(None, (pool.part_with_one() for pool in pools)), None)
            if one is None:
                break
            spare.append(one)
        return spare

    def _forget(self, streamer: Streamer) -> bool:
        """Take a streamer off the list; return whether it still was on it."""
        with self._lock:
            known = streamer in self._streaming
            if known:
                self._streaming.remove(streamer)
            return known


def _is_rolled_back(connection: Any) -> bool:
    try:
        connection.rollback()
    except Exception:  # noqa: BLE001 - whatever the driver calls it, there is nothing left to roll back
        return False
    return True
