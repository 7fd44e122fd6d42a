"""Folders on this machine for the time of one piece of work: gone afterwards, and after a kill with the next such work."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(directory: Path, prefix: str) -> Iterator[Path]:
    """Lend a folder ``{directory}/{prefix}xxxxxxxx`` for this user's eyes, and remove those that dead processes left there.

    A lock on it, which ends with this process at the latest, tells the others that it is in use.
    """
    _remove_abandoned(directory, prefix)
    folder, held = _claim(directory, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _claim(directory: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder and lock it; return the lock's descriptor."""
    while True:
        folder = directory / f"{prefix}{uuid.uuid4().hex[:8]}"
        folder.mkdir(mode=0o700, parents=True)
        try:
            held = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # taken for an abandoned one before it was locked
            continue
        with suppress(OSError):  # a file system without locks: then nobody else gets one either
            fcntl.flock(held, fcntl.LOCK_EX)
        if folder.is_dir():  # as above
            return folder, held
        os.close(held)


def _remove_abandoned(directory: Path, prefix: str) -> None:
    """Remove what killed processes left on the disk: a large merge leaves gigabytes there."""
    for folder in directory.glob(f"{prefix}*"):
        with suppress(OSError):  # locked by work that is alive, or gone by now
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
