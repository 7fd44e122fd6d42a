"""One run over many tables: preflight, state, events, the tables themselves, and what remains to be cleaned up."""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.heartbeat import Heartbeat
from ingestion_runtime.events.outbox import Outbox
from ingestion_runtime.events.state_subscriber import StateEventSubscriber, TableIdentity
from ingestion_runtime.events.structured_log import StructuredLogSubscriber
from ingestion_runtime.events.types.run import RunDone, RunStarted, StagingCleaned
from ingestion_runtime.events.types.source import SchemaDrift
from ingestion_runtime.ingestion.context import RunContext
from ingestion_runtime.ingestion.patterns import tell_patterns
from ingestion_runtime.ingestion.runtime import run_ingestion
from ingestion_runtime.metadata.cache import MetadataCacheManager
from ingestion_runtime.metadata.runtime import build_metadata_access, collect_metadata
from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from ingestion_runtime.model.schema import ColumnChange
from ingestion_runtime.model.spec import Configuration, Engine, TableSpec
from ingestion_runtime.model.state import RunRecord
from ingestion_runtime.outlets import Told, attach_gateway, attach_notifier, open_notifier
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.buffered import BufferedState
from ingestion_runtime.state.leases import LeaseKeeper
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_store
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles, is_hdfs
from ingestion_runtime.tools.hdfs import HdfsFiles
from ingestion_runtime.tools.interruption import Interruption
from ingestion_runtime.tools.own_spark import own_spark
from ingestion_runtime.tools.spark import SparkTool
from ingestion_runtime.tools.spark_submitted import Submission, find_submission

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from ingestion_runtime.events.notifier.subscriber import NotifierSubscriber

_LOG = logging.getLogger(__name__)
# Credentials concern the whole run; after them a final failure outweighs one worth a retry, and that a busy table.
_PRECEDENCE = (2, 1, 3, 4)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: a configuration, the tables selected from it, and the options of the command line."""

    configuration: Configuration
    tables: tuple[TableSpec, ...]
    options: RunOptions


def run(request: RunRequest, environment: Mapping[str, str], session: "SparkSession | None" = None) -> RunResult:
    """Run the tables and return how they ended. ``session`` is used, and left running, where Spark is up already.

    Raises ConfigError for credentials and TransientError for a state database that cannot be reached: both before any
    effect. What happens to single tables is in the result.
    """
    begun = time.monotonic()
    if any(pattern.matched is None for pattern in request.configuration.patterns):
        raise ValueError("the patterns of a configuration are resolved (endpoints.resolving) before its tables are chosen")
    interruption = Interruption()
    submission = find_submission(environment) if session is None else None
    if submission is not None:
        request = replace(request, configuration=submission.apply(request.configuration))
    with ExitStack() as stack:
        # First of all, so that people hear of a run that cannot even begin.
        notifier = open_notifier(request.configuration, request.options)
        if notifier is not None:
            stack.enter_context(notifier)
        context = _prepare(request, environment, interruption, stack, session, submission, notifier)
        stack.enter_context(interruption.listening(lambda: _cancel(context)))
        options, tables = request.options, request.tables
        runtime = request.configuration.runtime
        context.emitter.emit(_run_started(request))
        tell_patterns(request.configuration, context.state, context.emitter)
        results = run_ingestion(context, tables)
        code = exit_code(results, interruption.signal)
        _clean_staging(context, tables)
        _record_end(context.state, options, code)
        seconds = time.monotonic() - begun
        context.emitter.emit(_run_done(results, code, seconds))
        return RunResult(options.run_id, runtime.job_name, options.load_date, seconds, code, results)


def exit_code(results: Sequence[TableResult], interrupted_by: int | None) -> int:
    """Return the process's exit code: 0 when all is well, 128 + signal when interrupted, else the gravest failure."""
    if interrupted_by is not None and any(r.status is TableStatus.INTERRUPTED for r in results):
        return 128 + interrupted_by
    return gravest(result.failure.exit_code for result in results if result.failure)


def gravest(codes: Iterable[int]) -> int:
    """Return the exit code that outweighs the others; 0 where there is none."""
    found = set(codes)
    return next((code for code in _PRECEDENCE if code in found), max(found, default=0))


def _prepare(
    request: RunRequest,
    environment: Mapping[str, str],
    interruption: Interruption,
    stack: ExitStack,
    session: "SparkSession | None",
    submission: Submission | None,
    notifier: "NotifierSubscriber | None",
) -> RunContext:
    """Build what the run needs, in the order in which it may fail: credentials first, before anything is touched."""
    configuration, options = request.configuration, request.options
    runtime = configuration.runtime
    logs = runtime.log_folder
    failpoints = Failpoints.from_environment(environment)
    tool = own_spark(
        runtime,
        logs / f"spark-{options.run_id}.log",
        environment,
        lambda: factory.prepare_catalog(),  # noqa: PLW0108 - the factory comes later: it needs the tool
        adopted=session,
        submitted=submission is not None,
    )
    files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
    factory = EndpointFactory(configuration, tool, files)
    stack.callback(factory.close)
    failed = dict(check_connections(factory, request.tables))
    store = sqlite_store(runtime.state_database)
    store.open()
    stack.callback(store.close)
    buffer = TimeAwareBufferedSink(store.append_records, runtime.state_flush_every, runtime.state_flush_age_seconds)
    state = BufferedState(store, buffer)
    holder = current_holder(options.run_id)
    whole, named = request.tables == configuration.tables, tuple(table.name for table in request.tables)
    state.begin_run(RunRecord(runtime.job_name, named, options, holder, utc_now(), whole))
    stack.push(lambda _, error, __: _record_end(state, options, _code_of(error)) if error else None)
    keeper = stack.enter_context(LeaseKeeper(store, holder))
    stack.callback(tool.stop)
    identities = {t.name: TableIdentity(factory.target_key(t), t.connection, t.mode) for t in request.tables}
    told = Told(configuration, options, request.tables, identities)
    emitter = _wire_events(told, state, tool, logs, stack)
    attach_gateway(told, store, store, emitter, stack)
    if notifier is not None:
        attach_notifier(notifier, told, store, emitter)
        stack.push(notifier)  # once more: it ends before the log does, which it writes to
    cache = MetadataCacheManager(Path(configuration.metadata.cache_path), configuration.metadata.ttl_hours)
    if configuration.metadata.enabled:
        asked = [(t.connection, t, factory.metadata_endpoint(t)) for t in request.tables if t.name not in failed]
        failed |= collect_metadata(asked, cache, lambda table, changes: _tell_drift(emitter, table, changes))
    state.preload([factory.target_key(table) for table in request.tables], options.load_date)
    awaited = submission is not None and submission.waits_for_spark
    reachable = [table for table in request.tables if table.name not in failed]
    if awaited or any(_will_use_spark(request, state, factory, table) for table in reachable):
        tool.warm_up()  # it starts while the tables are settled and probed
    return RunContext(
        configuration=configuration,
        options=options,
        factory=factory,
        tool=tool,
        staging=Staging(runtime.staging, files),
        state=state,
        keeper=keeper,
        metadata=build_metadata_access(configuration.metadata, cache),
        emitter=emitter,
        failpoints=failpoints,
        interrupted=interruption.requested,
        clock=utc_now,
        failed_early=failed,
    )


def _will_use_spark(request: RunRequest, state: BufferedState, factory: EndpointFactory, table: TableSpec) -> bool:
    """Whether Spark will move rows of a table for sure: it is set to, and there is something to move."""
    runtime = request.configuration.runtime
    if (table.engine or runtime.engine) is not Engine.SPARK:
        return False
    key = factory.target_key(table)
    try:
        if table.name in request.options.reload or state.open_batch(key) or state.head(key) is None:
            return True
        day = state.day(key)
    except TerminalError:
        return False  # it will stop, and say why
    return table.mode == "full" and (day.finalize if runtime.finalize_full_refresh else day.raw) is None


def check_connections(factory: EndpointFactory, tables: Sequence[TableSpec]) -> Iterator[tuple[str, IngestionError]]:
    """Yield the tables whose source or catalog cannot be reached; wrong credentials end the run before its first effect."""
    unreachable: dict[str, IngestionError] = {}
    needed = {table.name: factory.connections_of(table) for table in tables}
    for name in dict.fromkeys(name for names in needed.values() for name in names):
        try:
            factory.database(name).check()
        except (TransientError, TerminalError) as error:
            unreachable[name] = error
    for table, names in needed.items():
        broken = next((name for name in names if name in unreachable), None)
        if broken is not None:
            yield table, unreachable[broken]


def _wire_events(told: Told, state: BufferedState, tool: SparkTool, logs: Path, stack: ExitStack) -> EventEmitter:
    runtime, options = told.configuration.runtime, told.options
    emitter = EventEmitter(options.run_id)
    emitter.subscribe(StateEventSubscriber(state, told.identities.get, options.load_date))
    stack.callback(_flush, state)
    if runtime.logging.emit_structured:
        outbox = Outbox(runtime.hdfs_outbox_root, options.run_id) if runtime.hdfs_outbox_root else None
        log = StructuredLogSubscriber(logs, options.run_id, outbox, runtime.logging.level)
        if outbox is not None:
            stack.callback(outbox.close)
        stack.callback(log.close)
        emitter.subscribe(log)
    heartbeat = Heartbeat(emitter, options.heartbeat_seconds, tool.metrics)
    emitter.subscribe(heartbeat)
    stack.enter_context(heartbeat)
    return emitter


def _tell_drift(emitter: EventEmitter, table: TableSpec, changes: tuple[ColumnChange, ...]) -> None:
    emitter.bind(table=table.name).emit(SchemaDrift(changes))


def _cancel(context: RunContext) -> None:
    """End what the tables wait for: the engine's jobs, and queries on the sources."""
    context.factory.interrupt()
    try:
        context.tool.cancel_all()
    except Exception as error:  # noqa: BLE001 - a JVM that is going down has nothing left to cancel
        _LOG.warning("Spark's jobs could not be cancelled: %s", type(error).__name__)


def _record_end(state: BufferedState, options: RunOptions, code: int) -> None:
    """Runs are kept for looking at, as events are: what was done stands, also where that cannot be written."""
    try:
        state.end_run(options.run_id, code)
    except IngestionError as error:
        _LOG.warning("The end of the run was not recorded in the state: %s", error)


def _code_of(error: BaseException) -> int:
    """Return the exit code of a run that ended with an error of its own."""
    if isinstance(error, IngestionError):
        return error.exit_code
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _flush(state: BufferedState) -> None:
    """Events are for looking at: if they cannot be written the run says so, and what it did stands."""
    try:
        state.close()
    except IngestionError as error:
        _LOG.warning("Events were not recorded in the state: %s", error)


def _clean_staging(context: RunContext, tables: Sequence[TableSpec]) -> None:
    """Remove what is left over. The run's result stands: a clean-up that fails is done by a later run."""
    if is_hdfs(context.configuration.runtime.staging.root) and not context.tool.running:
        return  # nothing was staged, and starting a JVM to look for older leftovers takes longer than the whole run
    try:
        keys = [context.factory.target_key(table) for table in tables]
        for key in keys:
            context.state.refresh(key)  # what was preloaded may have been finished, or begun, by another run
        context.state.preload(keys, context.options.load_date)
        batches = {batch.id for key in keys if (batch := context.state.open_batch(key))}
        removed = context.staging.ttl_cleanup(tables, batches)
    except Exception as error:  # noqa: BLE001 - as above
        _LOG.warning("Staging was not cleaned up: %s", error)
        return
    if removed:
        context.emitter.emit(StagingCleaned(removed))


def _run_started(request: RunRequest) -> RunStarted:
    runtime = request.configuration.runtime
    return RunStarted(
        job_name=runtime.job_name,
        load_date=request.options.load_date,
        tables=len(request.tables),
        max_parallel=runtime.max_parallel_tables,
        host=socket.gethostname(),
        pid=os.getpid(),
        tables_named=tuple(table.name for table in request.tables),
    )


def _run_done(results: Sequence[TableResult], code: int, seconds: float) -> RunDone:
    counts = {status: sum(result.status is status for result in results) for status in TableStatus}
    return RunDone(
        exit_code=code,
        seconds=round(seconds, 3),
        done=counts[TableStatus.DONE],
        unchanged=counts[TableStatus.UNCHANGED],
        skipped=counts[TableStatus.SKIPPED],
        failed=counts[TableStatus.FAILED],
        interrupted=counts[TableStatus.INTERRUPTED],
    )
