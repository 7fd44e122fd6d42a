"""Where the reading of a table stands, and what the next run would do with one row's cursor: the run's own planning says."""

from dataclasses import dataclass, replace

from ingestion_runtime.endpoints.factory import Endpoints
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope
from ingestion_runtime.events.types.source import HorizonHeld, HorizonStuck
from ingestion_runtime.ingestion.context import RunContext, build_foresight
from ingestion_runtime.model.batch import IngestionPlan, Receipt
from ingestion_runtime.model.cursor import CursorType, Slice, Watermark
from ingestion_runtime.model.digest import reading
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.spec import NullCursor, TableSpec
from ingestion_runtime.planning.reread import effective_lag
from ingestion_runtime.planning.watermark import subtract_lag
from ingestion_runtime.provenance.chain import Chain
from ingestion_runtime.publishing.identity import changed_reading
from ingestion_runtime.strategies import STRATEGY_REGISTRY
from ingestion_runtime.tracing.evidence import Reach, SourceFinding, WindowFinding
from ingestion_runtime.tracing.slices import covers
from ingestion_runtime.tracing.source import SourceLook
from ingestion_runtime.tracing.values import is_later


class _Listener:
    """Keeps what the planning says of rows that have to wait. Implements ``Subscriber``."""

    def __init__(self) -> None:
        self.held: HorizonHeld | HorizonStuck | None = None

    def handle(self, envelope: Envelope) -> None:
        if isinstance(envelope.event, HorizonHeld | HorizonStuck):
            self.held = envelope.event


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """The plan of the next run, or what would stop it."""

    plan: IngestionPlan | None = None
    held_by: str | None = None
    refusal: str | None = None


def look_at_window(
    run: RunContext,
    table: TableSpec,
    endpoints: Endpoints,
    receipt: Receipt | None,
    chain: Chain | None,
    look: SourceLook | None,
    source: SourceFinding,
) -> WindowFinding:
    """Return where the table stands, and what its next run would do with the row that the source has (``look`` None: nobody
    asks)."""
    mark = receipt.watermark if receipt else None
    lag = effective_lag(table, run.options.wm_lag_seconds, run.configuration.runtime.lag_seconds)
    found = WindowFinding(watermark=mark, changed=_changed(run, table, receipt))
    if table.mode == "full":
        return found
    if mark is not None and lag:
        found = replace(found, reread_from=subtract_lag(mark, lag))
    if not source.rows or look is None:
        return found
    foreseen = _foresee(run, table, endpoints)
    found = replace(found, refusal=foreseen.refusal)
    if foreseen.plan is not None and foreseen.plan.watermark is not None:
        found = replace(found, upper=foreseen.plan.watermark.literal)
    cursor = source.rows[0].cursor
    reach = _Reach(table, mark, found.reread_from, foreseen, look)
    found = replace(found, reach=reach.of(cursor), held_by=foreseen.held_by)
    return replace(found, covered_by=_covered_by(chain, cursor))


class _Reach:
    def __init__(
        self, table: TableSpec, mark: Watermark | None, lag_from: Watermark | None, plan: _Foreseen, look: SourceLook
    ) -> None:
        self._table = table
        self._mark = mark
        self._lag_from = lag_from
        self._foreseen = plan
        self._look = look

    def of(self, cursor: Watermark | None) -> Reach:
        """Return what becomes of a row with this cursor."""
        plan = self._foreseen.plan
        if cursor is None:
            return self._of_null(plan)
        initial = self._table.initial_watermark
        if initial is not None and not self._is_above(cursor, initial):
            return Reach.INITIAL
        if plan is not None and any(self._covers(piece, cursor) for piece in plan.reads):
            return Reach.READS
        if self._mark is not None and not self._is_above(cursor, self._mark):
            within = self._lag_from is not None and not self._is_above(self._lag_from, cursor)
            return Reach.READS if plan is None and within else Reach.BELOW
        return self._of_later(plan)

    def _of_later(self, plan: IngestionPlan | None) -> Reach:
        if self._look.is_beyond_now():
            return Reach.BEYOND
        if self._foreseen.held_by is not None:
            return Reach.HELD
        return Reach.READS if plan is None or plan.watermark is None else Reach.UNKNOWN

    def _of_null(self, plan: IngestionPlan | None) -> Reach:
        if self._table.null_cursor is NullCursor.IGNORE:
            return Reach.IGNORED
        reads = plan is None or any(piece.reread is not None and piece.reread.nulls for piece in plan.reads)
        return Reach.READS if reads else Reach.UNKNOWN

    def _is_above(self, cursor: Watermark, mark: Watermark) -> bool:
        return self._look.is_above(mark) if cursor.type is CursorType.TEXT else is_later(cursor, mark)

    def _covers(self, piece: Slice, cursor: Watermark) -> bool:
        known = covers(piece, cursor)
        return self._look.lies_in(piece) if known is None else known


def _covered_by(chain: Chain | None, cursor: Watermark | None) -> str | None:
    """Return the batch that read the window in which a cursor lies."""
    for link in reversed(chain.links) if chain is not None and cursor is not None else ():
        if any(piece.window is not None and covers(piece, cursor) for piece in link.batch.plan.reads):
            return link.batch_id
    return None


def _foresee(run: RunContext, table: TableSpec, endpoints: Endpoints) -> _Foreseen:
    listener = _Listener()
    emitter = EventEmitter(run.options.run_id, [listener])
    try:
        context = build_foresight(run, table, endpoints, emitter, remembered=False)
        plan = STRATEGY_REGISTRY[table.mode].intend(context).plan
    except IngestionError as error:
        return _Foreseen(refusal=f"a run would stop: {error.message.rstrip('.')}")
    held = listener.held
    reason = None if held is None else f"{held.reason} (rows above {held.bound} wait)"
    return _Foreseen(plan=plan, held_by=reason)


def _changed(run: RunContext, table: TableSpec, receipt: Receipt | None) -> tuple[str, ...]:
    if receipt is None:
        return ()
    try:
        return changed_reading(receipt.reading, reading(table, run.configuration.connection(table.connection)))
    except IngestionError:
        return ()  # a salt that cannot be read: a run says so
