"""Looking ahead: what a run would do now with each table of a configuration.

The run's own parts are asked, down to the statements; they stand on a state, a catalog and snapshots that are only read, no
lease is taken, and no engine is started.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.explaining.forecast import Forecast
from ingestion_runtime.explaining.table import TableLook
from ingestion_runtime.ingestion.context import RunContext
from ingestion_runtime.metadata.cache import UnsavedSnapshots
from ingestion_runtime.metadata.runtime import build_metadata_access, collect_metadata
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.state import LeaseHeld
from ingestion_runtime.orchestrator import check_connections
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.buffered import LookedAtState
from ingestion_runtime.state.leases import LeaseKeeper
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_reader
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from ingestion_runtime.tools.looking import looking_tool


def foresee(configuration: Configuration, tables: Sequence[TableSpec], options: RunOptions) -> tuple[Forecast, ...]:
    """Return what a run with these options would do now, a forecast per table, in the order given.

    What would stop a table stands in its forecast, an unreachable source included. Raises ConfigError for credentials, and
    what the state database raises: then a run would not begin.
    """
    with ExitStack() as stack:
        view = _look(configuration, tables, options, stack)
        workers = max(1, min(configuration.runtime.max_parallel_tables, len(tables)))
        with ThreadPoolExecutor(workers, thread_name_prefix="explain") as pool:
            try:
                return tuple(pool.map(view.table, tables))
            except BaseException:
                view.run.factory.interrupt()
                raise


@dataclass(frozen=True, slots=True)
class _View:
    """The run as it would be now, and who holds its tables."""

    run: RunContext
    state: LookedAtState
    leases: Mapping[TableKey, LeaseHeld]

    def table(self, table: TableSpec) -> Forecast:
        return TableLook(self.run, self.state, table, self.leases.get(self.run.factory.target_key(table))).forecast()


def _look(configuration: Configuration, tables: Sequence[TableSpec], options: RunOptions, stack: ExitStack) -> _View:
    """Build what tables are looked at with, in the order in which a run is prepared."""
    runtime = configuration.runtime
    tool = looking_tool(runtime)
    files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
    factory = EndpointFactory(configuration, tool, files, read_only=True)
    stack.callback(factory.close)
    failed = dict(check_connections(factory, tables))
    store = sqlite_reader(runtime.state_database)
    store.open()
    stack.callback(store.close)
    state = LookedAtState(store)
    cache = UnsavedSnapshots(Path(configuration.metadata.cache_path), configuration.metadata.ttl_hours)
    if configuration.metadata.enabled:
        asked = [(t.connection, t, factory.metadata_endpoint(t)) for t in tables if t.name not in failed]
        failed |= collect_metadata(asked, cache)
    keys = [factory.target_key(table) for table in tables]
    state.preload(keys, options.load_date)
    run = RunContext(
        configuration=configuration,
        options=options,
        factory=factory,
        tool=tool,
        staging=Staging(runtime.staging, files),
        state=state,
        keeper=LeaseKeeper(store, current_holder(options.run_id)),  # never asked to hold anything
        metadata=build_metadata_access(configuration.metadata, cache),
        emitter=EventEmitter(options.run_id),
        failpoints=Failpoints.from_environment({}),
        interrupted=threading.Event(),
        clock=utc_now,
        failed_early=failed,
    )
    return _View(run, state, store.load_leases(keys))
