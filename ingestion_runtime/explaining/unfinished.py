"""The tables of a run that did not end well, and have not since."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ingestion_runtime.explaining.standing import is_run_at_work
from ingestion_runtime.model.errors import ConfigError, LeaseHeldError
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.state import LastResult, RunRecord, TableEnd
from ingestion_runtime.state.sqlite import sqlite_reader

_BAD = (TableStatus.FAILED, TableStatus.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is left of a run (None: none is recorded).

    ``tables`` are to be run again. ``since`` failed too, and have ended well in a later run; ``gone`` are no longer
    configured; ``elsewhere`` are (table, run) of tables that failed last in another run.
    """

    run: RunRecord | None
    tables: tuple[TableSpec, ...] = ()
    since: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()


def find_unfinished(configuration: Configuration, run_id: str | None) -> Unfinished:
    """Return what is left of the run of that id, or of the job's last run; by the state database alone.

    A table of which the run did not live to tell how it ended counts as interrupted. Raises ConfigError for an id that is
    not known, and LeaseHeldError while the run is at work.
    """
    runtime, tables = configuration.runtime, configuration.tables
    store = sqlite_reader(Path(runtime.state_database))
    store.open()
    try:
        run = store.load_run(runtime.job_name, run_id)
        if run is None:
            return _none(configuration, run_id)
        keys = {table.name: target_key(runtime, table) for table in tables}
        leases = store.load_leases(tuple(keys.values()))
        if is_run_at_work(run, leases.values(), datetime.now(UTC)):
            raise _still_at_work(run)
        ends = store.run_results(run.options.run_id)
        last = store.last_results(tuple(keys.values()))
    finally:
        store.close()
    left = [] if run.exit_code == 0 else [t for t in tables if t.name in run.tables and not _is_good(ends.get(keys[t.name]))]
    since = [table.name for table in left if _has_ended_well_since(last.get(keys[table.name]), run)]
    kept = tuple(table for table in left if table.name not in since)
    others = [(t.name, last[keys[t.name]].end) for t in tables if t not in left and keys[t.name] in last]
    return Unfinished(
        run=run,
        tables=kept,
        since=tuple(since),
        gone=_gone(run, tables, ends_well=run.exit_code == 0),
        elsewhere=tuple((name, end.run_id) for name, end in others if end.status in _BAD),
    )


def _none(configuration: Configuration, run_id: str | None) -> Unfinished:
    if run_id is None:
        return Unfinished(None)
    job, place = configuration.runtime.job_name, configuration.runtime.state_database
    raise ConfigError(
        f"No run {run_id!r} of the job {job!r} is recorded in {place}.",
        remedy="Take the id from the result or the event log of that run; without --run the last one is retried.",
        run_id=run_id,
    )


def _still_at_work(run: RunRecord) -> LeaseHeldError:
    holder = run.holder
    return LeaseHeldError(
        f"Run {holder.run_id} is still at work (process {holder.pid} on {holder.host}).",
        remedy="Wait for it to end, or stop it; then retry what is left.",
        run_id=holder.run_id,
        host=holder.host,
        pid=holder.pid,
    )


def _is_good(end: TableEnd | None) -> bool:
    return end is not None and end.status not in _BAD


def _has_ended_well_since(last: LastResult | None, run: RunRecord) -> bool:
    """Whether a later run has brought the table up to date: with the load date of this one it would be read for nothing."""
    if last is None or last.succeeded_at is None or last.failures:
        return False
    return last.end.run_id != run.options.run_id and last.succeeded_at > run.started_at


def _gone(run: RunRecord, tables: Sequence[TableSpec], *, ends_well: bool) -> tuple[str, ...]:
    known = {table.name for table in tables}
    return () if ends_well else tuple(name for name in run.tables if name not in known)
