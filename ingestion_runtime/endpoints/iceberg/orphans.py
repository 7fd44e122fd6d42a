"""Files in a table's folders that nothing names. Imported only when metadata is read: pyiceberg costs 1.2 s."""

import gzip
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.needed_files import files_of, metadata_files, true_path
from ingestion_runtime.model.upkeep import Orphan

_METADATA = (".metadata.json", ".metadata.json.gz", ".gz.metadata.json")
_UUID = re.compile(rb'"table-uuid"\s*:\s*"([^"]+)"')
_HEAD_BYTES = 65_536
# Iceberg's switch for tables whose files belong to someone else as well.
_OWNS_FILES = "gc.enabled"


@dataclass(frozen=True, slots=True)
class Strays:
    """Files that nothing names; ``unclear`` says why that is not sure, and then none may be removed."""

    files: tuple[Orphan, ...]
    unclear: str | None = None


def owns_files(table: Table) -> str | None:
    """Return why the table's files may not be removed, None when they may."""
    if table.properties.get(_OWNS_FILES, "true").lower() == "false":
        return f"the table says that its files are not its own ({_OWNS_FILES} = false)"
    return None


def find_strays(table: Table, others: Sequence[tuple[str, str]], now: float) -> Strays:
    """Return the files below the table's data and metadata folders that neither its metadata nor any snapshot names.

    ``others`` are the catalog's other tables: their names, and where their metadata lies. Raises UnfitSnapshot where the
    files are not on a local disk.
    """
    roots = _roots(table)
    found = {file.path: file for root in roots for file in _listed(root, now)}
    try:
        snapshots, metadata = files_of(table, table.metadata.snapshots).all, metadata_files(table)
    except Exception as error:  # noqa: BLE001 - a snapshot that cannot say what it needs, for whatever reason
        return Strays((), f"not all of its snapshots can be read ({_told(error)})")
    needed = snapshots | metadata
    # A file may have been moved and linked to from its place: then it is what the link leads to that is needed.
    needed |= {os.path.realpath(path) for path in needed if path not in found and Path(path).is_symlink()}
    strays = tuple(file for path, file in sorted(found.items()) if not _is_needed(path, needed))
    lost = next((path for path in sorted(snapshots) if path not in found and not Path(path).exists()), None)
    if lost is not None:
        # Gone, or spelled in a way that is not understood here: then others may be taken for strays that are not.
        return Strays(strays, f"a file that a snapshot needs is not there ({lost})")
    return Strays(strays, owns_files(table) or _foreign(table, roots, others, [file.path for file in strays]))


def is_own(table: Table, path: str) -> bool:
    """Whether a file (its true path) lies in the table's data or metadata folder."""
    return any(path.startswith(f"{root}/") for root in _roots(table))


def _roots(table: Table) -> list[str]:
    provider = table.location_provider()
    return sorted({true_path(f"{root}/x").rpartition("/")[0] for root in (provider.data_path, provider.metadata_path)})


def _listed(root: str, now: float) -> Iterator[Orphan]:
    """Yield the plain files below a folder; links are not followed, and are none of ours."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = f"{folder}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:  # somebody else is at work here
                continue
            if stat.S_ISREG(status.st_mode):
                # A second name of an old file is as young as its inode's last change.
                yield Orphan(path, status.st_size, now - max(status.st_mtime, status.st_ctime))


def _is_needed(path: str, needed: Collection[str]) -> bool:
    folder, _, name = path.rpartition("/")
    # Hadoop's file system keeps a checksum beside each file, and refuses the file when it does not fit.
    checked = name.removeprefix(".").removesuffix(".crc") if name.startswith(".") and name.endswith(".crc") else name
    return f"{folder}/{checked}" in needed


def _foreign(table: Table, roots: Sequence[str], others: Sequence[tuple[str, str]], strays: Sequence[str]) -> str | None:
    """Return what says that not all in the folders is the table's own."""
    for name, location in others:
        if _is_below(location, roots):
            return f"the table {name} lies in its folder"
    ours = str(table.metadata.table_uuid)
    for path in strays:
        if path.endswith(_METADATA):
            found = _uuid_of(path)
            if found not in (None, ours):
                return f"metadata of another table lies in its folder ({path})"
    return None


def _is_below(location: str, roots: Sequence[str]) -> bool:
    try:
        path = true_path(location)
    except Exception:  # noqa: BLE001 - it lies elsewhere altogether
        return False
    return any(path.startswith(f"{root}/") for root in roots)


def _uuid_of(path: str) -> str | None:
    """Return whose metadata a file holds; None for one that was never written to its end, which nobody can read."""
    data = Path(path).read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError):
            return None
    found = _UUID.search(data[:_HEAD_BYTES]) or _UUID.search(data)
    return None if found is None else found[1].decode()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]
