"""The embedded database: its settings, its errors, its migrations."""

import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.state.database import Database
from ingestion_runtime.state.migrations import LATEST, MIGRATIONS, Migration, migrate
from ingestion_runtime.state.processes import current_holder, is_at_work
from ingestion_runtime.state.queries import BAD_ENDS, LAST_END, LAST_GOOD_END, naming
from ingestion_runtime.state.sqlite import reading_engine, sqlite_engine, sqlite_reader, sqlite_store

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


def test_how_tables_ended_is_found_by_an_index_also_in_an_older_state(tmp_path: Path) -> None:
    """Years of events lie there; the index came later than the table."""
    path = tmp_path / "state.db"
    store = sqlite_store(path)
    store.open()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP INDEX ingestion_events_ends; DELETE FROM ingestion_schema_version WHERE version > 2;")
    store.open()
    store.close()
    engine = sqlite_engine(path)
    with engine.begin() as connection:
        for query, more in ((LAST_END, {}), (LAST_GOOD_END, {}), (BAD_ENDS, {"since": ""})):
            spelled = query.params(**naming(KEY), **more).compile(engine, compile_kwargs={"literal_binds": True})
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {spelled}")).all()
            assert any("ingestion_events_ends" in step.detail for step in plan), plan
    engine.dispose()


class TestReading:
    """Looking at a state must not leave a trace, and not even need the right to."""

    @staticmethod
    def traces(folder: Path) -> dict[str, bytes]:
        """Every file but the index of a log, which holds locks and no data."""
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm"}

    def test_without_a_file_it_is_empty_and_stays_away(self, tmp_path: Path) -> None:
        """Neither the file nor its folder is made."""
        store = sqlite_reader(tmp_path / "not" / "there" / "state.db")
        store.open()
        assert (store.load_heads([KEY]), store.load_run("nightly"), store.last_results([KEY])) == ({}, None, {})
        store.close()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("in_use", [False, True], ids=["closed", "open elsewhere"])
    def test_a_state_is_read_and_left_as_it_is(self, tmp_path: Path, in_use: bool) -> None:
        """Also beside a process that has it open: what that one has committed is seen, and its log stays."""
        writer = sqlite_store(tmp_path / "state.db")
        writer.open()
        lease = writer.acquire_lease(KEY, current_holder("run-1"), 0)
        if not in_use:
            writer.close()
        before = self.traces(tmp_path)
        assert ("state.db-wal" in before) == in_use
        reader = sqlite_reader(tmp_path / "state.db")
        reader.open()
        assert reader.load_leases([KEY])[KEY].token == lease.token
        reader.close()
        assert self.traces(tmp_path) == before
        writer.close()

    def test_a_log_that_a_crash_left_is_read_and_not_cleared_away(self, tmp_path: Path) -> None:
        """The next run recovers it; who only looks sees what was committed."""
        script = (
            "import os, sys\n"
            "from ingestion_runtime.model.batch import TableKey\n"
            "from ingestion_runtime.state.processes import current_holder\n"
            "from ingestion_runtime.state.sqlite import sqlite_store\n"
            "store = sqlite_store(sys.argv[1]); store.open()\n"
            "store.acquire_lease(TableKey('lake', 'shop', 'orders'), current_holder('dead'), 4)\n"
            "os._exit(9)"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "state.db")], check=False, timeout=60)
        before = self.traces(tmp_path)
        assert before["state.db-wal"]
        reader = sqlite_reader(tmp_path / "state.db")
        reader.open()
        lease = reader.load_leases([KEY])[KEY]
        reader.close()
        assert (lease.holder.run_id, is_at_work(lease, datetime.now(UTC))) == ("dead", False)
        assert self.traces(tmp_path) == before

    def test_a_state_of_an_earlier_version_is_read_as_if_it_were_of_this_one(self, tmp_path: Path) -> None:
        """In memory: the file keeps its version until a run opens it."""
        path = tmp_path / "state.db"
        store = sqlite_store(path)
        store.open()
        store.acquire_lease(KEY, current_holder("run-1"), 0)
        store.close()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("DROP TABLE ingestion_runs; DELETE FROM ingestion_schema_version WHERE version > 2;")
        before = self.traces(tmp_path)
        reader = sqlite_reader(path)
        reader.open()
        assert reader.load_run("nightly") is None
        assert set(reader.load_leases([KEY])) == {KEY}
        reader.close()
        assert self.traces(tmp_path) == before

    def test_a_state_of_a_later_version_is_refused(self, tmp_path: Path) -> None:
        """As a run refuses it."""
        path = tmp_path / "state.db"
        store = sqlite_store(path)
        store.open()
        store.close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("INSERT INTO ingestion_schema_version VALUES (99, 'tomorrow')")
            connection.commit()
        with pytest.raises(TerminalError, match="schema version 99"):
            sqlite_reader(path).open()

    def test_whatever_would_write_is_refused_by_the_database_itself(self, tmp_path: Path) -> None:
        """Not by anybody's care."""
        path = tmp_path / "state.db"
        store = sqlite_store(path)
        store.open()
        store.close()
        before = self.traces(tmp_path)
        reader = sqlite_reader(path)
        reader.open()
        with pytest.raises(IngestionError, match="readonly"):
            reader.acquire_lease(KEY, current_holder("run-1"), 0)
        reader.close()
        assert self.traces(tmp_path) == before

    def test_a_file_that_somebody_opens_at_that_very_moment_is_not_believed(self, tmp_path: Path) -> None:
        """It was taken for unchanging; what was read of it may be of two moments."""
        path = tmp_path / "state.db"
        store = sqlite_store(path)
        store.open()
        store.close()
        reading = ExitStack()
        connection = reading.enter_context(reading_engine(path).begin())
        connection.execute(text("SELECT count(*) FROM ingestion_leases"))
        store.open()
        store.acquire_lease(KEY, current_holder("run-1"), 0)
        with pytest.raises(TransientError, match="changed while it was read"):
            reading.close()
        store.close()

    def test_a_file_that_is_no_database_stops_with_a_remedy(self, tmp_path: Path) -> None:
        """As it stops a run."""
        path = tmp_path / "state.db"
        path.write_text("these are not the bytes of a database, and there are enough of them " * 50)
        with pytest.raises(TerminalError, match=r"not a database.*backup"):
            sqlite_reader(path).open()
