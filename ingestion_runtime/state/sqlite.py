"""The embedded state database: one SQLite file, for several threads and processes."""

import errno
import sqlite3
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.state.database import READ_ONLY
from ingestion_runtime.state.migrations import LATEST
from ingestion_runtime.state.sql import SqlStateStore
from ingestion_runtime.state.tables import SCHEMA_VERSION

BUSY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_READ_SECONDS: Final = 5.0  # who only looks is not kept waiting as long


def sqlite_store(path: str | Path) -> SqlStateStore:
    """Return a store on the SQLite file ``path``; nothing is created before it is opened."""
    return SqlStateStore(lambda: sqlite_engine(path))


def sqlite_engine(path: str | Path) -> Engine:
    """Return an engine on the file ``path``, whose folder is created.

    WAL, so that readers never wait; synchronous FULL, so that what was committed survives a power cut. Transactions
    that write take the write lock at once: one that began by reading could be refused halfway. So the driver's
    own notion of transactions is switched off, as SQLAlchemy's documentation has it.
    """
    _create_folder(Path(path).parent)
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def sqlite_reader(path: str | Path) -> SqlStateStore:
    """Return a store that reads the SQLite file ``path`` and never changes, creates or leaves anything beside it.

    Without the file it is empty. A file of an earlier schema is read as a copy in memory that has been brought up to this
    one. Whatever would write raises.
    """
    return SqlStateStore(lambda: _state_reading_engine(Path(path)))


def reading_engine(path: Path) -> Engine:
    """Return an engine that only reads the file ``path``, which must exist; each transaction has a connection of its own.

    Raises TransientError at the end of a transaction during which the file changed underneath.
    """
    engine = create_engine(URL.create("sqlite", database=str(path)), creator=lambda: _Reading(path), poolclass=NullPool)
    event.listen(engine, "commit", lambda connection: connection.connection.driver_connection.confirm())
    return engine


class _Reading(sqlite3.Connection):
    """A connection that only reads.

    A file with a write-ahead log cannot be opened to read without leaving files for the log beside it, unless it is
    declared unchanging. So it is, as long as there is no log, which means that nobody has it open; and at the end it is
    made sure that it was true.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stood = None if self._has_log() else self._stand()
        how = "mode=ro" if self._stood is None else "immutable=1"
        super().__init__(f"file:{quote(str(path))}?{how}", uri=True, timeout=_READ_SECONDS, check_same_thread=False)
        self.isolation_level = None

    def confirm(self) -> None:
        """Raise TransientError if the file changed although nobody had it open."""
        if self._stood is not None and (self._has_log() or self._stand() != self._stood):
            raise TransientError(f"{self._path} was changed while it was read.", remedy="Run the same command again.")

    def _has_log(self) -> bool:
        return any(self._path.with_name(f"{self._path.name}{log}").exists() for log in ("-wal", "-journal"))

    def _stand(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0  # opening it says what is wrong
        return found.st_size, found.st_mtime_ns


def _state_reading_engine(path: Path) -> Engine:
    engine = reading_engine(path) if _schema_version(path) >= LATEST else _copying_engine(path)
    event.listen(engine, "begin", _begin)
    return engine


def _schema_version(path: Path) -> int:
    """Return the version of a file's schema, 0 where there is none. What cannot be looked at is told when it is read."""
    try:
        if not path.exists():
            return 0
        with closing(_Reading(path)) as connection:
            ((version,),) = connection.execute(f"SELECT max(version) FROM {SCHEMA_VERSION.name}")  # a name of ours
    except (sqlite3.Error, OSError) as error:
        return 0 if "no such table" in str(error) else LATEST
    return version or 0


def _copying_engine(path: Path) -> Engine:
    """Return an engine on a copy in memory, which lives until the engine is disposed of."""
    place = f"file:state-{uuid.uuid4().hex}?mode=memory&cache=shared"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(place, uri=True, check_same_thread=False, isolation_level=None)

    kept = connect()  # the copy goes with its last connection
    if path.exists():
        with closing(_Reading(path)) as source:
            source.backup(kept)
    engine = create_engine(URL.create("sqlite", database=str(path)), creator=connect, poolclass=NullPool)
    event.listen(engine, "engine_disposed", lambda _: kept.close())
    return engine


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = TransientError if error.errno in (errno.ENOSPC, errno.EDQUOT) else TerminalError
        raise kind(
            f"The folder {folder} of the state database cannot be created: {error.strerror}.",
            remedy="Create it, or let state_database name a place that this user can write to.",
        ) from error


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def switch_to_wal(connection: sqlite3.Connection) -> None:
    """Make the connection's file use a write-ahead log; the file remembers it.

    Two connections that switch a new file at once get SQLITE_BUSY without the busy timeout being honoured: so the one that
    creates a file does it, patiently, before others come.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
