"""The shrink guard: what would lose more of a table's rows than it may is not published."""

from dataclasses import dataclass
from fractions import Fraction

from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.target import Payload, TargetTable, Written


@dataclass(frozen=True, slots=True)
class ShrinkGuard:
    """Judges batches that take the place of rows. ``most`` is the fraction of these rows that one of them may lose; None:
    all, if a person asked for it."""

    table: str
    most: float | None

    def judge(self, batch: Batch, payload: Payload, written: Written, target: TargetTable) -> None:
        """Raise RefusedBatchError, with both counts, when the branch holds too few rows of what readers see now.

        A merge takes no row's place, and a first load none either: neither is judged.
        """
        if batch.write is WriteMode.OVERWRITE:
            if batch.plan.asked is None:
                self._refuse_loss(batch, payload, written)
            else:
                self._judge_counts(batch, written.added, written.removed)
        elif batch.write is WriteMode.REPLACE:
            live = target.live_rows() if self.most is not None else None
            if live is not None:
                self._judge_counts(batch, written.total, live)

    def _refuse_loss(self, batch: Batch, payload: Payload, written: Written) -> None:
        """Refuse to let rows go that nobody asked to read again: without a key a deleted row hides one that came late."""
        gone, low = written.removed - payload.again, batch.plan.span.low.literal
        if gone <= 0:
            return
        raise RefusedBatchError(
            f"{self.table}: {gone:,} of the {written.removed:,} rows that were read again, from {low} on, are no longer at"
            " the source, and an append table has no key by which a deleted row could be told from a late one.",
            remedy="Nothing was published. Was something deleted there that is younger than the lag? To take over what the"
            f" source has now, run with --only-tables {self.table} --start-date '{low}', or once with --allow-shrink"
            f" {self.table}.",
            table=self.table,
            batch=batch.id,
            rows=gone,
        )

    def _judge_counts(self, batch: Batch, rows: int, live: int) -> None:
        # By the digits that were configured: 0.29 of 100 rows are 29, and not a little less.
        if self.most is None or live - rows <= Fraction(repr(self.most)) * live:
            return
        lost = live - rows
        raise RefusedBatchError(
            f"{self.table}: {rows:,} rows would replace {live:,}, which is {lost:,} fewer"
            f" ({lost / live:.2%}, max_shrink_fraction is {self.most:.2%}).",
            remedy="Nothing was published. Was the source emptied or half filled, source_filter or query_sql changed, or is"
            f" this a replica that lags? If the rows are really gone, run once with --allow-shrink {self.table}.",
            table=self.table,
            batch=batch.id,
            live=live,
            rows=rows,
            limit=self.most,
        )
