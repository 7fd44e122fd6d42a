"""Backfill: rows that were read before a column existed are read again, whole, and merged by primary key."""

from ingestion_runtime.model.batch import IngestionPlan, PlannerMetadata, WriteMode
from ingestion_runtime.model.cursor import Interval, KeyRange, ReRead, Slice
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import NullCursor
from ingestion_runtime.strategies.context import ExecutionContext, Intent, Outcome
from ingestion_runtime.strategies.incremental import run_batch


class BackfillStrategy:
    """Merges everything at or below the watermark again, in slices of the primary key.

    The rows above the watermark are left to the next run, which reads them with all their columns: so the bounds that
    keep rows of open transactions out hold for a backfill too. Receipt and raw are those of any batch; watermark and
    fingerprint stay, because nothing was said about what is new.
    """

    def execute(self, context: ExecutionContext) -> Outcome:
        """Finish the batch that an earlier run left open (it may be this backfill), then read the rows again."""
        _refuse_other_modes(context)
        finished = None
        opened = context.settled.open
        if opened is not None:
            finished, publication = run_batch(context, opened)
            if _is_backfill(opened.plan):
                return finished
            context = context.after(publication)
        outcome, _ = run_batch(context, context.begin(_plan(context), WriteMode.MERGE))
        return finished.followed_by(outcome) if finished else outcome

    def intend(self, context: ExecutionContext) -> Intent:
        """Say what is to be filled in; see ``Strategy.intend``."""
        _refuse_other_modes(context)
        return Intent(WriteMode.MERGE, Outcome(TableStatus.UNCHANGED), _plan(context))


def _plan(context: ExecutionContext) -> IngestionPlan:
    """Cut the primary key where its rows are; a text is never cut."""
    _require_columns(context)
    receipt = context.settled.receipt
    if receipt is None or receipt.watermark is None:
        raise TerminalError(
            f"{context.table.name} has never been loaded: there is nothing to fill in.",
            remedy="Run the table as usual; its first load reads all columns.",
            table=context.table.name,
        )
    nulls, initial = context.table.null_cursor is NullCursor.READ, context.table.initial_watermark
    policy = context.slicing
    most = policy.max_partitions if policy.enabled else 1
    ranges = context.source.key_ranges(context.table.primary_keys[0], policy.target_rows_per_slice, most)
    named = f" of {', '.join(context.options.backfill_columns)}" if context.options.backfill_columns else ""
    about = PlannerMetadata(
        lower_literal=None,
        upper_literal=receipt.watermark.literal,
        estimated_rows=None,
        probed=True,
        reason=f"backfill{named}: {len(ranges)} slices of {context.table.primary_keys[0]}",
    )
    if initial is None:
        slices = tuple(Slice(n, reread=ReRead(None, receipt.watermark, nulls), keys=keys) for n, keys in enumerate(ranges))
    else:
        # A person has drawn the line: what lies at or below it was never read, and is not to be filled in now.
        window = Interval(initial, receipt.watermark)
        slices = tuple(Slice(n, window=window, keys=keys) for n, keys in enumerate(ranges))
        whole = KeyRange(ranges[0].column, None, None)
        slices += (Slice(len(slices), reread=ReRead(None, None, nulls=True), keys=whole),) if nulls else ()
    return IngestionPlan(slices, receipt.watermark, receipt.fingerprint, about)


def _is_backfill(plan: IngestionPlan) -> bool:
    return all(piece.keys is not None for piece in plan.slices)


def _refuse_other_modes(context: ExecutionContext) -> None:
    if context.table.mode == "append":
        raise ConfigError(
            f"{context.table.name} has the mode append: without a key no row can be found again to fill a column in.",
            remedy="Read its rows again with --start-date, or with --reload.",
            table=context.table.name,
        )
    if context.table.mode != "scd1":
        raise ConfigError(
            f"{context.table.name} has the mode {context.table.mode}: each of its runs reads all columns of all rows.",
            remedy="Run it as usual, or with --reload for a load date that is done.",
            table=context.table.name,
        )


def _require_columns(context: ExecutionContext) -> None:
    """Refuse names that would fill nothing in, before anything is read."""
    present = [column.name for column in context.source.described().columns]
    unknown = [name for name in context.options.backfill_columns if name not in present]
    if unknown:
        raise TerminalError(
            f"{context.table.name}: the source has no column {', '.join(unknown)}.",
            remedy=f"Correct --columns; the source has {', '.join(present)}.",
            table=context.table.name,
            columns=tuple(unknown),
        )
    published = context.sink.published_columns()
    left_out = [name for name in context.options.backfill_columns if published and name not in published.names]
    if left_out and context.table.policy.added is OnChange.IGNORE:
        raise TerminalError(
            f"{context.table.name}: the policy added: ignore leaves {', '.join(left_out)} out.",
            remedy="Set schema_policy.added to evolve for this table, then fill the column in.",
            table=context.table.name,
            columns=tuple(left_out),
        )
