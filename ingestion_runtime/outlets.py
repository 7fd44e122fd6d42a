"""Who hears of a run besides its log and its state: people, the metadata gateway, lineage.

Nothing of it is imported, and no thread is started, where the configuration names nobody.
"""

import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingestion_runtime.events.buffer import TimeAwareBufferedSink
from ingestion_runtime.events.courier import Courier, finish_all
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.state_subscriber import TableIdentity
from ingestion_runtime.events.table_runs import RunFacts, TableRunSubscriber
from ingestion_runtime.metadata.gateway import GatewayListener, MetadataGateway
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.metrics import GatewaySpec, MetricsRepository, OpenLineageSpec, TableRun, TableRunListener
from ingestion_runtime.model.notify import NoticeKind
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.state import StateStore

if TYPE_CHECKING:
    from ingestion_runtime.events.notifier.subscriber import NotifierSubscriber

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What a run is about, for those who hear of it: tables and, by their names, what the state knows them by."""

    configuration: Configuration
    options: RunOptions
    tables: Sequence[TableSpec]
    identities: Mapping[str, TableIdentity]


def open_notifier(configuration: Configuration, options: RunOptions) -> "NotifierSubscriber | None":
    """Return what tells people how the run goes, a context as long as the run; None where nobody is to be told."""
    runtime = configuration.runtime
    if not runtime.notify.targets:
        return None
    from ingestion_runtime.events.notifier.notice import RunAbout
    from ingestion_runtime.events.notifier.subscriber import NotifierSubscriber

    about = RunAbout(runtime.job_name, options.run_id, options.load_date, socket.gethostname())
    return NotifierSubscriber(runtime.notify, about, options.notify_interval_seconds)


def attach_notifier(notifier: "NotifierSubscriber", told: Told, store: StateStore, emitter: EventEmitter) -> None:
    """Let the notifier follow the run. It comes last among the subscribers: its messages are events too."""
    wanted = told.configuration.runtime.notify.wants(NoticeKind.RECOVERY)
    notifier.attach(emitter, _failed_before(told, store) if wanted else ())
    emitter.subscribe(notifier)


def _failed_before(told: Told, store: StateStore) -> Sequence[str]:
    """Return the tables whose last run failed; none where the state cannot say: nobody's run fails for that."""
    try:
        last = store.last_results([identity.key for identity in told.identities.values()])
    except IngestionError as error:
        _LOG.warning("Recoveries of earlier failures are not told: %s", error)
        return ()
    found = ((name, last.get(identity.key)) for name, identity in told.identities.items())
    return [name for name, result in found if result is not None and result.end.status is TableStatus.FAILED]


def attach_gateway(
    told: Told, store: StateStore, repository: MetricsRepository, emitter: EventEmitter, stack: ExitStack
) -> None:
    """Record and report every table's run as configured; what is buffered is written when the stack unwinds."""
    spec = told.configuration.runtime.gateway
    listeners: list[TableRunListener] = []
    if spec.ingestion_metrics or spec.ingestion_runtime:
        listeners.append(_open_gateway(spec, told, repository, stack))
    if spec.openlineage is not None:
        listeners.append(_open_lineage(spec.openlineage, told, store, stack))
    if listeners:
        facts = RunFacts(told.configuration.runtime.job_name, told.options.load_date)
        emitter.subscribe(TableRunSubscriber(facts, told.identities.get, listeners))


def _open_gateway(spec: GatewaySpec, told: Told, repository: MetricsRepository, stack: ExitStack) -> TableRunListener:
    runtime = told.configuration.runtime
    gateway = MetadataGateway(repository, volumes=spec.ingestion_metrics, runtimes=spec.ingestion_runtime)
    sink: TimeAwareBufferedSink[TableRun] = TimeAwareBufferedSink(
        gateway.write, runtime.state_flush_every, runtime.state_flush_age_seconds
    )
    stack.callback(_close, sink)
    return GatewayListener(sink.add)


def _open_lineage(spec: OpenLineageSpec, told: Told, store: StateStore, stack: ExitStack) -> TableRunListener:
    from ingestion_runtime.metadata.lineage import LineageListener, LineageWriter

    writer = LineageWriter(spec, told.configuration, told.tables, lambda key: _location(store, key))
    courier = Courier("openlineage", writer.write)
    stack.callback(finish_all, (courier,), spec.wait_seconds)
    return LineageListener(courier.add)


def _location(store: StateStore, key: TableKey) -> str | None:
    """Return where a target stood after its last publish. Asked past the run's own view of the state, which belongs to the
    thread that works on the table."""
    try:
        head = store.load_heads([key]).get(key)
    except IngestionError:
        return None  # the table says so itself
    return head.location if head else None


def _close(sink: TimeAwareBufferedSink[TableRun]) -> None:
    """Records are for looking at: if they cannot be written the run says so, and what it did stands."""
    try:
        sink.close()
    except IngestionError as error:
        _LOG.warning("Records of the metadata gateway were not kept: %s", error)
