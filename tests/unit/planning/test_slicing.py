"""How many slices, and where the cuts are."""

import pytest

from ingestion_runtime.model.cursor import CursorType, Interval, Watermark
from ingestion_runtime.model.spec import SlicingPolicy
from ingestion_runtime.planning.slices import slice_count, split_from_first, split_interval

POLICY = SlicingPolicy()


def ints(low: int, high: int) -> Interval:
    """Return an integer interval."""
    return Interval(Watermark(CursorType.INT, str(low)), Watermark(CursorType.INT, str(high)))


@pytest.mark.parametrize(
    ("rows", "slices"),
    [(0, 1), (10_000_000, 1), (10_000_001, 11), (12_500_000, 13), (50_000_000, 24)],
)
def test_rows_decide_above_max_count(rows: int, slices: int) -> None:
    """The specification's numbers."""
    assert slice_count(rows, 1.0, POLICY) == slices


def test_above_max_count_there_are_at_least_two_slices() -> None:
    """Even where one would hold the target number of rows."""
    assert slice_count(101, None, SlicingPolicy(max_count=100, target_rows_per_slice=1000)) == 2


@pytest.mark.parametrize(
    ("rows", "hours", "slices"),
    [
        (None, 168.0, 1),
        (None, 168.1, 2),
        (None, 1e7, 24),
        (200_000, 1e7, 1),
        (3_500_000, 1e7, 4),
        (9_000_000, 169.0, 2),
        (0, 1e7, 1),
        (None, None, 1),
    ],
)
def test_duration_decides_within_what_the_rows_need(rows: int | None, hours: float | None, slices: int) -> None:
    """A small table's first load spans a century and still is one slice; unknown rows leave it to duration alone."""
    assert slice_count(rows, hours, POLICY) == slices


def test_caps_hold() -> None:
    """max_partitions of 1, or slicing switched off, is one slice whatever the size."""
    assert slice_count(50_000_000, 1e7, SlicingPolicy(max_partitions=1)) == 1
    assert slice_count(50_000_000, 1e7, SlicingPolicy(enabled=False)) == 1


def test_a_short_range_yields_one_slice_a_tick() -> None:
    """Two ticks asked for in five pieces are two slices."""
    assert split_interval(ints(0, 2), 5) == (ints(0, 1), ints(1, 2))


@pytest.mark.parametrize(("low", "high"), [(5, 5), (6, 5)])
def test_an_empty_range_yields_nothing(low: int, high: int) -> None:
    """Low at or above high holds no row."""
    assert split_interval(ints(low, high), 3) == ()


def test_text_is_never_split() -> None:
    """Its order is the source's, also where Python would order it the other way round."""
    window = Interval(Watermark(CursorType.TEXT, "ä"), Watermark(CursorType.TEXT, "b"))
    assert split_interval(window, 24) == (window,)
    assert split_from_first(window, Watermark(CursorType.TEXT, "b"), 24) == (window,)


def test_cuts_lie_where_the_rows_are() -> None:
    """The first slice takes the empty stretch along; the rest is even over the rows."""
    cut = split_from_first(ints(0, 1010), Watermark(CursorType.INT, "1001"), 5)
    assert cut == (ints(0, 1002), ints(1002, 1004), ints(1004, 1006), ints(1006, 1008), ints(1008, 1010))


@pytest.mark.parametrize("first", [None, "-5", "0", "1", "2000"])
def test_a_first_row_outside_the_range_changes_nothing(first: str | None) -> None:
    """The cuts then are even over the whole range."""
    watermark = None if first is None else Watermark(CursorType.INT, first)
    assert split_from_first(ints(0, 100), watermark, 4) == split_interval(ints(0, 100), 4)
