"""SCD1: what changed since the watermark, merged by primary key. One batch a run, whatever the number of slices."""

from dataclasses import replace

from ingestion_runtime.events.types import NullCursorRows, RowsBeyondNow
from ingestion_runtime.model.batch import Batch, IngestionPlan, Publication, WriteMode
from ingestion_runtime.model.cursor import Fingerprint, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import RefusedBatchError, SpoiltBatchError, TerminalError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import NullCursor
from ingestion_runtime.model.state import Phase, PhaseStatus
from ingestion_runtime.model.watermark import default_watermark
from ingestion_runtime.planning.request import PlannerRequest
from ingestion_runtime.planning.reread import must_reread, reread_set
from ingestion_runtime.strategies.context import ExecutionContext, Outcome
from ingestion_runtime.strategies.horizon import Reach, find_reach


class Scd1Strategy:
    """Merges new and changed rows into the target."""

    def execute(self, context: ExecutionContext) -> Outcome:
        """Finish the batch that an earlier run left open, then take what has come since."""
        finished = None
        if context.settled.open is not None:
            finished, publication = self.run_batch(context, context.settled.open)
            context = context.after(publication)
        plan, reach = self._plan(context)
        plan = _with_tombstones(context, plan)
        if not plan.slices:
            watermark = plan.watermark.literal if plan.watermark else None
            return finished or Outcome(TableStatus.UNCHANGED, watermark=watermark, remark=reach.remark)
        write = WriteMode.REPLACE if context.reload else WriteMode.MERGE
        outcome, _ = self.run_batch(context, context.begin(plan, write))
        outcome = replace(outcome, remark=reach.remark)
        return finished.followed_by(outcome) if finished else outcome

    def _plan(self, context: ExecutionContext) -> tuple[IngestionPlan, Reach]:
        """Freeze the bounds, take the fingerprints, and let the planner cut. Nothing here starts an engine.

        The horizon comes first: what has not been seen by then may lie above it, never below.
        """
        receipt = None if context.reload else context.settled.receipt
        stored = receipt.watermark if receipt else None
        lower = stored or _initial(context)
        _require_type(context, lower)
        first = stored is None
        reach = find_reach(context, lower, first=first)
        bounds = context.source.probe_bounds(lower, reach.ceiling)
        reads_nulls = context.table.null_cursor is NullCursor.READ
        if bounds.beyond:
            context.emitter.emit(RowsBeyondNow(bounds.beyond))
        if bounds.nulls:
            context.emitter.emit(NullCursorRows(bounds.nulls, context.table.null_cursor.value))
        if bounds.held:
            context.emitter.emit(reach.held(bounds.held))
            reach = reach.with_waiting(bounds.held)
        lag = context.lag_seconds
        upper = bounds.high
        fingerprint = _fingerprint(context, reread_set(upper or lower, lag, reads_nulls))
        request = PlannerRequest(
            table=context.table,
            capabilities=context.source.capabilities,
            policy=context.slicing,
            load_date=context.options.load_date,
            lower=lower,
            upper=upper,
            first=bounds.low,
            reread=_oldest(context, lower, reads_nulls) if first else self._reread(context, lower, lag, fingerprint),
            fingerprint=fingerprint,
        )
        plan = context.planner.plan(request)
        if not plan.slices and first:
            # An empty source still makes an empty table, and a reload still empties one: no rows, but their schema.
            return replace(plan, slices=(Slice(0, reread=ReRead(None, None, nulls=False)),)), reach
        return plan, reach

    def _reread(
        self, context: ExecutionContext, stored: Watermark, lag: int, next_fingerprint: Fingerprint | None
    ) -> ReRead | None:
        """Return the set to read again, or None when its fingerprint says that it holds nothing new."""
        subject = reread_set(stored, lag, context.table.null_cursor is NullCursor.READ)
        known = next_fingerprint is not None and next_fingerprint.subject == subject
        now = next_fingerprint if known else _fingerprint(context, subject)
        receipt = context.settled.receipt
        if now is None or not must_reread(now, receipt.fingerprint if receipt else None, context.settled.verified):
            return None
        return subject

    def run_batch(self, context: ExecutionContext, batch: Batch) -> tuple[Outcome, Publication]:
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


def _with_tombstones(context: ExecutionContext, plan: IngestionPlan) -> IngestionPlan:
    """Let deletes be looked for last: in every batch, and where there would be none, if the source's keys have changed."""
    receipt = None if context.reload else context.settled.receipt
    if context.deletes is None or not (plan.slices or context.deletes.must_compare(receipt)):
        return plan
    return replace(plan, slices=(*plan.slices, Slice(len(plan.slices), tombstones=True)))


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


def _require_type(context: ExecutionContext, stored: Watermark) -> None:
    if stored.type is not context.table.incr_col_type:
        raise TerminalError(
            f"{context.table.name}: incr_col_type is {context.table.incr_col_type},"
            f" but its watermark is of type {stored.type}.",
            remedy="Restore incr_col_type, or start over with --reload.",
            table=context.table.name,
        )


def _fingerprint(context: ExecutionContext, subject: ReRead | None) -> Fingerprint | None:
    return None if subject is None else context.source.fingerprint(subject)
