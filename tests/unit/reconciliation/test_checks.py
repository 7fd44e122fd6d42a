"""What checks ask the sides, beyond what they find: naming the columns that differ must not cost a hash of every value."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.duck_rows import DuckSource, duck_rows
from ingestion_runtime.model.comparison import Basis, Checksum, ComparedColumn, ComparedRows, RowBucket
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.reconciliation.checks import Comparison
from ingestion_runtime.reconciliation.columns import Pairing
from ingestion_runtime.tools.local_sql import LocalSql

COLUMNS = (
    ComparedColumn("id", "id", pa.int64()),
    ComparedColumn("a", "a", pa.int64()),
    ComparedColumn("b", "b", pa.string()),
)
ROWS = "SELECT range AS id, range % 7 AS a, 'b' || range AS b FROM range(1000)"


class Heard:
    """A side that remembers of how many buckets the columns were asked for, None for all rows, and how often for buckets."""

    def __init__(self, rows: ComparedRows) -> None:
        self._rows = rows
        self.columns: list[int | None] = []
        self.looks = 0

    def column_checksums(self, within: Collection[str] | None = None) -> Mapping[str, Checksum]:
        self.columns.append(None if within is None else len(within))
        return self._rows.column_checksums(within)

    def buckets(self, digits: int, within: Collection[str] | None = None) -> Mapping[str, RowBucket]:
        self.looks += 1
        return self._rows.buckets(digits, within)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


Opener = Callable[..., Any]


@pytest.fixture
def compared(tmp_path: Path) -> Opener:
    @contextmanager
    def opened(target: str, *, keyless: bool = False) -> Iterator[tuple[Comparison, Heard]]:
        basis = Basis(() if keyless else COLUMNS[:1], COLUMNS)
        sql = LocalSql(128, str(tmp_path))
        with (
            duck_rows(sql, DuckSource(ROWS), basis, None) as ours,
            duck_rows(sql, DuckSource(target), basis, None) as theirs,
        ):
            heard = Heard(theirs)
            pairing = Pairing(basis, (), "it has none" if keyless else None)
            yield Comparison(TableSpec("shop", "orders", "full", "shop"), pairing, ours, heard, 10), heard

    return opened


def test_columns_that_differ_are_looked_for_among_the_keys_that_differ(compared: Opener) -> None:
    """Ten of a thousand rows are changed: what all others hold is hashed row by row, and not column by column."""
    with compared(f"SELECT id, a, CASE WHEN id % 100 = 3 THEN 'x' ELSE b END AS b FROM ({ROWS})") as (comparison, target):
        found = comparison.make(Check.CHECKSUM)
        assert (found.columns, found.difference) == (("b",), None)
        assert target.columns == [10]
        assert comparison.make(Check.BISECT).difference == 10
        assert target.looks == 1  # both checks share the first look


@pytest.mark.parametrize(
    ("target", "columns"),
    [
        (f"SELECT id, -a AS a, b FROM ({ROWS})", ("a",)),  # most rows differ: nothing would be spared
        (f"SELECT * FROM ({ROWS}) UNION ALL SELECT NULL, 1, 'b'", ("id", "a", "b")),  # rows that belong to no bucket
    ],
    ids=["most rows", "a NULL in the key"],
)
def test_columns_are_looked_for_everywhere_where_buckets_tell_nothing(
    compared: Opener, target: str, columns: tuple[str, ...]
) -> None:
    with compared(target) as (comparison, heard):
        assert comparison.make(Check.CHECKSUM).columns == columns
        assert heard.columns == [None]


def test_columns_of_tables_without_a_key_are_told_by_all_rows(compared: Opener) -> None:
    with compared(f"SELECT id, a, upper(b) AS b FROM ({ROWS})", keyless=True) as (comparison, target):
        assert comparison.make(Check.CHECKSUM).columns == ("b",)
        assert (target.columns, target.looks) == ([None], 0)


def test_equal_checksums_of_whole_rows_answer_for_the_keys(compared: Opener) -> None:
    """They tell twice as many bits as a bucket does; asked for alone, the keys are looked at."""
    with compared(ROWS) as (comparison, target):
        assert comparison.make(Check.CHECKSUM).difference == 0
        found = comparison.make(Check.BISECT)
        assert (found.difference, found.bisection.rows, found.bisection.moved) == (0, 2000, 0)
        assert target.looks == 0
    with compared(ROWS) as (comparison, target):
        assert comparison.make(Check.BISECT).difference == 0
        assert target.looks == 1
