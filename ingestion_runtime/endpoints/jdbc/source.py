"""One table of a relational source: described and probed directly, read by an engine."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.catalogue import Catalogue
from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, SourceColumn, find_column
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, Extent, key_ranges, line_of, require_line
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.described import Description
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract, Reader
from ingestion_runtime.endpoints.jdbc.keys import count_buckets, in_buckets, read_buckets
from ingestion_runtime.endpoints.jdbc.meter import ReadMeter
from ingestion_runtime.endpoints.jdbc.profile import take_profiles
from ingestion_runtime.endpoints.jdbc.sql import Cursor, bounds, in_reread, in_slice, in_window, largest, source
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
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.horizon import Ceiling, CursorClock, Horizon
from ingestion_runtime.model.keys import KeyBuckets
from ingestion_runtime.model.schema import ColumnProfile, TableSnapshot
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import to_ticks

if TYPE_CHECKING:
    from ingestion_runtime.endpoints.jdbc.comparing import ComparedTable, JdbcComparison

_CAPABILITIES = Capabilities(incremental=True, literal_formats=frozenset(CursorType), staging=False, commit=False)


class JdbcSource:
    """One table (or query) of a source database. It is described once when first needed, and at every ``describe``; see
    ``Description``, also for ``catalogue``."""

    def __init__(self, table: TableSpec, database: Database, reader: Reader, catalogue: Catalogue | None = None) -> None:
        self._table = table
        self._database = database
        self._dialect = database.dialect
        self._reader = reader
        self._description = Description(table, database, catalogue)

    @property
    def capabilities(self) -> Capabilities:
        """Incremental, by every type of cursor; each column decides which of them fit it."""
        return _CAPABILITIES

    def describe(self) -> TableSnapshot:
        """Return the live description; raises TerminalError for a missing table, cursor or key, or an unusable name."""
        return self._description.renew().snapshot

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
        elsewhere = self._description.known().elsewhere
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
            rows, digest = self._dialect.fingerprint(connection, self._description.known().columns, read)
        return Fingerprint(subject, rows, digest)

    def key_buckets(self) -> KeyBuckets:
        """Return the fingerprints of the primary keys by bucket, by one query."""
        return read_buckets(self._database.rows(count_buckets(self._dialect, self._table, self._keys())))

    def read_keys(self, buckets: Collection[str]) -> JdbcExtract:
        """Return the primary keys of these buckets, over one connection."""
        keys = self._keys()
        table = replace(self._table, partition_read=None)
        return JdbcExtract(table, keys, in_buckets(self._dialect, keys, buckets), self._database, self._reader)

    def comparable(self) -> "JdbcComparison":
        """Return the rows as they are compared with those of the target."""
        from ingestion_runtime.endpoints.jdbc.comparing import JdbcComparison

        return JdbcComparison(self._table, self._database, self._compared)

    def _compared(self) -> "ComparedTable":
        from ingestion_runtime.endpoints.jdbc.comparing import ComparedTable

        known, keys = self._description.known(), self._table.primary_keys
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
        return self._extract(None, on_split, on_read, divided_by=self._key_line())

    def read_slice(self, piece: Slice, on_split: OnSplit | None = None, on_read: OnRead | None = None) -> JdbcExtract:
        """Return the rows of one slice."""
        cursor = self._cursor()
        condition = in_slice(self._dialect, cursor, piece, self._description.known().columns)
        if cursor.kind is CursorType.TEXT:
            return self._extract(condition, on_split, on_read, ranked=cursor)
        return self._extract(condition, on_split, on_read, divided_by=cursor)

    def _extract(
        self,
        condition: str | None,
        on_split: OnSplit | None,
        on_read: OnRead | None,
        ranked: Cursor | None = None,
        divided_by: Cursor | None = None,
    ) -> JdbcExtract:
        known = self._description.known()
        return JdbcExtract(
            self._table,
            known.columns,
            condition,
            self._database,
            self._reader,
            ranked=ranked,
            divided_by=divided_by,
            on_split=on_split,
            raw=known.raw,
            confirm=self._description.confirm,
            missing=known.emptied,
            masks=known.masks,
            meter=ReadMeter(on_read),
            witness=witness_of(self._table),
        )

    def _key_line(self) -> Cursor | None:
        """Return along what a whole table may be divided: only where all parts can read one view of it."""
        if not self._dialect.shares_snapshots:
            return None
        known, split = self._description.known(), self._table.partition_read
        names = (*((split.column,) if split else ()), *(self._table.primary_keys or known.snapshot.primary_keys))
        lines = (line_of(find_column(known.columns, name, "primary_keys", self._table.name)) for name in names)
        return next(filter(None, lines), None)

    def _line(self, column: str | None) -> Cursor:
        if column is None:
            return self._cursor()
        return require_line(find_column(self._description.known().columns, column, "column", self._table.name))

    def key_ranges(self, column: str, rows: int, most: int) -> tuple[KeyRange, ...]:
        """Return ranges that take every row, cut where the rows are; one for a column that is no number, date or time."""
        line = line_of(find_column(self._description.known().columns, column, "primary_keys", self._table.name))
        if line is None or most <= 1:
            return (KeyRange(column, None, None),)
        with self._database.connect() as connection:
            return key_ranges(ColumnRows(connection, self._dialect, self._table, line), rows, most)

    def described(self) -> TableSnapshot:
        """Return the description by which rows are read."""
        return self._description.known().snapshot

    def profile(self, wanted: Mapping[str, pa.DataType]) -> tuple[ColumnProfile, ...]:
        """Return whether the values of columns fit these types, by one query over all rows."""
        raw = self._description.known().raw
        with self._database.connect() as connection:
            # Not of masked columns: a profile tells their smallest and largest value.
            asked = [(raw[name], kind) for name, kind in wanted.items() if self._table.privacy.mask_of(name) is None]
            return take_profiles(connection, self._dialect, self._table, asked)

    def _cursor(self) -> Cursor:
        cursor = self._description.known().cursor
        if cursor is None:
            raise TerminalError(
                f"Table {self._table.name} has no incremental column.",
                remedy="Set incremental_column and incr_col_type, or load it with mode full.",
                table=self._table.name,
            )
        return cursor

    def _keys(self) -> tuple[SourceColumn, ...]:
        columns, name = self._description.known().columns, self._table.name
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
