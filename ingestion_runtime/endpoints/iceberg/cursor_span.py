"""The rows of a table whose cursor lies in a span: as a condition in SQL, as a mask over Arrow's columns, and by the
bounds of files in their manifests.

A cursor lands in a type that compares as the source does (see ``check_cursor``): a whole number, a day, a moment; or, from
SQLite, a text in which moments sort as they follow each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from ingestion_runtime.endpoints.iceberg.key_bounds import file_bound
from ingestion_runtime.endpoints.iceberg.writer import quote
from ingestion_runtime.model.cursor import CursorType, Span, Watermark
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.watermark import from_ticks, to_ticks
from ingestion_runtime.tools import local_sql

# What the types of whole numbers hold; a bound beyond is none.
_LONG, _DIGITS = (-(2**63), 2**63 - 1), (1 - 10**38, 10**38 - 1)
_CLOCKS = (CursorType.TIMESTAMP, CursorType.DATE)


@dataclass(frozen=True, slots=True)
class SpanSql:
    """How an engine's SQL quotes a name, and calls a moment with a zone and one without."""

    quote: Callable[[str], str]
    zoned: str
    bare: str


SPARK = SpanSql(quote, "TIMESTAMP", "TIMESTAMP_NTZ")
DUCKDB = SpanSql(local_sql.quote, "TIMESTAMPTZ", "TIMESTAMP")


class CursorSpan:
    """A span of the column ``name`` of a table. Rows without a value never lie in it."""

    def __init__(self, span: Span, schema: Schema, name: str) -> None:
        """Raises TerminalError for a column whose type does not compare as the cursor does at the source."""
        self.field = next((field for field in schema.fields if field.name == name), None) or _missing(name)
        self._kind = span.high.type
        self._text = isinstance(self.field.field_type, StringType) and self._kind in _CLOCKS
        if not self._text and not _is_counted(self.field, self._kind):
            raise TerminalError(
                f"Column {name} is {self.field.field_type} in the table, and no cursor of type {self._kind} any more.",
                remedy="Correct incr_col_type, then load the table anew with --reload.",
                column=name,
            )
        self._first: Any
        self._last: Any
        if self._text:
            # Within the shape of a moment a shorter spelling is the beginning of a longer one, and sorts below it.
            self._first, self._last = _spelled(span.low, shortest=span.takes_low), _spelled(span.high, shortest=False)
            self._takes_first = span.takes_low
        else:
            self._first = to_ticks(span.low) + (0 if span.takes_low else 1)
            self._last, self._takes_first = to_ticks(span.high), True

    def condition(self, sql: SpanSql = SPARK) -> str:
        """Return the condition in an engine's SQL."""
        above = ">=" if self._takes_first else ">"
        column = sql.quote(self.field.name)
        first, last = self._literal(self._first, sql), self._literal(self._last, sql)
        return f"{column} {above} {first} AND {column} <= {last}"

    def mask(self, column: pa.Array) -> pa.Array:
        """Return which values lie in the span; none is NULL. The column is of the type in which the table's rows land."""
        import pyarrow.compute as pc

        values = column
        if isinstance(self.field.field_type, TimestampType | TimestamptzType):
            values = column.cast(pa.int64())
        elif isinstance(self.field.field_type, DateType):
            values = column.cast(pa.int32())
        above = pc.greater_equal if self._takes_first else pc.greater
        inside = pc.and_(above(values, self._scalar(self._first)), pc.less_equal(values, self._scalar(self._last)))
        return pc.fill_null(inside, False)

    def meets(self, file: DataFile) -> bool:
        """Whether a file can hold rows of the span, by its bounds."""
        low, high = self._bounds(file)
        return (high is None or high >= self._first) and (low is None or low <= self._last)

    def covers(self, file: DataFile) -> bool:
        """Whether all rows of a file lie in the span for sure, by its bounds."""
        low, high = self._bounds(file)
        if low is None or high is None or (file.null_value_counts or {}).get(self.field.field_id) != 0:
            return False
        return bool((low >= self._first if self._takes_first else low > self._first) and high <= self._last)

    def _bounds(self, file: DataFile) -> tuple[Any, Any]:
        number = self.field.field_id
        return tuple(file_bound(self.field, (known or {}).get(number)) for known in (file.lower_bounds, file.upper_bounds))

    def _scalar(self, value: Any) -> pa.Scalar:
        if self._text:
            return pa.scalar(value, pa.string())
        if isinstance(self.field.field_type, DecimalType):
            return pa.scalar(Decimal(_within(value, *_DIGITS)), pa.decimal128(38, 0))
        return pa.scalar(_within(value, *_LONG), pa.int64())

    def _literal(self, value: Any, sql: SpanSql) -> str:
        if self._text:
            return f"'{value}'"
        if isinstance(self.field.field_type, DecimalType):
            return f"CAST('{_within(value, *_DIGITS)}' AS DECIMAL(38, 0))"
        if isinstance(self.field.field_type, IntegerType | LongType):
            return f"CAST('{_within(value, *_LONG)}' AS BIGINT)"
        spelled = from_ticks(self._kind, value).literal
        if isinstance(self.field.field_type, TimestamptzType):
            return f"{sql.zoned} '{spelled}+00:00'"
        return f"{'DATE' if isinstance(self.field.field_type, DateType) else sql.bare} '{spelled}'"


def _is_counted(field: NestedField, kind: CursorType) -> bool:
    """Whether the column's values are the cursor's ticks."""
    if kind is CursorType.DATE:
        return isinstance(field.field_type, DateType)
    if kind is CursorType.TIMESTAMP:
        return isinstance(field.field_type, TimestampType | TimestamptzType)
    whole = isinstance(field.field_type, DecimalType) and field.field_type.scale == 0
    return kind is not CursorType.TEXT and (whole or isinstance(field.field_type, IntegerType | LongType))


def _spelled(value: Watermark, *, shortest: bool) -> str:
    # Through ticks and back: only digits reach a statement, whatever a receipt holds.
    literal = from_ticks(value.type, to_ticks(value)).literal
    return literal.rstrip("0").rstrip(".") if shortest and "." in literal else literal


def _within(value: int, smallest: int, largest: int) -> int:
    return max(smallest, min(value, largest))


def _missing(name: str) -> NestedField:
    raise TerminalError(
        f"The table has no column {name}, by which its rows are told apart.",
        remedy="Restore incremental_column, or load the table anew with --reload.",
        column=name,
    )
