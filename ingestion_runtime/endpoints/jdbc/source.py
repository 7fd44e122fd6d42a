"""One table of a relational source: described and probed directly, read through Spark."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.catalogue import Catalogue
from ingestion_runtime.endpoints.jdbc.columns import (
    CLOCK_CURSORS,
    RawColumn,
    SourceColumn,
    check_cursor,
    check_names,
    did_you_mean,
    find_column,
    is_altered,
)
from ingestion_runtime.endpoints.jdbc.comparing import ComparedTable, JdbcComparison
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, Extent, key_ranges, line_of, require_line
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract, Reader
from ingestion_runtime.endpoints.jdbc.fitting import is_exact_number
from ingestion_runtime.endpoints.jdbc.hiding import hide, without_excluded
from ingestion_runtime.endpoints.jdbc.keys import count_buckets, in_buckets, read_buckets, refuse_unfit_keys
from ingestion_runtime.endpoints.jdbc.meter import ReadMeter
from ingestion_runtime.endpoints.jdbc.profile import take_profiles
from ingestion_runtime.endpoints.jdbc.sql import Cursor, bounds, in_reread, in_slice, in_window, largest, relation, source
from ingestion_runtime.endpoints.jdbc.witness import witness_of
from ingestion_runtime.model.cursor import (
    CursorBounds,
    CursorType,
    Fingerprint,
    Interval,
    KeyRange,
    ReRead,
    Slice,
    Watermark,
)
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.endpoint import Capabilities, OnRead, OnSplit
from ingestion_runtime.model.errors import SpoiltBatchError, TerminalError
from ingestion_runtime.model.horizon import Ceiling, CursorClock, Horizon
from ingestion_runtime.model.keys import KeyBuckets
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.privacy import Mask
from ingestion_runtime.model.schema import ColumnProfile, ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.watermark import to_ticks

_CAPABILITIES = Capabilities(incremental=True, literal_formats=frozenset(CursorType), staging=False, commit=False)


@dataclass(frozen=True, slots=True)
class _Described:
    """What is known of the table. ``columns`` are those that are read, ``emptied`` those that arrive as NULL instead."""

    raw: Mapping[str, RawColumn]
    columns: tuple[SourceColumn, ...]
    cursor: Cursor | None
    snapshot: TableSnapshot
    elsewhere: str
    masks: Mapping[str, Mask]
    emptied: tuple[pa.Field, ...]


class JdbcSource:
    """One table (or query) of a source database. It is described once when first needed, and at every ``describe``: by the
    ``catalogue`` that it shares with other tables, or by itself."""

    def __init__(self, table: TableSpec, database: Database, reader: Reader, catalogue: Catalogue | None = None) -> None:
        self._table = table
        self._database = database
        self._dialect = database.dialect
        self._reader = reader
        self._look_at = Catalogue(database).look
        self._describe = self._look_at if catalogue is None else catalogue.describe
        self._known: _Described | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Incremental, by every type of cursor; each column decides which of them fit it."""
        return _CAPABILITIES

    def describe(self) -> TableSnapshot:
        """Return the live description; raises TerminalError for a missing table, cursor or key, or an unusable name."""
        self._known = self._look()
        return self._known.snapshot

    def probe_bounds(self, after: Watermark, ceiling: Ceiling | None = None) -> CursorBounds:
        """Return what lies above ``after`` (exclusive) up to the source's own now and the ceiling, by one statement."""
        cursor = self._cursor()
        (found,) = self._database.rows(bounds(self._dialect, self._table, cursor, after, ceiling))
        low, high, beyond, nulls, misfits, held = found
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
            low=None if low is None else self._mark(cursor, low),
            high=None if high is None else self._mark(cursor, high),
            beyond=int(beyond),
            nulls=int(nulls),
            held=int(held),
        )

    def horizon(self) -> Horizon | None:
        """Look at the open transactions of the database; None where writers take turns."""
        with self._database.connect() as connection:
            look = self._dialect.horizon(connection)
        elsewhere = self._describe_once().elsewhere
        if look is None or not elsewhere:
            return look
        why = f"it is {elsewhere}, and the transactions that write it are not shown"
        return replace(look, moment=None, blind=why, grant="Read it where it is written.")

    def clock(self) -> CursorClock | None:
        """Return how the cursor tells time; None where it is no clock."""
        cursor = self._cursor()
        if cursor.kind in (CursorType.INT, CursorType.TEXT):
            return None
        zoned = cursor.kind not in CLOCK_CURSORS or getattr(cursor.column.lands_as, "tz", None) is not None
        return CursorClock(zoned, self._dialect.resolution(cursor.column))

    def largest(self, after: Watermark) -> Watermark | None:
        """Return the largest cursor above ``after`` that is visible now, by the source's own order."""
        cursor = self._cursor()
        ((found,),) = self._database.rows(largest(self._dialect, self._table, cursor, after))
        return None if found is None else self._mark(cursor, found)

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

    def key_buckets(self) -> KeyBuckets:
        """Return the fingerprints of the primary keys by bucket, by one query."""
        return read_buckets(self._database.rows(count_buckets(self._dialect, self._table, self._keys())))

    def read_keys(self, buckets: Collection[str]) -> JdbcExtract:
        """Return the primary keys of these buckets, over one connection."""
        keys = self._keys()
        table = replace(self._table, partition_read=None)
        return JdbcExtract(table, keys, in_buckets(self._dialect, keys, buckets), self._database, self._reader)

    def comparable(self) -> JdbcComparison:
        """Return the rows as they are compared with those of the target."""
        return JdbcComparison(self._table, self._database, self._compared)

    def _compared(self) -> ComparedTable:
        known, keys = self._describe_once(), self._table.primary_keys
        declared = known.snapshot.primary_keys
        unique = self._table.query_sql is None and bool(declared) and set(declared) <= set(keys)
        return ComparedTable(known.raw, known.columns, frozenset(known.masks), known.cursor, unique)

    def histogram(self, edges: Sequence[int], column: str | None = None) -> tuple[Cell, ...]:
        """Return the rows of each cell (e0, e1], (e1, e2] ... of the cursor, or of another column, by one query.

        ``edges`` are ascending ticks. Raises TerminalError for a column that is no whole number, date or time.
        """
        line = self._line(column)  # before a connection is asked for: it may have to be described
        with self._database.connect() as connection:
            return ColumnRows(connection, self._dialect, self._table, line).counts(edges)

    def extent(self, column: str) -> Extent:
        """Return how many rows a column has, and between which ticks they lie, by one query; errors as for ``histogram``."""
        line = self._line(column)
        with self._database.connect() as connection:
            return ColumnRows(connection, self._dialect, self._table, line).extent()

    def read_full(self, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> JdbcExtract:
        """Return all rows that the filter lets through."""
        return JdbcExtract(
            self._table,
            self._describe_once().columns,
            None,
            self._database,
            self._reader,
            divided_by=self._key_line(),
            on_split=on_split,
            raw=self._describe_once().raw,
            confirm=self._confirm,
            missing=self._describe_once().emptied,
            masks=self._describe_once().masks,
            meter=ReadMeter(on_read),
            witness=witness_of(self._table),
        )

    def read_slice(self, piece: Slice, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> JdbcExtract:
        """Return the rows of one slice."""
        cursor = self._cursor()
        return JdbcExtract(
            self._table,
            self._describe_once().columns,
            in_slice(self._dialect, cursor, piece, self._describe_once().columns),
            self._database,
            self._reader,
            ranked=cursor if cursor.kind is CursorType.TEXT else None,
            divided_by=None if cursor.kind is CursorType.TEXT else cursor,
            on_split=on_split,
            raw=self._describe_once().raw,
            confirm=self._confirm,
            missing=self._describe_once().emptied,
            masks=self._describe_once().masks,
            meter=ReadMeter(on_read),
            witness=witness_of(self._table),
        )

    def _confirm(self) -> None:
        """Raise SpoiltBatchError if columns were altered since they were described: what does not fit is rounded unasked.

        If one was added or dropped too: the watermark would pass the values of a new one. A query's columns are its own.
        """
        known, now = self._describe_once().raw, {column.name: column for column in self._raw(self._look_at).columns}
        altered = [name for name, column in now.items() if name in known and is_altered(known[name], column)]
        if self._table.query_sql is None:
            altered += [name for name in known if name not in now]
            if self._table.policy.added is not OnChange.IGNORE:
                altered += [name for name in now if name not in known]
        if altered:
            raise SpoiltBatchError(
                f"Table {self._table.name} was altered while it was read: {', '.join(altered)}.",
                remedy="Run again: what was read is given up and read anew.",
                table=self._table.name,
                columns=tuple(altered),
            )

    def _key_line(self) -> Cursor | None:
        """Return along what a whole table may be divided: only where all parts can read one view of it."""
        if not self._dialect.shares_snapshots:
            return None
        known, split = self._describe_once(), self._table.partition_read
        names = (*((split.column,) if split else ()), *(self._table.primary_keys or known.snapshot.primary_keys))
        lines = (line_of(find_column(known.columns, name, "primary_keys", self._table.name)) for name in names)
        return next(filter(None, lines), None)

    def _line(self, column: str | None) -> Cursor:
        if column is None:
            return self._cursor()
        return require_line(find_column(self._describe_once().columns, column, "column", self._table.name))

    def key_ranges(self, column: str, rows: int, most: int) -> tuple[KeyRange, ...]:
        """Return ranges that take every row, cut where the rows are; one for a column that is no number, date or time."""
        line = line_of(find_column(self._describe_once().columns, column, "primary_keys", self._table.name))
        if line is None or most <= 1:
            return (KeyRange(column, None, None),)
        with self._database.connect() as connection:
            return key_ranges(ColumnRows(connection, self._dialect, self._table, line), rows, most)

    def described(self) -> TableSnapshot:
        """Return the description by which rows are read."""
        return self._describe_once().snapshot

    def profile(self, wanted: Mapping[str, pa.DataType]) -> tuple[ColumnProfile, ...]:
        """Return whether the values of columns fit these types, by one query over all rows."""
        raw = self._describe_once().raw
        with self._database.connect() as connection:
            # Not of masked columns: a profile tells their smallest and largest value.
            asked = [(raw[name], kind) for name, kind in wanted.items() if self._table.privacy.mask_of(name) is None]
            return take_profiles(connection, self._dialect, self._table, asked)

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

    def _keys(self) -> tuple[SourceColumn, ...]:
        columns, name = self._describe_once().columns, self._table.name
        return tuple(find_column(columns, key, "primary_keys", name) for key in self._table.primary_keys)

    def _mark(self, cursor: Cursor, spelled: object) -> Watermark:
        found = Watermark(cursor.kind, str(spelled))
        try:
            if cursor.kind is not CursorType.TEXT:
                to_ticks(found)
        except TerminalError:  # a partial date, such as MySQL takes: 2026-00-10
            raise TerminalError(
                f"Cursor {cursor.column.name!r} of table {self._table.name} holds {found.literal!r},"
                f" which is no {cursor.kind}.",
                remedy="Correct it at the source, or convert the column in query_sql.",
                table=self._table.name,
                column=cursor.column.name,
            ) from None
        return found

    def _look(self) -> _Described:
        table, name = self._table, self._table.name
        raw = self._raw(self._describe)
        columns = tuple(self._dialect.column(column) for column in raw.columns)
        check_names(columns, name)
        hidden = hide(table, columns)
        keys = [find_column(columns, key, "primary_keys", name) for key in table.primary_keys]
        if table.deletes is not Deletes.IGNORE:
            refuse_unfit_keys(keys, table)
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
            columns=tuple(hidden.described(_snapshot(*pair)) for pair in zip(raw.columns, columns, strict=True)),
            primary_keys=raw.primary_keys,
            estimated_rows=raw.estimated_rows,
            taken_at=datetime.now(UTC),
            estimated_bytes=raw.estimated_bytes,
        )
        own = {column.name: column for column in raw.columns}
        return _Described(own, hidden.read(columns), cursor, snapshot, raw.elsewhere, hidden.masks, hidden.emptied)

    def _raw(self, describe: Callable[[TableSpec], RawTable | None]) -> RawTable:
        """Return the relation without the columns that are excluded."""
        if self._table.query_sql is not None:
            with self._database.connect() as connection:
                return without_excluded(
                    self._table, self._dialect.describe_query(connection, relation(self._dialect, self._table))
                )
        raw = describe(self._table)
        if raw is not None:
            return without_excluded(self._table, raw)
        with self._database.connect() as connection:
            # Compared with and without the schema, whichever way the engine names its tables.
            candidates = self._dialect.table_names(connection)
        near = did_you_mean(self._table.name, candidates) or did_you_mean(self._table.table, candidates)
        raise TerminalError(
            f"{self._database.place} has no table {self._table.name!r}.{near}",
            remedy="Correct schema and table in the configuration, or restore the table at the source.",
            table=self._table.name,
        )


def _snapshot(raw: RawColumn, column: SourceColumn) -> ColumnSnapshot:
    return ColumnSnapshot(
        column.name,
        column.native_type,
        str(column.lands_as),
        column.nullable,
        identity=raw.identity,
        number=is_exact_number(column, raw.kind),
    )
