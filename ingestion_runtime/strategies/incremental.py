"""What modes with a cursor share: bounds are frozen into a plan, and the plan is carried out, one batch a run."""

from collections.abc import Callable
from dataclasses import replace

from ingestion_runtime.events.types.source import NullCursorRows, RowsBeyondNow
from ingestion_runtime.model.batch import Batch, IngestionPlan, Publication
from ingestion_runtime.model.cursor import CursorBounds, Fingerprint, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import RefusedBatchError, SpoiltBatchError, TerminalError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import NullCursor
from ingestion_runtime.model.state import Phase, PhaseStatus
from ingestion_runtime.model.watermark import default_watermark
from ingestion_runtime.planning.request import PlannerRequest
from ingestion_runtime.planning.reread import must_reread, reread_set
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.horizon import Reach, find_reach


def is_first(context: ExecutionContext) -> bool:
    """Whether nothing of the table counts as read: it has no watermark yet, or is read anew."""
    return context.reload or context.settled.receipt is None or context.settled.receipt.watermark is None


def plan_increment(context: ExecutionContext, *, keyed: bool = True) -> tuple[IngestionPlan, Reach]:
    """Freeze the bounds, take the fingerprints, and let the planner cut. Nothing here starts an engine.

    The horizon comes first: what has not been seen by then may lie above it, never below. Without a key (``keyed``) rows
    without a cursor cannot be told from those of the last run: TerminalError where there are some that are to be read.
    """
    receipt = None if context.reload else context.settled.receipt
    stored = receipt.watermark if receipt else None
    lower = stored or _initial(context)
    require_type(context, lower)
    reach = find_reach(context, lower, first=stored is None)
    bounds = context.source.probe_bounds(lower, reach.ceiling)
    reads_nulls = context.table.null_cursor is NullCursor.READ
    if reads_nulls and not keyed:
        _refuse_nulls(context, bounds)
        reads_nulls = False
    reach = _tell(context, bounds, reach)
    lag, upper = context.lag_seconds, bounds.high
    fingerprint = _fingerprint(context, reread_set(upper or lower, lag, reads_nulls))
    first_read = _oldest(context, lower, reads_nulls) if stored is None else None
    request = PlannerRequest(
        table=context.table,
        capabilities=context.source.capabilities,
        policy=context.slicing,
        load_date=context.options.load_date,
        lower=lower,
        upper=upper,
        first=bounds.low,
        reread=first_read if stored is None else _reread(context, reread_set(lower, lag, reads_nulls), fingerprint),
        fingerprint=fingerprint,
    )
    plan = context.planner.plan(request)
    if not plan.slices and stored is None:
        # An empty source still makes an empty table, and a reload still empties one: no rows, but their schema.
        return replace(plan, slices=(Slice(0, reread=ReRead(None, None, nulls=False)),)), reach
    return plan, reach


def carry_on(context: ExecutionContext, intend: Callable[[ExecutionContext], Intent]) -> Outcome:
    """Finish the batch that an earlier run left open, then do what is intended now."""
    finished = None
    if context.settled.open is not None:
        finished, publication = run_batch(context, context.settled.open)
        context = context.after(publication)
    intent = intend(context)
    if intent.plan is None or not intent.plan.slices:
        return finished or intent.otherwise
    outcome, _ = run_batch(context, context.begin(intent.plan, intent.write))
    outcome = replace(outcome, remark=intent.otherwise.remark)
    return finished.followed_by(outcome) if finished else outcome


def run_batch(context: ExecutionContext, batch: Batch) -> tuple[Outcome, Publication]:
    """Stage and publish one batch, or what is left to do of it; raises with nothing of it visible."""
    context.ledger.mark(Phase.INTERMEDIATE, PhaseStatus.STARTED, batch)
    try:
        staged = context.stage(batch)
        context.require_lease()
        publication = context.sink.commit_incremental(batch, staged)
    except Exception as error:
        context.ledger.mark(Phase.INTERMEDIATE, PhaseStatus.FAILED, batch, error=str(error))
        if isinstance(error, RefusedBatchError | SpoiltBatchError):
            context.give_up(batch)
        raise
    context.finish(batch, publication)
    rows = sum(piece.manifest.rows for piece in staged if not piece.manifest.slice.tombstones)
    quarantined = sum(piece.manifest.quarantined for piece in staged)
    outcome = Outcome(
        TableStatus.DONE if publication.changed else TableStatus.UNCHANGED,
        rows_read=rows + quarantined,
        rows_written=publication.rows,
        rows_deleted=publication.deleted,
        duplicates=publication.duplicates,
        quarantined=quarantined,
        slices=len(batch.plan.reads),
        watermark=batch.plan.watermark.literal if batch.plan.watermark else None,
    )
    return outcome, publication


def require_type(context: ExecutionContext, stored: Watermark) -> None:
    """Raise TerminalError for a watermark of another type than the configuration says."""
    if stored.type is not context.table.incr_col_type:
        raise TerminalError(
            f"{context.table.name}: incr_col_type is {context.table.incr_col_type},"
            f" but its watermark is of type {stored.type}.",
            remedy="Restore incr_col_type, or start over with --reload.",
            table=context.table.name,
        )


def _tell(context: ExecutionContext, bounds: CursorBounds, reach: Reach) -> Reach:
    if bounds.beyond:
        context.emitter.emit(RowsBeyondNow(bounds.beyond))
    if bounds.nulls:
        context.emitter.emit(NullCursorRows(bounds.nulls, context.table.null_cursor.value))
    if not bounds.held:
        return reach
    context.emitter.emit(reach.held(bounds.held))
    return reach.with_waiting(bounds.held)


def _refuse_nulls(context: ExecutionContext, bounds: CursorBounds) -> None:
    if bounds.nulls:
        raise TerminalError(
            f"{context.table.name}: {bounds.nulls:,} rows have no {context.table.incremental_column}, and without a key"
            " nobody can tell which of them have been read.",
            remedy='Set "null_cursor": "ignore" to leave them out, or give them a value at the source or in query_sql.',
            table=context.table.name,
            rows=bounds.nulls,
        )


def _reread(context: ExecutionContext, subject: ReRead | None, next_fingerprint: Fingerprint | None) -> ReRead | None:
    """Return the set to read again, or None when its fingerprint says that it holds nothing new."""
    known = next_fingerprint is not None and next_fingerprint.subject == subject
    now = next_fingerprint if known else _fingerprint(context, subject)
    receipt = context.settled.receipt
    if now is None or not must_reread(now, receipt.fingerprint if receipt else None, context.settled.verified):
        return None
    return subject


def _initial(context: ExecutionContext) -> Watermark:
    """Return where a first read begins: where the configuration says, else below all that is usual."""
    if context.table.initial_watermark is not None:
        return context.table.initial_watermark
    if context.table.incr_col_type is None:
        raise TerminalError(
            f"{context.table.name}: an incremental table needs the type of its cursor.",
            remedy="Set incr_col_type.",
            table=context.table.name,
        )
    return default_watermark(context.table.incr_col_type)


def _oldest(context: ExecutionContext, initial: Watermark, nulls: bool) -> ReRead | None:
    """Return what a first read must take besides its windows: rows without a cursor, and (unless a person has drawn the
    line) those at or below the initial watermark, 1900-01-01 and 0 being what applications write for "never"."""
    everything = context.table.initial_watermark is None
    subject = ReRead(None, initial if everything else None, nulls)
    found = _fingerprint(context, subject)
    return subject if found is not None and found.rows else None


def _fingerprint(context: ExecutionContext, subject: ReRead | None) -> Fingerprint | None:
    return None if subject is None else context.source.fingerprint(subject)
