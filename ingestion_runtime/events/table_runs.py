"""Every table's run as one object: gathered from its events, and told to those who record or report it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.state_subscriber import TableIdentity
from ingestion_runtime.events.types.batch import BatchPublished, RowsSetAside, SliceStaged
from ingestion_runtime.events.types.table import EngineChosen, PhaseMarked, TableDone, TableFailed, TableStarted
from ingestion_runtime.model.errors import InterruptedRunError
from ingestion_runtime.model.metrics import TableRun, TableRunListener
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import PhaseStatus


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What holds for all tables of a run."""

    job_name: str
    load_date: date


class TableRunSubscriber:
    """Follows the tables of a run. Each listener hears of every table once that it began and once that it ended.

    Counts of a table that failed are those of what happened before: rows that were staged in this run, batches that became
    visible.
    """

    def __init__(
        self,
        facts: RunFacts,
        identify: Callable[[str], TableIdentity | None],
        listeners: Sequence[TableRunListener],
    ) -> None:
        self._facts = facts
        self._identify = identify
        self._listeners = tuple(listeners)
        self._running: dict[str, TableRun] = {}

    def handle(self, envelope: Envelope) -> None:
        """Follow the event's table."""
        event, table = envelope.event, envelope.table
        if table is None:
            return
        if isinstance(event, TableStarted):
            self._begin(table, event, envelope)
        elif table in self._running:
            run = _follow(self._running[table], event)
            if isinstance(event, TableDone | TableFailed):
                del self._running[table]
                ended = _ended(run, event, envelope)
                for listener in self._listeners:
                    listener.ended(ended)
            else:
                self._running[table] = run

    def _begin(self, table: str, event: TableStarted, envelope: Envelope) -> None:
        identity = self._identify(table)
        if identity is None:
            raise LookupError(f"event {event.name} names the table {table}, which is not configured")
        run = self._running[table] = TableRun(
            run_id=envelope.run_id,
            job_name=self._facts.job_name,
            table=table,
            key=identity.key,
            source_id=event.source,
            mode=event.mode,
            load_date=self._facts.load_date,
            started=envelope.at,
        )
        for listener in self._listeners:
            listener.began(run)


def _follow(run: TableRun, event: Event) -> TableRun:
    """Return the run with what an event on the way adds to it."""
    if isinstance(event, EngineChosen):
        return replace(run, engine=event.engine) if event.step == "table" else run
    if isinstance(event, SliceStaged):
        # What an earlier run had staged was read then; its bytes go into this run's batch all the same.
        rows = 0 if event.reused or event.tombstones else event.rows
        return replace(run, rows_read=run.rows_read + rows, bytes=run.bytes + event.bytes)
    if isinstance(event, BatchPublished) and event.changed:
        return replace(
            run,
            batch_id=event.batch_id,
            rows_written=run.rows_written + event.rows,
            rows_deleted=run.rows_deleted + event.deleted,
        )
    if isinstance(event, RowsSetAside):
        return replace(run, quarantined=run.quarantined + event.rows)
    # A mark without a location brings the state up to what an earlier run had done.
    if isinstance(event, PhaseMarked) and event.status is PhaseStatus.SUCCESS and event.location:
        return replace(run, batch_id=event.batch_id, location=event.location, watermark=event.watermark or run.watermark)
    return run


def _ended(run: TableRun, event: TableDone | TableFailed, envelope: Envelope) -> TableRun:
    if isinstance(event, TableDone):
        return replace(
            run,
            ended=envelope.at,
            status=event.status.value,
            seconds=event.seconds,
            rows_read=event.rows_read,
            rows_written=event.rows_written,
            rows_deleted=event.rows_deleted,
            duplicates=event.duplicates,
            quarantined=event.quarantined,
            slices=event.slices,
            watermark=event.watermark,
        )
    stopped = event.exit_code == InterruptedRunError.exit_code
    return replace(
        run,
        ended=envelope.at,
        status=(TableStatus.INTERRUPTED if stopped else TableStatus.FAILED).value,
        seconds=event.seconds,
        exit_code=event.exit_code,
        error_type=event.error_type,
        message=event.message,
        stack_hash=event.stack_hash,
    )
