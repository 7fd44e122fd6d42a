"""Parquet files read in the columns of a table, record batch by record batch, within bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa

#: A batch has no more rows.
BATCH_ROWS = 65_536
_SAMPLE_ROWS = 256
_ID = b"PARQUET:field_id"


class ParquetRows:
    """The rows of one file in the columns of ``schema``; those that the file lacks are NULL. Close it.

    A batch takes ``batch_bytes`` of memory, or little more.
    """

    def __init__(self, path: str, schema: pa.Schema, batch_bytes: int, places: Sequence[int | None]) -> None:
        """``places`` says for each column which one of the file it is."""
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)
        self.schema = schema
        self._batch_bytes = batch_bytes
        self._places = places
        self.group_starts = [0]
        for group in range(self._file.num_row_groups):
            self.group_starts.append(self.group_starts[-1] + self._file.metadata.row_group(group).num_rows)
        self._row_bytes = 0

    @classmethod
    def by_id(cls, path: str, schema: pa.Schema, batch_bytes: int) -> "ParquetRows":
        """A data file of the table: its columns by field id, whatever they were called when it was written."""
        import pyarrow.parquet as pq

        columns = pq.read_schema(path)
        known = {(field.metadata or {}).get(_ID): place for place, field in enumerate(columns)}
        return cls(path, schema, batch_bytes, [known.get(field.metadata[_ID]) for field in schema])

    @classmethod
    def by_name(
        cls, path: str, schema: pa.Schema, batch_bytes: int, told_by: Mapping[str, str] = MappingProxyType({})
    ) -> "ParquetRows":
        """A staged file: its columns by name, those of ``told_by`` by another column's."""
        import pyarrow.parquet as pq

        known = {name: place for place, name in enumerate(pq.read_schema(path).names)}
        return cls(path, schema, batch_bytes, [known.get(told_by.get(name, name)) for name in schema.names])

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.group_starts[-1]

    @property
    def row_bytes(self) -> int:
        """What a row takes in memory, by the first rows and by what the footer says; at least 1."""
        if not self._row_bytes:
            groups = [self._file.metadata.row_group(group) for group in range(self._file.num_row_groups)]
            told = [group.total_byte_size // max(1, group.num_rows) for group in groups]
            first = next(self._file.iter_batches(_SAMPLE_ROWS, use_threads=False), None) if self.rows else None
            seen = first.nbytes // first.num_rows if first is not None and first.num_rows else 0
            self._row_bytes = max(1, seen, *told)
        return self._row_bytes

    def batches(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows of row groups ``first`` up to ``stop`` (not included), each batch with the place of its first row."""
        most = max(1, min(BATCH_ROWS, self._batch_bytes // self.row_bytes))
        for group in range(first, self._file.num_row_groups if stop is None else stop):
            start = self.group_starts[group]
            # One row group at a time: batches that reach over several would hold all of them.
            for batch in self._file.iter_batches(most, row_groups=[group], use_threads=False):
                for piece in _pieces(self._present(batch), self._batch_bytes):
                    yield start, piece
                    start += piece.num_rows

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _present(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for field, place in zip(self.schema, self._places, strict=True):
            column = pa.nulls(batch.num_rows, field.type) if place is None else batch.column(place)
            arrays.append(column if column.type == field.type else column.cast(field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _pieces(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch until no piece takes more bytes, or has more than a row: a footer says nothing of how far a dictionary
    expands (10,000 times 4,000 bytes were 40 MB where 12 had been asked for)."""
    if batch.num_rows < 2 or batch.nbytes <= most:  # noqa: PLR2004 - a single row cannot be cut
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half), most)
    yield from _pieces(batch.slice(half), most)
