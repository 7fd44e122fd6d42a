"""One table of a relational source: described and probed directly, read through Spark."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ingestion_runtime.endpoints.jdbc.columns import (
    SourceColumn,
    check_cursor,
    check_names,
    did_you_mean,
    find_column,
)
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract, JdbcReader
from ingestion_runtime.endpoints.jdbc.sql import Cursor, bounds, in_reread, in_slice, in_window, relation, source
from ingestion_runtime.model.cursor import CursorBounds, CursorType, Fingerprint, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.endpoint import Capabilities
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import TableSpec

_CAPABILITIES = Capabilities(incremental=True, literal_formats=frozenset(CursorType), staging=False, commit=False)


@dataclass(frozen=True, slots=True)
class _Described:
    columns: tuple[SourceColumn, ...]
    cursor: Cursor | None
    snapshot: TableSnapshot


class JdbcSource:
    """One table (or query) of a source database. It is described once when first needed, and at every ``describe``."""

    def __init__(self, table: TableSpec, database: Database, reader: JdbcReader) -> None:
        self._table = table
        self._database = database
        self._dialect = database.dialect
        self._reader = reader
        self._known: _Described | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Incremental, by every type of cursor; each column decides which of them fit it."""
        return _CAPABILITIES

    def describe(self) -> TableSnapshot:
        """Return the live description; raises TerminalError for a missing table, cursor or key, or an unusable name."""
        self._known = self._look()
        return self._known.snapshot

    def probe_bounds(self, after: Watermark) -> CursorBounds:
        """Return what lies above ``after`` (exclusive) up to the source's own now, by one statement."""
        cursor = self._cursor()
        (found,) = self._database.rows(bounds(self._dialect, self._table, cursor, after))
        low, high, beyond, nulls, misfits = found
        if misfits:
            raise TerminalError(
                f"Cursor {cursor.column.name!r} of table {self._table.name} has {misfits} values that are not spelled "
                f"as a {cursor.kind} and would be compared wrongly.",
                remedy="Correct them at the source, or convert the column in query_sql.",
                table=self._table.name,
                column=cursor.column.name,
                rows=int(misfits),
            )
        return CursorBounds(
            low=None if low is None else Watermark(cursor.kind, str(low)),
            high=None if high is None else Watermark(cursor.kind, str(high)),
            beyond=int(beyond),
            nulls=int(nulls),
        )

    def count_rows(self, window: Interval) -> int:
        """Return the number of rows whose cursor lies in the window."""
        condition = in_window(self._dialect, self._cursor(), window)
        ((rows,),) = self._database.rows(f"SELECT count(*) {source(self._dialect, self._table, condition)}")
        return int(rows)

    def fingerprint(self, subject: ReRead) -> Fingerprint:
        """Return count and content hash of a re-read set, over every column, by one query."""
        condition = in_reread(self._dialect, self._cursor(), subject)
        read = source(self._dialect, self._table, condition)
        with self._database.connect() as connection:
            rows, digest = self._dialect.fingerprint(connection, self._describe_once().columns, read)
        return Fingerprint(subject, rows, digest)

    def read_full(self) -> JdbcExtract:
        """Return all rows that the filter lets through."""
        return JdbcExtract(self._table, self._describe_once().columns, None, self._database, self._reader)

    def read_slice(self, piece: Slice) -> JdbcExtract:
        """Return the rows of one slice."""
        cursor = self._cursor()
        return JdbcExtract(
            self._table,
            self._describe_once().columns,
            in_slice(self._dialect, cursor, piece),
            self._database,
            self._reader,
            ranked=cursor if cursor.kind is CursorType.TEXT else None,
        )

    def _describe_once(self) -> _Described:
        if self._known is None:
            self._known = self._look()
        return self._known

    def _cursor(self) -> Cursor:
        cursor = self._describe_once().cursor
        if cursor is None:
            raise TerminalError(
                f"Table {self._table.name} has no incremental column.",
                remedy="Set incremental_column and incr_col_type, or load it with mode full.",
                table=self._table.name,
            )
        return cursor

    def _look(self) -> _Described:
        table, name = self._table, self._table.name
        raw = self._raw()
        columns = tuple(self._dialect.column(column) for column in raw.columns)
        check_names(columns, name)
        for key in table.primary_keys:
            find_column(columns, key, "primary_keys", name)
        if table.partition_read is not None:
            find_column(columns, table.partition_read.column, "partition_read", name)
        cursor = None
        if table.incremental_column is not None and table.incr_col_type is not None:
            column = find_column(columns, table.incremental_column, "incremental_column", name)
            check_cursor(column, table.incr_col_type, name)
            cursor = Cursor(column, table.incr_col_type)
        snapshot = TableSnapshot(
            schema=table.schema,
            table=table.table,
            columns=tuple(ColumnSnapshot(c.name, c.native_type, str(c.lands_as), c.nullable) for c in columns),
            primary_keys=raw.primary_keys,
            estimated_rows=raw.estimated_rows,
            taken_at=datetime.now(UTC),
        )
        return _Described(columns, cursor, snapshot)

    def _raw(self) -> RawTable:
        with self._database.connect() as connection:
            if self._table.query_sql is not None:
                return self._dialect.describe_query(connection, relation(self._dialect, self._table))
            raw = self._dialect.describe_table(connection, self._table)
            if raw is not None:
                return raw
            # Compared with and without the schema, whichever way the engine names its tables.
            candidates = self._dialect.table_names(connection)
            near = did_you_mean(self._table.name, candidates) or did_you_mean(self._table.table, candidates)
        raise TerminalError(
            f"{self._database.place} has no table {self._table.name!r}.{near}",
            remedy="Correct schema and table in the configuration, or restore the table at the source.",
            table=self._table.name,
        )
