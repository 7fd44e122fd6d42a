"""One run of maintenance over many tables."""

import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.structured_log import StructuredLogSubscriber
from ingestion_runtime.events.types.maintenance import MaintenanceDone, MaintenanceStarted
from ingestion_runtime.ingestion.failures import classify
from ingestion_runtime.maintenance.housekeeping import House, look_around, tidy
from ingestion_runtime.maintenance.report import Failure, Housekeeping, MaintenanceReport, Mode, TableReport
from ingestion_runtime.maintenance.tables import maintain
from ingestion_runtime.maintenance.workshop import Workshop
from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError, TerminalError, TransientError
from ingestion_runtime.model.maintenance import RUN_PREFIX
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.orchestrator import gravest
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.leases import LeaseKeeper
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_reader, sqlite_store
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from ingestion_runtime.tools.interruption import Interruption
from ingestion_runtime.tools.own_spark import own_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class MaintenanceRequest:
    """What to maintain and how: a configuration, and the tables selected from it."""

    configuration: Configuration
    tables: tuple[TableSpec, ...]
    mode: Mode

    @property
    def whole(self) -> bool:
        """Whether all tables of the configuration are meant: then state, logs and outbox are too."""
        return self.tables == self.configuration.tables and self.mode is not Mode.REBUILD


def new_maintenance_id() -> str:
    """Return a name for a run of maintenance: when it began, in UTC, and something random."""
    return f"{RUN_PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def run(
    request: MaintenanceRequest,
    environment: Mapping[str, str],
    clock: Callable[[], datetime] = utc_now,
    session: "SparkSession | None" = None,
) -> MaintenanceReport:
    """Maintain the tables and return how they ended; ages are counted by ``clock``. A ``session`` of Spark is used, and left
    running, where it is up already.

    A dry run changes nothing anywhere. Raises ConfigError for a catalog's credentials and TransientError for a state
    database that cannot be reached: both before any effect. What happens to single tables is in the report.
    """
    begun = time.monotonic()
    interruption = Interruption()
    with ExitStack() as stack:
        shop, failed = _furnish(request, environment, clock, interruption, session, stack)
        stack.enter_context(interruption.listening(lambda: shop.tool.cancel_all()))  # noqa: PLW0108 - asked each time
        shop.emitter.emit(_started(request))
        reports = _maintain_all(shop, request, failed)
        housekeeping = _keep_house(shop, request)
        code = _exit_code(reports, housekeeping, interruption.signal)
        seconds = time.monotonic() - begun
        shop.emitter.emit(_done(reports, housekeeping, code, seconds))
    job = request.configuration.runtime.job_name
    return MaintenanceReport(request.mode, shop.run_id, job, code, round(seconds, 3), reports, housekeeping)


def _maintain_all(
    shop: Workshop, request: MaintenanceRequest, failed: Mapping[str, IngestionError]
) -> tuple[TableReport, ...]:
    """Maintain the tables side by side; one's failure never stops another."""
    workers = max(1, min(request.configuration.runtime.max_parallel_tables, len(request.tables)))
    with ThreadPoolExecutor(workers, thread_name_prefix="table") as pool:
        return tuple(pool.map(lambda table: maintain(shop, table, request.mode, failed.get(table.name)), request.tables))


def _furnish(
    request: MaintenanceRequest,
    environment: Mapping[str, str],
    clock: Callable[[], datetime],
    interruption: Interruption,
    session: "SparkSession | None",
    stack: ExitStack,
) -> tuple[Workshop, Mapping[str, IngestionError]]:
    """Build what the run needs, in the order in which it may fail; and the tables whose catalog cannot be reached."""
    configuration, looks = request.configuration, request.mode is Mode.DRY_RUN
    runtime, run_id = configuration.runtime, new_maintenance_id()
    failpoints = Failpoints.from_environment(environment)
    # A look leaves no log of Spark's, and archives no classes for the next start.
    log = Path(os.devnull) if looks else runtime.log_folder / f"spark-{run_id}.log"
    tool = own_spark(
        runtime,
        log,
        environment,
        lambda: factory.prepare_catalog(),  # noqa: PLW0108 - the factory comes later
        adopted=session,
        archives=not looks,
    )
    files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
    factory = EndpointFactory(configuration, tool, files, read_only=looks)
    stack.callback(factory.close)
    failed = dict(_unreachable(factory, request.tables))
    store = (sqlite_reader if looks else sqlite_store)(runtime.state_database)
    store.open()
    stack.callback(store.close)
    keeper = LeaseKeeper(store, current_holder(run_id))
    if not looks:
        stack.enter_context(keeper)
    stack.callback(tool.stop)
    emitter = EventEmitter(run_id)
    if not looks and runtime.logging.emit_structured:
        subscriber = StructuredLogSubscriber(runtime.log_folder, run_id, level=runtime.logging.level, name=run_id)
        stack.callback(subscriber.close)
        emitter.subscribe(subscriber)
    shop = Workshop(
        configuration=configuration,
        run_id=run_id,
        factory=factory,
        tool=tool,
        files=files,
        staging=Staging(runtime.staging, files, lambda: clock().timestamp()),
        store=store,
        keeper=keeper,
        emitter=emitter,
        failpoints=failpoints,
        interrupted=interruption.requested,
        clock=clock,
    )
    return shop, failed


def _unreachable(factory: EndpointFactory, tables: Sequence[TableSpec]) -> Iterator[tuple[str, IngestionError]]:
    """Yield the tables whose catalog cannot be reached. Sources are not asked: they may be gone for good."""
    broken: dict[str, IngestionError] = {}
    needed = {table.name: factory.connections_of(table)[1:] for table in tables}
    for name in dict.fromkeys(name for names in needed.values() for name in names):
        try:
            factory.database(name).check()
        except (TransientError, TerminalError) as error:
            broken[name] = error
    for table, names in needed.items():
        yield from ((table, broken[name]) for name in names if name in broken)


def _keep_house(shop: Workshop, request: MaintenanceRequest) -> Housekeeping:
    """See to state, logs and outbox; what goes wrong there is told, and the tables stand."""
    if not request.whole or shop.interrupted.is_set():
        return Housekeeping()
    runtime = request.configuration.runtime
    work = look_around if request.mode is Mode.DRY_RUN else tidy
    try:
        return work(House(shop.store, runtime.log_folder, runtime.hdfs_outbox_root, runtime.maintenance), shop.clock())
    except Exception as raised:  # noqa: BLE001 - the tables' results stand
        error = classify(raised, "state and logs", interrupted=shop.interrupted.is_set())
        return Housekeeping(error=Failure(type(error).__name__, error.message, error.remedy, error.exit_code))


def _exit_code(reports: Sequence[TableReport], housekeeping: Housekeeping, interrupted_by: int | None) -> int:
    failures = [error for error in (housekeeping.error, *(report.error for report in reports)) if error is not None]
    if interrupted_by is not None and any(failure.type == InterruptedRunError.__name__ for failure in failures):
        return 128 + interrupted_by
    return gravest(failure.exit_code for failure in failures)


def _started(request: MaintenanceRequest) -> MaintenanceStarted:
    names = tuple(table.name for table in request.tables)
    job = request.configuration.runtime.job_name
    return MaintenanceStarted(request.mode.value, job, len(names), socket.gethostname(), os.getpid(), names)


def _done(reports: Sequence[TableReport], housekeeping: Housekeeping, code: int, seconds: float) -> MaintenanceDone:
    statuses = Counter(report.status.value for report in reports if report.status is not None)
    told = MaintenanceDone(code, round(seconds, 3), dict(sorted(statuses.items())))
    return replace(
        told,
        state_rows=housekeeping.state_rows,
        log_files=housekeeping.log_files,
        log_bytes=housekeeping.log_bytes,
        outbox_runs=housekeeping.outbox_runs,
        outbox_bytes=housekeeping.outbox_bytes,
    )
