"""One table in one run, and all tables of a run on a thread pool."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace

from ingestion_runtime.endpoints.engine import EngineChoice
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.source import SchemaDrift
from ingestion_runtime.events.types.table import EngineChosen, TableDone, TableFailed, TableStarted, ToolProgress
from ingestion_runtime.ingestion.context import RunContext, build_context
from ingestion_runtime.ingestion.failures import classify, describe_failure, stack_text
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import TableResult, TableStatus
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.window import has_windows, why_not
from ingestion_runtime.publishing.grip import Grip
from ingestion_runtime.state.leases import Patience
from ingestion_runtime.strategies import STRATEGY_REGISTRY
from ingestion_runtime.strategies.context import Outcome

_LOG = logging.getLogger(__name__)
# Maintenance holds a table for seconds, or minutes where it removes very many files.
PATIENCE_SECONDS = 60.0


def run_ingestion(run: RunContext, tables: Sequence[TableSpec]) -> tuple[TableResult, ...]:
    """Bring all tables up to date and return their results in the order given. One table's failure never stops another."""
    with ThreadPoolExecutor(run.configuration.runtime.max_parallel_tables, thread_name_prefix="table") as pool:
        futures: dict[Future[TableResult], TableSpec] = {pool.submit(_ingest_one_table, run, t): t for t in tables}
        results: dict[str, TableResult] = {}
        for future in as_completed(futures):
            results[futures[future].name] = future.result()
    return tuple(results[table.name] for table in tables)


def _ingest_one_table(run: RunContext, table: TableSpec) -> TableResult:
    begun = time.monotonic()
    emitter = run.emitter.bind(table=table.name)
    emitter.emit(TableStarted(table.mode, table.connection))
    teller = _EngineTeller(emitter)
    try:
        outcome = _bring_up_to_date(run, table, teller)
    except Exception as raised:  # noqa: BLE001 - the table's end, whatever it was; the others go on
        return replace(_fail(run, table, raised, time.monotonic() - begun), engine=teller.engine)
    seconds = time.monotonic() - begun
    emitter.emit(
        TableDone(
            status=outcome.status,
            rows_read=outcome.rows_read,
            rows_written=outcome.rows_written,
            rows_deleted=outcome.rows_deleted,
            duplicates=outcome.duplicates,
            quarantined=outcome.quarantined,
            slices=outcome.slices,
            seconds=round(seconds, 3),
            watermark=outcome.watermark,
        )
    )
    return TableResult(
        table=table.name,
        mode=table.mode,
        status=outcome.status,
        rows_read=outcome.rows_read,
        rows_written=outcome.rows_written,
        rows_deleted=outcome.rows_deleted,
        duplicates=outcome.duplicates,
        quarantined=outcome.quarantined,
        slices=outcome.slices,
        watermark=outcome.watermark,
        seconds=seconds,
        remark=outcome.remark,
        engine=teller.engine,
    )


class _EngineTeller:
    """Tells which engine a table gets, or one step of its work, and remembers the table's."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self.engine: str | None = None

    def __call__(self, step: str, choice: EngineChoice) -> None:
        if step == "table":
            self.engine = choice.engine.value
        self._emitter.emit(EngineChosen(choice.engine, step, choice.reason))


def _bring_up_to_date(run: RunContext, table: TableSpec, teller: _EngineTeller) -> Outcome:
    if table.name in run.failed_early:
        # Several tables share the error of their connection; a traceback that grew would change the stack hash.
        raise run.failed_early[table.name].with_traceback(None)
    if run.options.window is not None and not has_windows(table):
        return Outcome(TableStatus.SKIPPED, remark=f"no window of it can be read again: {why_not(table)}")
    emitter = run.emitter.bind(table=table.name)
    session = run.tool.table_session()
    group = f"{run.options.run_id}/{table.name}"
    session.name_jobs(group, f"{table.mode} {table.name}")
    endpoints = run.factory.build_endpoints(table, session, teller)
    grip = Grip(run.keeper, endpoints.target.key, Patience(PATIENCE_SECONDS, run.interrupted.wait))
    try:
        # What was preloaded may be another run's past: until the lease was ours, it could move the table.
        run.state.refresh(endpoints.target.key)
        emitter.emit(ToolProgress("lease", f"holding {endpoints.target.key} with token {grip.token}"))
        context = build_context(run, table, endpoints, grip, emitter)
        return STRATEGY_REGISTRY[strategy_of(run.options, table)].execute(context)
    finally:
        _release(grip, table)
        session.close()


def strategy_of(options: RunOptions, table: TableSpec) -> str:
    """Return under which name of the registry a table is worked on."""
    if options.backfill:
        return "backfill"
    return table.mode if options.window is None else "window"


def _release(grip: Grip, table: TableSpec) -> None:
    try:
        grip.release()
    except IngestionError as error:
        # How the table ended stands; the lease runs out by itself, and the next run takes it over.
        _LOG.warning("%s: the lease was not released: %s", table.name, error)


def _fail(run: RunContext, table: TableSpec, raised: Exception, seconds: float) -> TableResult:
    error = classify(raised, table.name, interrupted=run.interrupted.is_set())
    failure = describe_failure(raised, error)
    if failure.changes:
        run.emitter.bind(table=table.name).emit(SchemaDrift(failure.changes))
    run.emitter.bind(table=table.name).emit(
        TableFailed(
            error_type=failure.type,
            message=failure.message,
            stack_hash=failure.stack_hash,
            exit_code=failure.exit_code,
            remedy=error.remedy,
            seconds=round(seconds, 3),
            stack=stack_text(raised),
        )
    )
    stopped = isinstance(error, InterruptedRunError)
    status = TableStatus.INTERRUPTED if stopped else TableStatus.FAILED
    return TableResult(table=table.name, mode=table.mode, status=status, seconds=seconds, failure=failure)
