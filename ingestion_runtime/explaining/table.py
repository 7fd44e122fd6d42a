"""One table looked at: step by step as a run would go, until the first thing that would stop it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from ingestion_runtime.endpoints.engine import EngineChoice
from ingestion_runtime.endpoints.factory import Endpoints
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.types.source import (
    ColumnMissing,
    HorizonHeld,
    HorizonStuck,
    NullCursorRows,
    PrecisionJudged,
    PrecisionNoted,
    RowsBeyondNow,
    SchemaDrift,
)
from ingestion_runtime.explaining.forecast import Action, ColumnForecast, Forecast, Piece, Stop
from ingestion_runtime.explaining.slices import foresee_slices
from ingestion_runtime.ingestion.context import RunContext, build_foresight
from ingestion_runtime.ingestion.failures import classify
from ingestion_runtime.ingestion.runtime import PATIENCE_SECONDS, strategy_of
from ingestion_runtime.metadata.drift import lake_type
from ingestion_runtime.model.batch import Batch, IngestionPlan, WriteMode
from ingestion_runtime.model.endpoint import Shape
from ingestion_runtime.model.errors import IngestionError, TerminalError
from ingestion_runtime.model.maintenance import RUN_PREFIX
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.schema import ColumnChange
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.state import DayStatus, Holder, LeaseHeld
from ingestion_runtime.planning.window import has_windows, why_not
from ingestion_runtime.publishing.ledger import PHASES
from ingestion_runtime.state.buffered import LookedAtState
from ingestion_runtime.state.processes import is_at_work
from ingestion_runtime.strategies import STRATEGY_REGISTRY
from ingestion_runtime.strategies.context import ExecutionContext
from ingestion_runtime.tools.looking import EngineNeededError

_IDLE: Final = {TableStatus.SKIPPED: Action.SKIPPED, TableStatus.UNCHANGED: Action.UNCHANGED}
_DONE: Final = "complete for this load date"
_WORDS: Final[Mapping[type[Event], Callable[..., str]]] = {
    RowsBeyondNow: lambda e: f"{e.rows:,} rows are later than the source's own now and wait for their time",
    NullCursorRows: lambda e: f"{e.rows:,} rows have no cursor; null_cursor is {e.policy}",
    HorizonHeld: lambda e: f"{e.rows:,} rows above {e.bound} wait for a later run: {e.reason}",
    HorizonStuck: lambda e: f"{e.rows:,} rows above {e.bound} have waited for long: {e.reason}",
    PrecisionJudged: lambda e: f"column {e.column!r} lands as {e.landed}, not as {e.wished}: {e.reason}",
    PrecisionNoted: lambda e: f"column {e.column!r} lands as {e.landed}, not as {e.wished}: {e.reason}",
    ColumnMissing: lambda e: f"gone from the source, arriving as NULL: {', '.join(e.columns)}",
}


def _held(holder: Holder) -> str:
    """Return what a run would do about who holds the table."""
    process = f"(process {holder.pid} on {holder.host})"
    if holder.run_id.startswith(RUN_PREFIX):
        return (
            f"held by maintenance, run {holder.run_id} {process}: a run waits for it, up to {PATIENCE_SECONDS:.0f} s, and"
            " then leaves this table with exit code 4"
        )
    return f"held by run {holder.run_id} {process}: until it ends, another run leaves this table with exit code 4"


class TableLook:
    """A table at this moment. What is found is kept as it is found, so that a stop leaves what was known before it."""

    def __init__(self, run: RunContext, state: LookedAtState, table: TableSpec, lease: LeaseHeld | None) -> None:
        self._run = run
        self._state = state
        self._table = table
        self._lease = lease
        self._early = run.failed_early.get(table.name)
        self._notes: list[str] = []
        self._changes: tuple[ColumnChange, ...] = ()
        self._found = Forecast(
            table=table.name,
            mode=table.mode,
            connection=table.connection,
            target=str(run.factory.target_key(table)),
            load_date=run.options.load_date,
            action=Action.FAILS,
            reload=table.name in run.options.reload,
            deletes=table.deletes.value,
        )

    def forecast(self) -> Forecast:
        """Return what would become of the table; whatever it raises on the way is in the forecast."""
        stop: Exception | None = self._early
        try:
            self._look()
        except EngineNeededError as needed:
            self._found = replace(self._found, action=Action.UNKNOWN)
            self._notes.append(str(needed))
        except Exception as raised:  # noqa: BLE001 - as in a run, the table's end; the others are still explained
            stop = stop or raised
        if stop is not None:
            self._stop(stop)
        return replace(self._found, notes=tuple(self._notes), changes=self._changes)

    def _stop(self, raised: Exception) -> None:
        error = classify(raised, self._table.name, interrupted=False)
        stop = Stop(type(raised).__name__, str(error), error.exit_code)
        self._found = replace(self._found, action=Action.FAILS, failure=stop)
        changes = error.values.get("changes", ())
        if isinstance(changes, tuple) and changes:
            self._changes = changes

    def handle(self, envelope: Envelope) -> None:
        """Take an event of the planning as a note. Implements ``Subscriber``."""
        event = envelope.event
        words = _WORDS.get(type(event))
        if words is not None:
            self._notes.append(words(event))
        elif isinstance(event, SchemaDrift):
            self._changes = event.changes

    def _look(self) -> None:
        self._look_at_state()
        if self._early is not None and "changes" not in self._early.values:
            return  # else it was described, and what would be asked of it can be shown
        if self._run.options.window is not None and not has_windows(self._table):
            reason = f"no window of it can be read again: {why_not(self._table)}"
            self._found = replace(self._found, action=Action.SKIPPED, reason=reason)
            return
        endpoints = self._run.factory.build_endpoints(self._table, self._run.tool.table_session(), self._tell_engine)
        context = self._settle(endpoints)
        plan, write = self._plan(endpoints, context)
        if plan is None or not plan.slices:
            return
        _ = endpoints.engine.engine  # decided here, and told
        shape, refusal = self._shape(context, write)
        columns, slices = self._columns(context, shape), foresee_slices(context, plan, shape)
        rows = [piece.estimated_rows for piece in slices if piece.covers is not Piece.TOMBSTONES]
        known = sum(filter(None, rows)) if None not in rows else None
        estimated = known if self._found.estimated_rows is None else self._found.estimated_rows
        self._found = replace(self._found, columns=columns, slices=slices, estimated_rows=estimated)
        if refusal is not None:
            raise refusal

    def _look_at_state(self) -> None:
        """What the state says by itself: also of a table whose source is out of reach."""
        if self._lease is not None and is_at_work(self._lease, datetime.now(UTC)):
            holder = self._lease.holder
            self._found = replace(self._found, lease=holder.run_id)
            self._notes.append(_held(holder))
        head = self._state.head(self._run.factory.target_key(self._table)) if not self._found.reload else None
        if head is not None:
            mark = head.receipt.watermark
            sequence = head.receipt.sequence + 1
            self._found = replace(self._found, sequence=sequence, watermark=mark.literal if mark else None)

    def _settle(self, endpoints: Endpoints) -> ExecutionContext:
        emitter = EventEmitter(self._run.options.run_id, [self])
        try:
            context = build_foresight(self._run, self._table, endpoints, emitter, remembered=False)
        except EngineNeededError:
            self._notes.append("the target lies behind Spark and was not looked at: the state is believed")
            context = build_foresight(self._run, self._table, endpoints, emitter, remembered=True)
        settled, key = context.settled, endpoints.target.key
        receipt, head = settled.receipt, None if context.reload else self._state.head(key)
        mark = receipt.watermark if receipt else None
        self._found = replace(self._found, sequence=settled.sequence, watermark=mark.literal if mark else None)
        told = head is not None and head.receipt == receipt
        if receipt is not None and receipt.load_date == self._run.options.load_date and not told:
            # The run that published it died before it could say so: the next one says it first of all.
            self._state.foresee_day(key, DayStatus(raw=receipt.batch_id, finalize=receipt.batch_id))
        return context

    def _plan(self, endpoints: Endpoints, context: ExecutionContext) -> tuple[IngestionPlan | None, WriteMode]:
        opened = context.settled.open
        if opened is not None:
            plan, write = opened.plan, opened.write
            self._found = replace(self._found, action=Action.FINISHES, open_batch=opened.id)
            self._notes.append(f"batch {opened.id} of run {opened.run_id} is open and is finished first, by its frozen plan")
        else:
            intent = STRATEGY_REGISTRY[strategy_of(self._run.options, self._table)].intend(context)
            idle = intent.plan is None or not intent.plan.slices
            action = _IDLE.get(intent.otherwise.status, Action.UNCHANGED) if idle else Action.READS
            self._found = replace(self._found, action=action)
            if intent.otherwise.remark and not self._notes:
                self._notes.append(intent.otherwise.remark)
            if intent.plan is None:
                self._found = replace(self._found, reason=_DONE)
                return None, intent.write
            plan, write = intent.plan, intent.write
        self._found = replace(
            self._found,
            reason=plan.metadata.reason,
            lower=plan.metadata.lower_literal,
            upper=plan.metadata.upper_literal,
            estimated_rows=plan.metadata.estimated_rows,
            compares_keys=any(piece.tombstones for piece in plan.slices),
        )
        if plan.slices:
            phases, publish = self._phases(endpoints, context, opened), self._publish(context, write)
            self._found = replace(self._found, phases=phases, publish=publish)
        return plan, write

    def _phases(self, endpoints: Endpoints, context: ExecutionContext, opened: Batch | None) -> tuple[str, ...]:
        if self._table.mode != "full":
            return tuple(phase.value for phase in PHASES[self._table.mode])
        landed = opened is not None and endpoints.raw.find(opened) is not None
        return (*(() if landed else ("raw",)), *(("finalize",) if context.finalize else ()))

    def _publish(self, context: ExecutionContext, write: WriteMode) -> str:
        if self._table.mode == "full" and not context.finalize:
            return "raw only"
        return "new table" if context.settled.receipt is None else write.value

    def _shape(self, context: ExecutionContext, write: WriteMode) -> tuple[Shape, IngestionError | None]:
        try:
            return context.validate_schema(write), None
        except EngineNeededError:
            self._notes.append("the columns were not compared with those of the target, which lies behind Spark")
            return Shape(), None
        except TerminalError as refusal:
            return Shape(), refusal  # with what it refuses, what would be asked can still be shown

    def _columns(self, context: ExecutionContext, shape: Shape) -> tuple[ColumnForecast, ...]:
        native = {column.name: column.native_type for column in context.source.described().columns}
        notes = {field.name: "gone from the source: arrives as NULL" for field in shape.missing}
        notes |= {field.name: "excluded: arrives as NULL" for field in shape.hidden}
        notes |= {now: f"{before!r} in the target" for now, before in shape.renamed}
        notes |= dict.fromkeys(shape.replaced, "replaces the target's column of another type")
        landing = context.source.read_full().shaped(shape).schema
        columns = [
            ColumnForecast(field.name, native.get(field.name, ""), lake_type(str(field.type)), notes.get(field.name, ""))
            for field in landing
        ]
        left = [ColumnForecast(name, native.get(name, ""), "", "left out by the schema policy") for name in shape.skipped]
        return (*columns, *left)

    def _tell_engine(self, step: str, choice: EngineChoice) -> None:
        if step == "table":
            self._found = replace(self._found, engine=choice.engine.value, engine_reason=choice.reason)
