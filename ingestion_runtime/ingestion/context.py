"""What all tables of a run share, and how one table's context is made of it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ingestion_runtime.endpoints.factory import EndpointFactory, Endpoints
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.metadata.runtime import MetadataAccess
from ingestion_runtime.model.digest import reading, work_digest
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.spec import Configuration, Engine, TableSpec
from ingestion_runtime.planning.adaptive import AdaptivePlanner
from ingestion_runtime.planning.probe import RowCountProbe
from ingestion_runtime.planning.reread import effective_lag
from ingestion_runtime.publishing.deletes import DeleteFinder
from ingestion_runtime.publishing.grip import Grip, Hold, Untaken
from ingestion_runtime.publishing.identity import Identity
from ingestion_runtime.publishing.ledger import Ledger
from ingestion_runtime.publishing.proving import SliceProver
from ingestion_runtime.publishing.publisher import Publisher
from ingestion_runtime.publishing.recovery import Recovery, Settled
from ingestion_runtime.publishing.shrink import ShrinkGuard
from ingestion_runtime.publishing.sink import LakeSink
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.buffered import BufferedState
from ingestion_runtime.state.leases import LeaseKeeper
from ingestion_runtime.strategies.context import ExecutionContext
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.spark import SparkTool


@dataclass(frozen=True, slots=True)
class RunContext:
    """The collaborators of one run. ``failed_early`` holds tables that the preflight found broken, by ``schema.table``."""

    configuration: Configuration
    options: RunOptions
    factory: EndpointFactory
    tool: SparkTool
    staging: Staging
    state: BufferedState
    keeper: LeaseKeeper
    metadata: MetadataAccess
    emitter: Emitter
    failpoints: Failpoints
    interrupted: threading.Event
    clock: Callable[[], datetime]
    failed_early: Mapping[str, IngestionError]

    @property
    def owner(self) -> str:
        """Who publishes: the job's name, so that a copy of a configuration under another name is told apart."""
        return self.configuration.runtime.job_name


def build_context(run: RunContext, table: TableSpec, endpoints: Endpoints, grip: Grip, emitter: Emitter) -> ExecutionContext:
    """Settle a table under its lease and return what its strategy works with; raises what ``Recovery.settle`` raises."""
    reload = table.name in run.options.reload
    return _build(run, table, endpoints, grip, emitter, lambda recovery: recovery.settle(reload=reload))


def build_foresight(
    run: RunContext, table: TableSpec, endpoints: Endpoints, emitter: Emitter, *, remembered: bool
) -> ExecutionContext:
    """Return what a table's strategy would work with now, for its ``intend``; see ``Recovery.foresee``."""
    reload = table.name in run.options.reload

    def look(recovery: Recovery) -> Settled:
        return recovery.foresee(reload=reload, remembered=remembered)

    return _build(run, table, endpoints, Untaken(), emitter, look)


def _build(
    run: RunContext,
    table: TableSpec,
    endpoints: Endpoints,
    grip: Hold,
    emitter: Emitter,
    settle: Callable[[Recovery], Settled],
) -> ExecutionContext:
    ledger = Ledger(
        state=run.state,
        key=endpoints.target.key,
        source_id=table.connection,
        run_id=run.options.run_id,
        load_date=run.options.load_date,
        mode=table.mode,
        emitter=emitter,
        clock=run.clock,
    )
    connection = run.configuration.connection(table.connection)
    identity = Identity(table.name, run.owner, reading(table, connection), work_digest(table, connection))
    publisher = Publisher(endpoints.target, identity, lambda: grip.token, emitter, run.failpoints, _guard(run, table))
    prover = SliceProver(table, run.factory.local_sql())
    sink = LakeSink(table, run.staging, endpoints.raw, publisher, emitter, grip.require, prover)
    recovery = Recovery(endpoints.target, sink, ledger, grip, identity, emitter)
    keys, fence = endpoints.keys, lambda: grip.token
    finder = DeleteFinder(table, endpoints.source, endpoints.target, keys, run.staging, fence, emitter) if keys else None
    runtime = run.configuration.runtime
    return ExecutionContext(
        table=table,
        options=run.options,
        slicing=runtime.slicing,
        lag_seconds=effective_lag(table, run.options.wm_lag_seconds, runtime.lag_seconds),
        horizon_wait=connection.horizon_wait_seconds,
        digest=identity.digest,
        finalize=runtime.finalize_full_refresh,
        reload=table.name in run.options.reload,
        settled=settle(recovery),
        source=endpoints.source,
        deletes=finder,
        sink=sink,
        planner=AdaptivePlanner(RowCountProbe(endpoints.source.count_rows, endpoints.source.histogram)),
        ledger=ledger,
        grip=grip,
        metadata=run.metadata,
        emitter=emitter,
        failpoints=run.failpoints,
        interrupted=run.interrupted,
        prepare_engine=lambda: _prepare_engine(run, endpoints),
        clock=run.clock,
    )


def _guard(run: RunContext, table: TableSpec) -> ShrinkGuard | None:
    """Return what keeps the table from losing its rows in this run."""
    return None if table.name in run.options.allow_shrink else ShrinkGuard(table.name, table.max_shrink_fraction)


def _prepare_engine(run: RunContext, endpoints: Endpoints) -> None:
    """Raise what is missing on this machine for the engine that the table gets."""
    if endpoints.engine.engine is Engine.SPARK:
        run.tool.prepare()
        run.tool.warm_up()  # it starts while the batch is opened and the live columns are looked at
