"""One key at the source: the rows that filter and query let through, and those that they do not."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cmp_to_key
from typing import Any, Final

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.lookup import find_unfit, holding, look_up, resembling
from ingestion_runtime.endpoints.jdbc.sql import Cursor, in_slice
from ingestion_runtime.metadata.promotion import promotes
from ingestion_runtime.model.cursor import CursorType, Slice, Watermark
from ingestion_runtime.model.endpoint import Shape
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.tracing.evidence import SourceFinding, SourceRow, Values
from ingestion_runtime.tracing.values import cursor_of, is_later, is_same, show
from ingestion_runtime.tracing.wanted import Wanted

_MOST_ROWS: Final = 1000
_MOST_NEAR: Final = 3


class TooManyRowsError(ConfigError):
    """So many rows hold the values that are asked for that they cannot be compared one by one."""


def landing_as(extract: JdbcExtract, target: pa.Schema | None) -> JdbcExtract:
    """Return the same rows in the types of the target, as far as their columns can land so: what is compared is spelled
    alike then. A column to which the target will grow stays as it lands: the next run reads values that do not fit yet."""
    grows = extract.table.policy.widened is OnChange.EVOLVE
    for field in target or ():
        own = next((column for column in extract.columns if column.name == field.name), None)
        if own is not None and grows and promotes(field.type, own.lands_as):
            continue
        if own is not None and own.name not in extract.masks and own.lands_as != field.type:
            try:
                extract = extract.shaped(Shape(landing=(field,)))
            except TerminalError:
                continue  # it will be compared as it lands by itself
    return extract


class SourceLook:
    """Looks a key up at one table's source; reads a few rows."""

    def __init__(self, extract: JdbcExtract, wanted: Wanted) -> None:
        self._extract = extract
        self._table = extract.table
        self._wanted = wanted
        self._columns = {column.name: column for column in extract.columns}
        self._hashed = False

    def look(self) -> SourceFinding:
        """Return what the source has of the key. Raises what the source raises."""
        try:
            return self._look()
        except TerminalError:
            # A text that the column's character set has no letters for cannot be compared with it; its hash can.
            self._hashed = True
            return self._look()

    def _look(self) -> SourceFinding:
        table = self._table
        rows, near, unfit = self._rows(self._extract)
        hidden: tuple[SourceRow, ...] = ()
        if not rows and (table.source_filter is not None or table.query_sql is not None):
            hidden = self._hidden()
        if not rows and not hidden and not near:
            near = self._resembling()
        return SourceFinding(rows=rows, hidden=hidden, near=near, unfit=unfit)

    def lies_in(self, piece: Slice) -> bool:
        """Whether a row of the key lies in a slice, by the source's own order."""
        kind = self._table.incr_col_type
        column = self._columns.get(self._table.incremental_column or "")
        if kind is None or column is None:
            return False
        condition = in_slice(self._extract.database.dialect, Cursor(column, kind), piece, self._extract.columns)
        return self._has(condition or "1 = 1")

    def is_beyond_now(self) -> bool:
        """Whether a row of the key is later than the source's own now."""
        dialect, kind = self._extract.database.dialect, self._table.incr_col_type
        column = self._columns.get(self._table.incremental_column or "")
        now = None if kind is None or column is None else dialect.now(column, kind)
        return now is not None and column is not None and self._has(f"{dialect.quote(column.name)} > {now}")

    def is_above(self, mark: Watermark) -> bool:
        """Whether a row of the key lies above a watermark, by the source's own order."""
        dialect, column = self._extract.database.dialect, self._columns.get(self._table.incremental_column or "")
        return column is not None and self._has(f"{dialect.quote(column.name)} > {dialect.literal(mark, column)}")

    def _has(self, condition: str) -> bool:
        keys = replace(self._extract, columns=self._of_keys())
        return bool(look_up(keys, f"{self._condition()} AND ({condition})", 1).num_rows)

    def _of_keys(self) -> tuple[SourceColumn, ...]:
        return tuple(self._columns[part.column] for part in self._wanted.key)

    def _condition(self) -> str:
        return holding(self._extract.database.dialect, self._parts(), hashed=self._hashed)

    def _parts(self) -> list[tuple[SourceColumn, Any]]:
        return [(self._columns[part.column], part.value) for part in self._wanted.key]

    def _resembling(self) -> tuple[str, ...]:
        """Return keys that the source has and takes for the one that is asked for, as its own types know them."""
        condition = resembling(self._extract.database.dialect, self._parts())
        if condition is None:
            return ()
        try:
            return self._spelled(look_up(replace(self._extract, columns=self._of_keys(), missing=()), condition, _MOST_NEAR))
        except IngestionError:
            return ()  # no value of its type at all

    def _spelled(self, rows: pa.Table) -> tuple[str, ...]:
        keys = {
            ", ".join(f"{part.column}={show(row[part.column])}" for part in self._wanted.key) for row in rows.to_pylist()
        }
        return tuple(sorted(keys))[:_MOST_NEAR]

    def _rows(self, extract: JdbcExtract) -> tuple[tuple[SourceRow, ...], tuple[str, ...], str | None]:
        unfit = None
        try:
            found = look_up(extract, self._condition(), _MOST_ROWS, self._by_source())
        except TerminalError as error:
            # Some value of the row cannot land; that the row is there can be seen all the same.
            found = self._narrowly(extract)
            unfit = (find_unfit(extract, self._condition()) or error).message.rstrip(".")
        self._refuse_many(found.num_rows)
        listed = found.to_pylist()
        wanted = [self._is_wanted(row) for row in listed]
        rows = [row for row, is_wanted in zip(listed, wanted, strict=True) if is_wanted]
        near = self._spelled(found.filter(pa.array([not is_wanted for is_wanted in wanted], pa.bool_())))
        return self._ordered(rows), near, unfit

    def _by_source(self) -> SourceColumn | None:
        """Return the cursor where only the source knows which of two values is the later one."""
        is_text = self._table.incr_col_type is CursorType.TEXT
        return self._columns.get(self._table.incremental_column or "") if is_text else None

    def _narrowly(self, extract: JdbcExtract) -> pa.Table:
        """Return keys and cursors, or keys alone where the cursor is what cannot land."""
        keys = {part.column for part in self._wanted.key}
        known = keys | {self._table.incremental_column}
        try:
            narrow = replace(extract, columns=tuple(c for c in extract.columns if c.name in known), missing=())
            return look_up(narrow, self._condition(), _MOST_ROWS, self._by_source())
        except TerminalError:
            return look_up(replace(extract, columns=self._of_keys(), missing=()), self._condition(), _MOST_ROWS)

    def _refuse_many(self, rows: int) -> None:
        if rows == _MOST_ROWS:
            raise TooManyRowsError(
                f"{_MOST_ROWS:,} rows or more of {self._table.name} hold {self._wanted.spelled()}.",
                remedy="Name more columns, or more of the key.",
                table=self._table.name,
            )

    def _is_wanted(self, row: Values) -> bool:
        return all(is_same(row.get(part.column), part.value) for part in self._wanted.key)

    def _ordered(self, rows: Iterable[Values]) -> tuple[SourceRow, ...]:
        """Return rows, the newest first where that can be told."""
        found = [SourceRow(row, self._cursor(row), self._fits(row)) for row in rows]
        kind = self._table.incr_col_type
        return tuple(sorted(found, key=cmp_to_key(_newest_first)) if kind not in (None, CursorType.TEXT) else found)

    def _fits(self, row: Values) -> bool:
        return all(is_same(row.get(part.column), part.value) for part in self._wanted.version)

    def _cursor(self, row: Values) -> Watermark | None:
        kind, name = self._table.incr_col_type, self._table.incremental_column
        if kind is None or name is None:
            return None
        try:
            return cursor_of(row.get(name), kind)
        except TerminalError:
            return None

    def _hidden(self) -> tuple[SourceRow, ...]:
        """Return the rows that the filter hides, or those of the table that a query was written for, if there is one."""
        if self._table.query_sql is None:
            rows, _, _ = self._rows(replace(self._extract, table=replace(self._table, source_filter=None)))
            return rows
        if self._table.source_filter is not None:
            rows, _, _ = self._rows(replace(self._extract, table=replace(self._table, source_filter=None)))
            if rows:
                return rows
        try:
            return self._in_plain_table()
        except IngestionError:
            return ()  # the query does not stand for a table of this name, or for one with other columns

    def _in_plain_table(self) -> tuple[SourceRow, ...]:
        plain = replace(self._table, query_sql=None, source_filter=None)
        database = self._extract.database
        with database.connect() as connection:
            described = database.dialect.describe_tables(connection, [plain]).get(plain.name)
        raw = {column.name: column for column in described.columns} if described is not None else {}
        if any(part.column not in raw for part in self._wanted.key):
            return ()
        columns = tuple(database.dialect.column(raw[part.column]) for part in self._wanted.key)
        same = all(column.lands_as == part.kind for column, part in zip(columns, self._wanted.key, strict=True))
        if not same:
            return ()
        narrow = replace(self._extract, table=plain, columns=columns, missing=(), masks={})
        rows, _, _ = SourceLook(narrow, replace(self._wanted, version=()))._rows(narrow)
        return rows


def _newest_first(one: SourceRow, other: SourceRow) -> int:
    """Order rows as a merge does: NULL is the smallest cursor."""
    if one.cursor is None or other.cursor is None:
        return (one.cursor is None) - (other.cursor is None)
    return -1 if is_later(one.cursor, other.cursor) else int(is_later(other.cursor, one.cursor))
