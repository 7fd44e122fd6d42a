"""SQLite: how it is reached, quoted, probed and described, and what its errors mean.

Its timestamps are text and are compared as text. One shape, ``YYYY-MM-DD HH:MM:SS`` with up to six digits of fraction,
sorts as time does; a ``T`` or a zone does not, so cursors of any other shape are counted and refused. Within the shape
a shorter spelling is a prefix of a longer one and sorts below it: an upper bound is spelled with six digits, an
inclusive lower bound with none to spare.
"""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote as percent

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.design import TableDesign
from ingestion_runtime.endpoints.jdbc.dialect import (
    Fault,
    JdbcTarget,
    Measures,
    RawTable,
    ServerFacts,
    Streamer,
    fetch,
)
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_catalog import list_relations
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_design import describe_designs, describe_server
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_names import quoted, text
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_spelling import (
    hex_number,
    hex_sum,
    key_hash,
    outspoken,
    register,
    row_hash,
    spelled,
)
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_stream import OpenedFile, SQLiteStreamer
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_types import (
    MEASURES,
    TEXT_CHECK,
    day_misfit,
    is_text,
    kind_of,
    land,
    land_as,
    moment_misfit,
)
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import Listing
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import from_ticks, to_ticks

_BUSY_MILLIS = 30_000
_BATCH = 10_000
_GENERATED = (2, 3)  # virtual and stored generated columns, in the last field of table_xinfo

_RETRY = "Another process holds the file; run the same command again."
_OPEN = "Check that database names an existing SQLite file that this user may read."
_CODES: dict[int, tuple[type[IngestionError], str]] = {
    sqlite3.SQLITE_CANTOPEN: (ConfigError, _OPEN),
    sqlite3.SQLITE_NOTADB: (ConfigError, _OPEN),
    sqlite3.SQLITE_PERM: (ConfigError, _OPEN),
    sqlite3.SQLITE_AUTH: (ConfigError, _OPEN),
    sqlite3.SQLITE_BUSY: (TransientError, _RETRY),
    sqlite3.SQLITE_LOCKED: (TransientError, _RETRY),
    sqlite3.SQLITE_INTERRUPT: (TransientError, "The query was ended; run the same command again."),
    sqlite3.SQLITE_FULL: (TransientError, "The disk is full; make room, then run the same command again."),
    sqlite3.SQLITE_IOERR: (TransientError, "Check the disk, then run the same command again."),
    sqlite3.SQLITE_NOMEM: (TransientError, "Memory ran out; run the same command again with more of it."),
    sqlite3.SQLITE_CORRUPT: (TerminalError, "The file is damaged; restore it from a backup."),
}


@dataclass(frozen=True, slots=True)
class SQLite:
    """The SQLite dialect; it has no state. A table's schema is a label: the file knows only table names."""

    name: ClassVar[str] = "sqlite"
    shares_snapshots: ClassVar[bool] = False
    streams: ClassVar[bool] = True
    fence: ClassVar[str] = "LIMIT -1"
    hashes_in_reads: ClassVar[bool] = False
    lone_session: ClassVar[str | None] = None
    measures: ClassVar[Measures] = MEASURES

    def connect(self, connection: ConnectionSpec) -> Any:
        path = Path(connection.database)
        if path.is_dir():
            raise ConfigError(f"Connection {connection.name!r}: {connection.database} is a directory.", remedy=_OPEN)
        # mode=ro: a missing file is an error and not an empty database.
        opened = OpenedFile(path, _uri(connection), _BUSY_MILLIS / 1000)
        opened.create_function(TEXT_CHECK, 2, is_text, deterministic=True)
        opened.execute("PRAGMA schema_version")  # opening reads nothing: a file of another kind is found out here
        register(opened)
        return opened

    def is_usable(self, connection: Any) -> bool:
        return bool(connection.is_current())

    def place(self, connection: ConnectionSpec) -> str:
        return connection.database

    def jdbc(self, connection: ConnectionSpec) -> JdbcTarget:
        options = {"open_mode": "65", "busy_timeout": str(_BUSY_MILLIS), **dict(connection.jdbc_properties)}
        return JdbcTarget(f"jdbc:sqlite:{_uri(connection)}", "org.sqlite.JDBC", tuple(options.items()))

    def jdbc_text(self, sql: str) -> str:
        return sql

    def stream(self, connection: ConnectionSpec) -> Streamer:
        return SQLiteStreamer(self.connect(connection))

    def scan_parts(self, connection: Any, table: TableSpec, condition: str | None, parts: int) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # each connection would read a state of its own

    def hold_relations(self, connection: Any, statement: str) -> bool:  # noqa: ARG002 - nothing to hold
        return False  # each statement sees the newest state

    def hold_snapshot(self, connection: Any) -> str | None:  # noqa: ARG002 - a held view would block the file's writers
        return None

    def freeze(self, connection: Any, source: str) -> None:
        fetch(connection, "BEGIN")
        # Which takes the view. Without a write-ahead log writers wait with their commit until it ends.
        fetch(connection, f"SELECT 1 {source} LIMIT 1")

    def unbuffered(self, connection: Any) -> Any:
        return connection.cursor()

    def interrupt(self, connection: Any) -> None:
        connection.interrupt()

    def fault(self, error: BaseException) -> Fault | None:
        if not isinstance(error, sqlite3.Error):
            return None
        return Fault(None, getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF, " ".join(str(error).split()))

    def classify(self, fault: Fault, place: str) -> IngestionError:
        kind, remedy = _CODES.get(
            (fault.code or 0) & 0xFF, (TerminalError, "Check the table's settings against the source.")
        )
        return kind(f"{place}: {fault.text.rstrip('.')}.", remedy=remedy, code=fault.code)

    def quote(self, name: str) -> str:
        return quoted(name)

    def relation(self, table: TableSpec) -> str:
        return self.quote(table.table)

    def literal(self, value: Watermark, column: SourceColumn, *, floor: bool = False) -> str:  # noqa: ARG002 - as spelled
        if value.type is CursorType.TEXT:
            return text(value.literal)
        # Through ticks and back: only digits reach the statement, whatever a receipt holds.
        spelled = from_ticks(value.type, to_ticks(value)).literal
        if value.type in NUMBER_CURSORS:
            return f"({spelled})"
        return text(spelled.rstrip("0").rstrip(".") if floor and "." in spelled else spelled)

    def spell(self, expression: str, column: SourceColumn, kind: CursorType) -> str:  # noqa: ARG002 - values carry types
        if kind is CursorType.TIMESTAMP:
            # Digits added at the end name the same moment; cut is nothing, for more than six have been refused.
            padded = f"CASE length({expression}) WHEN 19 THEN '.000000' ELSE '000000' END"
            return f"substr({expression} || {padded}, 1, 26)"
        return f"CAST({expression} AS TEXT)"

    def now(self, column: SourceColumn, kind: CursorType) -> str | None:  # noqa: ARG002 - values carry types
        # Its clocks have no zone and may show UTC or local time: the later of both holds nothing back that exists.
        moment, seconds = "'%Y-%m-%d %H:%M:%f'", "CAST(strftime('%s', 'now') AS INTEGER)"
        return {
            # Milliseconds is all it knows: the digits below them count as reached.
            CursorType.TIMESTAMP: f"max(strftime({moment}, 'now'), strftime({moment}, 'now', 'localtime')) || '999'",
            CursorType.DATE: "max(date('now'), date('now', 'localtime'))",
            CursorType.EPOCH_SECONDS: f"{seconds} + 1",
            CursorType.EPOCH_MILLIS: f"({seconds} + 1) * 1000",
        }.get(kind)

    def horizon(self, connection: Any) -> Horizon | None:  # noqa: ARG002 - nothing to look at
        # Writers take turns: a statement takes the file's write lock before it asks for 'now' or a new rowid, and the
        # lock is held until the commit. What is committed later is therefore later, and the largest cursor that can be
        # seen is safe as it is. Values that an application made before it had the lock defeat this: lag_seconds.
        return None

    def resolution(self, column: SourceColumn) -> int:  # noqa: ARG002 - no horizon that would have to be rounded
        return 1

    def misfit(self, column: SourceColumn, kind: CursorType) -> str | None:
        name = self.quote(column.name)
        if kind is CursorType.TIMESTAMP:
            return moment_misfit(name, " ")
        if kind is CursorType.DATE:
            return day_misfit(name)
        right = "text" if kind is CursorType.TEXT else "integer"
        return f"typeof({name}) NOT IN ('{right}', 'null')"

    def key_hash(self, columns: Sequence[SourceColumn]) -> str:
        return key_hash(columns, [self.quote(column.name) for column in columns])

    def row_hash(self, columns: Sequence[SourceColumn]) -> str:
        return row_hash(columns, [self.quote(column.name) for column in columns])

    def spelled(self, column: SourceColumn, length: int | None = None) -> str:
        value = spelled(column, self.quote(column.name))
        return outspoken(column, value if length is None else f"substr({value}, 1, {length})")

    def hex_number(self, digits: str) -> str:
        return hex_number(digits)

    def hex_sum(self, digits: str) -> str:
        return hex_sum(digits)

    def column(self, raw: RawColumn) -> SourceColumn:
        return land(raw, self.quote(raw.name))

    def landing(self, raw: RawColumn, kind: pa.DataType) -> SourceColumn | None:
        return land_as(raw, self.quote(raw.name), kind)

    def describe_tables(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
        described = {table.name: self._describe(connection, table) for table in tables}
        return {name: raw for name, raw in described.items() if raw is not None}

    def _describe(self, connection: Any, table: TableSpec) -> RawTable | None:
        if not fetch(connection, _table_query(f"name = {text(table.table)} COLLATE NOCASE")):
            return None
        rows = fetch(connection, f"SELECT * FROM pragma_table_xinfo({text(table.table)})")
        listed = [(row[1], row[2], not row[3] and not row[5]) for row in rows if row[6] == 0 or row[6] in _GENERATED]
        keys = tuple(row[1] for row in sorted((row for row in rows if row[5]), key=lambda row: row[5]))
        return RawTable(_raw_columns(connection, listed), keys, _estimate(connection, table.table))

    def describe_query(self, connection: Any, sql: str) -> RawTable:
        # The view knows the declared type of a plain column, a table made of it the affinity of an expression.
        script = (
            "DROP VIEW IF EXISTS temp.ingest_described",
            f"CREATE TEMP VIEW ingest_described AS SELECT * FROM {sql}",
            "DROP TABLE IF EXISTS temp.ingest_shape",
            "CREATE TEMP TABLE ingest_shape AS SELECT * FROM ingest_described LIMIT 0",
        )
        for statement in script:
            fetch(connection, statement)
        shapes = fetch(connection, "SELECT name, type FROM pragma_table_info('ingest_shape')")
        declared = fetch(connection, "SELECT name, type FROM pragma_table_info('ingest_described')")
        listed = [(name, kind or shape, True) for (name, kind), (_, shape) in zip(declared, shapes, strict=True)]
        columns = _raw_columns(connection, listed)
        fetch(connection, "DROP VIEW temp.ingest_described")
        fetch(connection, "DROP TABLE temp.ingest_shape")
        return RawTable(columns, (), None)

    def table_names(self, connection: Any) -> list[str]:
        return [name for (name,) in fetch(connection, _table_query("name NOT LIKE 'sqlite%'"))]

    def list_tables(self, connection: Any, schema: str | None) -> Listing:
        return list_relations(connection, schema)

    def describe_designs(self, connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
        return describe_designs(connection, tables)

    def describe_server(self, connection: Any) -> ServerFacts:
        return describe_server(connection)

    def fingerprint(self, connection: Any, columns: Sequence[SourceColumn], source: str) -> tuple[int, str]:
        # SQLite has no hash function: the rows are hashed as they stream by, a batch in memory at a time.
        cursor = connection.cursor()
        rows, total = 0, 0
        previous = connection.text_factory
        connection.text_factory = _tagged
        try:
            cursor.execute(f"SELECT {', '.join(self.quote(column.name) for column in columns)} {source}")
            while batch := cursor.fetchmany(_BATCH):
                rows += len(batch)
                total += sum(_row_hash(row) for row in batch)
        finally:
            cursor.close()
            connection.text_factory = previous
        return rows, f"{total % 2**128:032x}"


def _uri(connection: ConnectionSpec) -> str:
    return f"file:{percent(str(Path(connection.database)))}?mode=ro"


def _table_query(condition: str) -> str:
    return f"SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND {condition}"


def _raw_columns(connection: Any, listed: Sequence[tuple[str, str, bool]]) -> tuple[RawColumn, ...]:
    ((encoding,),) = fetch(connection, "SELECT encoding FROM pragma_encoding")
    columns = []
    for name, declared, nullable in listed:
        kind, arguments = kind_of(declared)
        if encoding != "UTF-8":
            kind = f"{encoding} {kind}"
        columns.append(RawColumn(name, declared, kind, arguments, nullable))
    return tuple(columns)


def _estimate(connection: Any, table: str) -> int | None:
    if not fetch(connection, _table_query("name = 'sqlite_stat1'")):
        return None
    rows = fetch(connection, f"SELECT stat FROM sqlite_stat1 WHERE tbl = {text(table)} COLLATE NOCASE")
    return max((int(stat.split()[0]) for (stat,) in rows if stat), default=None)


def _tagged(value: bytes) -> tuple[bytes]:
    return (value,)  # tells text from a blob of the same bytes, and keeps bytes that are no UTF-8


def _row_hash(row: tuple[Any, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest(), "big")
