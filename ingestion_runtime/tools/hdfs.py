"""HDFS through Spark's JVM: Hadoop's own client, because nothing else that Python could load speaks to it.

The JVM starts with the first path that is touched. A call takes a fraction of a millisecond beside what HDFS itself needs.
"""

import io
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.tools.files import is_hdfs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What Hadoop's client says when the storage, and not the caller, is at fault: the words survive in messages of Spark's
# executors, where the exception itself does not.
_OUTAGE = re.compile(
    r"could only be written to \d+ of the|BlockMissingException|Could not obtain block|SafeModeException|in safe mode"
    r"|All datanodes .{0,200} are bad|Unable to close file because the last block|replace a bad datanode"
    r"|StandbyException|Call From \S+ to \S+ failed on"
)
_CLASSES = re.compile(r"^[:\s]*(?:[\w.$]+(?:\([\w.$]+\))?: )*")
_RIGHTS = re.compile(r"AccessControlException: ([^\n]+)")
_ABSENT = "java.io.FileNotFoundException"
_TAKEN = "org.apache.hadoop.fs.FileAlreadyExistsException"
_READABLE = 300

# What Hadoop's client says when the file behind a name became another one while it was read.
_REPLACED = "Blocklist for"
_TRIES = 3


class HdfsFiles:
    """Verbs over hdfs:// paths. Implements ``Files``; safe to use from several threads.

    Beside what the protocol says every verb raises TransientError when HDFS cannot serve it, TerminalError without the right
    to, and FileNotFoundError or FileExistsError as the local ones do.
    """

    def __init__(self, session: Callable[[], "SparkSession"]) -> None:
        self._session = session

    def exists(self, path: str) -> bool:
        with _translated(path):
            return bool(self._system(path).exists(self._path(path)))

    def names(self, directory: str) -> tuple[str, ...]:
        try:
            with _translated(directory):
                found = self._system(directory).listStatus(self._path(directory))
                return tuple(sorted(str(status.getPath().getName()) for status in found))
        except FileNotFoundError:
            return ()

    def size(self, path: str) -> int:
        with _translated(path):
            return int(self._system(path).getFileStatus(self._path(path)).getLen())

    def age_seconds(self, path: str, now: float) -> float:
        with _translated(path):
            return now - int(self._system(path).getFileStatus(self._path(path)).getModificationTime()) / 1000

    def sha256(self, path: str) -> str:
        with _translated(path), self._stream(path) as stream:
            return str(self._jvm().org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))

    def read_text(self, path: str) -> str:
        content = self._content(path)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise TerminalError(
                f"{path} holds no text ({error.reason} at byte {error.start}).",
                remedy="Restore it from a backup, or rerun the table with --reload.",
                path=path,
            ) from None

    def _content(self, path: str) -> bytes:
        """Return all bytes of a file; of one that is replaced at this moment those of the old or the new one."""
        for left in reversed(range(_TRIES)):
            try:
                with _translated(path), self._stream(path) as stream:
                    return bytes(stream.readAllBytes())
            except Exception as error:
                # The name led to blocks that a replacement has taken away since: now it leads to the new ones.
                if not left or _REPLACED not in str(error):
                    raise
        raise RuntimeError("a try either returns or raises")

    def write_text(self, path: str, text: str, *, lasting: bool = True) -> None:  # noqa: ARG002 - HDFS always does
        temporary = _beside(path)
        with _translated(path):
            stream = self._system(path).create(self._path(temporary), True)
            try:
                stream.write(text.encode())
                stream.hsync()
            finally:
                stream.close()
            self._move(temporary, path, "OVERWRITE")

    def open(self, path: str) -> Any:
        with _translated(path):
            stream = self._system(path).open(self._path(path))
            return pa.PythonFile(_Reader(path, stream, self.size(path)), "r")

    @contextmanager
    def replacing(self, path: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="ingestion-") as directory:
            written = Path(directory, "file")
            yield written
            temporary = _beside(path)
            with _translated(path):
                self._system(path).copyFromLocalFile(False, True, self._path(str(written)), self._path(temporary))
                self._move(temporary, path, "OVERWRITE")

    def make_directory(self, path: str) -> None:
        with _translated(path):
            self._system(path).mkdirs(self._path(path))

    def adopt(self, source: str, target: str) -> None:
        """Copy: HDFS has no links. The copy runs through the JVM, block by block, and not through Python."""
        with _translated(target):
            util = self._jvm().org.apache.hadoop.fs.FileUtil
            places = self._system(source), self._path(source), self._system(target), self._path(target)
            util.copy(*places, False, True, self._settings())

    def rename(self, source: str, target: str) -> None:
        with _translated(target):
            self._move(source, target, "NONE")

    def remove_tree(self, path: str) -> None:
        with _translated(path):
            self._system(path).delete(self._path(path), True)

    def remove_empty(self, directory: str) -> None:
        if not self.names(directory):
            self.remove_tree(directory)

    def sync(self, directory: str) -> None:
        """Nothing to do: the NameNode has synced its journal before it answers."""

    def _move(self, source: str, target: str, option: str) -> None:
        # By FileContext: FileSystem.rename answers false where a file stands, and moves *into* a directory that stands.
        hadoop = self._jvm().org.apache.hadoop.fs
        options = self._gateway().new_array(getattr(hadoop, "Options$Rename"), 1)
        options[0] = getattr(getattr(hadoop, "Options$Rename"), option)
        place = self._path(target)
        hadoop.FileContext.getFileContext(place.toUri(), self._settings()).rename(self._path(source), place, options)

    @contextmanager
    def _stream(self, path: str) -> Iterator[Any]:
        stream = self._system(path).open(self._path(path))
        try:
            yield stream
        finally:
            stream.close()

    def _system(self, path: str) -> Any:
        """Return Hadoop's file system of a path; it keeps its own cache of them."""
        system = self._path(path).getFileSystem(self._settings())
        # A local file next to HDFS: without the checksum files that Hadoop would leave beside it.
        return system.getRaw() if system.getScheme() == "file" else system

    def _path(self, path: str) -> Any:
        # As it is: Hadoop would take %3D for what the folder is called, and not for a =.
        return self._jvm().org.apache.hadoop.fs.Path(path if is_hdfs(path) else f"file://{path}")

    def _settings(self) -> Any:
        context: Any = self._session().sparkContext
        return context._jsc.hadoopConfiguration()

    def _gateway(self) -> Any:
        context: Any = self._session().sparkContext
        return context._gateway

    def _jvm(self) -> Any:
        return self._gateway().jvm


class _Reader(io.RawIOBase):
    """An open HDFS file as Python reads files. Meant for footers: every byte comes over a socket, as text."""

    def __init__(self, path: str, stream: Any, size: int) -> None:
        self._path = path
        self._stream = stream
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        with _translated(self._path):
            self._stream.seek(self._place)
            found = bytes(self._stream.readNBytes(wanted))
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn what Hadoop's client throws into errors of our own, or of Python's."""
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        kind = str(error.java_exception.getClass().getName())
        if kind == _ABSENT:
            raise FileNotFoundError(2, "No such file", path) from None
        if kind == _TAKEN:
            raise FileExistsError(17, "The name is taken", path) from None
        raise storage_fault(error) or error from None


def storage_fault(error: BaseException) -> IngestionError | None:
    """Return what an error of the JVM says of HDFS: TransientError for an outage, TerminalError for missing rights.

    None for an error that says nothing of HDFS.
    """
    text = "\n".join(_texts(error))
    denied = _RIGHTS.search(text)
    if denied:
        return TerminalError(
            f"HDFS refused access: {denied[1][:_READABLE].rstrip('.')}.",
            remedy="Give the user that runs the ingestion (HADOOP_USER_NAME, else the process's) the right to it.",
        )
    found = _OUTAGE.search(text)
    if found is None:
        return None
    line = next(line for line in text.splitlines() if _OUTAGE.search(line))
    return TransientError(
        f"HDFS could not serve the run: {_CLASSES.sub('', line)[:_READABLE].rstrip('. ')}.",
        remedy="Check that NameNode and DataNodes are up, out of safe mode and have room, then run the same command again.",
    )


def _texts(error: BaseException) -> Iterator[str]:
    yield str(error)
    cause: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while cause is not None:
        yield str(cause.toString())
        cause = cause.getCause()


def _beside(path: str) -> str:
    parent, _, name = path.rpartition("/")
    return f"{parent}/.{name}.{uuid.uuid4().hex}"
