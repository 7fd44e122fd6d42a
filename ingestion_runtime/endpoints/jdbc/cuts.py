"""A read cut into parts that follow the data: what lies along a column, and conditions that take every row exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, fetch
from ingestion_runtime.endpoints.jdbc.sql import Cursor, extent, histogram
from ingestion_runtime.model.cursor import CursorType, KeyRange, Watermark
from ingestion_runtime.model.density import Cell, cut_by_rows
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import PartitionRead, TableSpec
from ingestion_runtime.model.watermark import from_ticks, parse_watermark, to_ticks

_KINDS = (CursorType.TIMESTAMP, CursorType.DATE, CursorType.INT)


@dataclass(frozen=True, slots=True)
class Extent:
    """Rows in all, rows without a value, and the ticks of the smallest and largest value (None where there is none)."""

    rows: int
    nulls: int
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class ColumnRows:
    """The rows of a table (those of ``condition``) along one of its columns, as counted over one connection.

    Every question is one statement; over a held view all answers are of one moment. The driver's errors pass through.
    """

    connection: Any
    dialect: Dialect
    table: TableSpec
    cursor: Cursor
    condition: str | None = None

    def extent(self) -> Extent:
        """Return where the rows begin and end."""
        ((rows, nulls, low, high),) = fetch(self.connection, extent(self.dialect, self.table, self.cursor, self.condition))
        return Extent(int(rows), int(nulls), self._ticks(low), self._ticks(high))

    def counts(self, edges: Sequence[int], known: Extent | None = None) -> tuple[Cell, ...]:
        """Return one cell for each (e0, e1], (e1, e2] ... of ascending ticks.

        Outer edges beyond a ``known`` extent are not spelled out: they need not be values of the column.
        """
        name = self.dialect.quote(self.cursor.column.name)
        literals = {edge: self.literal(edge) for edge in edges if known is None or _lies_inside(edge, known)}
        parts = [f"({self.condition})"] if self.condition else []
        parts += [f"{name} > {literals[edges[0]]}"] if edges[0] in literals else []
        parts += [f"{name} <= {literals[edges[-1]]}"] if edges[-1] in literals else []
        cuts = [literals[edge] for edge in edges[1:-1]]
        found = fetch(self.connection, histogram(self.dialect, self.table, self.cursor, cuts, " AND ".join(parts) or None))
        counted = {int(cell): (int(rows), self._ticks(low), self._ticks(high)) for cell, rows, low, high in found}
        return tuple(Cell(a, b, *counted.get(place, (0,))) for place, (a, b) in enumerate(pairwise(edges)))

    def literal(self, tick: int) -> str:
        """Return a tick as SQL that compares with the column."""
        return self.dialect.literal(from_ticks(self.cursor.kind, tick), self.cursor.column)

    def _ticks(self, spelled: Any) -> int | None:
        return None if spelled is None else to_ticks(Watermark(self.cursor.kind, str(spelled)))


def key_ranges(rows: ColumnRows, per_range: int, most: int) -> tuple[KeyRange, ...]:
    """Return ranges of a key that together take every row, of about ``per_range`` rows each and ``most`` of them at most."""
    name, kind, found = rows.cursor.column.name, rows.cursor.kind, rows.extent()
    pieces = min(most, ceil(found.rows / per_range))
    if pieces <= 1 or found.first is None or found.last is None:
        return (KeyRange(name, None, None),)
    cut = cut_by_rows(found.first - 1, found.last, pieces, lambda edges: rows.counts(edges, found))
    edges = [None, *(from_ticks(kind, piece.high) for piece in cut[:-1]), None]
    return tuple(KeyRange(name, low, high) for low, high in pairwise(edges))


def line_of(column: SourceColumn) -> Cursor | None:
    """Return the column as something that can be cut: a time, a date or a whole number; None where it is none of them."""
    kind = next((kind for kind in _KINDS if kind in column.cursors), None)
    return None if kind is None else Cursor(column, kind)


def require_line(column: SourceColumn, remedy: str = "Name another column.") -> Cursor:
    """Return the column as something that can be cut; raises TerminalError for one that cannot."""
    line = line_of(column)
    if line is None:
        raise TerminalError(
            f"Column {column.name!r} ({column.native_type}) cannot split a read: no whole number, date or time.",
            remedy=remedy,
            column=column.name,
        )
    return line


def partition_line(column: SourceColumn, split: PartitionRead) -> Cursor:
    """Return the column of a partitioned read; raises as ``require_line``, and ConfigError for bounds that are no values
    of it. The bounds serve that check alone: the cuts follow the data.
    """
    line = require_line(column, "Name another column in partition_read, or remove it.")
    for bound in (split.lower, split.upper):
        if bound is not None:
            parse_watermark(line.kind, bound)
    return line


def cut_conditions(rows: ColumnRows, parts: int, name: str) -> tuple[str, ...]:
    """Return at most ``parts`` conditions over ``name``, the column as the reading statement calls it.

    Together they take every row exactly once, also one that has come since it was counted. None takes more than twice
    its share of the rows, unless they share one value; NULL counts as a value, below all others. Where nothing can be cut
    there is one condition, which takes everything.
    """
    known = rows.extent()
    if known.first is None or known.last is None:
        return ("1 = 1",)
    null = known.first - 1  # the tick that stands for NULL
    pieces = cut_by_rows(null, known.last, parts, lambda edges: rows.counts(edges, known), at_low=known.nulls)
    if len(pieces) == 1:
        return ("1 = 1",)
    conditions = []
    for piece in pieces:
        lower = f"{name} > {rows.literal(piece.low)}" if piece.low > null else ""
        upper = f"{name} <= {rows.literal(piece.high)}" if piece is not pieces[-1] else ""
        inside = " AND ".join(filter(None, (lower, upper)))
        if piece.high == null:
            conditions.append(f"{name} IS NULL")
        elif piece is pieces[0]:
            conditions.append(f"{inside} OR {name} IS NULL")
        else:
            conditions.append(inside or f"{name} IS NOT NULL")
    return tuple(conditions)


def _lies_inside(tick: int, known: Extent) -> bool:
    return known.first is not None and known.last is not None and known.first <= tick < known.last
