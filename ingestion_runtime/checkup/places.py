"""Directories of a configuration: can they be made and written, is there room, do links between them work."""

import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.network import look_at_address
from ingestion_runtime.checkup.runner import Check
from ingestion_runtime.model.spec import Configuration
from ingestion_runtime.tools.files import is_hdfs

_MEBI = 2**20
_NAMENODE = 8020  # where a URL names no port


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and inodes below which a disk is worth a look, and below which a run would soon fail."""

    scarce_bytes: int = 2**30
    least_bytes: int = 64 * _MEBI
    scarce_inodes: int = 10_000
    least_inodes: int = 500


def place_checks(configuration: Configuration, room: Room) -> tuple[Check, ...]:
    """Return the checks of all places that a run writes to."""
    named = _places(configuration)
    local = {name: Path(place) for name, place in named.items() if not _is_far(place)}
    far = {name: place for name, place in named.items() if _is_far(place)}
    checks = [Check(f"place {name}", _writable(path)) for name, path in local.items()]
    checks += [Check(f"place {name}", _reachable(place)) for name, place in far.items()]
    checks.append(Check("disk", lambda findings: _look_at_room(findings, local, room)))
    linked = {name: path for name, path in local.items() if name in ("raw_root", "staging.root", "warehouse")}
    if len(linked) > 1:
        checks.append(Check("links", lambda findings: _look_at_links(findings, linked)))
    return tuple(checks)


def existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _places(configuration: Configuration) -> dict[str, str]:
    """Return every place by the key that names it; those that the configuration leaves out have their defaults."""
    runtime, metadata = configuration.runtime, configuration.metadata
    logs = str(runtime.log_folder)
    places: Mapping[str, str | None] = {
        "raw_root": runtime.raw_root,
        "final_root": runtime.final_root,
        "staging.root": runtime.staging.root,
        "warehouse": runtime.catalog.warehouse if runtime.catalog else None,
        "catalog": str(Path(runtime.catalog.database).parent) if runtime.catalog and runtime.catalog.database else None,
        "state": str(Path(runtime.state_database).parent),
        "metadata cache": metadata.cache_path if metadata.enabled else None,
        "logs": logs if runtime.logging.emit_structured else None,
        "outbox": runtime.hdfs_outbox_root,
    }
    return {name: place for name, place in places.items() if place}


def _is_far(place: str) -> bool:
    return is_hdfs(place) or "://" in place


def _writable(path: Path) -> Callable[[Findings], None]:
    def look(findings: Findings) -> None:
        there = existing(path)
        if not there.is_dir():
            findings.red(f"{path}: {there} is in the way, and no directory", "Move it, or name another place.")
            return
        try:
            # Made and gone again: the rights of a directory do not say what a mount or a quota thinks of it.
            with tempfile.TemporaryFile(dir=there) as file:
                file.write(b"x")
                file.flush()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "Make room on it." if full else "Let the user that runs the ingestion write it, or name another place."
            findings.red(f"{there} cannot be written: {error.strerror}", remedy, exit_code=3 if full else 1)
            return
        findings.green(f"{path} can be written" if there == path else f"{path} is not there yet; {there} can be written")

    return look


def _reachable(place: str) -> Callable[[Findings], None]:
    def look(findings: Findings) -> None:
        parts = urlsplit(place)
        look_at_address(findings, parts.hostname or "", parts.port or _NAMENODE, place)

    return look


def _look_at_room(findings: Findings, places: Mapping[str, Path], room: Room) -> None:
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, path in places.items():
        there = existing(path)
        disks.setdefault(there.stat().st_dev, (there, []))[1].append(name)
    for there, names in disks.values():
        status = os.statvfs(there)
        if not status.f_blocks:
            continue  # no disk at all: whether it can be written is said elsewhere
        free, inodes = status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None
        told = f"{free / 2**30:,.1f} GiB free for {', '.join(names)}"
        if free < room.least_bytes or (inodes is not None and inodes < room.least_inodes):
            findings.red(_without_room(told, inodes), f"Make room on the disk of {there}.", exit_code=3)
        elif free < room.scarce_bytes or (inodes is not None and inodes < room.scarce_inodes):
            findings.yellow(_without_room(told, inodes), f"Make room on the disk of {there} before it runs out.")
        else:
            findings.green(told)


def _without_room(told: str, inodes: int | None) -> str:
    return told if inodes is None else f"{told}, {inodes:,} files more can be made"


def _look_at_links(findings: Findings, places: Mapping[str, Path]) -> None:
    devices: dict[int, list[str]] = {}
    for name, path in places.items():
        devices.setdefault(existing(path).stat().st_dev, []).append(name)
    if len(devices) > 1:
        apart = " | ".join(", ".join(names) for names in devices.values())
        findings.yellow(
            f"on different file systems: {apart}; files are copied in place of linked",
            "Put them on one file system: it spares a copy of every file.",
        )
    else:
        findings.green(f"{', '.join(places)} lie on one file system: files are linked, not copied")
