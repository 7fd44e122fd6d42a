"""SCD1: what changed since the watermark, merged by primary key. One batch a run, whatever the number of slices."""

from dataclasses import replace

from ingestion_runtime.model.batch import IngestionPlan, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.incremental import carry_on, plan_increment


class Scd1Strategy:
    """Merges new and changed rows into the target."""

    def execute(self, context: ExecutionContext) -> Outcome:
        """Finish the batch that an earlier run left open, then take what has come since."""
        return carry_on(context, self.intend)

    def intend(self, context: ExecutionContext) -> Intent:
        """Say what is to be merged; see ``Strategy.intend``."""
        plan, reach = plan_increment(context)
        watermark = plan.watermark.literal if plan.watermark else None
        return Intent(
            write=WriteMode.REPLACE if context.reload else WriteMode.MERGE,
            otherwise=Outcome(TableStatus.UNCHANGED, watermark=watermark, remark=reach.remark),
            plan=_with_tombstones(context, plan),
        )


def _with_tombstones(context: ExecutionContext, plan: IngestionPlan) -> IngestionPlan:
    """Let deletes be looked for last: in every batch, and where there would be none, if the source's keys have changed."""
    receipt = None if context.reload else context.settled.receipt
    if context.deletes is None or not (plan.slices or context.deletes.must_compare(receipt)):
        return plan
    return replace(plan, slices=(*plan.slices, Slice(len(plan.slices), tombstones=True)))
