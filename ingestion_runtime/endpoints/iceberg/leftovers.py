"""Files that attempts at a batch made in a table's folder, and that no snapshot came to name.

A batch has a folder of its own below the table's data, so that one look tells whether there are any.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path
from ingestion_runtime.endpoints.iceberg.snapshots import ATTEMPT

_METADATA = "ingest_{}_*.avro"


def batch_location(table: Table, batch_id: str) -> str:
    """Return where the data files of a batch lie, as the table spells it."""
    return f"{table.location_provider().data_path}/{batch_id}"


def remove_files(paths: Iterable[str]) -> None:
    """Remove files (absolute local paths), and their folders where nothing else is left in them."""
    folders = set()
    for path in map(Path, paths):
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder in which nothing is."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def has_folder(table: Table, batch_id: str) -> bool:
    """Whether anything of a batch lies in the table's data."""
    return _folder(table, batch_id).is_dir()


def sweep(table: Table, batch_id: str) -> None:
    """Remove what earlier attempts at a batch left, unless a snapshot of the table names it.

    Only after a commit that refuses the publish of those earlier attempts, should one still be under way.
    """
    folder = _folder(table, batch_id)
    if not folder.is_dir():
        return
    try:
        named = _named(table)
    except Exception:  # noqa: BLE001 - a snapshot that cannot say what it names, for whatever reason: nothing is removed
        return
    metadata = Path(local_path(table.location_provider().metadata_path))
    found = [*folder.iterdir(), *metadata.glob(f"*{_METADATA.format(batch_id)}")]
    published = _published(table, batch_id)
    left = [path for path in found if os.path.realpath(path) not in named and not _is_of(path, batch_id, published)]
    remove_files(map(str, left))
    remove_empty(folder)


def _folder(table: Table, batch_id: str) -> Path:
    return Path(local_path(batch_location(table, batch_id)))


def _published(table: Table, batch_id: str) -> set[str]:
    """Return the attempts at a batch that became snapshots of the table, without the batch in their names."""
    lead = f"ingest_{batch_id}_"
    names = (snapshot.summary[ATTEMPT] for snapshot in table.metadata.snapshots if snapshot.summary is not None)
    return {name.removeprefix(lead) for name in names if name is not None and name.startswith(lead)}


def _is_of(path: Path, batch_id: str, attempts: Iterable[str]) -> bool:
    """Whether one of these attempts made the file, be it data or metadata."""
    name = path.name
    return any(name.startswith(f"{attempt}-") or f"ingest_{batch_id}_{attempt}" in name for attempt in attempts)


def _named(table: Table) -> set[str]:
    """Return the local paths of all files that any snapshot names, in the one spelling that each has."""
    lists = {snapshot.manifest_list: snapshot for snapshot in table.metadata.snapshots}
    manifests = {m.manifest_path: m for snapshot in lists.values() for m in snapshot.manifests(table.io)}
    entries = (e for m in manifests.values() for e in m.fetch_manifest_entry(table.io, discard_deleted=False))
    locations = (*lists, *manifests, *(entry.data_file.file_path for entry in entries))
    return {os.path.realpath(local_path(location)) for location in locations}
