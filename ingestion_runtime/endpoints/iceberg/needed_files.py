"""Which files the snapshots of a table need. Imported only when metadata is read: pyiceberg costs 1.2 s."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.endpoints.iceberg.manifests import entries_of, manifests_of
from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path


@dataclass(frozen=True, slots=True)
class NeededFiles:
    """The local paths of files, each in its one true spelling: manifest lists, manifests, and what these name."""

    manifests: frozenset[str]
    data: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.manifests | self.data


def files_of(
    table: Table, snapshots: Iterable[Snapshot], *, removed: bool = False, but: Collection[str] = ()
) -> NeededFiles:
    """Return the files that snapshots need; ``removed``: also those of which their manifests say that they have gone.

    Manifests (their true paths) in ``but`` are left out, with what they name. Raises LostFileError where a manifest or a
    list of them cannot be read.
    """
    lists = {snapshot.manifest_list: snapshot for snapshot in snapshots}
    all_manifests = {manifest.manifest_path: manifest for of in lists.values() for manifest in manifests_of(table, of)}
    manifests = {path: manifest for path, manifest in all_manifests.items() if not but or true_path(path) not in but}
    data = {
        entry.data_file.file_path
        for manifest in manifests.values()
        for entry in entries_of(table, manifest, discard_deleted=False)
        if removed or entry.status != ManifestEntryStatus.DELETED
    }
    return NeededFiles(frozenset(map(true_path, (*lists, *manifests))), frozenset(map(true_path, data)))


def metadata_files(table: Table) -> frozenset[str]:
    """Return the local paths of metadata and statistics files that the table's metadata names, itself included."""
    metadata = table.metadata
    named = [
        table.metadata_location,
        *(entry.metadata_file for entry in metadata.metadata_log),
        *(file.statistics_path for file in (*metadata.statistics, *metadata.partition_statistics)),
    ]
    return frozenset(map(true_path, named))


def true_path(location: str) -> str:
    """Return the one spelling of a local path by which files are compared; raises UnfitSnapshot for other places."""
    path = Path(local_path(location))
    return f"{_true_folder(str(path.parent))}/{path.name}"


@lru_cache(maxsize=4096)
def _true_folder(folder: str) -> str:
    # A table has thousands of files in a few folders, and each part of a path is looked at on the disk.
    return os.path.realpath(folder)
