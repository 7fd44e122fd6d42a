"""One snapshot of an Iceberg table as readers see it: its files, checked one by one, and its living rows for DuckDB.

Imported only when rows are read in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot, list_files, local_path, relation
from ingestion_runtime.endpoints.published import SpoiltFile
from ingestion_runtime.model.errors import TransientError


class PublishedSnapshot:
    """A snapshot by the table's present columns. Implements ``PublishedRows``.

    Raises UnfitSnapshot where only Spark can read it, TransientError where it has expired.
    """

    def __init__(self, table: Table, snapshot_id: int) -> None:
        self.schema = table.schema()
        self.columns = _columns(table)
        self.spoilt = tuple(_find_spoilt(table, snapshot_id))
        self._files = list_files(table, snapshot_id, without={file.path for file in self.spoilt}).files
        self.paths = tuple(file.path for file in self._files)

    def relation(self, columns: Sequence[str], within: Collection[str] | None = None) -> str:
        """Return the rows as SQL; see ``PublishedRows.relation``."""
        files = [file for file in self._files if within is None or file.path in within]
        return relation(self.schema, files, columns)


def _columns(table: Table) -> pa.Schema:
    try:
        return written_columns(table.schema()).remove_metadata()
    except TypeError:
        raise UnfitSnapshot("the table has a column of a type that this runtime never lands") from None


def _find_spoilt(table: Table, snapshot_id: int) -> Iterator[SpoiltFile]:
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise TransientError(
            f"{'.'.join(table.name())}: snapshot {snapshot_id} has expired since it was looked up.",
            remedy="Run the same command again.",
        )
    for manifest in snapshot.manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            file = entry.data_file
            if file.file_format != FileFormat.PARQUET:
                continue  # refused by list_files
            path = local_path(file.file_path)
            reason = _spoilt_by(path, file.file_size_in_bytes)
            if reason is not None:
                yield SpoiltFile(path, reason, deletes=file.content != DataFileContent.DATA)


def _spoilt_by(path: str, size: int) -> str | None:
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        return "it is missing"
    found = Path(path).stat().st_size
    if found != size:
        return f"it has {found:,} bytes and was written with {size:,}"
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        return f"it cannot be opened ({error})"
    return None
