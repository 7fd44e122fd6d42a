"""Mirrors of event logs in an outbox, a folder a run, that are old: on any file system that fsspec knows."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ingestion_runtime.model.errors import TransientError

# Ours have the time of their beginning in their names, and hold segments alone.
_FOLDER = re.compile(r"run-(\d{8}T\d{6})-.+")
_SEGMENT = re.compile(r"\d{6,}\.jsonl|\.\d{6,}\.jsonl\.part")
_STAMP = "%Y%m%dT%H%M%S"
_DAY = 86_400.0

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OldMirror:
    """A folder that may go, and the bytes in it."""

    path: str
    size: int


def find_old_mirrors(root: str, days: int, now: datetime) -> tuple[OldMirror, ...]:
    """Return the folders that nobody has written to for so many days, but for the newest; a folder with anything else in it
    is not ours. None where there is no outbox. Raises TransientError where it cannot be reached."""
    before = now.timestamp() - days * _DAY
    with _reached(root) as (filesystem, path):
        listed = _listed(filesystem, path)
        runs = sorted((began, entry["name"], _changed(entry)) for entry in listed if (began := _began(entry)) is not None)
        old = [name for began, name, changed in runs[:-1] if max(began, changed) < before]
        sizes = {name: _size(_listed(filesystem, name)) for name in old}
    return tuple(OldMirror(name, size) for name, size in sizes.items() if size is not None)


def remove_mirrors(root: str, mirrors: tuple[OldMirror, ...]) -> None:
    """Remove folders; one that is gone by now is no error. Raises TransientError where the outbox cannot be reached."""
    with _reached(root) as (filesystem, _):
        for mirror in mirrors:
            if filesystem.exists(mirror.path):
                filesystem.rm(mirror.path, recursive=True)


@contextmanager
def _reached(root: str) -> Iterator[tuple[Any, str]]:
    """Lend a file system and the path of an outbox on it."""
    import fsspec.core  # 0.04 s that who has no outbox need not pay

    try:
        filesystem, path = fsspec.core.url_to_fs(root)
        filesystem.invalidate_cache()
        yield filesystem, path
    except Exception as error:  # each protocol of fsspec has errors of its own
        words = str(error).strip().partition("\n")[0][:300].rstrip(".")
        raise TransientError(
            f"The outbox {root} could not be looked through ({type(error).__name__}: {words}).",
            remedy="Check that its file system is up, and that this user may list and remove there; then run it again.",
        ) from error


def _listed(filesystem: Any, path: str) -> list[Entry]:
    try:
        return list(filesystem.ls(path, detail=True))
    except FileNotFoundError:
        return []


def _began(entry: Entry) -> float | None:
    """Return when the run of a folder began, in seconds since the epoch; None for what is no folder of a run."""
    found = _FOLDER.fullmatch(str(entry["name"]).rpartition("/")[2])
    if found is None or entry["type"] != "directory":
        return None
    try:
        return datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _changed(entry: Entry) -> float:
    """Return when a folder was written to last, in seconds; 0 on file systems whose folders have no time."""
    if "modificationTime" in entry:
        return float(entry["modificationTime"]) / 1000  # WebHDFS
    told = entry.get("mtime")
    return float(told) if isinstance(told, int | float) else 0.0


def _size(entries: list[Entry]) -> int | None:
    """Return the bytes of segments; None where there is anything else."""
    names = [str(entry["name"]).rpartition("/")[2] for entry in entries]
    if not all(entry["type"] == "file" and _SEGMENT.fullmatch(name) for entry, name in zip(entries, names, strict=True)):
        return None
    return sum(int(entry["size"] or 0) for entry in entries)
