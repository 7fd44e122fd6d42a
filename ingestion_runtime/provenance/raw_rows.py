"""Whole rows out of raw files by their places, in the columns of the table. Imported only where raw is read."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows
from ingestion_runtime.model.columns import DELETED_AT, LOADED_AT_COLUMN
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.provenance.replay import EXPECTED, Replay

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PLACES = "ingest_places"
_BATCH_BYTES = 16 * 2**20


class RawRows:
    """The rows of a replay whose table ``EXPECTED`` has been made, in the same session."""

    def __init__(self, sql: "DuckDBPyConnection", replay: Replay) -> None:
        self._sql = sql
        self._replay = replay
        #: The columns of the rows, with the field ids that they have in the table's schema.
        self.schema = written_columns(replay.schema)
        #: The name in the table of columns that it has under another one, by the present name.
        self.renamed = replay.chain_columns.renamed
        self._grave = cache(self._read_grave)

    def all(self) -> Iterator[pa.RecordBatch]:
        """Yield every row that the table must hold, in the order of raw; a batch takes 16 MiB or little more."""
        # In order, so that what is asked of one file is found without looking at all of it.
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_PLACES} AS SELECT file, row, deleted_by FROM {EXPECTED} ORDER BY file, row"
        )
        for (number,) in self._sql.execute(f"SELECT DISTINCT file FROM {_PLACES} ORDER BY 1").fetchall():
            with self._open(number) as file:
                for start, batch in file.batches():
                    found: pa.Table = self._sql.sql(
                        f"SELECT row - {start} AS place, deleted_by FROM {_PLACES} WHERE file = {number} "
                        f"AND row >= {start} AND row < {start + batch.num_rows} ORDER BY row"
                    ).to_arrow_table()
                    if found.num_rows:
                        yield self._taken(batch, _only(found["place"]), _only(found["deleted_by"]))
        self._sql.execute(f"DROP TABLE {_PLACES}")

    def look_up(self, places: Sequence[tuple[int, int]]) -> pa.Table:
        """Return the rows at these places (file and row, as in ``EXPECTED``) as their files have them, behind columns
        ``ingest_file`` and ``ingest_row``. For a few rows: the files are read as far as the last of them."""
        found = []
        for number, wanted in groupby(sorted(set(places)), key=lambda place: place[0]):
            rows = [row for _, row in wanted]
            with self._open(number) as file:
                for start, batch in file.batches():
                    here = [row for row in rows if start <= row < start + batch.num_rows]
                    if here:
                        taken = self._taken(batch, pa.array([row - start for row in here], pa.int64()), None)
                        found.append(_placed(number, here, taken))
                    if start + batch.num_rows > rows[-1]:
                        break
        return pa.Table.from_batches(found or [_placed(0, [], pa.RecordBatch.from_pylist([], schema=self.schema))])

    @contextmanager
    def _open(self, number: int) -> Iterator[ParquetRows]:
        file = self._replay.files[number]
        then = written_columns(self._replay.chain_columns.links[file.link.batch_id].schema)
        with self._replay.near.lend([file.path]) as (path,), closing(ParquetRows.by_name(path, then, _BATCH_BYTES)) as rows:
            yield rows

    def _taken(self, batch: pa.RecordBatch, places: pa.Array, graves: pa.Array | None) -> pa.RecordBatch:
        import pyarrow.compute as pc

        taken = batch.take(places)
        arrays = list(taken.columns)
        if graves is not None and graves.null_count < len(graves):
            for name in (*INGEST_TYPES, DELETED_AT):
                place = self.schema.names.index(name)
                told = [None if grave is None else self._grave(grave)[name] for grave in graves.to_pylist()]
                arrays[place] = pc.if_else(graves.is_null(), arrays[place], pa.array(told, self.schema.field(place).type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _read_grave(self, number: int) -> dict[str, object]:
        """Return the housekeeping of a file of tombstones, which is the same in all its rows."""
        import pyarrow.parquet as pq

        lent = self._replay.near.lend([self._replay.files[number].path])
        with lent as (path,), pq.ParquetFile(path) as file:
            told = next(file.iter_batches(1, columns=list(INGEST_TYPES))).to_pylist()[0]
        return {**told, DELETED_AT: told[LOADED_AT_COLUMN]}


def _only(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _placed(number: int, rows: Sequence[int], taken: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows behind the numbers of their file and of themselves."""
    place = {"ingest_file": pa.array([number] * len(rows), pa.int32()), "ingest_row": pa.array(rows, pa.int64())}
    names = [*place, *taken.schema.names]
    return pa.RecordBatch.from_arrays([*place.values(), *taken.columns], names=names)
