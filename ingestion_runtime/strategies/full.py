"""Full refresh: the whole table, once a load date. Raw phase first, then finalize; each can be taken up again alone."""

from ingestion_runtime.model.batch import Batch, Publication, RawBatch, WriteMode
from ingestion_runtime.model.errors import RefusedBatchError, SpoiltBatchError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.state import Phase, PhaseStatus
from ingestion_runtime.planning.adaptive import full_plan
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome


class FullRefreshStrategy:
    """Reads a table whole and publishes it as the whole target."""

    def execute(self, context: ExecutionContext) -> Outcome:
        """Bring the target to today's snapshot of the source, or say that it has been done."""
        batch = context.settled.open
        if batch is None:
            intent = self.intend(context)
            if intent.plan is None:
                return intent.otherwise
            batch = context.begin(intent.plan, intent.write)
        raw = self._find_raw(context, batch) or self._run_raw_phase(context, batch)
        if context.ledger.day().raw != batch.id:
            # An earlier run may have landed it, and died before it could say so.
            context.ledger.mark(Phase.RAW, PhaseStatus.SUCCESS, batch, rows=raw.manifest.rows, location=raw.directory)
        if context.finalize:
            publication = self._run_finalize_phase(context, batch, raw)
        else:
            publication = Publication(None, raw.directory, rows=raw.manifest.rows, changed=True)
        context.finish(batch, publication)
        return Outcome(
            TableStatus.DONE,
            rows_read=raw.manifest.rows + raw.manifest.quarantined,
            rows_written=publication.rows,
            quarantined=raw.manifest.quarantined,
            slices=len(batch.plan.slices),
        )

    def intend(self, context: ExecutionContext) -> Intent:
        """Say whether the table is to be read; see ``Strategy.intend``."""
        done = not context.reload and _is_done(context)
        return Intent(WriteMode.REPLACE, Outcome(TableStatus.SKIPPED), None if done else full_plan())

    def _find_raw(self, context: ExecutionContext, batch: Batch) -> RawBatch | None:
        try:
            return context.sink.find_raw(batch)
        except SpoiltBatchError:
            context.give_up(batch)
            raise

    def _run_raw_phase(self, context: ExecutionContext, batch: Batch) -> RawBatch:
        context.ledger.mark(Phase.RAW, PhaseStatus.STARTED, batch)
        try:
            raw = context.sink.write_raw(batch, context.stage(batch))
            context.failpoints.hit("after-raw", context.table.name)
        except Exception as error:
            context.ledger.mark(Phase.RAW, PhaseStatus.FAILED, batch, error=str(error))
            raise
        return raw

    def _run_finalize_phase(self, context: ExecutionContext, batch: Batch, raw: RawBatch) -> Publication:
        context.require_lease()
        context.ledger.mark(Phase.FINALIZE, PhaseStatus.STARTED, batch)
        try:
            publication = context.sink.finalize_full(batch, raw)
        except Exception as error:
            context.ledger.mark(Phase.FINALIZE, PhaseStatus.FAILED, batch, error=str(error))
            if isinstance(error, RefusedBatchError | SpoiltBatchError):
                context.give_up(batch)
            raise
        return publication


def _is_done(context: ExecutionContext) -> bool:
    """What state *and* table say. Without finalize there is no table; the landed batch stands for it."""
    day = context.ledger.day()
    load_date = context.options.load_date
    if context.finalize:
        receipt = context.settled.receipt
        return receipt is not None and receipt.load_date == load_date and receipt.batch_id == day.finalize
    return day.raw is not None and context.sink.has_published(load_date, day.raw)
