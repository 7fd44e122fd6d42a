"""Files that attempts at a batch made in a table's folder, and that no snapshot came to name.

A batch has a folder of its own below the table's data, so that one look tells whether there are any.
"""

from collections.abc import Iterable
from pathlib import Path

from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path

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


def sweep(table: Table, batch_id: str) -> None:
    """Remove what earlier attempts at a batch left, unless a snapshot of the table names it.

    Only for the holder of the table's lease, whose fence refuses the publish of those earlier attempts.
    """
    folder = Path(local_path(batch_location(table, batch_id)))
    if not folder.is_dir():
        return
    try:
        named = _named(table)
    except OSError:
        return  # a snapshot without its manifests cannot say what it names: nothing is removed
    metadata = Path(local_path(table.location_provider().metadata_path))
    found = [*folder.iterdir(), *metadata.glob(f"*{_METADATA.format(batch_id)}")]
    remove_files(str(path) for path in found if str(path) not in named)


def _named(table: Table) -> set[str]:
    """Return the local paths of all files that any snapshot names."""
    lists = {snapshot.manifest_list: snapshot for snapshot in table.metadata.snapshots}
    manifests = {m.manifest_path: m for snapshot in lists.values() for m in snapshot.manifests(table.io)}
    entries = (e for m in manifests.values() for e in m.fetch_manifest_entry(table.io, discard_deleted=False))
    return {local_path(location) for location in (*lists, *manifests, *(entry.data_file.file_path for entry in entries))}
