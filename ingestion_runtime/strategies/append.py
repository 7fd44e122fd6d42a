"""Append: new rows of a table without a key are added, once. One batch a run, whatever the number of slices."""

from ingestion_runtime.model.batch import IngestionPlan, WriteMode
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.incremental import carry_on, is_first, plan_increment


class AppendStrategy:
    """Adds the rows above the watermark to the target.

    Nothing tells two equal rows apart, so no row is ever looked for in the target. What has to be read again (ties at the
    watermark and the lag window, where their fingerprint says that something came) takes the place of all rows that stand
    there with these cursor values.
    """

    def execute(self, context: ExecutionContext) -> Outcome:
        """Finish the batch that an earlier run left open, then take what has come since."""
        return carry_on(context, self.intend)

    def intend(self, context: ExecutionContext) -> Intent:
        """Say what is to be added; see ``Strategy.intend``."""
        plan, reach = plan_increment(context, keyed=False)
        watermark = plan.watermark.literal if plan.watermark else None
        otherwise = Outcome(TableStatus.UNCHANGED, watermark=watermark, remark=reach.remark)
        return Intent(_write_mode(context, plan), otherwise, plan)


def _write_mode(context: ExecutionContext, plan: IngestionPlan) -> WriteMode:
    if is_first(context):
        # Whatever stands there (of a full refresh, perhaps) would otherwise be there twice.
        return WriteMode.REPLACE
    return WriteMode.OVERWRITE if any(piece.reread for piece in plan.reads) else WriteMode.APPEND
