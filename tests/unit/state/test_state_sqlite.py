"""The embedded database: its settings, its errors, its migrations."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.state.database import Database
from ingestion_runtime.state.migrations import LATEST, MIGRATIONS, Migration, migrate
from ingestion_runtime.state.sqlite import sqlite_engine, sqlite_store

KEY = TableKey("lake", "shop", "orders")


def test_what_is_committed_survives_a_power_cut_and_readers_do_not_wait(tmp_path: Path) -> None:
    """WAL, synchronous FULL (2), 30 s of patience, foreign keys on."""
    engine = sqlite_engine(tmp_path / "state.db")
    with engine.begin() as connection:
        names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        values = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]
    engine.dispose()
    assert values == ["wal", 2, 30_000, 1]


def test_nothing_is_created_before_the_store_is_opened(tmp_path: Path) -> None:
    """Building the program touches nothing."""
    sqlite_store(tmp_path / "a" / "state.db")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_goes_on_while_a_writer_holds_the_lock(tmp_path: Path) -> None:
    """Read transactions do not queue for the write lock."""
    store = sqlite_store(tmp_path / "state.db")
    store.open()
    writer = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert store.last_sequence(KEY) == 0
    writer.close()
    store.close()


def test_a_file_that_is_no_database_stops_with_a_remedy(tmp_path: Path) -> None:
    """It is neither overwritten nor taken for an empty one."""
    path = tmp_path / "state.db"
    path.write_text("these are not the bytes of a database, and there are enough of them " * 50)
    before = path.read_bytes()
    with pytest.raises(TerminalError, match=r"not a database.*backup"):
        sqlite_store(path).open()
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_stops_with_a_remedy(tmp_path: Path) -> None:
    """The message names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TerminalError, match=r"file/sub.*state_database"):
        sqlite_store(tmp_path / "file" / "sub" / "state.db").open()


def test_a_path_that_cannot_be_opened_is_worth_a_retry(tmp_path: Path) -> None:
    """As an unreachable database would be."""
    (tmp_path / "state.db").mkdir()
    with pytest.raises(TransientError, match="unable to open"):
        sqlite_store(tmp_path / "state.db").open()


def _database(path: Path) -> Database:
    database = Database(lambda: sqlite_engine(path))
    database.open()
    return database


def test_migrations_run_in_order_each_once(tmp_path: Path) -> None:
    """A database of an older program gets the steps that it lacks."""
    ran: list[int] = []
    database = _database(tmp_path / "state.db")
    migrate(database)
    later = tuple(Migration(LATEST + n, lambda _, n=n: ran.append(n)) for n in (1, 2))  # type: ignore[misc]
    migrate(database, (*MIGRATIONS, *later))
    migrate(database, (*MIGRATIONS, *later))
    database.close()
    assert ran == [1, 2]


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its transaction is rolled back and the version stays."""

    def half(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise TerminalError("stopped halfway.", remedy="")

    database = _database(tmp_path / "state.db")
    with pytest.raises(TerminalError, match="halfway"):
        migrate(database, (*MIGRATIONS, Migration(LATEST + 1, half)))
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'half'")).scalar_one() == 0
        version = connection.execute(text("SELECT max(version) FROM ingestion_schema_version")).scalar_one()
    database.close()
    assert version == LATEST
