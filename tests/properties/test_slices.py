"""Slices cover exactly what was frozen, whatever it is."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.model.cursor import CursorType, Interval, Watermark
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.spec import SlicingPolicy
from ingestion_runtime.model.watermark import from_ticks, lowest_ticks, to_ticks
from ingestion_runtime.planning.slices import slice_count, split_by_rows, split_from_first, split_interval

SPLITTABLE = [t for t in CursorType if t is not CursorType.TEXT]
HIGHEST = {CursorType.TIMESTAMP: 253_402_300_799_999_999, CursorType.DATE: 2_932_896}


def ticks(cursor_type: CursorType) -> st.SearchStrategy[int]:
    """Every tick that a watermark of the type may have."""
    return st.integers(lowest_ticks(cursor_type) or -(10**37), HIGHEST.get(cursor_type, 10**37))


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    """Intervals of every splittable type: wide, narrow (fewer ticks than pieces), empty."""
    cursor_type = draw(st.sampled_from(SPLITTABLE))
    low = draw(ticks(cursor_type))
    high = draw(ticks(cursor_type) | st.integers(low - 2, low + 40))
    floor, top = lowest_ticks(cursor_type), HIGHEST.get(cursor_type)
    high = high if floor is None else max(high, floor)
    high = high if top is None else min(high, top)
    return Interval(from_ticks(cursor_type, low), from_ticks(cursor_type, high))


def assert_exact_cover(pieces: tuple[Interval, ...], whole: Interval) -> None:
    """Ordered, adjacent, none empty, and together exactly the whole."""
    if to_ticks(whole.low) >= to_ticks(whole.high):
        assert pieces == ()
        return
    assert pieces[0].low == whole.low
    assert pieces[-1].high == whole.high
    assert all(a.high == b.low for a, b in pairwise(pieces))
    assert all(to_ticks(p.low) < to_ticks(p.high) for p in pieces)


@given(intervals(), st.integers(-1, 60))
def test_slices_cover_exactly_and_evenly(interval: Interval, count: int) -> None:
    """Every cursor value of the range lies in exactly one slice; lengths differ by one tick at most."""
    pieces = split_interval(interval, count)
    assert_exact_cover(pieces, interval)
    if pieces:
        span = to_ticks(interval.high) - to_ticks(interval.low)
        assert len(pieces) == min(max(1, count), span)
        lengths = {to_ticks(p.high) - to_ticks(p.low) for p in pieces}
        assert max(lengths) - min(lengths) <= 1


@given(intervals(), st.data(), st.integers(1, 60))
def test_the_first_row_moves_cuts_but_never_the_cover(interval: Interval, data: st.DataObject, count: int) -> None:
    """Wherever the first row is said to be, inside or outside, nothing is left out and nothing is read twice."""
    first = data.draw(ticks(interval.low.type))
    if data.draw(st.booleans()) and to_ticks(interval.low) < to_ticks(interval.high):
        first = data.draw(st.integers(to_ticks(interval.low) + 1, to_ticks(interval.high)))
    pieces = split_from_first(interval, from_ticks(interval.low.type, first), count)
    assert_exact_cover(pieces, interval)
    assert len(pieces) <= count


@given(intervals(), st.data(), st.integers(1, 24))
def test_cuts_by_rows_cover_exactly_too(interval: Interval, data: st.DataObject, count: int) -> None:
    """Whatever the source answers and wherever the first row is said to be."""
    first = data.draw(st.none() | ticks(interval.low.type).map(lambda tick: from_ticks(interval.low.type, tick)))
    chance = data.draw(st.randoms(use_true_random=False))

    def counts(edges: Sequence[int]) -> tuple[Cell, ...]:
        return tuple(Cell(low, high, chance.choice((0, 1, 1000, 10**6))) for low, high in pairwise(edges))

    pieces = split_by_rows(interval, first, count, counts)
    assert_exact_cover(tuple(piece for piece, _ in pieces), interval)
    assert len(pieces) <= count


@given(intervals(), st.integers(2, 24), st.data())
def test_every_row_lies_in_exactly_one_slice(interval: Interval, count: int, data: st.DataObject) -> None:
    """Half-open on the same side as the range: low excluded, high included."""
    row = data.draw(ticks(interval.low.type) | st.sampled_from([to_ticks(interval.low), to_ticks(interval.high)]))
    inside = to_ticks(interval.low) < row <= to_ticks(interval.high)
    holders = [p for p in split_interval(interval, count) if to_ticks(p.low) < row <= to_ticks(p.high)]
    assert len(holders) == inside


@given(st.text(), st.text(), st.integers(1, 60))
def test_text_is_never_cut(low: str, high: str, count: int) -> None:
    """Whatever Python thinks of its order."""
    window = Interval(Watermark(CursorType.TEXT, low), Watermark(CursorType.TEXT, high))
    assert split_interval(window, count) == (() if low == high else (window,))


POLICIES = st.builds(
    SlicingPolicy,
    enabled=st.booleans(),
    max_duration_hours=st.integers(1, 10_000),
    max_count=st.integers(1, 10**8),
    target_rows_per_slice=st.integers(1, 10**8),
    max_partitions=st.integers(1, 100),
)


@given(st.none() | st.integers(0, 10**12), st.none() | st.floats(0, 1e8), POLICIES)
def test_the_number_of_slices_stays_within_its_caps(rows: int | None, hours: float | None, policy: SlicingPolicy) -> None:
    """At least one, at most max_partitions, and one where slicing is off or nothing is out of bounds."""
    count = slice_count(rows, hours, policy)
    assert 1 <= count <= policy.max_partitions
    calm = (rows is None or rows <= policy.max_count) and (hours is None or hours <= policy.max_duration_hours)
    if calm or not policy.enabled:
        assert count == 1


@pytest.mark.parametrize(("rows", "slices"), [(10_000_000, 1), (12_500_000, 13), (50_000_000, 24)])
def test_the_specified_numbers(rows: int, slices: int) -> None:
    """The examples of the specification."""
    assert slice_count(rows, None, SlicingPolicy()) == slices
