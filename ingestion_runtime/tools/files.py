"""The file system, in the few verbs that staging and raw need. Local today; another place is another class."""

import errno
import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Protocol

from ingestion_runtime.model.errors import TerminalError

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

    def write_text(self, path: str, text: str) -> None: ...

    def make_directory(self, path: str) -> None: ...

    def adopt(self, source: str, target: str) -> None:
        """Give a file a second name that survives the removal of the first."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Move a directory to a name that does not exist, in one step."""
        ...

    def remove_tree(self, path: str) -> None: ...

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

    def write_text(self, path: str, text: str) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        self.sync(str(target.parent))

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

    def sync(self, directory: str) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
