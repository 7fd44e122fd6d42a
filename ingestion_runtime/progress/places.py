"""Where event logs lie: a file, a folder of files or of segments, here or on a file system that fsspec knows."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from ingestion_runtime.model.errors import ConfigError, IngestionError, TransientError

# The time in the name is that of the run's start, where its id does not say something else.
_RUN: Final = re.compile(r"run-(?P<stamp>\d{8}T\d{6})?.*?(?P<extension>\.jsonl)?")
_SEGMENT: Final = re.compile(r"\d{6,}\.jsonl")


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a run (a file may hold several): one file, or a folder of numbered segments. ``began`` orders them."""

    path: str
    segmented: bool
    began: tuple[str, float] = field(default=("", 0.0), compare=False)


class Place:
    """What a path or URL stands for: ``/logs/run-1.jsonl``, ``/logs``, ``webhdfs://host:port/outbox``.

    It need not exist yet. Verbs raise ConfigError for what may not be read, TransientError for a file system out of reach.
    """

    def __init__(self, location: str) -> None:
        import fsspec.core  # 0.04 s, and more for a protocol's own client

        self._location = location
        try:
            filesystem, path = fsspec.core.url_to_fs(location)
        except Exception as error:  # noqa: BLE001 - each protocol refuses its addresses in its own way
            raise ConfigError(
                f"{_without_secrets(location)} cannot be read: {_first_line(error)}.",
                remedy="Name a file, a folder, or the URL of an outbox such as webhdfs://host:port/path.",
            ) from None
        self._fs: Any = filesystem
        self._path = path.rstrip("/") or "/"
        self.is_local = _is_local(filesystem)

    def __str__(self) -> str:
        return _without_secrets(self._location)

    def logs(self) -> tuple[Log, ...]:
        """Return the logs that are there now, the newest last. None while the place does not exist, or is empty."""
        with self.reachable():
            self._fs.invalidate_cache()
            try:
                found = self._fs.info(self._path)
            except FileNotFoundError:
                return ()
            if not self._is_folder(found):
                return (Log(self._path, segmented=False),)
            return self._inside(self._fs.ls(self._path, detail=True))

    def newest(self) -> Log | None:
        """Return the log of the run that began last; None while there is none."""
        return next(reversed(self.logs()), None)

    def segments(self, log: Log) -> Iterator[tuple[str, int]]:
        """Yield the files of a log and their sizes in bytes, oldest first; hidden ones are still being written."""
        with self.reachable():
            self._fs.invalidate_cache()
            if not log.segmented:
                yield log.path, int(self._fs.info(log.path)["size"])
                return
            entries = self._fs.ls(log.path, detail=True)
            wanted = [entry for entry in entries if _SEGMENT.fullmatch(_base(entry))]
            for entry in sorted(wanted, key=lambda entry: int(_base(entry).partition(".")[0])):
                yield str(entry["name"]), int(entry["size"])

    def read(self, path: str) -> bytes:
        """Return what a file holds."""
        with self.reachable():
            return bytes(self._fs.cat_file(path))

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Turn what a file system raises into errors with a remedy; FileNotFoundError is passed on."""
        try:
            yield
        except (FileNotFoundError, IngestionError, GeneratorExit):
            raise
        except PermissionError as error:
            raise ConfigError(
                f"{self} may not be read ({_first_line(error)}).",
                remedy="Run this as a user that may read the logs, or give it the right to.",
            ) from None
        except NotADirectoryError:
            raise ConfigError(f"{self} cannot be read: a part of it is a file.", remedy="Correct the path.") from None
        except Exception as error:  # noqa: BLE001 - each protocol of fsspec has errors of its own
            raise TransientError(
                f"{self} cannot be read ({type(error).__name__}: {_first_line(error)}).",
                remedy="Check that the file system is up and the address is right, then try again.",
            ) from None

    def _inside(self, entries: list[Any]) -> tuple[Log, ...]:
        if any(_SEGMENT.fullmatch(_base(entry)) for entry in entries):
            return (Log(self._path, segmented=True),)
        found = []
        for entry in entries:
            match, folder = _RUN.fullmatch(_base(entry)), self._is_folder(entry)
            if match and (folder or match["extension"]):
                changed = _changed(entry)
                found.append(Log(str(entry["name"]), folder, (match["stamp"] or _stamp(changed), changed)))
        return tuple(sorted(found, key=lambda log: log.began))

    def _is_folder(self, entry: Any) -> bool:
        # What is neither may be a link to either.
        return bool(entry["type"] == "directory" or (entry["type"] != "file" and self._fs.isdir(entry["name"])))


def _changed(entry: Any) -> float:
    """Return the time of the last change, in seconds: local entries tell seconds, those of WebHDFS milliseconds."""
    if "modificationTime" in entry:
        return float(entry["modificationTime"]) / 1000
    told = entry.get("mtime")
    return float(told) if isinstance(told, int | float) else 0.0


def _stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}"


def _base(entry: Any) -> str:
    return os.path.basename(str(entry["name"]))  # noqa: PTH119 - a name on any file system


def _is_local(filesystem: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(filesystem, LocalFileSystem)


def _without_secrets(location: str) -> str:
    return re.sub(r"//[^/@]*@", "//", location)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300].rstrip(".")
