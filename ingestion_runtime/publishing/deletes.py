"""Rows that the source no longer has, found without a change log: keys compared by buckets, then key by key.

The comparison comes after the batch's slices have been staged, so that the source is looked at last: a key is deleted
that stands in the table, is not staged, and is not at the source. The keys that are deleted are staged as tombstones,
like a slice, and go the batch's way.
"""

from collections.abc import Callable

from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.batch import DeletesFound
from ingestion_runtime.model.batch import Batch, Receipt, StagedSlice, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.endpoint import IngestColumns, SourceEndpoint
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.keys import (
    BUCKETS,
    KeyBuckets,
    KeyComparison,
    KeysMissed,
    TargetKeys,
    differing_buckets,
    key_fingerprint,
)
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import TargetKeyReader, TargetTable
from ingestion_runtime.publishing.publisher import require_base
from ingestion_runtime.staging import Staging


class DeleteFinder:
    """Finds the deletes of one table under one lease."""

    def __init__(
        self,
        table: TableSpec,
        source: SourceEndpoint,
        target: TargetTable,
        keys: TargetKeyReader,
        staging: Staging,
        fence: Callable[[], int],
        emitter: Emitter,
    ) -> None:
        self._table = table
        self._source = source
        self._target = target
        self._keys = keys
        self._staging = staging
        self._fence = fence
        self._emitter = emitter

    def must_compare(self, receipt: Receipt | None) -> bool:
        """Whether the source's keys are others than those under which nothing was left to delete. One query, no engine."""
        if receipt is None or receipt.keys is None:
            return True
        return key_fingerprint(self._source.key_buckets(), self._table.deletes) != receipt.keys

    def find_staged(self, batch: Batch, piece: Slice, staged: tuple[StagedSlice, ...]) -> StagedSlice | None:
        """Return tombstones of this very batch that were found against these very slices."""
        found = self._staging.find(self._table, batch, piece)
        comparison = found.manifest.comparison if found else None
        # Slices read again may hold keys that were gone before, and are back.
        return found if comparison is not None and comparison.against == _attempts(staged) else None

    def stage(self, batch: Batch, piece: Slice, staged: tuple[StagedSlice, ...], columns: IngestColumns) -> StagedSlice:
        """Compare, and stage the tombstones: none, where nothing was deleted.

        Raises RefusedBatchError when more than ``max_delete_fraction`` of the live keys, or all of the source's, are gone.
        """
        head = self._target.head()
        if head is not None:
            require_base(batch, head, self._fence(), self._table.name)
        snapshot = head.snapshot if head is not None and batch.write is WriteMode.MERGE else None
        files = tuple(f"{read.directory}/{file.path}" for read in staged for file in read.manifest.files)
        stands = self._keys.compare(snapshot, files)
        found = self._source.key_buckets()
        differing = differing_buckets(found, stands.buckets)
        missed: list[KeysMissed] = []

        def write(moved: str, attempt: str) -> None:
            if differing:
                self._source.read_keys(differing).write_parquet(moved)
            missed.append(self._keys.write_missing(snapshot, files, moved, differing, columns, attempt))

        def judge() -> KeyComparison:
            comparison = self._weigh(found, stands, differing, missed[0], staged)
            self._emitter.emit(
                DeletesFound(
                    deleted=comparison.deleted,
                    moved_keys=comparison.moved,
                    buckets=comparison.buckets,
                    differing=comparison.differing,
                    missing_in_target=comparison.missing,
                    fraction=round(comparison.fraction, 6),
                )
            )
            self._refuse_many(comparison, found, missed[0].examples)
            return comparison

        return self._staging.stage_tombstones(self._table, batch, piece, write, judge)

    def _weigh(
        self,
        found: KeyBuckets,
        stands: TargetKeys,
        differing: tuple[str, ...],
        missed: KeysMissed,
        staged: tuple[StagedSlice, ...],
    ) -> KeyComparison:
        arrived = [missed.moved[name].rows for name in differing if name in missed.moved]
        there = sum(stands.buckets[name].rows for name in differing if name in stands.buckets)
        common = there - missed.deleted - missed.gone_again
        # The keys were moved by a second statement: they must be those that were fingerprinted. And none that this batch
        # brings may be gone again, or the next comparison would have to find it.
        certain = not missed.gone_again and all(missed.moved.get(name) == found.get(name) for name in differing)
        return KeyComparison(
            source=key_fingerprint(found, self._table.deletes) if certain else None,
            live=stands.live,
            deleted=missed.deleted,
            moved=sum(bucket.rows for bucket in missed.moved.values()),
            buckets=BUCKETS,
            differing=len(differing),
            missing=max(0, sum(arrived) - common),
            against=_attempts(staged),
        )

    def _refuse_many(self, comparison: KeyComparison, found: KeyBuckets, examples: tuple[str, ...]) -> None:
        limit = self._table.max_delete_fraction
        emptied = comparison.deleted > 0 and not found and limit < 1
        if comparison.fraction <= limit and not emptied:
            return
        name = self._table.name
        raise RefusedBatchError(
            f"{name}: {comparison.deleted:,} of {comparison.live:,} keys are no longer at the source"
            f" ({comparison.fraction:.2%}, max_delete_fraction is {limit:.2%}): {'; '.join(examples)}"
            f"{' ...' if comparison.deleted > len(examples) else ''}.",
            remedy="Nothing was published. Was the source emptied, source_filter or query_sql changed, or is this a replica"
            f" that lags? If the rows are really gone, set max_delete_fraction to {_above(comparison.fraction)} for one"
            f" run, or replace the table from the source with --reload {name}.",
            table=name,
            deleted=comparison.deleted,
            live=comparison.live,
            fraction=comparison.fraction,
            limit=limit,
        )


def _attempts(staged: tuple[StagedSlice, ...]) -> tuple[str, ...]:
    return tuple(read.manifest.attempt for read in staged)


def _above(fraction: float) -> float:
    """The smallest fraction of two digits that lets this one pass."""
    return min(1.0, round(int(fraction * 100 + 1) / 100, 2))
