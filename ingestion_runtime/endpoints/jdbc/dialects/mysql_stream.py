"""Rows of MySQL, MariaDB and SingleStore as record batches, streamed by the Python driver's connection.

Most of a row comes as one text, a line of CSV that the server makes: ``CONCAT(c0, ',', c1, ...)``. The driver would make
19,000,000 Python objects of 1,000,000 rows of 19 columns, one by one; Arrow's CSV reader makes the columns. Measured on
MariaDB 10.11, whole read: 2.1 s (1.0 s of them this process's), 8 to 13 s by the driver's own rows, 3.9 s by singlestoredb's
C code, without making columns of them. The server needs 1.9 s of it, and 1.5 s for the plain SELECT.

Lines are exact: nothing but a NULL is without quotes and empty, quotes are doubled, and the number of lines is compared with
that of the rows. A function's result above max_allowed_packet would be NULL: only values that cannot reach it together are
in the line; longer ones, and all where the server is not asked for lines, come one by one.
"""

import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.dialects.mysql_horizon import mark_own
from ingestion_runtime.endpoints.jdbc.dialects.mysql_wire import RowWire, cut_fields, only_fields
from ingestion_runtime.model.errors import TerminalError

_BATCH_BYTES = 8 << 20
_LINE_BYTES = 8 << 20
_ENDLESS = 1 << 32
_NUMBER_BYTES = 32  # at least, for a number that is said to be shorter

_NOT_NULL, _UNSIGNED = 1, 32  # flags of a result's field
_BINARY = 63  # the number of the character set that is none
_DECIMAL, _DOUBLE, _BIGINT = 246, 5, 8
_STRINGS = frozenset({15, 245, 247, 248, 249, 250, 251, 252, 253, 254, 255})
_BYTES = frozenset({16, 255})  # bits and geometries: bytes that CAST spells otherwise
_INTEGERS: dict[tuple[int, bool], pa.DataType] = {
    (1, False): pa.int16(),
    (1, True): pa.int16(),
    (2, False): pa.int16(),
    (2, True): pa.int32(),
    (9, False): pa.int32(),
    (9, True): pa.int32(),
    (3, False): pa.int32(),
    (3, True): pa.int64(),
    (_BIGINT, False): pa.int64(),
    (_BIGINT, True): pa.decimal128(20, 0),
    (13, False): pa.int16(),
    (13, True): pa.int16(),
}
_OTHERS: dict[int, pa.DataType] = {
    4: pa.float64(),
    _DOUBLE: pa.float64(),
    10: pa.date32(),
    12: pa.timestamp("us"),
    7: pa.timestamp("us", tz="UTC"),  # every session of ours is in UTC
}
_MAX_DIGITS = 38
#: Character sets whose bytes are those of UTF-8.
_UTF8_CHARSETS = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii"})
_COLUMN = re.compile(r"^In CSV column #(\d+)")


@dataclass(frozen=True, slots=True)
class _Field:
    """A column of the result. ``size`` is the most bytes of a value; text has a character set."""

    name: str
    carrier: pa.DataType
    size: int
    is_text: bool
    nullable: bool

    @property
    def quoted(self) -> str:
        return "`" + self.name.replace("`", "``") + "`"

    @property
    def is_quoted(self) -> bool:
        """Whether its values may hold what has a meaning in a line."""
        return bool(pa.types.is_binary(self.carrier))

    @property
    def spelled_as(self) -> pa.DataType:
        """The type as which its values are parsed: the server spells no zone."""
        return pa.timestamp("us") if pa.types.is_timestamp(self.carrier) else self.carrier

    @property
    def line_bytes(self) -> int:
        # In another character set a byte may become three in UTF-8, and every one of them may be a quote.
        return 2 * max(self.size, _NUMBER_BYTES) + 3


@contextmanager
def stream_rows(
    connection: Any, sql: str, batch_rows: int, *, batch_bytes: int = _BATCH_BYTES, lines: bool = True
) -> Iterator[pa.RecordBatchReader]:
    """Run a SELECT whose columns all have names, and lend its rows as record batches that are read as they are asked for.

    ``connection`` is one of the dialect's own, as ``connect`` opens it, with no result open. A batch ends with what
    came in when it had ``batch_rows`` rows or ``batch_bytes``: a little more than that, and never less than a row. Integers,
    doubles, decimals of up to 38 digits, dates and times have their types, wider decimals are strings of digits, all else is
    bytes: of a text, those of its UTF-8. Without ``lines`` the server sends every value by itself, which any server can.

    Raises the driver's errors, also in the midst of the rows, and TerminalError for a value that its type cannot hold. After
    the last row the connection is as it was; when the block ends before, it is closed.
    """
    from pymysql.cursors import SSCursor

    fields = _describe(connection, sql)
    packed = _choose(connection, sql, fields) if lines else {}
    single = [field for field in fields if field.name not in packed]
    cursor = connection.cursor(SSCursor)
    try:
        cursor.execute(mark_own(_statement(sql, packed, single)))
        batches = _Batches(fields, packed, RowWire(connection), batch_rows, batch_bytes)
        yield pa.RecordBatchReader.from_batches(batches.schema, batches.read())
        if batches.complete:
            cursor._result.unbuffered_active = False
            cursor.close()
    finally:
        if cursor._result is None or cursor._result.unbuffered_active:
            _abandon(connection, cursor)


class _Batches:
    """Makes record batches of rows; ``complete`` once the server has said that there are no more."""

    def __init__(
        self, fields: Sequence[_Field], packed: Container[str], wire: RowWire, batch_rows: int, batch_bytes: int
    ) -> None:
        self.schema = pa.schema([pa.field(field.name, field.carrier) for field in fields])
        self.complete = False
        self._packed = [field for field in fields if field.name in packed]
        self._single = [field for field in fields if field.name not in packed]
        self._wire = wire
        self._batch_rows = batch_rows
        self._batch_bytes = batch_bytes

    def read(self) -> Iterator[pa.RecordBatch]:
        rows: list[bytes] = []
        size = 0
        for chunk in self._wire.chunks():
            rows += chunk
            size += sum(map(len, chunk))
            if len(rows) >= self._batch_rows or size >= self._batch_bytes:
                yield self._batch(rows)
                rows, size = [], 0
        if rows:
            yield self._batch(rows)
        self.complete = True

    def _batch(self, rows: list[bytes]) -> pa.RecordBatch:
        columns: dict[str, pa.Array] = {}
        if not self._single:
            columns = _parse(self._packed, only_fields(rows))
        else:
            count = len(self._single) + bool(self._packed)
            values = list(zip(*[cut_fields(row, count) for row in rows], strict=True))
            if self._packed:
                columns = _parse(self._packed, [line or b"" for line in values.pop(0)])
            for field, column in zip(self._single, values, strict=True):
                columns |= _take(field, column)
        return pa.record_batch([columns[name] for name in self.schema.names], schema=self.schema)


def _take(field: _Field, values: Sequence[bytes | None]) -> dict[str, pa.Array]:
    """Return a column of values that came one by one, under its name."""
    if field.is_quoted:
        return {field.name: pa.array(values, pa.binary())}
    return _parse([field], [(value or b"") + b"\n" for value in values])  # as in lines: Arrow's casts of text check less


def _parse(fields: Sequence[_Field], lines: Sequence[bytes]) -> dict[str, pa.Array]:
    """Return the columns that are in lines, by name."""
    from pyarrow import csv

    text = b"".join(lines)
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(column_names=[field.name for field in fields], block_size=len(text) + 1),
            csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types={field.name: field.spelled_as for field in fields},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        place = _COLUMN.match(str(error))
        # Not with Arrow's words: they quote the row.
        raise _misshapen() if place is None else _misfit(fields[int(place[1])]) from None
    if table.num_rows != len(lines):
        raise _misshapen()
    columns = {field.name: _whole(table.column(field.name)) for field in fields}
    return {f.name: columns[f.name].view(f.carrier) if f.spelled_as != f.carrier else columns[f.name] for f in fields}


def _describe(connection: Any, sql: str) -> list[_Field]:
    """Return the columns of a query, which is not run."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM (\n{sql}\n) AS ingest_stream LIMIT 0")
    described = cursor._result.fields  # the public description has neither flags nor character sets
    cursor.close()
    return [_Field(f.name, _carrier(f), _size(f), is_text=_is_text(f), nullable=not f.flags & _NOT_NULL) for f in described]


def _is_text(field: Any) -> bool:
    return bool(field.type_code in _STRINGS - _BYTES and field.charsetnr != _BINARY)


def _size(field: Any) -> int:
    return _ENDLESS if field.type_code in _BYTES else int(field.length)


def _carrier(field: Any) -> pa.DataType:
    code, unsigned = field.type_code, bool(field.flags & _UNSIGNED)
    if code in _STRINGS or code in _BYTES:
        return pa.binary()
    if code == _DECIMAL:
        # The length is that of the longest spelling: digits, a point, a sign.
        digits = field.length - (field.scale > 0) - (not unsigned)
        return pa.decimal128(digits, field.scale) if 0 < digits <= _MAX_DIGITS else pa.string()
    return _INTEGERS.get((code, unsigned)) or _OTHERS.get(code, pa.binary())


def _choose(connection: Any, sql: str, fields: Sequence[_Field]) -> dict[str, str]:
    """Return, by name, the SQL for the columns that stand in the lines: as many as can never be too long together."""
    texts = [field for field in fields if field.is_text]
    asked = [f"CHARSET((SELECT {text.quoted} FROM (\n{sql}\n) AS ingest_stream LIMIT 0))" for text in texts]
    ((limit, *found),) = fetch(connection, f"SELECT {', '.join(['@@max_allowed_packet', *asked])}")
    charsets = dict(zip((text.name for text in texts), found, strict=True))
    free = min(int(limit), _LINE_BYTES)
    packed = set()
    for field in sorted(fields, key=lambda field: field.line_bytes):
        free -= field.line_bytes
        if free > 0:
            packed.add(field.name)
    return {field.name: _spelled(field, charsets.get(field.name)) for field in fields if field.name in packed}


def _spelled(field: _Field, charset: str | None) -> str:
    """Return SQL for what a column contributes to a line; it is NULL for no value."""
    value = field.quoted
    if pa.types.is_floating(field.carrier):
        value = f"{value} * 1e0"  # a float would be cut to six digits
    if not field.is_quoted:
        return f"IFNULL({value}, '')" if field.nullable else value
    if charset is not None and charset not in _UTF8_CHARSETS:
        value = f"CONVERT({value} USING utf8mb4)"
    # As bytes: collations neither mix nor decide what a quote is.
    text = f"""'"', REPLACE(CAST({value} AS BINARY), '"', '""'), '"'"""
    return f"IF({field.quoted} IS NULL, '', CONCAT({text}))" if field.nullable else text


def _statement(sql: str, packed: dict[str, str], single: Sequence[_Field]) -> str:
    line = ", ',', ".join(packed.values())
    listed = [f"CONCAT({line}, '\\n') AS ingest_line"] if packed else []
    listed += [field.quoted for field in single]
    # The server merges the inner SELECT with the outer one, as it does for every read through JDBC.
    return f"SELECT {', '.join(listed)} FROM (\n{sql}\n) AS ingest_stream"


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _misshapen() -> TerminalError:
    return TerminalError(
        "The server sent rows that are not what was asked for; one may have been too long for it.",
        remedy="Raise max_allowed_packet at the source above its longest row, or take engine spark for this table.",
    )


def _misfit(field: _Field) -> TerminalError:
    return TerminalError(
        f"Column {field.name} of the read holds a value that is no {field.carrier}.",
        remedy="Correct it at the source, exclude it with source_filter, or cast the column in query_sql.",
        column=field.name,
        type=str(field.carrier),
    )


def _abandon(connection: Any, cursor: Any) -> None:
    """Close a connection on which rows are still to come: the server would send them all before anything else."""
    if cursor._result is not None:
        cursor._result.unbuffered_active = False
    connection._force_close()
