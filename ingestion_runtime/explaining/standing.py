"""Where the tables of a configuration stand, by its state database alone: the document of ``ingestion status``."""

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from ingestion_runtime.model.batch import Batch, TableKey
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.state import LastResult, LeaseHeld, RunRecord, StateStore
from ingestion_runtime.model.watermark import to_ticks
from ingestion_runtime.state.processes import is_alive, is_at_work
from ingestion_runtime.state.sqlite import sqlite_reader

T = TypeVar("T")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = {
    CursorType.TIMESTAMP: timedelta(microseconds=1),
    CursorType.DATE: timedelta(days=1),
    CursorType.EPOCH_SECONDS: timedelta(seconds=1),
    CursorType.EPOCH_MILLIS: timedelta(milliseconds=1),
}
_WALL_CLOCKS: Final = (CursorType.TIMESTAMP, CursorType.DATE)


class Standing(StrEnum):
    """How a table ended last, in the words of a run's result; or ``running``, under a lease; or ``never ran``."""

    NEVER = "never ran"
    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Measure(StrEnum):
    """What a freshness is counted from."""

    WATERMARK = "watermark"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that nobody has closed: the next run finishes it first, or gives it up."""

    batch_id: str
    run_id: str
    load_date: date
    slices: int


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that was not given back. ``at_work``: it keeps other runs away; else the next one takes it over."""

    run_id: str
    host: str
    pid: int
    expires_at: datetime
    at_work: bool


@dataclass(frozen=True, slots=True)
class LastRun:
    """The run of this job that began last; without ``ended_at`` it is at work, or it died."""

    run_id: str
    load_date: date
    tables: int
    host: str
    pid: int
    at_work: bool
    started_at: datetime
    ended_at: datetime | None
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class TableStanding:
    """One table. ``last_*`` is how it ended last, ``failures`` how often in a row it has not ended well since.

    ``freshness_seconds`` is the time since the watermark where that is a time, else since the last success (``freshness_of``
    says which); None: neither is known. ``problem``: what of the state cannot be read.
    """

    table: str
    mode: str
    connection: str
    target: str
    standing: Standing
    sequence: int = 0
    watermark: str | None = None
    freshness_seconds: float | None = None
    freshness_of: Measure | None = None
    last_at: datetime | None = None
    last_run: str | None = None
    last_load_date: date | None = None
    last_rows_read: int | None = None
    last_rows_written: int | None = None
    last_rows_deleted: int | None = None
    last_seconds: float | None = None
    last_error: str | None = None
    last_success_at: datetime | None = None
    failures: int = 0
    open_batch: OpenBatch | None = None
    lease: HeldLease | None = None
    problem: str | None = None

    def is_stale(self, hours: float) -> bool:
        """Whether the table is less fresh than so many hours; one of which nothing is known is."""
        return self.freshness_seconds is None or self.freshness_seconds > hours * 3600


@dataclass(frozen=True, slots=True)
class Overview:
    """All tables that were asked for, at one moment."""

    job_name: str
    state: str
    as_of: datetime
    last_run: LastRun | None
    tables: tuple[TableStanding, ...]


def look_around(configuration: Configuration, tables: Sequence[TableSpec], now: datetime) -> Overview:
    """Return where the tables stand at ``now``. Nothing but the state database is looked at, and that only read.

    Without one every table never ran. Raises what the state database raises when it cannot be read at all.
    """
    runtime = configuration.runtime
    store = sqlite_reader(Path(runtime.state_database))
    store.open()
    try:
        run = store.load_run(runtime.job_name)
        keys = {table.name: target_key(runtime, table) for table in tables}
        known = _Known(store, tuple(keys.values()))
    finally:
        store.close()
    last = None if run is None else _last_run(run, known.leases.values(), now)
    over = run if last is not None and not last.at_work else None
    return Overview(
        job_name=runtime.job_name,
        state=runtime.state_database,
        as_of=now,
        last_run=last,
        tables=tuple(_stand(table, keys[table.name], known, over, now) for table in tables),
    )


class _Known:
    """What the state knows of some tables, read by a few statements."""

    def __init__(self, store: StateStore, keys: Sequence[TableKey]) -> None:
        self.problems: dict[TableKey, str] = {}
        self.results = store.last_results(keys)
        self.leases = store.load_leases(keys)
        self.heads = self._load(store.load_heads, keys)
        self.open = self._load(store.load_open_batches, keys)

    def _load(
        self, load: Callable[[Sequence[TableKey]], Mapping[TableKey, T]], keys: Sequence[TableKey]
    ) -> Mapping[TableKey, T]:
        """Load for all tables at once; where a row cannot be read, one by one, so that only its own table goes without."""
        try:
            return load(keys)
        except TerminalError:
            found: dict[TableKey, T] = {}
            for key in keys:
                try:
                    found |= load([key])
                except TerminalError as error:
                    self.problems[key] = str(error)
            return found


def _stand(table: TableSpec, key: TableKey, known: _Known, over: RunRecord | None, now: datetime) -> TableStanding:
    """Return where a table stands; ``over``: the last run, where it is not at work any more."""
    head, result, lease, opened = known.heads.get(key), known.results.get(key), known.leases.get(key), known.open.get(key)
    held = None if lease is None else _held(lease, now)
    mark = head.receipt.watermark if head else None
    age, measure = _freshness(table, mark, result, now)
    stands = TableStanding(
        table=table.name,
        mode=table.mode,
        connection=table.connection,
        target=str(key),
        standing=_standing(table, result, held, over),
        sequence=head.receipt.sequence if head else 0,
        watermark=mark.literal if mark else None,
        freshness_seconds=age,
        freshness_of=measure,
        open_batch=None if opened is None else _opened(opened),
        lease=held,
        problem=known.problems.get(key),
    )
    if result is None:
        return stands
    end = result.end
    return replace(
        stands,
        last_at=end.at,
        last_run=end.run_id,
        last_load_date=end.load_date,
        last_rows_read=end.rows_read,
        last_rows_written=end.rows_written,
        last_rows_deleted=end.rows_deleted,
        last_seconds=end.seconds,
        last_error=end.error,
        last_success_at=result.succeeded_at,
        failures=result.failures,
    )


def _standing(table: TableSpec, result: LastResult | None, lease: HeldLease | None, over: RunRecord | None) -> Standing:
    if lease is not None and lease.at_work:
        return Standing.RUNNING
    ended_in = result.end.run_id if result else None
    if over is not None and over.ended_at is None and table.name in over.tables and ended_in != over.options.run_id:
        return Standing.INTERRUPTED  # killed: what it would have said of this table, nobody has written
    return Standing.NEVER if result is None else Standing(result.end.status.value)


def _freshness(
    table: TableSpec, mark: Watermark | None, result: LastResult | None, now: datetime
) -> tuple[float | None, Measure | None]:
    """Return the age of a watermark that is a time, else that of the last success. A time to come has the age 0."""
    moment = None if mark is None else _moment(mark, table.cursor_timezone or "UTC")
    if moment is not None:
        return max(0.0, (now - moment).total_seconds()), Measure.WATERMARK
    if result is not None and result.succeeded_at is not None:
        return max(0.0, (now - result.succeeded_at).total_seconds()), Measure.SUCCESS
    return None, None


def _moment(mark: Watermark, timezone: str) -> datetime | None:
    """Return the moment that a watermark means, None where it is no time. A wall clock's zone is the configured one."""
    tick = _TICK.get(mark.type)
    if tick is None:
        return None
    try:
        moment = _EPOCH + to_ticks(mark) * tick
    except OverflowError:  # an epoch beyond the year 9999: a number that is no time
        return None
    return moment.replace(tzinfo=ZoneInfo(timezone)) if mark.type in _WALL_CLOCKS else moment


def _opened(batch: Batch) -> OpenBatch:
    return OpenBatch(batch.id, batch.run_id, batch.load_date, len(batch.plan.slices))


def _held(lease: LeaseHeld, now: datetime) -> HeldLease:
    holder = lease.holder
    return HeldLease(holder.run_id, holder.host, holder.pid, lease.expires_at, is_at_work(lease, now))


def is_run_at_work(run: RunRecord, leases: Iterable[LeaseHeld], now: datetime) -> bool:
    """Return whether a run that has not ended is still carried out: its process lives, or, where that runs on another host
    and cannot be looked at, it holds a lease that has not run out."""
    if run.ended_at is not None:
        return False
    if run.holder.host == socket.gethostname():
        return is_alive(run.holder)
    return any(lease.holder.run_id == run.options.run_id and lease.expires_at > now for lease in leases)


def _last_run(run: RunRecord, leases: Iterable[LeaseHeld], now: datetime) -> LastRun:
    return LastRun(
        run_id=run.options.run_id,
        load_date=run.options.load_date,
        tables=len(run.tables),
        host=run.holder.host,
        pid=run.holder.pid,
        at_work=is_run_at_work(run, leases, now),
        started_at=run.started_at,
        ended_at=run.ended_at,
        exit_code=run.exit_code,
    )
