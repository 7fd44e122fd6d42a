"""The rows of a table in a plain Parquet directory, compared in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from ingestion_runtime.endpoints.duck_rows import DuckSource, duck_rows
from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.model.columns import is_ingest_column
from ingestion_runtime.model.comparison import Basis, ComparedRows, Stand
from ingestion_runtime.model.cursor import ReRead
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.local_sql import LocalSql, file_list


class ParquetRows:
    """The rows of one table. Implements ``TargetRows``: a snapshot is the folder of a batch, to which the link pointed."""

    def __init__(self, root: str, table: TableSpec, target: ParquetTarget, sql: LocalSql) -> None:
        self._table = table
        self._folder = Path(root, table.schema, f".{table.table}")
        self._link = Path(root, table.schema, table.table)
        self._target = target
        self._sql = sql

    def stand(self) -> Stand | None:
        """Return where the table stands; see ``TargetRows``."""
        head = self._target.head()
        if head is None:
            return None
        if head.snapshot is None or not (self._folder / head.snapshot).is_dir():
            raise self._unreadable(head.damage or "the link points to a folder that this runtime did not make")
        return Stand(head.receipt, head.snapshot, self._columns(head.snapshot), head.damage)

    @contextmanager
    def view(
        self,
        stand: Stand,
        basis: Basis,
        left_out: Iterator[pa.RecordBatch] | None = None,
        apart: Sequence[ReRead] = (),
    ) -> Iterator[ComparedRows]:
        """Open the rows of that folder; see ``TargetRows``. No set is apart: each batch is the whole table."""
        if apart:
            raise ValueError("a directory that is always replaced as a whole has no set that is read again")
        snapshot = stand.snapshot or ""
        files = self._files(snapshot)
        source = f"SELECT * FROM read_parquet({file_list(files)}, hive_partitioning = false, union_by_name = true)"
        try:
            with duck_rows(self._sql, DuckSource(source), basis, left_out) as rows:
                yield rows
        except IngestionError as error:
            # Files of a folder that was replaced meanwhile are gone as well: then nothing is broken.
            if not isinstance(error, TransientError) and not (self._folder / snapshot).is_dir():
                raise self._moved(snapshot) from error
            raise

    def _files(self, snapshot: str) -> list[str]:
        folder = self._folder / snapshot
        if not folder.is_dir():
            raise self._moved(snapshot)
        found = sorted(map(str, folder.glob("*.parquet")))
        if not found:
            raise self._unreadable(f"{folder} holds no files")
        return found

    def _columns(self, snapshot: str) -> pa.Schema:
        import pyarrow.parquet as pq

        first = self._files(snapshot)[0]
        try:
            schema = pq.read_schema(first)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unreadable(f"{first}: {error}") from error
        return pa.schema([pa.field(field.name, field.type) for field in schema if not is_ingest_column(field.name)])

    def _moved(self, snapshot: str) -> TransientError:
        return TransientError(
            f"{self._table.name}: the table was replaced while it was compared: the folder {snapshot} is gone.",
            remedy="Run the same command again.",
            table=self._table.name,
        )

    def _unreadable(self, reason: str) -> TerminalError:
        return TerminalError(
            f"{self._table.name}: {self._link} cannot be compared: {reason.rstrip('.')}.",
            remedy="Load the table anew with --reload.",
            table=self._table.name,
        )
