"""How many slices a window needs, and where they are cut."""

from itertools import pairwise
from math import ceil

from ingestion_runtime.model.cursor import CursorType, Interval, Watermark
from ingestion_runtime.model.density import Counts, cut_by_rows
from ingestion_runtime.model.spec import SlicingPolicy
from ingestion_runtime.model.watermark import from_ticks, to_ticks


def is_splittable(cursor_type: CursorType) -> bool:
    """Return whether windows of that type can be cut: everything but text, whose order only the source knows."""
    return cursor_type is not CursorType.TEXT


def split_interval(interval: Interval, pieces: int) -> tuple[Interval, ...]:
    """Return at most ``pieces`` windows, (low, high] like ``interval``, that together cover exactly it.

    They are ordered, adjacent, even in ticks (lengths differ by one tick at most), and none is empty: a range with
    fewer ticks than ``pieces`` yields one window a tick. The first ``low`` and the last ``high`` are the given ones.
    An empty interval (low at or above high) yields nothing. Text is never cut: it yields the interval itself, unless
    both ends are the same. ``pieces`` below 1 counts as 1.
    """
    if interval.low == interval.high:
        return ()
    if not is_splittable(interval.low.type):
        return (interval,)
    low, high = to_ticks(interval.low), to_ticks(interval.high)
    span = high - low
    if span <= 0:
        return ()
    count = max(1, min(pieces, span))
    cuts = [from_ticks(interval.low.type, low + span * i // count) for i in range(1, count)]
    edges = [interval.low, *cuts, interval.high]
    return tuple(Interval(a, b) for a, b in pairwise(edges))


def split_from_first(interval: Interval, first: Watermark | None, pieces: int) -> tuple[Interval, ...]:
    """Split like `split_interval`, evenly over the part of the interval that holds rows.

    ``first`` is the smallest cursor present. The first window still begins at the interval's own low end: it takes the
    empty stretch before ``first`` with it. Without ``first``, or with one outside the interval, the cuts are even over
    the whole interval.
    """
    low, cursor_type = interval.low, interval.low.type
    if first is None or not is_splittable(cursor_type):
        return split_interval(interval, pieces)
    # One tick below: the windows exclude their low end, and the first row shall lie inside.
    start = to_ticks(first) - 1
    if not to_ticks(low) < start < to_ticks(interval.high):
        return split_interval(interval, pieces)
    head, *rest = split_interval(Interval(from_ticks(cursor_type, start), interval.high), pieces)
    return (Interval(low, head.high), *rest)


def split_by_rows(
    interval: Interval, first: Watermark | None, pieces: int, counts: Counts
) -> tuple[tuple[Interval, int], ...]:
    """Return at most ``pieces`` windows with their rows, cut where the rows are; they cover exactly ``interval``.

    Ordered, adjacent, none without a tick, and none with more than twice its share of the rows unless they share one
    cursor value (``model.density`` says how, and what ``counts`` is asked). ``first`` is the smallest cursor present: the
    first window takes the empty stretch before it. The interval must be of a splittable type; an empty one yields nothing.
    """
    kind, low, high = interval.low.type, to_ticks(interval.low), to_ticks(interval.high)
    # One tick below: the windows exclude their low end, and the first row shall lie inside.
    start = low if first is None else max(low, min(to_ticks(first) - 1, high - 1))
    cut = cut_by_rows(start, high, pieces, counts)
    edges = [interval.low, *(from_ticks(kind, piece.high) for piece in cut[:-1]), interval.high]
    return tuple((Interval(*ends), piece.rows) for ends, piece in zip(pairwise(edges), cut, strict=True)) if cut else ()


def slice_count(rows: int | None, duration_hours: float | None, policy: SlicingPolicy) -> int:
    """Return into how many slices a window of ``rows`` (None: unknown) over ``duration_hours`` (None: no time) is cut.

    One, unless there are more rows than ``max_count`` or more hours than ``max_duration_hours``. Above ``max_count``:
    min(max_partitions, max(2, ceil(rows / target_rows_per_slice))), the formula of the runtime's specification: under
    the defaults 10,000,000 rows give 1 slice, 12,500,000 give 13 and 50,000,000 give 24. Beyond
    ``max_duration_hours``: min(max_partitions, ceil(duration_hours / max_duration_hours)).

    Decision: where the rows are known, the duration rule never gives more than ceil(rows / target_rows_per_slice)
    slices. A slice costs about half a second in Spark, and the first load of a small table, which begins in 1900, would
    otherwise always be cut into 24 nearly empty ones.
    """
    if not policy.enabled:
        return 1
    needed = None if rows is None else max(1, ceil(rows / policy.target_rows_per_slice))
    if rows is not None and needed is not None and rows > policy.max_count:
        return max(1, min(policy.max_partitions, max(2, needed)))
    if duration_hours is None or duration_hours <= policy.max_duration_hours:
        return 1
    by_duration = min(policy.max_partitions, ceil(duration_hours / policy.max_duration_hours))
    return max(1, by_duration if needed is None else min(by_duration, needed))
