"""Catalog snapshots on disk: one JSON document a table."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.schema import TableSnapshot

# Two of these, a dot and the suffixes stay below the 255 bytes that file systems allow.
_LONGEST_NAME = 100


class MetadataCacheManager:
    """Keeps the last accepted snapshot of each table in ``directory/source/schema.table.json``.

    ``ttl_hours`` is how long a snapshot stays fresh; 0: never. ``clock`` returns the present as an aware datetime. Safe
    to use from several threads and processes: a document is replaced as a whole, and the last writer wins.
    """

    def __init__(
        self,
        directory: Path,
        ttl_hours: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._ttl = timedelta(hours=ttl_hours)
        self._clock = clock

    def load(self, source_id: str, schema: str, table: str) -> TableSnapshot | None:
        """Return the table's snapshot, None where there is none.

        A document that cannot be understood counts as absent; it is moved aside under the suffix ``.broken``. Raises
        TransientError when the file cannot be read or moved.
        """
        path = self.path(source_id, schema, table)
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _disk_error("read", path, error) from error
        try:
            return load_document(TableSnapshot, text, str(path))
        except TerminalError:
            self._put_aside(path)
            return None

    def is_fresh(self, snapshot: TableSnapshot) -> bool:
        """Return whether the snapshot is younger than the time to live; one from the future is not fresh."""
        if snapshot.taken_at.tzinfo is None:
            return False
        return timedelta(0) <= self._clock() - snapshot.taken_at < self._ttl

    def save(self, source_id: str, snapshot: TableSnapshot) -> None:
        """Replace the table's snapshot; readers see the old document or the new one. Raises TransientError."""
        path = self.path(source_id, snapshot.schema, snapshot.table)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, dump_document(snapshot).encode())
        except OSError as error:
            raise _disk_error("write", path, error) from error

    def _put_aside(self, path: Path) -> None:
        _move_aside(path)

    def path(self, source_id: str, schema: str, table: str) -> Path:
        """Return where the table's document lies. No name, however odd, leads out of the directory."""
        return self._directory / _file_name(source_id) / f"{_file_name(schema)}.{_file_name(table)}.json"


class UnsavedSnapshots(MetadataCacheManager):
    """The same snapshots for whoever only looks: what is saved is remembered in memory, and nothing on disk changes."""

    def __init__(self, directory: Path, ttl_hours: float) -> None:
        super().__init__(directory, ttl_hours)
        self._saved: dict[Path, TableSnapshot] = {}

    def load(self, source_id: str, schema: str, table: str) -> TableSnapshot | None:
        """Return the table's snapshot, as it was saved here or as it is on disk."""
        return self._saved.get(self.path(source_id, schema, table)) or super().load(source_id, schema, table)

    def save(self, source_id: str, snapshot: TableSnapshot) -> None:
        """Remember the table's snapshot."""
        self._saved[self.path(source_id, snapshot.schema, snapshot.table)] = snapshot

    def _put_aside(self, path: Path) -> None:
        """Leave a document that cannot be understood where it is."""


def _file_name(name: str) -> str:
    # quote() leaves dots alone; encoded, they neither climb (..) nor blur where the schema ends.
    encoded = quote(name, safe="", errors="surrogatepass").replace(".", "%2E") or "%"
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    digest = hashlib.sha256(encoded.encode()).hexdigest()[:16]
    return f"{encoded[: _LONGEST_NAME - 17]}-{digest}"


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (the same call, on the text that mkstemp returned)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _move_aside(path: Path) -> None:
    try:
        path.replace(path.with_name(f"{path.name}.broken"))
    except FileNotFoundError:
        return  # another thread has moved it
    except OSError as error:
        raise _disk_error("move aside", path, error) from error


def _disk_error(action: str, path: Path, error: OSError) -> TransientError:
    return TransientError(
        f"Cannot {action} the metadata snapshot {path}: {error.strerror or error}.",
        remedy="Make room and check the permissions of the directory, then run again.",
        path=str(path),
    )
