"""What a batch changes in rows that stand in a file: compared and put together column by column, a record batch at a time.

Measured on 3 million rows of 22 columns of which 300,000 change: comparing and replacing take 0.7 s of processor time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import pyarrow as pa

from ingestion_runtime.endpoints.iceberg.parquet_rows import BATCH_ROWS
from ingestion_runtime.endpoints.iceberg.spool import CODE_COLUMN, GONE_COLUMN, only
from ingestion_runtime.model.columns import DELETED_AT, is_ingest_column


@dataclass(frozen=True, slots=True)
class MergeColumns:
    """Which columns of a table a merge sets, and which tell whether a row differs; by their place in ``schema``.

    ``mark`` is the place of the column that marks deleted rows, None where there is none. ``removes``: rows that are gone
    from the source go; else they are marked.
    """

    schema: pa.Schema
    assigned: tuple[int, ...]
    compared: tuple[int, ...]
    mark: int | None
    removes: bool


def merge_columns(schema: pa.Schema, keys: Sequence[str], kept: frozenset[str], *, removes: bool) -> MergeColumns:
    """Return the part of each column: ``kept`` ones stay as they are, and so do the keys; ingest columns follow."""
    assigned = tuple(place for place, name in enumerate(schema.names) if name not in keys and name not in kept)
    compared = tuple(place for place in assigned if not is_ingest_column(schema.names[place]))
    mark = schema.names.index(DELETED_AT) if DELETED_AT in schema.names else None
    return MergeColumns(schema, assigned, compared, mark, removes)


@dataclass(frozen=True, slots=True)
class Revision:
    """What becomes of a batch of rows, by places in it in ascending order: rows that get the values in ``rows``, and rows
    that go. ``updated`` of the former were changed at the source; the others are marked as deleted."""

    places: pa.Array
    rows: pa.RecordBatch
    removed: pa.Array
    updated: int

    def __bool__(self) -> bool:
        return len(self.places) + len(self.removed) > 0


def revise(columns: MergeColumns, batch: pa.RecordBatch, start: int, updates: pa.Table) -> Revision:
    """Compare the rows of a file with what a batch brings for them (``SpoolReader.updates``); equal rows are left alone.

    ``start`` is the place of the batch's first row, as in the spool. As Spark's ``<=>`` has it NULL equals NULL, NaN equals
    NaN, and 0.0 equals -0.0. A row that is marked as deleted and comes back differs.
    """
    import pyarrow.compute as pc

    places, gone = pc.subtract(only(updates[CODE_COLUMN]), start), only(updates[GONE_COLUMN])
    removed = places.filter(gone) if columns.removes else places.slice(0, 0)
    if len(removed):
        updates, places = updates.filter(pc.invert(gone)), places.filter(pc.invert(gone))
        gone = only(updates[GONE_COLUMN])
    standing = batch.take(places)
    brought = {place: only(updates.column(place)) for place in columns.assigned}
    differs = [gone, *(_differs(standing.column(place), brought[place]) for place in columns.compared)]
    if columns.mark is not None:
        differs.append(pc.is_valid(standing.column(columns.mark)))
    changed = reduce(pc.or_, differs)
    if pc.any(pc.and_(changed, gone)).as_py():
        for place in columns.compared:
            brought[place] = pc.if_else(gone, standing.column(place), brought[place])
    arrays = [brought.get(place, standing.column(place)).filter(changed) for place in range(standing.num_columns)]
    rows = pa.RecordBatch.from_arrays(arrays, schema=columns.schema)
    return Revision(places.filter(changed), rows, removed, rows.num_rows - (pc.sum(gone).as_py() or 0))


def put_in_place(batch: pa.RecordBatch, places: pa.Array, rows: pa.RecordBatch, removed: pa.Array) -> pa.RecordBatch:
    """Return a batch with the rows at ``places`` (ascending) replaced, and without those at ``removed``."""
    import pyarrow.compute as pc

    size = batch.num_rows
    if not len(places) + len(removed):
        return batch
    # Rows are picked from both by number: with text that takes a third of the time that replacing takes.
    picked = pc.replace_with_mask(numbers(size), mask_of(places, size), pc.add(numbers(len(places)), size))
    if len(removed):
        picked = picked.filter(pc.invert(mask_of(removed, size)))
    pairs = zip(batch.columns, rows.columns, strict=True)
    return pa.RecordBatch.from_arrays([pa.concat_arrays(pair).take(picked) for pair in pairs], schema=batch.schema)


def mask_of(places: pa.Array, rows: int) -> pa.Array:
    """Return a mask of so many rows that is true at these places."""
    import pyarrow.compute as pc

    return pc.is_in(numbers(rows), value_set=places)


@lru_cache(maxsize=2)
def _counted(size: int) -> pa.Array:
    return pa.array(range(size), pa.int64())


def numbers(count: int) -> pa.Array:
    """Return 0, 1, 2 and so on, so many of them."""
    # Made once in a size that serves all batches: making them takes longer than what they are needed for.
    return _counted(max(BATCH_ROWS, count)).slice(0, count)


def _differs(one: pa.Array, other: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    equal = pc.equal(one, other)
    if pa.types.is_floating(one.type):
        equal = pc.or_(equal, pc.and_(pc.is_nan(one), pc.is_nan(other)))
    if one.null_count or other.null_count:
        equal = pc.coalesce(equal, pc.and_(pc.is_null(one), pc.is_null(other)))
    return pc.invert(equal)
