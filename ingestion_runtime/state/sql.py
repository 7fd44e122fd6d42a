"""The state store on any SQL database that SQLAlchemy speaks to."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, insert

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, Lease, TableKey
from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.horizon import CursorSample
from ingestion_runtime.model.metrics import RuntimeRecord, VolumeRecord
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import (
    BatchEnd,
    DayStatus,
    Holder,
    LastResult,
    LeaseHeld,
    Phase,
    Pruned,
    RunRecord,
    StateRecord,
    TableEnd,
    TableHead,
)
from ingestion_runtime.state import processes, pruning, queries
from ingestion_runtime.state.database import Database
from ingestion_runtime.state.lease_rows import LeaseRows
from ingestion_runtime.state.leases import LIFETIME_SECONDS
from ingestion_runtime.state.metric_rows import add_records
from ingestion_runtime.state.migrations import migrate
from ingestion_runtime.state.queries import chunked, naming
from ingestion_runtime.state.rows import (
    batch_end_of,
    batch_of,
    batch_row,
    end_of,
    head_of,
    head_row,
    key_columns,
    key_of,
    lease_of,
    record_row,
    run_of,
    run_row,
)
from ingestion_runtime.state.tables import BATCHES, EVENTS, RUNS, SAMPLES, WATERMARKS
from ingestion_runtime.state.times import from_text, to_text

OUTCOMES: Final = frozenset({"published", "unchanged", "abandoned"})
_ACQUIRE_TRIES: Final = 5


class SqlStateStore:
    """``StateStore`` by portable SQL: no RETURNING, no ON CONFLICT; conditional UPDATEs with checked row counts.

    ``connect`` makes the engine when the store is opened. Nothing is touched before that.
    """

    def __init__(
        self,
        connect: Callable[[], Engine],
        *,
        lease_lifetime: timedelta = timedelta(seconds=LIFETIME_SECONDS),
        is_alive: Callable[[Holder], bool] = processes.is_alive,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = Database(connect)
        self._leases = LeaseRows(lease_lifetime, is_alive)
        self._clock = clock

    def open(self) -> None:
        """Create or migrate the schema; refuses a schema newer than this program."""
        self._database.open()
        migrate(self._database)

    def close(self) -> None:
        """Close all connections; the store may be opened again."""
        self._database.close()

    def append_records(self, records: Sequence[StateRecord]) -> None:
        """Append records in one transaction; ``event_seq`` counts up from 1 within a run, in the order of arrival."""
        if not records:
            return
        self._database.commit(lambda connection: self._append(connection, records))

    def load_days(self, keys: Sequence[TableKey], load_date: date) -> Mapping[TableKey, DayStatus]:
        """Return which batch of the load date completed raw and finalize: the one with the highest sequence."""
        done: dict[tuple[TableKey, str], str] = {}
        with self._database.read() as connection:
            for part in chunked(keys):
                asked = {**naming(*part), "load_date": load_date}
                found = connection.execute(queries.finished_phases(len(part)), asked)
                done.update({(key_of(row), row.phase): row.batch_id for row in found})
        return {
            key: DayStatus(raw=done.get((key, Phase.RAW.value)), finalize=done.get((key, Phase.FINALIZE.value)))
            for key in keys
        }

    def begin_run(self, record: RunRecord) -> None:
        """Record a run that begins."""
        row = run_row(record)
        self._database.commit(lambda connection: connection.execute(insert(RUNS), row))

    def end_run(self, run_id: str, exit_code: int) -> None:
        """Record how a run ended, and that it did so now."""
        ended = {"run": run_id, "at": to_text(self._clock()), "code": exit_code}
        self._database.commit(lambda connection: connection.execute(queries.END_RUN, ended))

    def load_run(self, job_name: str, run_id: str | None = None) -> RunRecord | None:
        """Return the run of that id, or the one that began last, among the runs of a job; None when there is none."""
        query = queries.RUNS_OF_JOB.limit(1) if run_id is None else queries.RUN_OF_JOB
        asked = {"job": job_name} if run_id is None else {"job": job_name, "run": run_id}
        with self._database.read() as connection:
            row = connection.execute(query, asked).one_or_none()
        return None if row is None else run_of(row, self._database.origin)

    def remembered_tables(self, job_name: str) -> tuple[str, ...]:
        """Return the tables of the job's last run over all of them, and of those that began since, by ``schema.table``."""
        names: dict[str, None] = {}
        with self._database.read() as connection:
            for row in connection.execute(queries.RUNS_OF_JOB, {"job": job_name}):
                record = run_of(row, self._database.origin)
                names |= dict.fromkeys(record.tables)
                if record.whole:
                    break
        return tuple(sorted(names))

    def run_results(self, run_id: str) -> Mapping[TableKey, TableEnd]:
        """Return how the tables of a run ended that have ended."""
        with self._database.read() as connection:
            return {key_of(row): end_of(row) for row in connection.execute(queries.RUN_ENDS, {"run": run_id})}

    def last_results(self, keys: Sequence[TableKey]) -> Mapping[TableKey, LastResult]:
        """Return how each table ended last, whichever run it was; a table that never ended is left out."""
        results: dict[TableKey, LastResult] = {}
        with self._database.read() as connection:
            for key in dict.fromkeys(keys):
                row = connection.execute(queries.LAST_END, naming(key)).one_or_none()
                if row is not None:
                    results[key] = _last_result(connection, key, end_of(row))
        return results

    def load_leases(self, keys: Sequence[TableKey]) -> Mapping[TableKey, LeaseHeld]:
        """Return the leases that were not given back."""
        leases: dict[TableKey, LeaseHeld] = {}
        with self._database.read() as connection:
            for part in chunked(keys):
                held = connection.execute(queries.held_leases(len(part)), naming(*part))
                leases |= {key_of(row): lease_of(row) for row in held}
        return leases

    def known_tables(self, catalog: str) -> tuple[TableKey, ...]:
        """Return the targets in a catalog that were ever worked on."""
        with self._database.read() as connection:
            return tuple(key_of(row) for row in connection.execute(queries.KNOWN_TABLES, {"catalog": catalog}))

    def load_heads(self, keys: Sequence[TableKey]) -> Mapping[TableKey, TableHead]:
        """Return the head with the highest (sequence, insertion) of each table that has one."""
        heads: dict[TableKey, TableHead] = {}
        with self._database.read() as connection:
            for part in chunked(keys):
                for row in connection.execute(queries.newest_heads(len(part)), naming(*part)):
                    heads[key_of(row)] = head_of(row, self._database.origin)
        return heads

    def append_head(self, head: TableHead) -> None:
        """Record a head; an older sequence is kept for the record and never wins."""
        row = head_row(head, self._clock())
        self._database.commit(lambda connection: connection.execute(insert(WATERMARKS), row))

    def load_open_batches(self, keys: Sequence[TableKey]) -> Mapping[TableKey, Batch]:
        """Return the open batch of each table that has one."""
        batches: dict[TableKey, Batch] = {}
        with self._database.read() as connection:
            for part in chunked(keys):
                for row in connection.execute(queries.open_batches(len(part)), naming(*part)):
                    batches[key_of(row)] = batch_of(row, self._database.origin)
        return batches

    def batch_ends(self, key: TableKey, most: int) -> tuple[BatchEnd, ...]:
        """Return the batches of a table that were begun last, the newest first, and how they ended."""
        with self._database.read() as connection:
            rows = connection.execute(queries.LAST_BATCHES.limit(most), naming(key)).all()
            errors = {row.batch_id: row.error for row in connection.execute(queries.BATCH_ERRORS, naming(key))}
        ends = (batch_end_of(row, errors.get(row.batch_id), self._database.origin) for row in rows)
        return tuple(end for end in ends if end is not None)

    def last_sequence(self, key: TableKey) -> int:
        """Return the highest sequence that was ever published for the table; 0 before the first."""
        with self._database.read() as connection:
            highest = [connection.execute(query, naming(key)).scalar_one() for query in queries.LAST_SEQUENCES]
        return max((int(value) for value in highest if value is not None), default=0)

    def open_batch(self, batch: Batch) -> None:
        """Persist a batch before anything is read; opening the very same one again changes nothing."""
        self._database.commit(lambda connection: self._open_batch(connection, batch))

    def close_batch(self, batch: Batch, outcome: str) -> None:
        """Mark a batch ``published``, ``unchanged`` or ``abandoned``; doing so twice changes nothing."""
        _require_outcome(outcome)
        self._database.commit(lambda connection: self._close_batch(connection, batch, outcome))

    def settle_batch(self, batch: Batch, outcome: str, head: TableHead | None, records: Sequence[StateRecord]) -> None:
        """Record how a batch ended, all or nothing: the head (None: it stays), phase marks, and the batch as closed."""
        _require_outcome(outcome)

        def settle(connection: Connection) -> None:
            if head is not None:
                connection.execute(insert(WATERMARKS), head_row(head, self._clock()))
            if records:
                self._append(connection, records)
            self._close_batch(connection, batch, outcome)

        self._database.commit(settle)

    def load_samples(self, key: TableKey) -> tuple[CursorSample, ...]:
        """Return the cursor samples kept for a table, oldest first."""
        with self._database.read() as connection:
            documents = connection.execute(queries.KEPT_SAMPLES, naming(key)).scalars().all()
        place = f"{self._database.origin}, samples of {key},"
        return tuple(load_document(CursorSample, document, place) for document in documents)

    def keep_samples(self, key: TableKey, samples: Sequence[CursorSample]) -> None:
        """Keep exactly these samples of a table, in one transaction."""
        rows = [{**key_columns(key), "taken_at": s.taken_at, "document": dump_document(s)} for s in samples]

        def keep(connection: Connection) -> None:
            connection.execute(queries.DROP_SAMPLES, naming(key))
            if rows:
                connection.execute(insert(SAMPLES), rows)

        self._database.commit(keep)

    def append_metrics(self, volumes: Sequence[VolumeRecord], runtimes: Sequence[RuntimeRecord]) -> None:
        """Add records of the metadata gateway; see ``MetricsRepository``."""
        self._database.commit(lambda connection: add_records(connection, volumes, runtimes))

    def acquire_lease(self, key: TableKey, holder: Holder, floor: int) -> Lease:
        """Take the lease with a token above every earlier one and above ``floor`` (the table's fence).

        Raises LeaseHeldError when its holder lives.
        """
        for _ in range(_ACQUIRE_TRIES):
            lease = self._database.commit(lambda connection: self._leases.acquire(connection, key, holder, floor))
            if lease is not None:
                return lease
        raise TransientError(f"The lease on {key} changes hands all the time.", remedy="Run again.", key=str(key))

    def renew_lease(self, lease: Lease) -> bool:
        """Extend a lease by one lifetime; False when it has been lost to someone else."""
        return self._database.commit(lambda connection: self._leases.renew(connection, lease))

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back; one that was lost stays with its new holder."""
        self._database.commit(lambda connection: self._leases.release(connection, lease))

    def prunable(self, before: datetime) -> Pruned:
        """Count what ``prune`` would remove now; reads only."""
        with self._database.read() as connection:
            return pruning.find(connection, before).counts

    def prune(self, before: datetime) -> Pruned:
        """Remove what happened before that moment and only people would look at; see ``StateStore.prune``."""
        with self._database.read() as connection:
            found = pruning.find(connection, before)
        for statement in found.statements():
            self._database.commit(lambda connection, remove=statement: connection.execute(remove))  # type: ignore[misc]
        return found.counts

    def _append(self, connection: Connection, records: Sequence[StateRecord]) -> None:
        # A run lives in one process, and a process writes one transaction at a time: no two give the same number.
        now = self._clock()
        last = {run_id: _last_event(connection, run_id) for run_id in {record.run_id for record in records}}
        rows = []
        for record in records:
            last[record.run_id] += 1
            rows.append(record_row(record, last[record.run_id], now))
        connection.execute(insert(EVENTS), rows)

    def _open_batch(self, connection: Connection, batch: Batch) -> None:
        for row in connection.execute(queries.open_batches(1), naming(batch.key)):
            if batch_of(row, self._database.origin) == batch:
                return
            raise TerminalError(
                f"{batch.key} has the open batch {row.batch_id}, so {batch.id} cannot be opened.",
                remedy="Run again: the open batch is finished or abandoned first.",
                open=row.batch_id,
                batch=batch.id,
            )
        connection.execute(insert(BATCHES), batch_row(batch, self._clock()))

    def _close_batch(self, connection: Connection, batch: Batch, outcome: str) -> None:
        ended = {"batch": batch.id, "ended_as": outcome, "ended_at": to_text(self._clock())}
        closed = connection.execute(queries.CLOSE, ended)
        if closed.rowcount == 1:
            return
        found = connection.execute(queries.OUTCOME, {"batch": batch.id}).scalar()
        if found != outcome:
            raise TerminalError(
                f"Batch {batch.id} of {batch.key} cannot be closed as {outcome}: it is {found or 'not known here'}.",
                remedy="Another run or state database had a hand in it; run again to go by the table's receipt.",
                batch=batch.id,
                outcome=outcome,
                found=found,
            )


def _require_outcome(outcome: str) -> None:
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome must be one of {', '.join(sorted(OUTCOMES))}")


def _last_event(connection: Connection, run_id: str) -> int:
    highest = connection.execute(queries.LAST_EVENT, {"run": run_id}).scalar_one()
    return int(highest or 0)


def _last_result(connection: Connection, key: TableKey, end: TableEnd) -> LastResult:
    if end.status not in (TableStatus.FAILED, TableStatus.INTERRUPTED):
        return LastResult(end, end.at, 0)
    good = connection.execute(queries.LAST_GOOD_END, naming(key)).scalar_one()
    failures = connection.execute(queries.BAD_ENDS, {**naming(key), "since": good or ""}).scalar_one()
    return LastResult(end, None if good is None else from_text(good), int(failures))
