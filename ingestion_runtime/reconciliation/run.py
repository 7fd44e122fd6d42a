"""A reconciliation of many tables: each by itself, several at a time. Nothing is written but its own log."""

import signal
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.structured_log import StructuredLogSubscriber
from ingestion_runtime.events.types.reconciliation import ReconDone, ReconFailed, ReconStarted
from ingestion_runtime.metadata.cache import UnsavedSnapshots
from ingestion_runtime.metadata.difference import follow
from ingestion_runtime.model.digest import reading
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError
from ingestion_runtime.model.privacy import Privacy
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import Configuration, Engine, TableSpec
from ingestion_runtime.planning.reread import effective_lag
from ingestion_runtime.reconciliation.examination import Asked, Examination, Sides
from ingestion_runtime.reconciliation.report import Report, Status, TableReport, Trouble, exit_code
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles, storage_fault
from ingestion_runtime.tools.interruption import wait_attentively
from ingestion_runtime.tools.looking import looking_tool
from ingestion_runtime.tools.own_spark import own_spark
from ingestion_runtime.tools.spark import SparkTool

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INTERRUPTED: Final = 130
#: Begins the name of the log, which is none of a run.
LOG_KIND: Final = "recon"
_STACK_LENGTH: Final = 12_000


class Reader(StrEnum):
    """Who reads the targets: this process, or Spark. Sources are asked by their own SQL in either case."""

    SQLALCHEMY = "sqlalchemy"
    SPARK = "spark"


_LOOK_SECONDS: Final = 0.1
_ENGINES: Final = {Reader.SQLALCHEMY: Engine.ARROW, Reader.SPARK: Engine.SPARK}


@dataclass(frozen=True, slots=True)
class ReconRequest:
    """What to compare. ``checks`` and ``most_keys`` None: as configured for each table; ``parallel`` None: as many tables
    at a time as in a run."""

    configuration: Configuration
    tables: tuple[TableSpec, ...]
    run_id: str
    checks: tuple[Check, ...] | None = None
    reader: Reader = Reader.SQLALCHEMY
    parallel: int | None = None
    fail_on_warn: bool = False
    show_values: bool = False
    most_keys: int | None = None


def reconcile(request: ReconRequest, environment: Mapping[str, str], session: "SparkSession | None" = None) -> Report:
    """Compare the tables and return what was found; what happens to single tables is in the report.

    ``session`` is used, and left running, where Spark is to read and is up already.
    SIGINT ends it: what was not compared by then stands so in the report, whose exit code is 130.
    """
    with ExitStack() as stack:
        run = _open(request, environment, stack, session)
        return run.carry_out()


@dataclass(slots=True)
class _Run:
    """The tables of one reconciliation, at work in a pool of threads."""

    request: ReconRequest
    factory: EndpointFactory
    tool: SparkTool
    emitter: EventEmitter
    snapshots: UnsavedSnapshots
    stopped: threading.Event = field(default_factory=threading.Event)

    def carry_out(self) -> Report:
        request, begun = self.request, time.monotonic()
        workers = max(1, min(self._parallel(), len(request.tables)))
        self.emitter.emit(
            ReconStarted(
                job_name=request.configuration.runtime.job_name,
                tables=tuple(table.name for table in request.tables),
                engine=request.reader.value,
                checks=tuple(check.value for check in request.checks or ()),
                max_parallel=workers,
            )
        )
        with ThreadPoolExecutor(workers, thread_name_prefix="recon") as pool:
            futures = [pool.submit(self._table, table) for table in request.tables]
            try:
                wait_attentively(futures)
            except KeyboardInterrupt:
                self._stop(futures)
        reports = tuple(_ended(table, future) for table, future in zip(request.tables, futures, strict=True))
        code = INTERRUPTED if self.stopped.is_set() else exit_code(reports, fail_on_warn=request.fail_on_warn)
        seconds = time.monotonic() - begun
        self.emitter.emit(_done(reports, code, seconds))
        name = request.configuration.runtime.job_name
        return Report(request.run_id, name, request.reader.value, seconds, code, reports)

    def _parallel(self) -> int:
        return self.request.parallel or self.request.configuration.runtime.max_parallel_tables

    def _stop(self, futures: Sequence["Future[TableReport]"]) -> None:
        """End what is under way: tables that wait are not begun, statements at the sources and Spark's jobs are broken off.

        What this process reads of a target goes on to the end of its statement; a second SIGINT does not wait for that.
        """
        self.stopped.set()
        previous = signal.signal(signal.SIGINT, signal.SIG_DFL)  # on the main thread: nobody else is interrupted
        for future in futures:
            future.cancel()
        while wait(futures, timeout=_LOOK_SECONDS).not_done:
            self.factory.interrupt()  # again and again: a statement may have begun since
            with suppress(Exception):  # a JVM that is going down has nothing left to cancel
                self.tool.cancel_all()
        signal.signal(signal.SIGINT, previous)

    def _table(self, table: TableSpec) -> TableReport:
        emitter, begun = self.emitter.bind(table=table.name), time.monotonic()
        try:
            report = self._examination(table, emitter).report()
        except Exception as error:  # noqa: BLE001 - whatever one table comes to, the others are compared
            trouble = self._trouble(error)
            stack = "".join(traceback.format_exception(error))[-_STACK_LENGTH:]
            emitter.emit(ReconFailed(trouble.type, trouble.message, trouble.exit_code, stack))
            report = TableReport(table.name, table.mode, trouble=trouble)
        return replace(report, seconds=time.monotonic() - begun)

    def _trouble(self, error: Exception) -> Trouble:
        if self.stopped.is_set():
            return _INTERRUPTION
        if isinstance(error, IngestionError):
            return Trouble.of(error)
        outage = storage_fault(error)
        if outage is not None:
            return Trouble.of(outage)
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
        return Trouble(type(error).__name__, f"{first.rstrip('.')}. The stack is in the event log.", 1)

    def _examination(self, table: TableSpec, emitter: EventEmitter) -> Examination:
        session = self.tool.table_session()
        source = self.factory.build_endpoints(table, session).source
        rows = self.factory.build_rows(table, session, _ENGINES[self.request.reader])

        def describe() -> TableSnapshot:
            live = replace(source.described(), schema=table.schema, table=table.table)
            return follow(self.snapshots.load(table.connection, table.schema, table.table), live)

        request = self.request
        asked = Asked(request.checks, request.most_keys, request.show_values, self._raise_if_stopped)
        # Without the marks of masks: these columns are not compared, and their salt is not needed.
        now = reading(replace(table, privacy=Privacy()), request.configuration.connection(table.connection))
        lag = effective_lag(table, None, request.configuration.runtime.lag_seconds)
        return Examination(table, Sides(source.comparable(), describe, rows, now, lag), asked, emitter)

    def _raise_if_stopped(self) -> None:
        if self.stopped.is_set():
            raise InterruptedRunError("Interrupted.", remedy="")


_INTERRUPTION: Final = Trouble("InterruptedRunError", "It was not compared: interrupted.", INTERRUPTED)


def _ended(table: TableSpec, future: "Future[TableReport]") -> TableReport:
    if future.cancelled():
        return TableReport(table.name, table.mode, trouble=_INTERRUPTION)
    return future.result()


def _done(reports: Sequence[TableReport], code: int, seconds: float) -> ReconDone:
    counts = {status: sum(report.status is status for report in reports) for status in Status}
    return ReconDone(
        exit_code=code,
        seconds=round(seconds, 3),
        equal=counts[Status.EQUAL],
        within=counts[Status.WITHIN],
        differs=counts[Status.DIFFERS],
        skipped=counts[Status.SKIPPED],
        error=counts[Status.ERROR],
    )


def _open(request: ReconRequest, environment: Mapping[str, str], stack: ExitStack, session: "SparkSession | None") -> _Run:
    """Build what the tables are compared with. Nothing is connected yet."""
    runtime = request.configuration.runtime
    if request.parallel is not None:
        runtime = replace(runtime, max_parallel_tables=request.parallel)  # by which the memory is shared out
    configuration = replace(request.configuration, runtime=runtime)
    logs = runtime.log_folder
    emitter = EventEmitter(request.run_id)
    if runtime.logging.emit_structured:
        name = f"{LOG_KIND}-{request.run_id}"
        log = StructuredLogSubscriber(logs, request.run_id, level=runtime.logging.level, name=name)
        stack.callback(log.close)
        emitter.subscribe(log)
    if request.reader is Reader.SQLALCHEMY:
        tool = looking_tool(runtime)
    else:
        tool = own_spark(
            runtime,
            logs / f"spark-{LOG_KIND}-{request.run_id}.log",
            environment,
            lambda: factory.prepare_catalog(),  # noqa: PLW0108 - the factory comes later
            adopted=session,
        )
    stack.callback(tool.stop)
    files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
    factory = EndpointFactory(configuration, tool, files, read_only=True)
    stack.callback(factory.close)
    snapshots = UnsavedSnapshots(Path(configuration.metadata.cache_path), configuration.metadata.ttl_hours)
    return _Run(request, factory, tool, emitter, snapshots)
