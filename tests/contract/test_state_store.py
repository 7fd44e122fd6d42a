"""What every state store must do, whatever database is behind it."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, func, insert, select, text, update

from ingestion_runtime.model.batch import Batch, IngestionPlan, PlannerMetadata, Receipt, TableKey, WriteMode
from ingestion_runtime.model.cursor import CursorType, Fingerprint, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import LeaseHeldError, TerminalError
from ingestion_runtime.model.horizon import CursorSample
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import DayStatus, Holder, Phase, PhaseStatus, Pruned, RunRecord, StateRecord, TableHead
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sql import SqlStateStore
from ingestion_runtime.state.sqlite import sqlite_engine
from ingestion_runtime.state.tables import BATCHES, EVENTS, SCHEMA_VERSION, WATERMARKS

KEY = TableKey("lake", "shop", "orders")
OTHER = TableKey("lake", "shop", "customers")
DAY = date(2026, 3, 1)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Backend:
    """One implementation: how a test connects to it, and how the source of another process does."""

    connect: Callable[[], Engine]
    source: str

    def store(self, lifetime: timedelta = HOUR) -> SqlStateStore:
        store = SqlStateStore(self.connect, lease_lifetime=lifetime)
        store.open()
        return store

    def python(self, script: str) -> subprocess.Popen[str]:
        """Start a process that has ``store`` (not open yet) and the names of this module's imports."""
        head = (
            "import sys, time\n"
            "from datetime import UTC, date, datetime, timedelta\n"
            "from ingestion_runtime.model.batch import *\n"
            "from ingestion_runtime.model.cursor import *\n"
            "from ingestion_runtime.model.errors import *\n"
            "from ingestion_runtime.model.state import *\n"
            "from ingestion_runtime.state.processes import current_holder\n"
            f"{self.source}\n"
            "KEY = TableKey('lake', 'shop', 'orders')\n"
        )
        command = [sys.executable, "-c", head + script]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _sqlite(folder: Path) -> Backend:
    path = folder / "not" / "there" / "state.db"
    source = (
        "from ingestion_runtime.state.sqlite import sqlite_store\n"
        f"store = sqlite_store({str(path)!r})"
    )  # fmt: skip
    return Backend(lambda: sqlite_engine(path), source)


@pytest.fixture(params=[pytest.param(_sqlite, id="sqlite")])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    made: Backend = request.param(tmp_path)
    return made


@pytest.fixture
def store(backend: Backend) -> Iterator[SqlStateStore]:
    opened = backend.store()
    yield opened
    opened.close()


@pytest.fixture
def engine(backend: Backend) -> Iterator[Engine]:
    engine = backend.connect()
    yield engine
    engine.dispose()


def watermark(literal: str) -> Watermark:
    return Watermark(CursorType.TIMESTAMP, literal)


def head(sequence: int, key: TableKey = KEY, **changes: object) -> TableHead:
    receipt = Receipt(
        batch_id=f"b{sequence}",
        sequence=sequence,
        previous=f"b{sequence - 1}",
        mode="scd1",
        write=WriteMode.MERGE,
        load_date=DAY,
        watermark=watermark(f"2026-03-01 00:00:{sequence:02}.000000"),
        fingerprint=None,
        fence=1,
        owner="nightly",
        rows=sequence,
    )
    made = TableHead(key, "shop-db", receipt, f"file:///lake/{sequence}.json", None)
    return replace(made, **changes)  # type: ignore[arg-type]


def batch(identifier: str = "b1", sequence: int = 1, key: TableKey = KEY) -> Batch:
    low, high = watermark("1900-01-01 00:00:00.000000"), watermark("2026-03-01 00:00:00.000000")
    plan = IngestionPlan(
        slices=(Slice(0, reread=ReRead(None, None, nulls=True)), Slice(1, window=Interval(low, high))),
        watermark=high,
        fingerprint=Fingerprint(ReRead(high, high, nulls=False), 3, "abc"),
        metadata=PlannerMetadata(low.literal, high.literal, 12, probed=True, reason="first load"),
    )
    return Batch(identifier, sequence, key, "scd1", WriteMode.MERGE, DAY, "run-1", None, plan)


def mark(phase: Phase, batch_id: str | None, sequence: int, **changes: object) -> StateRecord:
    record = StateRecord(
        key=KEY,
        source_id="shop-db",
        run_id="run-1",
        load_date=DAY,
        mode="full",
        phase=phase,
        status=PhaseStatus.SUCCESS,
        at=datetime(2026, 3, 1, 2, 3, 4, 5, tzinfo=UTC),
        batch_id=batch_id,
        sequence=sequence,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def elsewhere(run_id: str) -> Holder:
    return Holder(run_id, "another-host", 1, 1.0)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.strip()


class TestOpen:
    def test_opening_twice_changes_nothing(self, backend: Backend, store: SqlStateStore) -> None:
        """A second run finds what the first one wrote."""
        store.append_head(head(1))
        again = backend.store()
        assert again.load_heads([KEY])[KEY] == head(1)
        again.close()

    def test_processes_that_open_a_fresh_database_at_once_all_succeed(self, backend: Backend) -> None:
        """Whoever comes second waits, and finds the schema made."""
        script = "print('ready', flush=True); sys.stdin.readline(); store.open(); print(store.last_sequence(KEY))"
        processes = [backend.python(script) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [finish(process) for process in processes] == ["0"] * 4

    @pytest.mark.usefixtures("store")
    def test_a_newer_schema_is_refused_with_a_remedy(self, backend: Backend, engine: Engine) -> None:
        """A program never writes into a schema that it does not know."""
        with engine.begin() as connection:
            connection.execute(insert(SCHEMA_VERSION).values(version=99, applied_at="now"))
        with pytest.raises(TerminalError, match=r"99.*newer program"):
            backend.store()

    def test_a_closed_store_says_so(self, store: SqlStateStore) -> None:
        """Use after close is a mistake in the program, not a state of the table."""
        store.close()
        with pytest.raises(RuntimeError, match="not open"):
            store.last_sequence(KEY)


class TestHeads:
    def test_a_head_comes_back_whole(self, store: SqlStateStore) -> None:
        """Receipt, location and verified fingerprint survive; a table without one is not in the answer."""
        subject = ReRead(watermark("a"), watermark("b"), nulls=True)
        whole = head(1, verified=Fingerprint(subject, 7, "abc"))
        store.append_head(whole)
        assert store.load_heads([KEY, OTHER]) == {KEY: whole}

    def test_the_highest_sequence_wins_over_a_later_insertion(self, store: SqlStateStore) -> None:
        """A late writer cannot move a table back."""
        store.append_head(head(2))
        store.append_head(head(1))
        assert store.load_heads([KEY])[KEY].receipt.sequence == 2

    def test_among_equal_sequences_the_later_insertion_wins(self, store: SqlStateStore) -> None:
        """The same receipt with a newer location replaces the older copy."""
        store.append_head(head(2, location=None))
        store.append_head(head(2, location="new"))
        assert store.load_heads([KEY])[KEY].location == "new"

    def test_tables_with_equal_names_in_two_catalogs_are_two_tables(self, store: SqlStateStore) -> None:
        """The catalog belongs to the key."""
        twin = replace(KEY, catalog="attic")
        store.append_head(head(5))
        assert store.load_heads([twin]) == {}
        assert store.last_sequence(twin) == 0

    def test_many_tables_are_loaded_at_once(self, store: SqlStateStore) -> None:
        """No limit of the database on the length of a query shows."""
        keys = [TableKey("lake", "shop", f"t{number}") for number in range(250)]
        for key in keys[::50]:
            store.append_head(head(1, key))
        assert list(store.load_heads(keys)) == keys[::50]
        assert len(store.load_days(keys, DAY)) == 250

    @pytest.mark.parametrize("broken", ["{", "", "null", '{"batch_id": "b1"}'])
    def test_an_unreadable_receipt_stops_and_is_not_taken_for_none(
        self, store: SqlStateStore, engine: Engine, broken: str
    ) -> None:
        """A watermark that cannot be read never becomes the initial one."""
        store.append_head(head(1))
        with engine.begin() as connection:
            connection.execute(update(WATERMARKS).values(receipt_json=broken))
        with pytest.raises(TerminalError, match=r"shop\.orders.*--reload"):
            store.load_heads([KEY])

    def test_a_receipt_of_another_sequence_than_its_row_stops(self, store: SqlStateStore, engine: Engine) -> None:
        """A row that contradicts itself cannot be trusted."""
        store.append_head(head(1))
        with engine.begin() as connection:
            connection.execute(update(WATERMARKS).values(sequence=9))
        with pytest.raises(TerminalError, match="sequence 9"):
            store.load_heads([KEY])


class TestDays:
    def test_success_is_known_with_its_batch(self, store: SqlStateStore) -> None:
        """Raw and finalize of one load date; other days, failures and events do not count."""
        store.append_records(
            [
                mark(Phase.RAW, "b1", 1),
                mark(Phase.FINALIZE, "b1", 1, status=PhaseStatus.FAILED),
                mark(Phase.EVENT, "b1", 1),
                mark(Phase.FINALIZE, "b0", 1, load_date=DAY - timedelta(days=1)),
            ]
        )
        assert store.load_days([KEY, OTHER], DAY) == {KEY: DayStatus(raw="b1"), OTHER: DayStatus()}

    def test_the_batch_with_the_highest_sequence_decides(self, store: SqlStateStore) -> None:
        """Marks are ordered by batch sequence, not by the time of their arrival."""
        store.append_records([mark(Phase.RAW, "b2", 2), mark(Phase.RAW, "b1", 1)])
        assert store.load_days([KEY], DAY)[KEY].raw == "b2"

    def test_events_are_numbered_within_their_run(self, store: SqlStateStore, engine: Engine) -> None:
        """``event_seq`` increases without gaps, also when several threads write."""
        batches = [[mark(Phase.EVENT, None, 0, run_id=run)] * 3 for run in ("run-1", "run-2")]
        threads = [threading.Thread(target=store.append_records, args=(rows,)) for rows in batches * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with engine.begin() as connection:
            found = connection.execute(select(EVENTS.c.run_id, EVENTS.c.event_seq).order_by(EVENTS.c.id)).all()
        for run in ("run-1", "run-2"):
            assert [row.event_seq for row in found if row.run_id == run] == list(range(1, 13))

    def test_times_are_kept_in_utc(self, store: SqlStateStore, engine: Engine) -> None:
        """Whatever zone an event was stamped in, the row says UTC."""
        at = datetime.fromisoformat("2026-03-01T05:00:00+05:00")
        store.append_records([mark(Phase.EVENT, None, 0, at=at)])
        with engine.begin() as connection:
            assert connection.execute(select(EVENTS.c.event_at)).scalar_one() == "2026-03-01T00:00:00.000000+00:00"


class TestBatches:
    def test_an_open_batch_comes_back_whole_until_it_is_closed(self, store: SqlStateStore) -> None:
        """The frozen plan survives the process that made it."""
        store.open_batch(batch())
        assert store.load_open_batches([KEY, OTHER]) == {KEY: batch()}
        store.close_batch(batch(), "published")
        assert store.load_open_batches([KEY]) == {}

    def test_the_last_batches_of_a_table_are_told_with_what_went_wrong(self, store: SqlStateStore, engine: Engine) -> None:
        """The newest first, each with its outcome and the last error of its own; what cannot be read is left out."""
        failed = PhaseStatus.FAILED
        for number, outcome in ((1, "published"), (2, "abandoned"), (3, None)):
            store.open_batch(batch(f"b{number}", number))
            store.append_records([mark(Phase.RAW, f"b{number}", number)])
            if outcome is not None:
                store.close_batch(batch(f"b{number}", number), outcome)
        store.append_records([mark(Phase.RAW, "b2", 2, status=failed, error=text) for text in ("first", "last")])
        store.open_batch(batch("other", 1, OTHER))
        ends = store.batch_ends(KEY, 2)
        assert [(end.batch, end.outcome, end.error) for end in ends] == [
            (batch("b3", 3), "open", None),
            (batch("b2", 2), "abandoned", "last"),
        ]
        assert ends[0].closed_at is None
        assert ends[1].closed_at is not None
        assert ends[1].opened_at <= ends[1].closed_at
        with engine.begin() as connection:
            connection.execute(text("UPDATE ingestion_batches SET document = '{}' WHERE batch_id = 'b3'"))
        assert [end.batch.id for end in store.batch_ends(KEY, 9)] == ["b2", "b1"]

    def test_only_published_batches_use_up_a_sequence(self, store: SqlStateStore) -> None:
        """Published sequences have no gaps: an abandoned batch gives its number back, a rebuilt head takes one."""
        assert store.last_sequence(KEY) == 0
        store.open_batch(batch("b3", 3))
        store.close_batch(batch("b3", 3), "abandoned")
        store.append_head(head(2))
        assert store.last_sequence(KEY) == 2
        store.append_head(head(7))
        assert store.last_sequence(KEY) == 7

    def test_the_same_batch_may_be_opened_and_closed_again(self, store: SqlStateStore) -> None:
        """A call whose answer was lost can be repeated."""
        store.open_batch(batch())
        store.open_batch(batch())
        store.close_batch(batch(), "published")
        store.close_batch(batch(), "published")
        assert store.load_open_batches([KEY]) == {}

    def test_a_table_has_one_open_batch(self, store: SqlStateStore) -> None:
        """A second batch is refused while the first is open; another table's is not."""
        store.open_batch(batch())
        store.open_batch(batch("c1", 1, OTHER))
        with pytest.raises(TerminalError, match="open batch b1"):
            store.open_batch(batch("b2", 2))

    def test_a_closed_batch_is_not_closed_otherwise(self, store: SqlStateStore) -> None:
        """A late writer cannot abandon what was published; an unknown batch is not closed silently."""
        store.open_batch(batch())
        store.close_batch(batch(), "published")
        with pytest.raises(TerminalError, match="it is published"):
            store.close_batch(batch(), "abandoned")
        with pytest.raises(TerminalError, match="not known"):
            store.close_batch(batch("b9", 9), "published")

    def test_an_unreadable_batch_stops(self, store: SqlStateStore, engine: Engine) -> None:
        """An open batch is never overlooked."""
        store.open_batch(batch())
        with engine.begin() as connection:
            connection.execute(update(BATCHES).values(document="{}"))
        with pytest.raises(TerminalError, match="open batch b1"):
            store.load_open_batches([KEY])


class TestSettling:
    def test_head_marks_and_end_of_a_batch_come_together(self, store: SqlStateStore) -> None:
        store.open_batch(batch())
        store.settle_batch(batch(), "published", head(1), [mark(Phase.FINALIZE, "b1", 1)])
        assert store.load_heads([KEY])[KEY] == head(1)
        assert store.load_days([KEY], DAY)[KEY] == DayStatus(finalize="b1")
        assert store.load_open_batches([KEY]) == {}

    def test_a_batch_that_cannot_be_closed_leaves_neither_head_nor_marks(self, store: SqlStateStore) -> None:
        """Otherwise the state would claim a publication under a batch that somebody else ended."""
        store.open_batch(batch())
        store.close_batch(batch(), "abandoned")
        with pytest.raises(TerminalError, match="abandoned"):
            store.settle_batch(batch(), "published", head(1), [mark(Phase.FINALIZE, "b1", 1)])
        assert store.load_heads([KEY]) == {}
        assert store.load_days([KEY], DAY)[KEY] == DayStatus()


class TestManyWriters:
    def test_what_many_threads_write_at_once_is_all_there_and_numbered_without_gaps(
        self, store: SqlStateStore, engine: Engine
    ) -> None:
        keys = [TableKey("lake", "shop", f"t{number}") for number in range(40)]
        together = threading.Barrier(8)

        def write(some: list[TableKey]) -> None:
            together.wait()
            for key in some:
                store.append_records([mark(Phase.RAW, "b1", 1, key=key)])
                store.append_head(head(1, key))

        threads = [threading.Thread(target=write, args=(keys[start::8],)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.load_heads(keys) == {key: head(1, key) for key in keys}
        with engine.connect() as connection:
            numbers = connection.execute(select(EVENTS.c.event_seq).order_by(EVENTS.c.event_seq)).scalars().all()
        assert list(numbers) == list(range(1, 41))

    def test_one_that_is_refused_takes_nobody_with_it(self, store: SqlStateStore) -> None:
        """Threads share a commit; an open batch that may not be opened is one thread's affair."""
        store.open_batch(batch())
        together = threading.Barrier(9)
        refused: list[TerminalError] = []

        def refuse() -> None:
            together.wait()
            try:
                store.open_batch(batch("b2", 2))
            except TerminalError as error:
                refused.append(error)

        def write(key: TableKey) -> None:
            together.wait()
            store.open_batch(batch(f"of-{key.table}", 1, key))

        keys = [TableKey("lake", "shop", f"t{number}") for number in range(5)]
        threads = [threading.Thread(target=refuse) for _ in range(4)]
        threads += [threading.Thread(target=write, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 4
        assert set(store.load_open_batches([KEY, *keys])) == {KEY, *keys}


def ended(run_id: str, minute: int, status: str = "done", key: TableKey = KEY, **told: object) -> StateRecord:
    """The event of a table that ended so at ``minute`` past two; ``failed`` and ``interrupted`` are not well."""
    good = status not in ("failed", "interrupted")
    code = {"failed": 1, "interrupted": 130}.get(status, 0)
    fields = {"event": "table_done", "status": status, **told} if good else {"event": "table_failed", "exit_code": code}
    return mark(
        Phase.EVENT,
        None,
        0,
        key=key,
        run_id=run_id,
        at=datetime(2026, 3, 1, 2, minute, tzinfo=UTC),
        status=PhaseStatus.FAILED if not good else PhaseStatus.SKIPPED if status == "skipped" else PhaseStatus.SUCCESS,
        rows_written=told.get("rows_written", 0) if good else None,
        error=None if good else "TransientError: it broke",
        metadata_json=json.dumps(fields),
    )


class TestResults:
    def test_the_last_result_is_the_one_that_happened_last(self, store: SqlStateStore) -> None:
        """Not the one written last: a run writes its events in portions, and another may have come between."""
        store.append_records([ended("late", 9, rows_read=7, rows_written=5, rows_deleted=1, seconds=1.5)])
        store.append_records([ended("early", 3, "failed"), mark(Phase.EVENT, None, 0, run_id="early")])
        store.append_records([mark(Phase.FINALIZE, "b9", 9, rows_written=99, run_id="marks are no ends")])
        found = store.last_results([KEY, OTHER])
        assert set(found) == {KEY}, "a table that never ended is left out"
        end = found[KEY].end
        assert (end.run_id, end.status, end.at.minute, end.load_date) == ("late", TableStatus.DONE, 9, DAY)
        assert (end.rows_read, end.rows_written, end.rows_deleted, end.seconds, end.error) == (7, 5, 1, 1.5, None)
        assert (found[KEY].succeeded_at, found[KEY].failures) == (end.at, 0)

    @pytest.mark.parametrize(
        ("ends", "status", "succeeded", "failures"),
        [
            (["done", "failed", "failed"], TableStatus.FAILED, 0, 2),
            (["failed", "skipped", "interrupted"], TableStatus.INTERRUPTED, 1, 1),
            (["failed", "unchanged"], TableStatus.UNCHANGED, 1, 0),
            (["failed", "failed", "failed"], TableStatus.FAILED, None, 3),
        ],
    )
    def test_failures_are_counted_since_the_last_good_end(
        self, store: SqlStateStore, ends: list[str], status: TableStatus, succeeded: int | None, failures: int
    ) -> None:
        """Interrupted ones too; unchanged and skipped are good ends."""
        store.append_records([ended(f"run-{minute}", minute, how) for minute, how in enumerate(ends)])
        store.append_records([ended("run-9", 9, "failed", OTHER)])
        found = store.last_results([KEY])[KEY]
        assert (found.end.status, found.failures) == (status, failures)
        assert (found.succeeded_at.minute if found.succeeded_at else None) == succeeded
        assert (found.end.error is None) == (failures == 0)

    def test_an_event_that_cannot_be_understood_does_no_harm(self, store: SqlStateStore) -> None:
        """Events are for looking at: what is missing is zero."""
        store.append_records(
            [replace(ended("run-1", 1), metadata_json="{"), replace(ended("run-2", 2, "failed"), metadata_json=None)]
        )
        found = store.last_results([KEY])[KEY]
        assert (found.end.status, found.end.rows_read, found.failures) == (TableStatus.FAILED, 0, 1)

    def test_a_runs_results_are_those_of_its_tables_that_ended(self, store: SqlStateStore) -> None:
        """Other runs and tables under way are left out."""
        store.append_records([ended("run-1", 1), ended("run-1", 2, "failed", OTHER), ended("run-2", 3)])
        found = store.run_results("run-1")
        assert {key: end.status for key, end in found.items()} == {KEY: TableStatus.DONE, OTHER: TableStatus.FAILED}
        assert store.run_results("run-3") == {}

    def test_the_results_of_many_tables_come_by_few_statements(self, store: SqlStateStore) -> None:
        """More tables than a query can name."""
        keys = [TableKey("lake", "shop", f"t{number}") for number in range(250)]
        store.append_records([ended("run-1", 1, key=key, rows_written=place) for place, key in enumerate(keys)])
        found = store.last_results(keys)
        assert [found[key].end.rows_written for key in keys] == list(range(250))


def run_record(run_id: str, minute: int, job: str = "nightly", **changes: object) -> RunRecord:
    options = RunOptions(run_id, DAY, wm_lag_seconds=60, reload=frozenset({"shop.orders"}))
    holder = Holder(run_id, "host", 42, 1.5)
    record = RunRecord(job, ("shop.orders", "shop.customers"), options, holder, datetime(2026, 3, 1, 2, minute, tzinfo=UTC))
    return replace(record, **changes)  # type: ignore[arg-type]


class TestRuns:
    def test_a_run_is_read_back_as_it_began_and_with_its_end(self, backend: Backend, store: SqlStateStore) -> None:
        """With the options that it had, by another process's store."""
        store.begin_run(run_record("run-1", 1))
        other = backend.store()
        assert other.load_run("nightly") == run_record("run-1", 1)
        store.end_run("run-1", 3)
        found = other.load_run("nightly", "run-1")
        assert found is not None
        assert (found.exit_code, found.ended_at is not None) == (3, True)
        other.close()

    def test_the_last_run_of_a_job_is_the_one_that_began_last(self, store: SqlStateStore) -> None:
        """Another job's runs are none of its runs, whatever their ids."""
        for record in (run_record("b", 2), run_record("a", 3), run_record("c", 1), run_record("z", 9, "hourly")):
            store.begin_run(record)
        last = store.load_run("nightly")
        assert last is not None
        assert last.options.run_id == "a"
        assert store.load_run("nightly", "z") is None
        assert store.load_run("weekly") is None

    def test_tables_are_remembered_from_the_last_whole_run_on(self, store: SqlStateStore) -> None:
        """What was run alone since belongs to them; what an earlier whole run had does not."""
        store.begin_run(run_record("run-1", 1, tables=("shop.gone",)))
        store.begin_run(run_record("run-2", 2))
        store.begin_run(run_record("run-3", 3, tables=("shop.new",), whole=False))
        assert store.remembered_tables("nightly") == ("shop.customers", "shop.new", "shop.orders")
        assert store.remembered_tables("hourly") == ()


class TestLeases:
    def test_tables_that_were_ever_worked_on_are_known(self, store: SqlStateStore) -> None:
        """By their targets, catalog by catalog; also when nobody works on them any more."""
        elsewhere = TableKey("other", KEY.schema, KEY.table)
        for key in (OTHER, KEY, elsewhere):
            store.release_lease(store.acquire_lease(key, current_holder("run-1"), 0))
        assert store.known_tables(KEY.catalog) == tuple(sorted((KEY, OTHER), key=lambda key: (key.schema, key.table)))
        assert store.known_tables("other") == (elsewhere,)
        assert store.known_tables("none") == ()

    def test_leases_are_listed_until_they_are_given_back(self, store: SqlStateStore) -> None:
        """With their holders; a table that nobody holds is left out."""
        me = current_holder("run-1")
        lease = store.acquire_lease(KEY, me, 6)
        found = store.load_leases([KEY, OTHER])
        assert {key: (held.holder, held.token) for key, held in found.items()} == {KEY: (me, 7)}
        assert found[KEY].expires_at > datetime.now(UTC)
        store.release_lease(lease)
        assert store.load_leases([KEY, OTHER]) == {}

    def test_a_token_is_above_every_earlier_one_and_the_fence(self, store: SqlStateStore) -> None:
        """Also after releases, and when the table's fence is ahead of the state."""
        me = current_holder("run-1")
        tokens = []
        for floor in (0, 0, 10, 3):
            lease = store.acquire_lease(KEY, me, floor)
            assert not lease.taken_over
            tokens.append(lease.token)
            store.release_lease(lease)
        assert tokens == [1, 2, 11, 12]

    def test_a_living_holder_is_refused_by_name(self, store: SqlStateStore) -> None:
        """The message says who holds the table, where, until when, and what to do; even within one process."""
        me = current_holder("run-1")
        store.acquire_lease(KEY, me, 0)
        store.acquire_lease(OTHER, me, 0)
        with pytest.raises(LeaseHeldError) as caught:
            store.acquire_lease(KEY, current_holder("run-2"), 0)
        for part in ("run-1", socket.gethostname(), str(me.pid), "stop it"):
            assert part in str(caught.value)
        assert caught.value.exit_code == 4

    def test_a_holder_on_another_host_is_refused_until_its_lease_expires(self, backend: Backend) -> None:
        """Nobody can look at its process; the database's clock decides."""
        store = backend.store(timedelta(seconds=2))
        first = store.acquire_lease(KEY, elsewhere("run-1"), 0)
        with pytest.raises(LeaseHeldError):
            store.acquire_lease(KEY, current_holder("run-2"), 0)
        deadline = time.monotonic() + 10
        while True:
            try:
                second = store.acquire_lease(KEY, current_holder("run-2"), 0)
            except LeaseHeldError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                break
        assert second.taken_over
        assert second.token == first.token + 1
        store.close()

    def test_a_lost_lease_is_neither_renewed_nor_released_by_its_former_holder(self, backend: Backend) -> None:
        """A holder that slept past its lease changes nothing any more."""
        store = backend.store(timedelta(0))
        old = store.acquire_lease(KEY, elsewhere("run-1"), 0)
        new = backend.store().acquire_lease(KEY, elsewhere("run-2"), 0)
        assert not store.renew_lease(old)
        store.release_lease(old)
        assert store.renew_lease(new)

    def test_a_former_lease_of_the_same_run_is_void(self, store: SqlStateStore) -> None:
        """The token names the lease, not the run."""
        me = current_holder("run-1")
        old = store.acquire_lease(KEY, me, 0)
        store.release_lease(old)
        new = store.acquire_lease(KEY, me, 0)
        assert not store.renew_lease(old)
        store.release_lease(old)
        assert store.renew_lease(new)

    def test_renewing_extends_the_lease(self, backend: Backend) -> None:
        """An expired lease that nobody took is still the holder's, and living again once renewed."""
        short, long = backend.store(timedelta(0)), backend.store()
        lease = short.acquire_lease(KEY, elsewhere("run-1"), 0)
        assert long.renew_lease(lease)
        with pytest.raises(LeaseHeldError):
            short.acquire_lease(KEY, current_holder("run-2"), 0)

    def test_a_killed_holder_on_this_host_is_taken_over_at_once(self, backend: Backend, store: SqlStateStore) -> None:
        """The lease has an hour to go, but its process is gone."""
        script = (
            "store.open(); lease = store.acquire_lease(KEY, current_holder('dead'), 4)\n"
            "print(lease.token, flush=True); time.sleep(60)"
        )
        process = backend.python(script)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "5"
        with pytest.raises(LeaseHeldError):
            store.acquire_lease(KEY, current_holder("run-2"), 0)
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)
        lease = store.acquire_lease(KEY, current_holder("run-2"), 0)  # ended, not yet waited for
        assert (lease.token, lease.taken_over) == (6, True)
        process.communicate()

    def test_a_process_that_got_the_number_of_a_dead_holder_is_not_the_holder(self, store: SqlStateStore) -> None:
        """Pids are given out again; the start time tells the two apart."""
        me = current_holder("run-1")
        store.acquire_lease(KEY, replace(me, started=me.started - 5), 0)
        assert store.acquire_lease(KEY, current_holder("run-2"), 0).taken_over

    def test_of_two_processes_that_want_a_dead_holders_lease_exactly_one_wins(
        self, backend: Backend, store: SqlStateStore
    ) -> None:
        """Compare-and-set: the loser finds the winner alive."""
        me = current_holder("gone")
        store.acquire_lease(KEY, replace(me, started=1.0), 0)
        script = (
            "store.open(); print('ready', flush=True); sys.stdin.readline()\n"
            "try:\n"
            "    print(store.acquire_lease(KEY, current_holder('p'), 0).token, flush=True)\n"
            "except LeaseHeldError:\n"
            "    print('held', flush=True)\n"
            "sys.stdin.readline()"
        )
        processes = [backend.python(script) for _ in range(2)]
        answers = []
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            answers.append(process.stdout.readline().strip())
        for process in processes:
            process.communicate("end\n", timeout=60)
        assert sorted(answers) == ["2", "held"]

    def test_of_many_threads_exactly_one_gets_a_fresh_lease(self, store: SqlStateStore) -> None:
        """Also when the row does not exist yet."""
        won: list[int] = []

        def compete() -> None:
            try:
                won.append(store.acquire_lease(KEY, current_holder(threading.current_thread().name), 0).token)
            except LeaseHeldError:
                return

        threads = [threading.Thread(target=compete) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [1]


def test_a_kill_in_the_middle_of_many_writes_leaves_a_readable_database(
    backend: Backend, store: SqlStateStore, engine: Engine
) -> None:
    """What was acknowledged is there, and nothing is half there."""
    script = """
store.open()
record = lambda n: StateRecord(KEY, 's', 'run-1', date(2026, 3, 1), 'full', Phase.EVENT, PhaseStatus.SUCCESS,
                               datetime.now(UTC), sequence=n)
for number in range(1, 1_000_000):
    store.append_records([record(number)] * 5)
    print(number, flush=True)
"""
    process = backend.python(script)
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 40:
            process.send_signal(signal.SIGKILL)
            break
    rest, _ = process.communicate()
    acknowledged = max([acknowledged, *(int(line) for line in rest.split("\n")[:-1])])
    with engine.begin() as connection:
        per_write = select(EVENTS.c.sequence, func.count().label("rows")).group_by(EVENTS.c.sequence)
        counts = {row.sequence: row.rows for row in connection.execute(per_write)}
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert set(range(1, acknowledged + 1)) <= set(counts)
    assert set(counts.values()) == {5}
    store.append_records([mark(Phase.RAW, "b1", 1)])
    assert store.load_days([KEY], DAY)[KEY].raw == "b1"


def test_samples_are_kept_as_a_whole_and_by_table(backend: Backend) -> None:
    """Oldest first, replaced in one go, read back by another process's store; other tables keep theirs."""
    store, again = backend.store(), backend.store()
    early = CursorSample(1_767_225_600_000_000, Watermark(CursorType.INT, "7"), "reading")
    late = CursorSample(1_767_225_600_000_001, Watermark(CursorType.TEXT, "\u00e9'"), "reading")
    store.keep_samples(OTHER, (early,))
    store.keep_samples(KEY, (late, early))
    assert again.load_samples(KEY) == (early, late)
    store.keep_samples(KEY, (late,))
    assert again.load_samples(KEY) == (late,)
    store.keep_samples(KEY, ())
    assert again.load_samples(KEY) == ()
    assert again.load_samples(OTHER) == (early,)
    store.close()
    again.close()


class TestPruning:
    """Everything is old here: what is still there afterwards is what somebody goes by."""

    LATER = datetime(2100, 1, 1, tzinfo=UTC)

    def test_what_commands_and_runs_go_by_is_as_it_was(self, store: SqlStateStore) -> None:
        """Heads, open batches, sequences, day status, last results, the last run and which tables a job has."""
        for sequence in (1, 2, 3):
            opened = batch(f"b{sequence}", sequence)
            store.open_batch(opened)
            store.settle_batch(opened, "published", head(sequence), [mark(Phase.FINALIZE, opened.id, sequence)])
        store.open_batch(batch("b4", 4))
        ends = [("run-1", 1, "done"), ("run-2", 2, "done"), ("run-3", 3, "failed"), ("run-4", 4, "failed")]
        store.append_records([ended(run, minute, how) for run, minute, how in ends])
        store.append_records([ended("run-9", 9, "failed", OTHER)])
        store.begin_run(run_record("run-1", 1))
        store.begin_run(run_record("run-2", 2))
        store.begin_run(replace(run_record("run-3", 3), whole=False))
        store.begin_run(replace(run_record("run-4", 4), whole=False))

        def known() -> list[object]:
            return [
                store.load_heads([KEY]),
                store.load_open_batches([KEY]),
                store.last_sequence(KEY),
                store.load_days([KEY], DAY),
                store.last_results([KEY, OTHER]),
                store.load_run("nightly"),
                store.load_run("nightly", "run-3"),
                store.remembered_tables("nightly"),
                store.run_results("run-4"),
            ]

        before = known()
        counted = store.prunable(self.LATER)
        assert store.prune(self.LATER) == counted
        assert known() == before
        assert (counted.heads, counted.batches, counted.runs) == (2, 2, 1)
        assert store.load_run("nightly", "run-1") is None
        assert store.prune(self.LATER) == Pruned()

    def test_nothing_that_is_young_enough_goes(self, store: SqlStateStore) -> None:
        """By when it happened; heads and batches by when they were written."""
        store.append_records([ended(f"run-{minute}", minute) for minute in range(5)])
        assert store.prunable(datetime(2026, 3, 1, 2, 2, tzinfo=UTC)) == Pruned(events=2)
        store.append_head(head(1))
        store.append_head(head(2))
        assert store.prunable(datetime.now(UTC) - HOUR).heads == 0

    def test_counting_changes_nothing(self, store: SqlStateStore, engine: Engine) -> None:
        """Whoever only looks gets the number of rows that would go."""
        store.append_records([ended(f"run-{minute}", minute) for minute in range(5)])
        assert store.prunable(self.LATER) == Pruned(events=4)
        with engine.begin() as connection:
            assert connection.execute(select(func.count()).select_from(EVENTS)).scalar_one() == 5

    def test_the_events_of_a_jobs_last_run_stay_with_it(self, store: SqlStateStore) -> None:
        """However old it is: ``retry`` asks how its tables ended. Those of the run before do not."""
        store.begin_run(run_record("run-1", 1))
        store.begin_run(run_record("run-2", 2))
        events = [mark(Phase.EVENT, None, 0, run_id=run) for run in ("run-1", "run-1", "run-2", "of no run")]
        store.append_records(events)
        assert store.prune(self.LATER) == Pruned(events=3, runs=1)

    def test_a_run_that_holds_a_lease_stays(self, store: SqlStateStore) -> None:
        """It is at work, however long ago it began."""
        store.begin_run(run_record("run-1", 1))
        store.begin_run(run_record("run-2", 2))
        lease = store.acquire_lease(KEY, current_holder("run-1"), 0)
        assert store.prunable(self.LATER).runs == 0
        store.release_lease(lease)
        assert store.prunable(self.LATER).runs == 1

    def test_jobs_that_share_a_database_keep_each_its_own(self, store: SqlStateStore) -> None:
        """The last run of one says nothing of the other."""
        store.begin_run(run_record("run-1", 1))
        store.begin_run(run_record("run-2", 2, job="hourly"))
        assert store.prune(self.LATER) == Pruned()

    def test_many_rows_go_in_portions(self, store: SqlStateStore) -> None:
        """More than a statement can name; writers get their turn in between."""
        store.append_records([mark(Phase.EVENT, None, 0, run_id=f"run-{number % 7}") for number in range(1_700)])
        assert store.prune(self.LATER) == Pruned(events=1_700)
