"""The embedded state database: one SQLite file, for several threads and processes."""

import errno
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.state.database import READ_ONLY
from ingestion_runtime.state.sql import SqlStateStore

BUSY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05


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
