"""The file system, in the few verbs that staging and raw need: on the local disk, and chosen by a path's scheme."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from ingestion_runtime.model.errors import TerminalError

#: How paths on HDFS begin.
HDFS = "hdfs://"
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class Files(Protocol):
    """Verbs over absolute paths. Every write of a text is whole or absent."""

    def exists(self, path: str) -> bool: ...

    def names(self, directory: str) -> tuple[str, ...]:
        """Names in a directory, sorted; none when it does not exist."""
        ...

    def size(self, path: str) -> int: ...

    def age_seconds(self, path: str, now: float) -> float:
        """Seconds since the last change, against ``now`` in seconds since the epoch."""
        ...

    def sha256(self, path: str) -> str: ...

    def read_text(self, path: str) -> str:
        """Return a file's text; raises TerminalError when it is no UTF-8."""
        ...

    def write_text(self, path: str, text: str, *, lasting: bool = True) -> None:
        """Write a text whole; ``lasting``: it survives a power cut once the call has returned."""
        ...

    def open(self, path: str) -> Any:
        """Return a pyarrow file to read from: seekable, made for footers and a few columns; close it."""
        ...

    def replacing(self, path: str) -> AbstractContextManager[Path]:
        """Lend the name of a local file to write; when the block ends well, what was written stands at ``path``, whole."""
        ...

    def make_directory(self, path: str) -> None: ...

    def adopt(self, source: str, target: str) -> None:
        """Give a file a second name that survives the removal of the first: a link, or a copy."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a directory to a name that does not exist, in one step; raises OSError where the name is taken."""
        ...

    def remove_tree(self, path: str) -> None: ...

    def remove_empty(self, directory: str) -> None:
        """Remove a directory in which nothing is; any other stays."""
        ...

    def sync(self, directory: str) -> None:
        """Make the names in a directory survive a power cut."""
        ...


class LocalFiles:
    """A local file system."""

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def names(self, directory: str) -> tuple[str, ...]:
        return tuple(sorted(os.listdir(directory))) if Path(directory).is_dir() else ()  # noqa: PTH208

    def size(self, path: str) -> int:
        return Path(path).stat().st_size

    def age_seconds(self, path: str, now: float) -> float:
        return now - Path(path).stat().st_mtime

    def sha256(self, path: str) -> str:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def read_text(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise TerminalError(
                f"{path} holds no text ({error.reason} at byte {error.start}).",
                remedy="Restore it from a backup, or rerun the table with --reload.",
                path=path,
            ) from None

    def write_text(self, path: str, text: str, *, lasting: bool = True) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            if lasting:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(target)
        if lasting:
            self.sync(str(target.parent))

    def open(self, path: str) -> Any:
        return pa.OSFile(path, "rb")

    @contextmanager
    def replacing(self, path: str) -> Iterator[Path]:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}")
        yield temporary
        temporary.replace(target)
        # Hadoop's file system wrote a checksum beside the file, and would refuse to read other bytes under that name.
        target.with_name(f".{target.name}.crc").unlink(missing_ok=True)

    def make_directory(self, path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)

    def adopt(self, source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Another device, or a file system without links: a copy is as good, only slower (92 MiB: 0.04 s).
            shutil.copyfile(source, target)

    def rename(self, source: str, target: str) -> None:
        Path(source).rename(target)
        self.sync(str(Path(target).parent))

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def remove_empty(self, directory: str) -> None:
        with suppress(OSError):  # somebody has put something into it, a moment ago perhaps
            Path(directory).rmdir()

    def sync(self, directory: str) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_hdfs(path: str) -> bool:
    """Whether a path lies on HDFS."""
    return path.startswith(HDFS)


class PlacedFiles:
    """Local paths and hdfs:// paths behind one set of verbs. Nothing of HDFS is touched before such a path is."""

    def __init__(self, local: Files, hdfs: Files) -> None:
        self._local = local
        self._hdfs = hdfs

    def exists(self, path: str) -> bool:
        return self._at(path).exists(path)

    def names(self, directory: str) -> tuple[str, ...]:
        return self._at(directory).names(directory)

    def size(self, path: str) -> int:
        return self._at(path).size(path)

    def age_seconds(self, path: str, now: float) -> float:
        return self._at(path).age_seconds(path, now)

    def sha256(self, path: str) -> str:
        return self._at(path).sha256(path)

    def read_text(self, path: str) -> str:
        return self._at(path).read_text(path)

    def write_text(self, path: str, text: str, *, lasting: bool = True) -> None:
        self._at(path).write_text(path, text, lasting=lasting)

    def open(self, path: str) -> Any:
        return self._at(path).open(path)

    def replacing(self, path: str) -> AbstractContextManager[Path]:
        return self._at(path).replacing(path)

    def make_directory(self, path: str) -> None:
        self._at(path).make_directory(path)

    def adopt(self, source: str, target: str) -> None:
        # Between the two a link is impossible, and only HDFS's side knows how to copy.
        (self._hdfs if is_hdfs(source) or is_hdfs(target) else self._local).adopt(source, target)

    def rename(self, source: str, target: str) -> None:
        self._at(source).rename(source, target)

    def remove_tree(self, path: str) -> None:
        self._at(path).remove_tree(path)

    def remove_empty(self, directory: str) -> None:
        self._at(directory).remove_empty(directory)

    def sync(self, directory: str) -> None:
        self._at(directory).sync(directory)

    def _at(self, path: str) -> Files:
        return self._hdfs if is_hdfs(path) else self._local
