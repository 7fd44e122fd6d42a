"""SQLite's rows as record batches, by Python's own driver: values carry their own types, and each is looked at.

ADBC's driver would take a third of the time. But it brings a second copy of SQLite into the process, and two copies break
each other's locks on a file (they are POSIX locks: whoever closes the file drops those of both): a writer could then change
pages in the midst of a read. It also takes the type of a column from its first rows.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Rows
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_reals import spell_real
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_types import UTF8, carrier_of
from ingestion_runtime.endpoints.jdbc.landing import refusal
from ingestion_runtime.model.errors import TransientError

# Rows are fetched so many at a time, fewer where they are wide: so much is held beyond the size of a batch.
_MOST_FETCHED = 256
_MOST_ROWS = 16_384

_NONE = type(None)
_INTEGERS, _NUMBERS = frozenset({int, _NONE}), frozenset({int, float, _NONE})
_PLAIN_TEXTS, _BLOBS = frozenset({str, _NONE}), frozenset({bytes, _NONE})
_TEXTS, _ENCODED_TEXTS = _PLAIN_TEXTS | {int, float}, _PLAIN_TEXTS | {int, float, bytes}

Maker = Callable[[Sequence[Any]], pa.Array]


class OpenedFile(sqlite3.Connection):
    """A connection that knows whether its file is still the one of that name.

    Who puts another file in its place leaves the old one to those who have it open: a probe of the new file, and then a read
    of the old one, would pass over rows for good.
    """

    def __init__(self, path: Path, uri: str, timeout: float) -> None:
        self.path = path
        self._opened = self._file()
        super().__init__(uri, uri=True, timeout=timeout, check_same_thread=False, isolation_level=None)

    def is_current(self) -> bool:
        """Return whether another connection would open the same file now."""
        return self._opened is not None and self._opened == self._file()

    def _file(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class SQLiteStreamer:
    """One connection. Implements ``Streamer``; a statement sees one state of the file and keeps writers out meanwhile."""

    def __init__(self, connection: OpenedFile) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        (self._encoding,) = connection.execute("PRAGMA encoding").fetchone()

    def begin(self, join: str | None) -> None:  # noqa: ARG002 - nothing to join: every statement has a state of its own
        if not self._connection.is_current():
            raise TransientError(
                f"The file {self._connection.path} has been replaced by another one.", remedy="Run the same command again."
            )
        self._connection.execute("PRAGMA query_only = ON")

    def run(self, sql: str, columns: Sequence[SourceColumn], batch_bytes: int) -> Rows:
        self._cursor = cursor = self._connection.execute(sql)
        names = [str(field[0]) for field in cursor.description]
        # What stands behind the columns is a rank, a whole number.
        kinds = [carrier_of(column) for column in columns] + [pa.int64()] * (len(names) - len(columns))
        schema = pa.schema([pa.field(name, kind) for name, kind in zip(names, kinds, strict=True)])
        makers = [_maker(column, kind, self._encoding) for column, kind in zip_longest(columns, kinds)]
        return Rows(schema, _batches(cursor, schema, makers, batch_bytes))

    def testify(self, source: str, question: str) -> Sequence[Any]:  # noqa: ARG002 - the question takes the view
        self._connection.execute("BEGIN")
        answer: Sequence[Any] = self._connection.execute(question).fetchone()
        return answer

    def cancel(self) -> None:
        self._connection.interrupt()

    def end(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def _batches(
    cursor: sqlite3.Cursor, schema: pa.Schema, makers: Sequence[Maker], batch_bytes: int
) -> Iterator[pa.RecordBatch]:
    fetched, waiting, rows, size = 1, [], 0, 0
    while found := cursor.fetchmany(fetched):
        arrays = [make(values) for make, values in zip(makers, zip(*found, strict=True), strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
        waiting.append(batch)
        rows, size = rows + len(found), size + batch.nbytes
        fetched = max(1, min(2 * fetched, _MOST_FETCHED, batch_bytes * len(found) // (8 * max(1, batch.nbytes))))
        if rows >= _MOST_ROWS or size >= batch_bytes:
            yield _joined(waiting, schema)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _joined(waiting, schema)


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.concat_arrays([batch.column(place) for batch in batches]) for place in range(len(schema))]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _maker(column: SourceColumn | None, kind: pa.DataType, encoding: str) -> Maker:
    """Return what makes an array of a column's values; it raises TerminalError for a value of another type."""
    if pa.types.is_string(kind):
        types = _TEXTS if encoding == UTF8 else _ENCODED_TEXTS
    else:
        types = {pa.int64(): _INTEGERS, pa.float64(): _NUMBERS, pa.binary(): _BLOBS}[kind]

    def make(values: Sequence[Any]) -> pa.Array:
        found = set(map(type, values))
        if column is not None and found - types:
            strange = ", ".join(sorted(kind.__name__ for kind in found - types))
            raise refusal(column, f"holds values of type {strange}")
        try:
            if pa.types.is_string(kind) and found - _PLAIN_TEXTS:
                values = [_spelled(value, encoding) for value in values]
            return pa.array(values, kind)
        except (pa.ArrowInvalid, UnicodeError) as error:
            if column is None:
                raise
            raise refusal(column, f"holds what is no {kind}") from error

    return make


def _spelled(value: Any, encoding: str) -> str | None:
    if isinstance(value, bytes):
        return value.decode(encoding)
    if not isinstance(value, float):
        return None if value is None else str(value)
    return spell_real(value)
