"""One snapshot of an Iceberg table as readers see it: its files, checked one by one, and its living rows for DuckDB.

Imported only when rows are read in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.far_files import Hdfs, within_reach
from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.manifests import entries_of, manifests_of
from ingestion_runtime.endpoints.iceberg.snapshot_files import (
    FILE_COLUMN,
    LocalDisk,
    Storage,
    UnfitSnapshot,
    list_files,
    relation,
)
from ingestion_runtime.endpoints.published import SpoiltFile
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.tools.files import HDFS, Files, is_hdfs
from ingestion_runtime.tools.local_sql import text
from ingestion_runtime.tools.nearby import NearFiles


class PublishedSnapshot:
    """A snapshot by the table's present columns, on a local disk or on HDFS. Implements ``PublishedRows``.

    Raises UnfitSnapshot where only Spark can read it, TransientError where it has expired.
    """

    def __init__(self, table: Table, snapshot_id: int, files: Files, near: NearFiles) -> None:
        """``near`` lends the files that are not on a local disk."""
        self.schema = table.schema()
        self.columns = _columns(table)
        self._near = near
        self._far = is_hdfs(table.location())
        table = within_reach(table, files) if self._far else table
        storage = Hdfs(files) if self._far else LocalDisk()
        self.spoilt = tuple(_find_spoilt(table, snapshot_id, storage, files))
        listed = list_files(table, snapshot_id, {file.path for file in self.spoilt}, storage)
        self._files = {file.path: file for file in listed.files}
        self.paths = tuple(self._files)

    def relation(self, columns: Sequence[str], within: Collection[str] | None = None) -> str:
        """Return the rows as SQL; see ``PublishedRows.relation``."""
        files = [file for path, file in self._files.items() if within is None or path in within]
        if not self._far:
            return relation(self.schema, files, columns)
        path = self._near.path
        copies = [replace(file, path=path(file.path), deletes=tuple(map(path, file.deletes))) for file in files]
        root = self._near.root
        named = f"{text(HDFS)} || substr({FILE_COLUMN}, {len(root) + 1})"
        return f"(SELECT * REPLACE ({named} AS {FILE_COLUMN}) FROM {relation(self.schema, copies, columns, root)})"

    def portions(self, within: Sequence[str]) -> Iterator[Sequence[str]]:
        """Lend the files, with those that say which of their rows are deleted; see ``PublishedRows.portions``."""
        for piece in self._near.portions((path, self._files[path].entry.file_size_in_bytes) for path in within):
            deletes = {name for path in piece for name in self._files[path].deletes}
            with self._near.lend((*piece, *sorted(deletes))):
                yield piece


def _columns(table: Table) -> pa.Schema:
    try:
        return written_columns(table.schema()).remove_metadata()
    except TypeError:
        raise UnfitSnapshot("the table has a column of a type that this runtime never lands") from None


def _find_spoilt(table: Table, snapshot_id: int, storage: Storage, files: Files) -> Iterator[SpoiltFile]:
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise TransientError(
            f"{'.'.join(table.name())}: snapshot {snapshot_id} has expired since it was looked up.",
            remedy="Run the same command again.",
        )
    for manifest in manifests_of(table, snapshot):
        for entry in entries_of(table, manifest):
            file = entry.data_file
            if file.file_format != FileFormat.PARQUET:
                continue  # refused by list_files
            path = storage.path(file.file_path)
            reason = _spoilt_by(path, file.file_size_in_bytes, storage, files)
            if reason is not None:
                yield SpoiltFile(path, reason, deletes=file.content != DataFileContent.DATA)


def _spoilt_by(path: str, size: int, storage: Storage, files: Files) -> str | None:
    try:
        found = files.size(path)
        if found != size:
            return f"it has {found:,} bytes and was written with {size:,}"
        storage.footer(path)
    except FileNotFoundError:
        return "it is missing"
    except (OSError, pa.ArrowInvalid) as error:
        return f"it cannot be opened ({error})"
    return None
