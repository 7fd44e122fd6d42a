"""The rows that position deletes hide, file by file. Imported only when rows are written in this process."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.iceberg.revising import mask_of
from ingestion_runtime.endpoints.iceberg.snapshot_files import FILE_COLUMN, PLACE_COLUMN, SnapshotFile, deleted_places
from ingestion_runtime.tools.local_sql import text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DEAD = "ingest_dead"
_NOBODY: Mapping[str, int] = MappingProxyType({})


class DeadRows:
    """Which rows of files are dead. For one thread; ``by_file`` may be read by several."""

    def __init__(self, sql: "DuckDBPyConnection | None", files: Sequence[SnapshotFile]) -> None:
        """Reads the position deletes that may name the files; ``sql`` may be None where there are none."""
        self._sql = sql
        paths = sorted({path for file in files for path in file.deletes})
        #: How many there are, by the path of the file; files without any are left out.
        self.by_file = _NOBODY if sql is None or not paths else _count(sql, paths, {file.path for file in files})

    def places(self, file: SnapshotFile) -> pa.Array:
        """Return the places of a file's dead rows, ascending."""
        if self._sql is None or file.path not in self.by_file:
            return pa.array([], pa.int64())
        query = f"SELECT {PLACE_COLUMN} AS place FROM {_DEAD} WHERE {FILE_COLUMN} = {text(file.path)} ORDER BY 1"
        found: pa.Table = self._sql.sql(query).to_arrow_table()
        return found["place"].combine_chunks()


def dead_in(gone: pa.Array, start: int, rows: int) -> pa.Array:
    """Return as a mask which of the rows from ``start`` on stand at the places ``gone``."""
    import pyarrow.compute as pc

    mine = gone.filter(pc.and_(pc.greater_equal(gone, start), pc.less(gone, start + rows)))
    return mask_of(pc.subtract(mine, start), rows)


def _count(sql: "DuckDBPyConnection", deletes: Sequence[str], files: set[str]) -> dict[str, int]:
    sql.execute(f"CREATE OR REPLACE TABLE {_DEAD} AS SELECT DISTINCT * FROM ({deleted_places(deletes)})")
    counted = sql.execute(f"SELECT {FILE_COLUMN}, count(*) FROM {_DEAD} GROUP BY 1").fetchall()
    return {path: rows for path, rows in counted if path in files}
