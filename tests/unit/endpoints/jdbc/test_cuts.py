"""Conditions of a read in parts: every row falls into exactly one, and none takes more than twice its share."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, Extent, cut_conditions, line_of, partition_line
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.sql import Cursor
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.spec import PartitionRead, TableSpec

POSTGRES, SQLITE = dialect_for("postgresql"), dialect_for("sqlite")
TABLE = TableSpec("main", "t", "full", "shop")


def column(kind: str, *arguments: int) -> SourceColumn:
    return POSTGRES.column(RawColumn("p", kind, kind, arguments, True))


def filled(declared: str, values: Sequence[Any]) -> sqlite3.Connection:
    """A real table with one column, in memory."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t (p {declared})")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    return connection


def along(connection: sqlite3.Connection, declared: str, kind: CursorType, condition: str | None = None) -> ColumnRows:
    known = SQLITE.column(RawColumn("p", declared, declared.lower(), (), True))
    return ColumnRows(connection, SQLITE, TABLE, Cursor(known, kind), condition)


def rows_of(connection: sqlite3.Connection, condition: str) -> list[Any]:
    return [value for (value,) in connection.execute(f"SELECT p FROM t WHERE {condition}")]


def test_extent_and_cells_are_what_the_table_holds() -> None:
    """NULL lies in no cell; a cell without rows is answered too; the smallest and largest tick are given."""
    with closing(filled("INTEGER", [None, -7, 1, 5, 5, 6, 100])) as connection:
        rows = along(connection, "INTEGER", CursorType.INT)
        assert rows.extent() == Extent(7, 1, -7, 100)
        assert rows.counts([-8, 1, 4, 6, 50]) == (
            Cell(-8, 1, 2, -7, 1),
            Cell(1, 4, 0),
            Cell(4, 6, 3, 5, 6),
            Cell(6, 50, 0),
        )
        below = along(connection, "INTEGER", CursorType.INT, "`p` < 6 OR `p` IS NULL")
        assert below.extent() == Extent(5, 1, -7, 5)
        assert [cell.rows for cell in below.counts([-8, 1, 4, 6, 50])] == [2, 0, 2, 0]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-50, 50))), st.integers(1, 9))
def test_every_row_falls_into_exactly_one_part(values: list[int | None], parts: int) -> None:
    """Also rows that come after the counting: below, above, between, and NULL."""
    with closing(filled("INTEGER", values)) as connection:
        conditions = cut_conditions(along(connection, "INTEGER", CursorType.INT), parts, "p")
        assert 1 <= len(conditions) <= parts
        found = [rows_of(connection, condition) for condition in conditions]
        assert Counter(value for part in found for value in part) == Counter(values)
        for part in found:
            assert len(part) <= 2 * len(values) / parts or len(set(part)) == 1
        later = [None, -1000, *range(-60, 60), 1000]
        connection.execute("DELETE FROM t")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in later])
        assert Counter(value for c in conditions for value in rows_of(connection, c)) == Counter(later)


def test_null_counts_as_a_value_and_stands_alone_where_it_is_heavy() -> None:
    with closing(filled("INTEGER", [None] * 60 + list(range(40)))) as connection:
        conditions = cut_conditions(along(connection, "INTEGER", CursorType.INT), 4, "p")
        assert conditions[0] == "p IS NULL"
        assert [len(rows_of(connection, condition)) for condition in conditions] == [60, 14, 14, 12]


@pytest.mark.parametrize("values", [[], [None, None], [5], [5, 5, 5]])
def test_where_nothing_can_be_cut_one_part_takes_everything(values: list[int | None]) -> None:
    with closing(filled("INTEGER", values)) as connection:
        assert cut_conditions(along(connection, "INTEGER", CursorType.INT), 4, "p") == ("1 = 1",)


def test_dates_and_timestamps_are_cut_at_their_ends_too() -> None:
    """The first day of year 1 and the last of 9999 have no neighbour that could be spelled."""
    days = [date.min, date.min, date(2024, 2, 28), date(2024, 2, 29), date.max, date.max]
    with closing(filled("DATE", [day.isoformat() for day in days])) as connection:
        conditions = cut_conditions(along(connection, "DATE", CursorType.DATE), 6, "p")
        found = [rows_of(connection, condition) for condition in conditions]
        assert [len(part) for part in found] == [2, 1, 1, 2]
    moments = [datetime.fromisoformat("2024-01-01") + timedelta(microseconds=1) * micro for micro in range(8)]
    with closing(filled("DATETIME", [moment.isoformat(" ", "microseconds") for moment in moments])) as connection:
        conditions = cut_conditions(along(connection, "DATETIME", CursorType.TIMESTAMP), 4, "p")
        assert [len(rows_of(connection, condition)) for condition in conditions] == [2, 2, 2, 2]


@settings(deadline=None)
@given(st.lists(st.integers(-100, 100), min_size=2, max_size=12, unique=True), st.lists(st.integers(-120, 120)))
def test_one_question_answers_for_all_cells(edges: list[int], values: list[int]) -> None:
    """Whatever their number and width, as counted by hand."""
    ordered = sorted(edges)
    with closing(filled("INTEGER", values)) as connection:
        cells = along(connection, "INTEGER", CursorType.INT).counts(ordered)
    expected = [sorted(v for v in values if low < v <= high) for low, high in pairwise(ordered)]
    assert [cell.rows for cell in cells] == [len(inside) for inside in expected]
    assert [(c.first, c.last) for c in cells if c.rows] == [(inside[0], inside[-1]) for inside in expected if inside]


def test_a_column_without_a_line_to_cut_is_refused() -> None:
    assert line_of(column("text")) is None
    with pytest.raises(TerminalError, match="cannot split a read"):
        partition_line(column("text"), PartitionRead("p", None, None, 2))


def test_bounds_that_are_no_values_of_the_column_are_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="'a; DROP TABLE t'"):
        partition_line(column("int4"), PartitionRead("p", "a; DROP TABLE t", "2", 2))
    assert partition_line(column("int4"), PartitionRead("p", "1", "2", 2)).kind is CursorType.INT
