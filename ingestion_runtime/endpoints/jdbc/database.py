"""A source database as probes see it: a small pool of read-only connections, opened when first asked for."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ingestion_runtime.endpoints.jdbc.dialect import Dialect, fetch
from ingestion_runtime.model.errors import IngestionError, TransientError
from ingestion_runtime.model.spec import ConnectionSpec


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A view of the database that stays as it is. ``join`` is the statement by which other connections see the same."""

    connection: Any
    join: str | None


class Database:
    """One named connection of the configuration. Safe to share between threads; every error is one of our own."""

    def __init__(self, connection: ConnectionSpec, dialect: Dialect) -> None:
        self.spec = connection
        self.dialect = dialect
        self._engine: Engine | None = None
        self._lock = Lock()
        self._lent: list[Any] = []

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
            connection = self._pool().raw_connection()
            driver = connection.driver_connection
            try:
                with self._lock:
                    self._lent.append(driver)
                yield connection
            finally:
                with self._lock:
                    self._lent.remove(driver)
                _give_back(connection)
        except IngestionError:
            raise
        except Exception as error:
            ours = self.translate(error)
            if ours is None:
                raise
            raise ours from None

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Hold one view of the database for as long as the block runs."""
        with self.connect() as connection:
            yield Snapshot(connection, self.dialect.hold_snapshot(connection))

    def translate(self, error: BaseException) -> IngestionError | None:
        """Return the error of our tree for one of the driver's or the pool's; None for any other."""
        origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        fault = self.dialect.fault(origin)
        if fault is not None:
            return self.dialect.classify(fault, self.place)
        if isinstance(error, SQLAlchemyError):
            return TransientError(f"{self.place}: {error}.", remedy="Run the same command again.")
        return None

    def interrupt(self) -> None:
        """End the queries that run at this moment: a run that was asked to stop must not wait for them."""
        with self._lock:
            lent = tuple(self._lent)
        for driver in lent:
            with suppress(Exception):  # it may have ended by itself meanwhile
                self.dialect.interrupt(driver)

    def close(self) -> None:
        """Close all connections. The database may be used again afterwards."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def _pool(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = create_engine(
                    self.dialect.engine_url(),
                    creator=lambda: self.dialect.connect(self.spec),
                    poolclass=QueuePool,
                    pool_size=2,
                    max_overflow=-1,  # every table that is being read holds one
                    pool_pre_ping=True,
                    pool_reset_on_return=None,  # done by `_give_back`
                )
            return self._engine


def _give_back(connection: Any) -> None:
    # Not by the pool: it would print the stack of a connection that the server has ended.
    try:
        connection.driver_connection.rollback()
    except Exception:  # noqa: BLE001 - whatever the driver calls it, there is nothing left to roll back
        connection.invalidate()
    else:
        connection.close()
