"""An Iceberg table without the rows of a span of its cursor, in this process: files that hold some are written anew.

Nothing is committed here. Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.cursor_span import CursorSpan
from ingestion_runtime.endpoints.iceberg.dead_rows import DeadRows, dead_in
from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile, list_files
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetWriter, WrittenFile

_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Cleared:
    """A snapshot of ``before`` rows without the ``rows`` of a span: ``removed`` files are not in it any more, and ``kept``
    hold what was left of them; the files that stay as they are have ``stays`` rows. Not ``counted``: nobody looked."""

    removed: tuple[SnapshotFile, ...] = ()
    kept: tuple[WrittenFile, ...] = ()
    before: int = 0
    rows: int = 0
    stays: int = 0
    counted: bool = False


class SpanClearing:
    """Takes the rows of a span out of one snapshot of a table, whose files it writes anew where it has to."""

    def __init__(self, table: Table, base: int, span: CursorSpan, batch_bytes: int) -> None:
        """Reads the snapshot's manifests; raises UnfitSnapshot where only Spark can read the table."""
        self._files = list_files(table, base).files
        self._columns = written_columns(table.schema())
        self._span = span
        self._batch_bytes = batch_bytes

    def clear(self, local: LocalSql, writer: ParquetWriter) -> Cleared:
        """Write what is left of the files that hold rows of the span, and count. The writer is closed, or aborted."""
        marked = [file for file in self._files if file.deletes]
        try:
            if not marked:
                return self._clear(writer, DeadRows(None, ()))
            with local.session() as sql:
                return self._clear(writer, DeadRows(sql, marked))
        except BaseException:
            writer.abort()
            raise

    def _clear(self, writer: ParquetWriter, dead: DeadRows) -> Cleared:
        removed: list[SnapshotFile] = []
        before = rows = stays = 0
        for file in self._files:
            living = file.entry.record_count - dead.by_file.get(file.path, 0)
            before += living
            gone = dead.places(file)
            inside = self._count(file, living, gone)
            if not inside:
                stays += living
                continue
            removed.append(file)
            rows += inside
            if inside < living:
                self._write_rest(file, gone, writer)
        return Cleared(tuple(removed), writer.close(), before, rows, stays, counted=True)

    def _count(self, file: SnapshotFile, living: int, gone: pa.Array) -> int:
        if not self._span.meets(file.entry):
            return 0
        return living if self._span.covers(file.entry) else count_inside(self._span, file.path, gone)

    def _write_rest(self, file: SnapshotFile, gone: pa.Array, writer: ParquetWriter) -> None:
        import pyarrow.compute as pc

        place = self._columns.get_field_index(self._span.field.name)
        opened = ParquetRows.by_id(file.path, self._columns, self._batch_bytes)
        try:
            for start, batch in opened.batches():
                leaves = self._span.mask(batch.column(place))
                if len(gone):
                    leaves = pc.or_(leaves, dead_in(gone, start, batch.num_rows))
                rest = batch.filter(pc.invert(leaves))
                if rest.num_rows:
                    writer.write(rest)
        finally:
            opened.close()


def count_inside(span: CursorSpan, path: str, gone: pa.Array | None = None) -> int:
    """Count the rows of a file that lie in a span, those at the places ``gone`` (ascending) left out; reads one column."""
    import pyarrow.compute as pc

    rows = start = 0
    for column in _cursors(span, path):
        inside = span.mask(column)
        if gone is not None and len(gone):
            inside = pc.and_not(inside, dead_in(gone, start, len(column)))
        rows += pc.sum(inside).as_py() or 0
        start += len(column)
    return rows


def _cursors(span: CursorSpan, path: str) -> Iterator[pa.Array]:
    """Yield the cursor's values in a file, by its field id, in the type in which they land."""
    import pyarrow.parquet as pq

    wanted = str(span.field.field_id).encode()
    kind = written_columns(Schema(span.field)).field(0).type
    with pq.ParquetFile(path) as file:
        names = [column.name for column in file.schema_arrow if (column.metadata or {}).get(b"PARQUET:field_id") == wanted]
        for batch in file.iter_batches(_BATCH_ROWS, columns=names) if names else ():
            yield batch.column(0).cast(kind)
