"""The rows of a span, told by every type in which a cursor lands: as a mask, as a condition, and by the bounds of files."""

from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.conversions import to_bytes
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from ingestion_runtime.endpoints.iceberg.cursor_span import DUCKDB, CursorSpan
from ingestion_runtime.model.cursor import CursorType, Span, Watermark
from ingestion_runtime.model.errors import TerminalError

NAME = "a`t"
MOMENT = datetime.fromisoformat("2026-06-01 10:00:00")
LATER = MOMENT.replace(microsecond=500_000)


def span(
    kind: CursorType, landed: IcebergType, low: str, high: str, *, takes_low: bool = False, name: str = NAME
) -> CursorSpan:
    schema = Schema(NestedField(7, NAME, landed), NestedField(8, "other", StringType()))
    return CursorSpan(Span(Watermark(kind, low), Watermark(kind, high), takes_low), schema, name)


MOMENTS = ("2026-06-01 10:00:00.000000", "2026-06-01 10:00:00.500000")
CASES: dict[str, tuple[CursorType, IcebergType, tuple[str, str], pa.Array, list[bool], str]] = {
    # kind, landed, (low, high), values: below, low, inside, high, above, NULL
    "int": (
        CursorType.INT,
        IntegerType(),
        ("-1", "1"),
        pa.array([-2, -1, 0, 1, 2, None], pa.int32()),
        [False, False, True, True, False, False],
        "`a``t` >= CAST('0' AS BIGINT) AND `a``t` <= CAST('1' AS BIGINT)",
    ),
    "unsigned": (
        CursorType.INT,
        DecimalType(20, 0),
        ("9223372036854775807", "18446744073709551615"),
        pa.array(
            [Decimal(5), Decimal(2**63 - 1), Decimal(2**63), Decimal(2**64 - 1), Decimal(2**65), None], pa.decimal128(20, 0)
        ),
        [False, False, True, True, False, False],
        "`a``t` >= CAST('9223372036854775808' AS DECIMAL(38, 0))"
        " AND `a``t` <= CAST('18446744073709551615' AS DECIMAL(38, 0))",
    ),
    "epoch": (
        CursorType.EPOCH_MILLIS,
        LongType(),
        ("10", "20"),
        pa.array([9, 10, 11, 20, 21, None], pa.int64()),
        [False, False, True, True, False, False],
        "`a``t` >= CAST('11' AS BIGINT) AND `a``t` <= CAST('20' AS BIGINT)",
    ),
    "date": (
        CursorType.DATE,
        DateType(),
        ("2024-02-28", "2024-03-01"),
        pa.array([date(2024, 2, 1), date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(2024, 3, 2), None]),
        [False, False, True, True, False, False],
        "`a``t` >= DATE '2024-02-29' AND `a``t` <= DATE '2024-03-01'",
    ),
    "wall clock": (
        CursorType.TIMESTAMP,
        TimestampType(),
        MOMENTS,
        pa.array(
            [
                datetime.fromisoformat("1600-01-01"),
                MOMENT,
                MOMENT.replace(microsecond=1),
                LATER,
                LATER.replace(microsecond=500_001),
                None,
            ],
            pa.timestamp("us"),
        ),
        [False, False, True, True, False, False],
        "`a``t` >= TIMESTAMP_NTZ '2026-06-01 10:00:00.000001' AND `a``t` <= TIMESTAMP_NTZ '2026-06-01 10:00:00.500000'",
    ),
    "moment": (
        CursorType.TIMESTAMP,
        TimestamptzType(),
        MOMENTS,
        pa.array([MOMENT.replace(tzinfo=UTC), LATER.replace(tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        [False, True],
        "`a``t` >= TIMESTAMP '2026-06-01 10:00:00.000001+00:00' AND `a``t` <= TIMESTAMP '2026-06-01 10:00:00.500000+00:00'",
    ),
    "text of a moment": (
        CursorType.TIMESTAMP,
        StringType(),
        MOMENTS,
        # A shorter spelling is the same moment: what was read up to the low end does not belong to the span.
        pa.array(
            [
                "2026-06-01 10:00:00",
                "2026-06-01 10:00:00.0",
                "2026-06-01 10:00:00.1",
                "2026-06-01 10:00:00.5",
                "2026-06-01 10:00:01",
            ]
        ),
        [False, False, True, True, False],
        "`a``t` > '2026-06-01 10:00:00.000000' AND `a``t` <= '2026-06-01 10:00:00.500000'",
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_values_above_the_low_end_up_to_the_high_one_lie_in_the_span(case: str) -> None:
    """For Arrow and for Spark alike; no value lies nowhere."""
    kind, landed, ends, values, inside, condition = CASES[case]
    found = span(kind, landed, *ends)
    assert found.mask(values).to_pylist() == inside
    assert found.condition() == condition


@pytest.mark.parametrize("case", list(CASES))
def test_duckdb_finds_the_same_values_by_its_own_sql(case: str) -> None:
    """In a column whose name needs quoting."""
    kind, landed, ends, values, inside, _ = CASES[case]
    condition = span(kind, landed, *ends).condition(DUCKDB)

    with duckdb.connect() as sql:
        sql.register("rows", pa.table({NAME: values, "place": range(len(values))}))
        found = sql.sql(f"SELECT place FROM rows WHERE {condition} ORDER BY place").fetchall()

    assert [place for (place,) in found] == [place for place, is_inside in enumerate(inside) if is_inside]


@pytest.mark.parametrize("case", list(CASES))
def test_a_span_that_takes_its_low_end_takes_every_spelling_of_it(case: str) -> None:
    """As a re-read set does."""
    kind, landed, ends, values, inside, _ = CASES[case]
    mask = span(kind, landed, *ends, takes_low=True).mask(values).to_pylist()
    first = inside.index(True)
    assert mask[first:] == inside[first:]
    assert mask[first - 1]
    if case == "text of a moment":
        assert mask[0]


def file(landed: IcebergType, low: Any, high: Any, nulls: int | None = 0) -> Any:
    """What an entry of a manifest says of one column."""
    return SimpleNamespace(
        lower_bounds=None if low is None else {7: to_bytes(landed, low)},
        upper_bounds=None if high is None else {7: to_bytes(landed, high)},
        null_value_counts=None if nulls is None else {7: nulls},
    )


@pytest.mark.parametrize(
    ("low", "high", "nulls", "meets", "covers"),
    [
        (11, 20, 0, True, True),
        (11, 20, 1, True, False),  # rows without a cursor stay
        (11, 20, None, True, False),
        (10, 20, 0, True, False),
        (11, 21, 0, True, False),
        (1, 10, 0, False, False),
        (21, 30, 0, False, False),
        (1, 99, 0, True, False),
        (None, None, 0, True, False),
        (21, None, 0, False, False),
    ],
)
def test_bounds_tell_which_files_a_span_meets(
    low: int | None, high: int | None, nulls: int | None, meets: bool, covers: bool
) -> None:
    """A file is left alone, or let go unread, only where its bounds leave no doubt."""
    found = span(CursorType.INT, LongType(), "10", "20")
    entry = file(LongType(), low, high, nulls)
    assert (found.meets(entry), found.covers(entry)) == (meets, covers)


def test_bounds_that_are_cut_leave_doubts() -> None:
    """Iceberg keeps 16 characters of a text: up to the minute."""
    found = span(CursorType.TIMESTAMP, StringType(), *MOMENTS)
    entry = file(StringType(), "2026-06-01 10:00", "2026-06-01 10:01")
    assert (found.meets(entry), found.covers(entry)) == (True, False)
    assert not found.meets(file(StringType(), "2026-06-01 10:01", "2026-06-01 10:02"))


def test_ends_that_no_column_holds_are_no_ends() -> None:
    """A window may be asked for that begins below every number."""
    found = span(CursorType.INT, LongType(), "-" + "9" * 38, "5")
    assert found.mask(pa.array([-(2**63), 5, 6], pa.int64())).to_pylist() == [True, True, False]
    wide = span(CursorType.INT, DecimalType(38, 0), "-" + "9" * 38, "5", takes_low=True)
    assert wide.mask(pa.array([Decimal("-" + "9" * 38), Decimal(6)], pa.decimal128(38, 0))).to_pylist() == [True, False]


@pytest.mark.parametrize(
    ("kind", "landed", "name"),
    [
        (CursorType.INT, StringType(), NAME),
        (CursorType.TEXT, StringType(), NAME),
        (CursorType.TIMESTAMP, DateType(), NAME),
        (CursorType.DATE, TimestampType(), NAME),
        (CursorType.INT, DecimalType(10, 2), NAME),
        (CursorType.INT, LongType(), "gone"),
    ],
)
def test_a_column_that_is_not_compared_as_the_source_does_is_refused(
    kind: CursorType, landed: IcebergType, name: str
) -> None:
    """Rows would stay, or go, that should not."""
    with pytest.raises(TerminalError, match="--reload"):
        span(kind, landed, "2026-01-01" if kind in (CursorType.DATE, CursorType.TIMESTAMP) else "1", "2026-01-02", name=name)
