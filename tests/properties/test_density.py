"""Pieces follow the rows: an exact cover, nobody with more than twice a share, and few questions."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_runtime.model.density import MAX_CELLS, Cell, Piece, cut_by_rows

LOWEST, HIGHEST = -(2**63), 2**63 - 1


class Rows:
    """Rows at ticks, and how they are counted; remembers the questions."""

    def __init__(self, ticks: Sequence[int]) -> None:
        self.ticks = sorted(ticks)
        self.asked: list[int] = []

    def counts(self, edges: Sequence[int]) -> list[Cell]:
        assert all(a < b for a, b in pairwise(edges))
        self.asked.append(len(edges) - 1)
        return [self.cell(low, high) for low, high in pairwise(edges)]

    def cell(self, low: int, high: int) -> Cell:
        inside = self.ticks[bisect_right(self.ticks, low) : bisect_right(self.ticks, high)]
        return Cell(low, high, len(inside), *((inside[0], inside[-1]) if inside else (None, None)))


class CountsOnly(Rows):
    """A source that cannot say where in a cell its rows lie."""

    def cell(self, low: int, high: int) -> Cell:
        found = super().cell(low, high)
        return Cell(low, high, found.rows)


@st.composite
def clusters(draw: st.DrawFn) -> list[int]:
    """Ticks as tables have them, at their worst: single values with many ties, runs, scales far apart."""
    ticks: list[int] = []
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(LOWEST + 1, HIGHEST) | st.integers(-1000, 1000) | st.integers(0, 62).map(lambda e: 2**e))
        step, many = draw(st.sampled_from([0, 0, 1, 2, 1000, 2**40])), draw(st.integers(1, 60))
        ticks += [min(place + step * number, HIGHEST) for number in range(many)]
    return ticks + draw(st.lists(st.integers(LOWEST + 1, HIGHEST), max_size=30))


def assert_cover(pieces: Sequence[Piece], low: int, high: int) -> None:
    """Ordered, adjacent, none empty, together exactly (low, high]."""
    assert (pieces[0].low, pieces[-1].high) == (low, high)
    assert all(a.high == b.low for a, b in pairwise(pieces))
    assert all(piece.low < piece.high for piece in pieces)


def assert_shares(pieces: Sequence[Piece], ticks: Sequence[int], wanted: int) -> None:
    """At most ``wanted`` pieces; whoever holds more than two shares holds one tick."""
    assert len(pieces) <= wanted
    for piece in pieces:
        inside = Counter(tick for tick in ticks if piece.low < tick <= piece.high)
        assert inside.total() <= 2 * len(ticks) / wanted or len(inside) == 1


@settings(max_examples=150, deadline=None)
@given(clusters(), st.integers(2, 24))
def test_no_piece_holds_more_than_twice_its_share(ticks: list[int], wanted: int) -> None:
    """Over the whole range of a bigint, in at most eight questions of bounded length."""
    rows = Rows(ticks)
    pieces = cut_by_rows(LOWEST, HIGHEST, wanted, rows.counts)
    assert_cover(pieces, LOWEST, HIGHEST)
    assert_shares(pieces, ticks, wanted)
    assert len(rows.asked) <= 8
    assert max(rows.asked) <= MAX_CELLS
    assert [piece.rows for piece in pieces] == [sum(piece.low < tick <= piece.high for tick in ticks) for piece in pieces]


@settings(max_examples=60, deadline=None)
@given(clusters(), st.integers(2, 24))
def test_counts_alone_are_enough(ticks: list[int], wanted: int) -> None:
    """Without smallest and largest values it takes more rounds, never too many."""
    rows = CountsOnly(ticks)
    pieces = cut_by_rows(LOWEST, HIGHEST, wanted, rows.counts)
    assert_cover(pieces, LOWEST, HIGHEST)
    assert_shares(pieces, ticks, wanted)
    assert len(rows.asked) <= 8


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1 - 10**37, 10**37), max_size=6), st.integers(1, 50), st.integers(2, 1000))
def test_wider_ranges_end_after_eight_questions_too(places: list[int], ties: int, wanted: int) -> None:
    """Numbers of 38 digits, far beyond what is sure to be resolved: the cover is exact all the same."""
    rows = CountsOnly(places * ties)
    pieces = cut_by_rows(-(10**37), 10**37, wanted, rows.counts)
    assert_cover(pieces, -(10**37), 10**37)
    assert len(pieces) <= wanted
    assert len(rows.asked) <= 8
    assert max(rows.asked) <= MAX_CELLS


@settings(deadline=None)
@given(st.integers(-50, 50), st.integers(-5, 60), st.lists(st.integers(-60, 120)), st.integers(-1, 1000))
def test_narrow_and_empty_ranges_are_covered_too(low: int, width: int, ticks: list[int], wanted: int) -> None:
    """Fewer ticks than pieces, no ticks at all, rows outside the range, more pieces than rows."""
    high = low + width
    inside = [tick for tick in ticks if low < tick <= high]
    pieces = cut_by_rows(low, high, wanted, Rows(inside).counts)
    if width <= 0:
        assert pieces == ()
        return
    assert_cover(pieces, low, high)
    assert_shares(pieces, inside, max(1, wanted))


@settings(deadline=None)
@given(st.lists(st.integers(1, 10_000), min_size=1), st.lists(st.integers(1, 10_000)), st.integers(2, 24))
def test_rows_that_change_between_questions_never_break_the_cover(before: list[int], after: list[int], wanted: int) -> None:
    """A source without a held view answers each question as it stands."""
    sources = [Rows(before), Rows(after)]

    def counts(edges: Sequence[int]) -> list[Cell]:
        current = sources[0]
        sources.reverse()
        return current.counts(edges)

    pieces = cut_by_rows(0, 10_000, wanted, counts)
    assert_cover(pieces, 0, 10_000)
    assert len(pieces) <= wanted


def test_even_rows_take_one_question_and_make_even_pieces() -> None:
    """What most tables look like costs no more than it must."""
    rows = Rows(range(1, 100_001))
    pieces = cut_by_rows(0, 100_000, 4, rows.counts)
    assert [piece.rows for piece in pieces] == [25_000] * 4
    assert len(rows.asked) == 1


def test_nine_tenths_in_a_hundredth_take_two_questions() -> None:
    """The skew of the specification: 90 % of the rows in 1 % of the range."""
    rows = Rows([*range(500_000, 590_000), *range(0, 10_000_000, 1_000)])
    pieces = cut_by_rows(-1, 10_000_000, 4, rows.counts)
    assert len(pieces) == 4
    assert max(piece.rows for piece in pieces) < 1.05 * 100_000 / 4
    assert len(rows.asked) == 2


def test_a_migration_that_gave_most_rows_one_moment_stands_alone() -> None:
    """Ties cannot be split; two questions show where they lie, and the others still follow their rows."""
    rows = Rows([*[777_777] * 9_000, *range(0, 1_000_000, 1_000)])
    pieces = cut_by_rows(-1, 1_000_000, 4, rows.counts)
    heavy = max(pieces, key=lambda piece: piece.rows)
    assert heavy.low < 777_777 <= heavy.high
    assert [piece.rows for piece in pieces if piece is not heavy] == [391, 387, 222]
    assert heavy.rows == 9_000
    assert len(rows.asked) == 2
