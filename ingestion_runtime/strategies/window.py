"""Windows that a person asked for: rows at or below the watermark are read again, and nothing else moves."""

from dataclasses import dataclass, replace

from ingestion_runtime.model.batch import IngestionPlan, Receipt, WriteMode
from ingestion_runtime.model.cursor import Fingerprint, Interval, Watermark
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.planning.request import PlannerRequest
from ingestion_runtime.planning.watermark import is_above
from ingestion_runtime.planning.window import read_window
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.incremental import require_type, run_batch


@dataclass(frozen=True, slots=True)
class _Reach:
    """What is read of a window: above ``low`` up to ``high`` (inclusive), and why that is not what was asked for."""

    low: Watermark
    high: Watermark
    remark: str


class WindowStrategy:
    """Reads a window of the cursor again: its rows are merged by primary key, or, in a table without one, take the place of
    all rows of the window.

    Published as any batch. Watermark and fingerprint stay, so the next ordinary run goes on where the last one ended; above
    the watermark nothing is read, and so the bounds that keep rows of open transactions out hold for a window too.
    """

    def execute(self, context: ExecutionContext) -> Outcome:
        """Finish the batch that an earlier run left open (it may be this window), then read the window."""
        finished, opened, replaced = None, context.settled.open, 0
        if opened is not None:
            finished, publication = run_batch(context, opened)
            context, replaced = context.after(publication), publication.replaced
        intent = self.intend(context)
        remark = intent.otherwise.remark
        if intent.plan is None or not intent.plan.slices:
            return finished or intent.otherwise
        if finished is not None and opened is not None and opened.plan.asked == intent.plan.asked:
            return replace(finished, remark=_told(finished, replaced, opened.write, remark))
        outcome, publication = run_batch(context, context.begin(intent.plan, intent.write))
        outcome = replace(outcome, remark=_told(outcome, publication.replaced, intent.write, remark))
        return finished.followed_by(outcome) if finished else outcome

    def intend(self, context: ExecutionContext) -> Intent:
        """Say what is to be read again; see ``Strategy.intend``."""
        write = WriteMode.OVERWRITE if context.table.mode == "append" else WriteMode.MERGE
        receipt, watermark = _stands(context)
        reach = _reach(context, watermark)
        if not is_above(reach.high, reach.low):
            remark = f"the window begins above the watermark {watermark.literal}: the next ordinary run reads it"
            return Intent(write, Outcome(TableStatus.UNCHANGED, watermark=watermark.literal, remark=remark))
        unchanged = Outcome(TableStatus.UNCHANGED, watermark=watermark.literal, remark=reach.remark)
        return Intent(write, unchanged, _plan(context, receipt, watermark, Interval(reach.low, reach.high)))


def _stands(context: ExecutionContext) -> tuple[Receipt, Watermark]:
    receipt = context.settled.receipt
    if receipt is None or receipt.watermark is None:
        raise TerminalError(
            f"{context.table.name} has never been loaded: no window of it can be read again.",
            remedy="Run the table as usual first; its first load reads everything.",
            table=context.table.name,
        )
    require_type(context, receipt.watermark)
    return receipt, receipt.watermark


def _reach(context: ExecutionContext, watermark: Watermark) -> _Reach:
    if context.options.window is None:
        raise ValueError("a window is asked for on the command line")
    asked = read_window(context.table, context.options.window)
    if asked.high is None:
        return _Reach(asked.low, watermark, "")
    if is_above(asked.high, watermark):
        return _Reach(asked.low, watermark, f"read up to the watermark {watermark.literal}; the rest is for ordinary runs")
    if context.table.mode == "append" or _is_unique(context):
        return _Reach(asked.low, asked.high, "")
    # Where a key has several rows at the source, the window alone may hold one that is older than the row in the target.
    why = "read up to the watermark: the source declares no such key, and an older row of a key must not replace a newer one"
    return _Reach(asked.low, watermark, why)


def _is_unique(context: ExecutionContext) -> bool:
    """Whether the source itself makes sure that each key has one row."""
    declared = context.source.described().primary_keys
    return context.table.query_sql is None and bool(declared) and set(declared) <= set(context.table.primary_keys)


def _plan(context: ExecutionContext, receipt: Receipt, watermark: Watermark, window: Interval) -> IngestionPlan:
    plan = context.planner.plan(
        PlannerRequest(
            table=context.table,
            capabilities=context.source.capabilities,
            policy=context.slicing,
            load_date=context.options.load_date,
            lower=window.low,
            upper=window.high,
            fingerprint=_fingerprint(context, receipt, window),
        )
    )
    about = replace(plan.metadata, reason=f"back-fill of a window: {plan.metadata.reason}")
    return replace(plan, watermark=watermark, metadata=about, asked=window)


def _fingerprint(context: ExecutionContext, receipt: Receipt, window: Interval) -> Fingerprint | None:
    """Return the receipt's, or a new one where the window holds the whole set that it is of; none where it holds a part.

    Rows of that part which changed since are in the target then: were they to change back, the set would be taken for read.
    """
    subject = receipt.fingerprint.subject if receipt.fingerprint else None
    if subject is None or subject.low is None or subject.high is None:
        return None
    if is_above(subject.low, window.high):
        return receipt.fingerprint
    whole = is_above(subject.low, window.low) and not is_above(subject.high, window.high) and not subject.nulls
    return context.source.fingerprint(subject) if whole else None


def _told(outcome: Outcome, replaced: int, write: WriteMode, remark: str) -> str:
    """Return what people should read beside the numbers: in a table without a key, what the window held and now holds."""
    held = f"{replaced:,} {'row' if replaced == 1 else 'rows'} of the window"
    counts = f"{held} gave way to {outcome.rows_written:,}" if write is WriteMode.OVERWRITE else ""
    return "; ".join(filter(None, [counts, remark]))
