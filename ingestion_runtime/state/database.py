"""Transactions on the state database, with its errors in this program's words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.state.group_commit import GroupCommit

T = TypeVar("T")

READ_ONLY: Final = "ingestion_read_only"  # execution option of transactions that only read
_SQLITE_RETRYABLE: Final = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_PROTOCOL",
)


class Database:
    """An engine that is made when it is first opened, so that building the program touches nothing."""

    def __init__(self, connect: Callable[[], Engine]) -> None:
        self._connect = connect
        self._engine: Engine | None = None
        self._together = GroupCommit(self.write)

    @property
    def origin(self) -> str:
        """What messages call this database; never holds a password."""
        if self._engine is None:
            return "the state database"
        url = self._engine.url
        return f"the state database {url.host + '/' if url.host else ''}{url.database}"

    def open(self) -> None:
        """Make the engine; connections are made when they are needed."""
        if self._engine is None:
            self._engine = self._connect()

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def commit(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction that may be shared with other threads' work; see ``GroupCommit.run``."""
        try:
            return self._together.run(work)
        except SQLAlchemyError as error:  # of one piece of work among several
            raise self._translated(error) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write: committed at the end, rolled back on any error."""
        engine = self._opened()
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._translated(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads, and sees one state of the database throughout."""
        engine = self._opened().execution_options(**{READ_ONLY: True})
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._translated(error) from error

    def _opened(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the state store is not open")
        return self._engine

    def _translated(self, error: SQLAlchemyError) -> IngestionError:
        # Only the driver's own words: SQLAlchemy's message would repeat the statement and its values.
        reason = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        if _is_retryable(error):
            return TransientError(
                f"{self.origin} did not answer as it should: {reason}.",
                remedy="Check that it can be reached and has disk space, and run again.",
            )
        return TerminalError(
            f"{self.origin} cannot be used: {reason}.",
            remedy="Check its permissions, restore it from a backup, or move it away: what was published is read back "
            "from the tables' receipts.",
        )


def _is_retryable(error: SQLAlchemyError) -> bool:
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_SQLITE_RETRYABLE)
    return isinstance(error, OperationalError | InterfaceError)
