"""Data files written anew with a batch's changes, record batch by record batch: rows keep their order, and with it the
ranges of keys by which the next merge finds them.

Measured on 3 million rows of 22 columns in two files, two threads: 3.5 s of processor time for reading and writing alone.
DuckDB's COPY takes 6.1 s where it keeps the order of rows, and 3.1 s where it does not.
"""

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.endpoints.iceberg.merge_rows import FILE_BITS, MergeCursor
from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows
from ingestion_runtime.endpoints.iceberg.revising import MergeColumns, mask_of, numbers, put_in_place, revise
from ingestion_runtime.endpoints.iceberg.spool import SpoolReader
from ingestion_runtime.tools.parquet_writer import ParquetWriter, Splitter, WrittenFile

_ROW = "ingest_row"


def first_change(columns: MergeColumns, file: ParquetRows, number: int, updates: SpoolReader) -> int | None:
    """Return the place of the first batch of rows in which a file differs from what the batch brings; None: nowhere.

    Row groups without a row of the batch's are not read.
    """
    for group, (start, stop) in enumerate(zip(file.group_starts, file.group_starts[1:], strict=False)):
        if not updates.meets(number, start, stop):
            continue
        for place, batch in file.batches(group, group + 1):
            brought = updates.updates(number, place, place + batch.num_rows)
            if brought.num_rows and revise(columns, batch, (number << FILE_BITS) | place, brought):
                return place
    return None


@dataclass(frozen=True, slots=True)
class Portion:
    """Row groups ``first`` up to ``stop`` of a file; rows before ``changed`` are equal to the batch's. ``settled``: its rows
    are of one partition of the table's present spec."""

    number: int
    first: int
    stop: int
    changed: int
    settled: bool


class Newcomers:
    """Rows that go to new files: inserts, and rows that left their partition. Shared between threads."""

    def __init__(self, writer: ParquetWriter) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        with self._lock:
            self._writer.write(batch)
            self.rows += batch.num_rows

    def close(self) -> tuple[WrittenFile, ...]:
        """End the files."""
        return self._writer.close()

    def abort(self) -> None:
        """Let go of the files after an error."""
        self._writer.abort()


class Rewriter:
    """Writes portions of files one after the other into files of its own. For one thread."""

    def __init__(
        self,
        columns: MergeColumns,
        cursor: MergeCursor,
        updates: SpoolReader,
        split: Splitter | None,
        newcomers: Newcomers,
        open_file: Callable[[int], ParquetRows],
        open_writer: Callable[[Splitter | None], ParquetWriter],
    ) -> None:
        self._columns = columns
        self._cursor = cursor
        self._updates = updates
        self._split = split
        self._newcomers = newcomers
        self._open_file = open_file
        self._part: Hashable = None
        self._settled = True
        self._writer = open_writer(self._route if split else None)
        self.updated = 0

    def rewrite(self, portions: Iterable[Portion], go_on: Callable[[], bool]) -> tuple[WrittenFile, ...]:
        """Write the portions and return the files; stops early, with what it has, once it must not go on."""
        try:
            for portion in portions:
                self._rewrite(portion, go_on)
            return self._writer.close()
        except BaseException:
            self._writer.abort()
            raise

    def _rewrite(self, portion: Portion, go_on: Callable[[], bool]) -> None:
        file = self._open_file(portion.number)
        self._part, self._settled = None, portion.settled
        try:
            for start, batch in file.batches(portion.first, portion.stop):
                if not go_on():
                    return
                if self._split and portion.settled and self._part is None:
                    self._part = next(iter(self._split(batch.slice(0, 1))))[0]
                kept = self._revised(portion, start, batch)
                if kept.num_rows:
                    self._writer.write(kept)
        finally:
            file.close()

    def _revised(self, portion: Portion, start: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow.compute as pc

        stop = start + batch.num_rows
        dead = self._cursor.dead(portion.number, start, stop)
        updates = self._updates.updates(portion.number, start, stop) if start >= portion.changed else None
        if updates is None or not updates.num_rows:
            return put_in_place(batch, dead.slice(0, 0), batch.slice(0, 0), dead)
        revision = revise(self._columns, batch, (portion.number << FILE_BITS) | start, updates)
        self.updated += revision.updated
        stays = self._stays(revision.rows)
        moves = pc.invert(stays)
        if pc.any(moves).as_py():
            self._newcomers.write(revision.rows.filter(moves))
        removed = pa.concat_arrays([dead, revision.removed, revision.places.filter(moves)])
        return put_in_place(batch, revision.places.filter(stays), revision.rows.filter(stays), removed)

    def _stays(self, rows: pa.RecordBatch) -> pa.Array:
        """Return which rows belong to the partition that is being written."""
        if self._split is None or not self._settled or not rows.num_rows:
            return pa.array([True] * rows.num_rows, pa.bool_())
        places = numbers(rows.num_rows)
        told = pa.RecordBatch.from_arrays([*rows.columns, places], schema=rows.schema.append(pa.field(_ROW, pa.int64())))
        staying = [part.column(rows.num_columns) for key, part in self._split(told) if key == self._part]
        return mask_of(pa.concat_arrays(staying) if staying else places.slice(0, 0), rows.num_rows)

    def _route(self, batch: pa.RecordBatch) -> Iterable[tuple[Hashable, pa.RecordBatch]]:
        """What is left of a settled file is of its partition: nothing has to be computed again."""
        if self._settled:
            return ((self._part, batch),)
        return self._split(batch) if self._split else ((None, batch),)
