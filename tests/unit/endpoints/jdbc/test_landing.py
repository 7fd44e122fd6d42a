"""What a client gives becomes what a column lands as by value, or it is refused with the column's name."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.landing import lander
from ingestion_runtime.model.errors import TerminalError

NAIVE, ZONED = pa.timestamp("us"), pa.timestamp("us", tz="UTC")
NAN, INFINITY = float("nan"), float("inf")


def column(kind: pa.DataType) -> SourceColumn:
    return SourceColumn("price", "native", True, "price", "STRING", kind)


def landed(values: list[Any], given: pa.DataType, kind: pa.DataType) -> pa.Array:
    # Behind a slice, as the parts of a batch are.
    array = pa.array([values[0], *values], given).slice(1)
    return lander(given, column(kind))(array)


@pytest.mark.parametrize(
    ("given", "values", "kind", "expected"),
    [
        (pa.string(), ["1.5", None, "-0.07"], pa.decimal128(5, 2), [Decimal("1.50"), None, Decimal("-0.07")]),
        (pa.string(), ["9" * 38, "-" + "9" * 38], pa.decimal128(38, 0), [Decimal("9" * 38), -int("9" * 38)]),
        (pa.string(), ["0." + "9" * 38], pa.decimal128(38, 38), [Decimal("0." + "9" * 38)]),
        (pa.string(), ["1." + "0" * 60, "0" * 50 + "7"], pa.decimal128(9, 2), [Decimal("1.00"), Decimal("7.00")]),
        (pa.string(), ["-" + "0" * 40 + ".5" + "0" * 20], pa.decimal128(9, 2), [Decimal("-0.50")]),
        (pa.string(), ["7.00", "-9223372036854775808", None], pa.int64(), [7, -(2**63), None]),
        (pa.int64(), [5, None, -(10**6)], pa.decimal128(9, 2), [Decimal(5), None, Decimal(-(10**6))]),
        (pa.uint64(), [2**64 - 1], pa.decimal128(20, 0), [Decimal(2**64 - 1)]),
        (pa.float64(), [0.07, -1234567890123.45, 5.0, None], pa.decimal128(15, 2), None),
        (pa.int64(), [0, 1, None], pa.bool_(), [False, True, None]),
        (pa.int64(), [-(2**31), 2**31 - 1], pa.int32(), [-(2**31), 2**31 - 1]),
        (pa.float64(), [0.5, INFINITY, -0.0, None], pa.float32(), [0.5, INFINITY, -0.0, None]),
        (pa.binary(), ["é🚲".encode(), None, b"a\0b"], pa.string(), ["é🚲", None, "a\0b"]),
        (pa.string(), ["0001-01-01", "9999-12-31", None], pa.date32(), [date(1, 1, 1), date(9999, 12, 31), None]),
        (pa.string(), ["1582-10-10 00:00:00.5"], NAIVE, [datetime.fromisoformat("1582-10-10 00:00:00.5")]),
        (pa.string(), ["9999-12-31T23:59:59.999999"], NAIVE, [datetime.fromisoformat("9999-12-31 23:59:59.999999")]),
    ],
)
def test_a_value_lands_as_itself(
    given: pa.DataType, values: list[Any], kind: pa.DataType, expected: list[Any] | None
) -> None:
    found = landed(values, given, kind)
    assert found.type == kind
    if expected is None:  # a double stands for the shortest decimal that gives it back
        expected = [None if value is None else Decimal(repr(value)) for value in values]
    assert found.to_pylist() == expected
    found.validate(full=True)


def test_zones_are_those_of_the_column() -> None:
    """Text without a zone is in the session's, which is UTC."""
    found = landed(["2024-03-31 02:30:00"], pa.string(), ZONED)
    assert found.cast(pa.int64()).to_pylist() == [1711852200 * 10**6]
    assert found.type == ZONED


def test_not_a_number_stays_one() -> None:
    (value,) = landed([NAN], pa.float64(), pa.float32()).to_pylist()
    assert value != value  # noqa: PLR0124 - what makes it none


@pytest.mark.parametrize(
    ("given", "values", "kind"),
    [
        (pa.string(), ["NaN"], pa.decimal128(9, 2)),
        (pa.string(), ["9" * 39], pa.decimal128(38, 0)),  # Arrow alone makes another number of it
        (pa.string(), ["0.1" + "0" * 50 + "1"], pa.decimal128(38, 2)),  # and 0.00 of this
        (pa.string(), ["1e40" + "0" * 40], pa.decimal128(38, 2)),
        (pa.string(), ["1.555"], pa.decimal128(9, 2)),
        (pa.string(), ["12345678.00"], pa.decimal128(9, 2)),
        (pa.string(), ["1.5"], pa.int64()),
        (pa.string(), ["9223372036854775808"], pa.int64()),
        (pa.string(), [""], pa.int64()),
        (pa.int64(), [10**8], pa.decimal128(9, 2)),
        (pa.int64(), [2], pa.bool_()),
        (pa.int64(), [2**31], pa.int32()),
        (pa.float64(), [0.1], pa.float32()),
        (pa.float64(), [1e300], pa.float32()),
        (pa.float64(), [0.125], pa.decimal128(9, 2)),
        (pa.float64(), [12345678.0], pa.decimal128(9, 2)),
        (pa.float64(), [INFINITY], pa.decimal128(9, 2)),
        (pa.float64(), [NAN], pa.decimal128(9, 2)),
        (pa.int64(), [2**53 + 1], pa.float64()),
        (pa.binary(), [b"a\xff"], pa.string()),
        (pa.binary(), [b"\xed\xa0\x80"], pa.string()),
        (pa.string(), ["2023-02-30"], pa.date32()),
        (pa.string(), ["0000-12-31"], pa.date32()),
        (pa.string(), ["20240101"], pa.date32()),
        (pa.int32(), [0], pa.string()),
        (pa.date32(), [], pa.string()),
        (pa.string(), ["2024-01-01"], NAIVE),
        (pa.string(), ["2024-01-01 10:00"], NAIVE),
        (pa.string(), ["2024-01-01 10:00:00Z"], NAIVE),
        (pa.string(), ["2024-01-01 10:00:00+02"], ZONED),
        (pa.string(), ["2024-01-01 24:00:00"], NAIVE),
        (pa.string(), ["2024-01-01 10:00:00.1234567"], NAIVE),
        (ZONED, [0], NAIVE),
        (NAIVE, [0], ZONED),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: pa.DataType, values: list[Any], kind: pa.DataType) -> None:
    """Also behind values that fit: nothing is rounded, cut or taken for something else."""
    with pytest.raises(TerminalError, match="price") as caught:
        lander(given, column(kind))(pa.array(values, given))
    assert str(kind) in caught.value.message
    assert caught.value.values["column"] == "price"


@pytest.mark.parametrize(
    ("kind", "ticks"),
    [
        (pa.date32(), [2**31 - 1]),
        (pa.date32(), [-719_163]),
        (pa.date32(), [2_932_897]),
        (NAIVE, [2**63 - 1]),
        (ZONED, [-62_135_596_800_000_001]),
        (ZONED, [253_402_300_800_000_000]),
    ],
)
def test_infinity_and_years_beyond_the_calendar_are_refused(kind: pa.DataType, ticks: list[int]) -> None:
    """PostgreSQL's client counts them like any other day or moment."""
    size = pa.int32() if kind == pa.date32() else pa.int64()
    with pytest.raises(TerminalError, match="outside the years 0001 to 9999"):
        lander(kind, column(kind))(pa.array([0, *ticks], size).view(kind))


def test_text_that_is_no_utf8_is_refused_although_the_client_calls_it_text() -> None:
    spoilt = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    with pytest.raises(TerminalError, match="no valid UTF-8"):
        lander(pa.string(), column(pa.string()))(spoilt)
