"""Reading a table's own lists of its files, with one error for whatever a lost or torn list makes of it.

Imported only when metadata is read: pyiceberg costs 1.2 s.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.manifest import ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.model.errors import IngestionError, LostFileError


def manifests_of(table: Table, snapshot: Snapshot) -> list[ManifestFile]:
    """Return a snapshot's manifests. Raises LostFileError where their list is gone or cannot be read."""
    with reading(table, snapshot.manifest_list):
        return snapshot.manifests(table.io)


def entries_of(table: Table, manifest: ManifestFile, *, discard_deleted: bool = True) -> list[ManifestEntry]:
    """Return the entries of a manifest. Raises LostFileError where it is gone or cannot be read."""
    with reading(table, manifest.manifest_path):
        return manifest.fetch_manifest_entry(table.io, discard_deleted=discard_deleted)


@contextmanager
def reading(table: Table, location: str) -> Iterator[None]:
    """Raise LostFileError for what the block makes of a file that is gone or torn; a place that cannot be reached stays
    what it is."""
    try:
        yield
    except FileNotFoundError as error:
        raise _lost(table, f"is gone ({location})") from error
    except (OSError, MemoryError, IngestionError):
        raise
    except Exception as error:  # whatever a reader of Avro makes of bytes that are none
        words = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise _lost(table, f"cannot be read ({location}: {words})") from error


def _lost(table: Table, how: str) -> LostFileError:
    return LostFileError(
        f"{'.'.join(table.name())}: a list of the table's files {how}.",
        remedy="Restore it from a backup of the warehouse; or replace the table, from the source with --reload, or from raw"
        " with --maintenance-mode rebuild-from-raw.",
        table=".".join(table.name()),
    )
