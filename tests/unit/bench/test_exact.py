"""The bench's judge: it tells rows, values and types apart, and never takes one for the other."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.bench.exact import Content, Finding, compare, snapshots, source_content

COLUMNS = {"id": "BIGINT", "price": "DECIMAL(15,2)", "name": "VARCHAR"}
PRINTED = '1,10.50,"a,b "\n2,0.01,\\N\n3,7.00,""\n'
IDS, NAMES = [1, 2, 3], ["a,b ", None, ""]
PRICES = [Decimal("10.50"), Decimal("0.01"), Decimal("7.00")]


@pytest.fixture
def source(tmp_path: Path) -> Content:
    """What psql prints: NULL and the empty text, blanks at the end, a comma in a value."""
    file = tmp_path / "source.csv"
    file.write_text(PRINTED)
    return source_content(file, COLUMNS)


def arrive(place: Path, table: pa.Table) -> None:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{place / 'catalog.db'}", warehouse=(place / "warehouse").as_uri())
    catalog.create_namespace_if_not_exists("public")
    catalog.create_table("public.t", table.schema).append(table)


def rows(ids: list[int], prices: pa.Array, names: list[str | None]) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "price": prices, "name": pa.array(names, pa.string())})


def test_the_same_rows_in_another_order_are_exact(tmp_path: Path, source: Content) -> None:
    """Also when the table carries columns that a program added."""
    table = rows([3, 1, 2], pa.array([PRICES[2], *PRICES[:2]], pa.decimal128(15, 2)), ["", "a,b ", None])
    arrive(tmp_path, table.append_column("added", pa.array([1, 2, 3])))
    assert compare(tmp_path, "t", COLUMNS, source) == Finding("exact")
    assert snapshots(tmp_path, ["t", "missing"]) == 1


@pytest.mark.parametrize(
    ("ids", "prices", "names", "note"),
    [
        (IDS[:2], PRICES[:2], NAMES[:2], "2 rows for 3"),
        ([1, 2, 2], [*PRICES[:2], PRICES[1]], ["a,b ", None, None], "values differ in id, price, name"),
        (IDS, PRICES, ["a,b", None, ""], "values differ in name"),
        (IDS, PRICES, ["a,b ", "", None], "values differ in how rows pair them"),
        (IDS, [*PRICES[:2], Decimal("7.01")], NAMES, "values differ in price"),
    ],
)
def test_whatever_differs_is_wrong(
    tmp_path: Path, source: Content, ids: list[int], prices: list[Decimal], names: list[str | None], note: str
) -> None:
    """A row lost, one taken for another, a blank cut off, NULL for the empty text, a cent."""
    arrive(tmp_path, rows(ids, pa.array(prices, pa.decimal128(15, 2)), names))
    assert compare(tmp_path, "t", COLUMNS, source) == Finding("WRONG", note)


def test_equal_values_of_a_wider_type_are_told(tmp_path: Path, source: Content) -> None:
    """Nothing is lost, but it is not what stood in the source."""
    arrive(tmp_path, rows(IDS, pa.array(PRICES, pa.decimal128(38, 10)), NAMES))
    assert compare(tmp_path, "t", COLUMNS, source).verdict == "other types"


def test_values_that_only_round_to_the_source_s_are_wrong(tmp_path: Path, source: Content) -> None:
    """A cast to the declared type must not hide them."""
    nearly = [*PRICES[:2], Decimal("7.0000001")]
    arrive(tmp_path, rows(IDS, pa.array(nearly, pa.decimal128(38, 10)), NAMES))
    assert compare(tmp_path, "t", COLUMNS, source).verdict == "WRONG"


def test_a_table_or_column_that_is_not_there_is_wrong(tmp_path: Path, source: Content) -> None:
    """Whatever the exit code of the program said."""
    assert compare(tmp_path, "t", COLUMNS, source) == Finding("WRONG", "there is no table")
    arrive(tmp_path, rows(IDS, pa.array(PRICES, pa.decimal128(15, 2)), NAMES).drop_columns("name"))
    assert compare(tmp_path, "t", COLUMNS, source) == Finding("WRONG", "columns are missing: name")


def test_of_two_findings_the_worse_stands() -> None:
    """One wrong table of fifty makes the run wrong."""
    assert Finding("other types", "a").and_also(Finding("WRONG", "b")) == Finding("WRONG", "b")
    assert Finding("exact").and_also(Finding("exact")) == Finding("exact")
