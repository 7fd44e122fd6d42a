"""Files of HDFS on this machine, for work that reads local files only: copies that are gone once they are not needed.

How much is copied at a time is bounded where the work allows for it, see ``NearFiles.portions``; that it fits is known
before the first byte moves.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.tools.files import HDFS, Files, is_hdfs
from ingestion_runtime.tools.scratch import scratch

_PREFIX = "_near-"
# The rest stays free for SQL, logs and the state database.
_MOST_OF_FREE = 0.8


class NearFiles:
    """Lends files on this machine: local ones as they are, those of HDFS as copies in a folder of its own. For one thread.

    Close it. The folder is made with the first copy; what a killed process left of it goes with the next one's.
    """

    def __init__(self, files: Files, directory: str, portion_bytes: int = 2**30) -> None:
        """``directory`` is a local one, in which the folder is made; ``portion_bytes`` are copied at a time, see
        ``portions``."""
        self._files = files
        self._directory = Path(directory)
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._portion_bytes = portion_bytes

    def __enter__(self) -> "NearFiles":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, value, trace)
        self._folder = None

    @property
    def folder(self) -> Path:
        """The folder of the copies, and of whatever else is needed for the same time."""
        if self._folder is None:
            self._folder = self._stack.enter_context(scratch(self._directory, _PREFIX))
        return self._folder

    @property
    def root(self) -> str:
        """What stands before the host in the path of a copy, as ``hdfs://`` does in that of its original."""
        return f"{self.folder}/"

    def path(self, path: str) -> str:
        """Return where a file lies while it is lent; raises TerminalError for a path that leads out of the folder."""
        if not is_hdfs(path):
            return path
        if ".." in path.split("/"):
            raise TerminalError(f"{path!r} is no path of ours.", remedy="Restore the manifest that names it.", path=path)
        return f"{self.root}{path.removeprefix(HDFS)}"

    def told(self, words: str) -> str:
        """Return a text about copies, as one about their originals."""
        return words if self._folder is None else words.replace(self.root, HDFS)

    @contextmanager
    def lend(self, paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Lend files (absolute paths, or on HDFS), and say where they lie, in the same order. What is lent already must not
        be lent once more in between.

        Raises FileNotFoundError, and TransientError where the disk has no room.
        """
        wanted = tuple(paths)
        far = [path for path in dict.fromkeys(wanted) if is_hdfs(path)]
        if far:
            self._require_room(sum(map(self._files.size, far)))
        try:
            for path in far:
                copy = Path(self.path(path))
                copy.parent.mkdir(parents=True, exist_ok=True)
                self._files.adopt(path, str(copy))
            yield tuple(map(self.path, wanted))
        finally:
            for path in far:
                Path(self.path(path)).unlink(missing_ok=True)

    def portions(self, files: Iterable[tuple[str, int]]) -> Iterator[tuple[str, ...]]:
        """Cut a list of paths with their sizes in bytes into pieces that can be lent one after the other: files of HDFS of
        ``portion_bytes`` together, or a single larger one. Local ones are one piece."""
        piece: list[str] = []
        held = 0
        for path, size in files:
            copied = size if is_hdfs(path) else 0
            if piece and held + copied > self._portion_bytes:
                yield tuple(piece)
                piece, held = [], 0
            piece.append(path)
            held += copied
        if piece:
            yield tuple(piece)

    def _require_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed > free * _MOST_OF_FREE:
            raise TransientError(
                f"{needed / 2**20:,.1f} MiB of HDFS have to be copied to {self._directory} for a while, and"
                f" {free / 2**20:,.1f} MiB are free there.",
                remedy="Make room on that disk, then run the same command again.",
                directory=str(self._directory),
            )
