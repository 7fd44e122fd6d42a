"""How two values differ, told from their spellings."""

import struct

import pyarrow as pa
import pytest

from ingestion_runtime.model.comparison import ComparedColumn
from ingestion_runtime.reconciliation.manners import compare_rows, describe

TEXT, MOMENT, ZONED, DAY = pa.string(), pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.date32()
EXACT, WHOLE, DOUBLE, BYTES = pa.decimal128(12, 4), pa.int64(), pa.float64(), pa.binary()


def bits(number: float) -> str:
    """A double as it is spelled."""
    return struct.pack(">d", number).hex()


@pytest.mark.parametrize(
    ("kind", "source", "target", "how"),
    [
        (WHOLE, "7", None, "NULL in the target"),
        (WHOLE, None, "7", "a value in the target, NULL at the source"),
        (TEXT, None, "", "empty in the target, NULL at the source"),
        (TEXT, "", None, "NULL in the target, empty at the source"),
        (BYTES, None, "", "empty in the target, NULL at the source"),
        (TEXT, "ab  ", "ab", "blanks at the end"),
        (TEXT, "ab", "ab\n", "blanks at the end"),
        (TEXT, " ab", "ab", "blanks around it"),
        (TEXT, "Straße", "STRASSE", "upper and lower case"),
        (TEXT, "Ada", "ada", "upper and lower case"),
        (TEXT, "e\u0301", "\u00e9", "another Unicode form of the same characters"),
        (TEXT, "\ufb01", "fi", "another Unicode form of the same characters"),
        (TEXT, "a\r\nb", "a\nb", "line ends"),
        (TEXT, "abcdef", "abc", "cut off at the end"),
        (TEXT, "abc", "abcdef", "longer than at the source"),
        (TEXT, "abc", "", "cut off at the end, to nothing"),
        (TEXT, "Zoë", "ZoÃ«", "garbled: UTF-8 read as Latin-1"),
        (TEXT, "abc", "xyz", "another text"),
        (MOMENT, "2024-05-01 10:00:00.000000", "2024-05-01 12:00:00.000000", "2 h later, as in another time zone"),
        (ZONED, "2024-05-01 10:00:00.000000", "2024-05-01 04:15:00.000000", "5.75 h earlier, as in another time zone"),
        (MOMENT, "2024-05-01 10:00:00.123456", "2024-05-01 10:00:00.000000", "cut to seconds"),
        (MOMENT, "2024-05-01 10:00:00.123956", "2024-05-01 10:00:00.123000", "cut to milliseconds"),
        (MOMENT, "2024-05-01 10:00:00.123956", "2024-05-01 10:00:00.124000", "rounded to milliseconds"),
        (MOMENT, "2024-05-01 10:00:00.000000", "2024-05-01 10:00:00.123456", "cut to seconds at the source"),
        (MOMENT, "2024-05-01 10:07:00.000000", "2024-05-01 00:00:00.000000", "its time of day is missing"),
        (MOMENT, "2024-05-01 10:00:00.000000", "2024-06-01 10:00:00.000000", "another time"),
        (MOMENT, "2024-05-01 10:00:00.000000", "10000-06-01 10:00:00.000000", "another time"),
        (DAY, "2024-05-01", "2024-05-02", "1 day later"),
        (DAY, "2024-05-03", "2024-05-01", "2 days earlier"),
        (EXACT, "12.3456", "12.3500", "rounded to 2 digits behind the point"),
        (EXACT, "12.5600", "13.0000", "rounded to a whole number"),
        (EXACT, "12.3756", "12.3000", "cut to 1 digit behind the point"),
        (EXACT, "12.0000", "12.3456", "rounded to a whole number at the source"),
        (EXACT, "12.3456", "-12.3456", "the other sign"),
        (EXACT, "12.3456", "1234.5600", "100 times as large"),
        (WHOLE, "12000", "12", "1000 times as small"),
        (WHOLE, "12", "17", "another number"),
        (DOUBLE, bits(0.1 + 0.2), bits(0.3), "the last bit"),
        (DOUBLE, bits(0.1), bits(struct.unpack("f", struct.pack("f", 0.1))[0]), "rounded to single precision"),
        (DOUBLE, bits(3.14159), bits(3.14), "rounded to 2 digits behind the point"),
        (DOUBLE, bits(2.5), bits(-2.5), "the other sign"),
        (DOUBLE, bits(2.5), "nan", "not a number (NaN) on one side"),
        (DOUBLE, bits(float("inf")), bits(1e308), "another number"),
        (DOUBLE, bits(5e-324), bits(-5e-324), "the other sign"),
        (BYTES, "00ff10", "00ff", "cut off at the end"),
        (BYTES, "00", "01", "other bytes"),
        (pa.bool_(), "true", "false", "another value"),
    ],
)
def test_a_difference_is_named(kind: pa.DataType, source: str | None, target: str | None, how: str) -> None:
    assert describe(kind, source, target) == how


def test_only_columns_that_differ_are_told_with_both_spellings() -> None:
    columns = [ComparedColumn(name, name.upper(), TEXT) for name in ("id", "a", "b")]
    (found,) = compare_rows(columns, ["1", "x", None], ["1", "X", None])
    assert (found.column, found.how, found.source, found.target) == ("A", "upper and lower case", "x", "X")


def test_values_that_changed_places_are_called_swapped() -> None:
    """In columns of one type only, and not two NULLs."""
    columns = [ComparedColumn("a", "a", TEXT), ComparedColumn("n", "n", WHOLE), ComparedColumn("b", "b", TEXT)]
    found = compare_rows(columns, ["x", "1", "y"], ["y", "1", "x"])
    assert [(value.column, value.how) for value in found] == [("a", "swapped with b"), ("b", "swapped with a")]
    found = compare_rows(columns, ["1", "2", "z"], ["2", "1", "z"])
    assert [value.how for value in found] == ["another text", "another number"]
