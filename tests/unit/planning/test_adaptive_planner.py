"""The default planner."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest

from ingestion_runtime.model.batch import IngestionPlan
from ingestion_runtime.model.cursor import CursorType, Fingerprint, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.endpoint import Capabilities
from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.spec import SlicingPolicy, TableSpec
from ingestion_runtime.planning.adaptive import AdaptivePlanner, full_plan
from ingestion_runtime.planning.probe import RowCountProbe
from ingestion_runtime.planning.request import PlannerRequest

LOWER = Watermark(CursorType.TIMESTAMP, "2024-01-01 00:00:00.000000")
UPPER = Watermark(CursorType.TIMESTAMP, "2024-01-02 00:00:00.000000")
REREAD = ReRead(LOWER, LOWER, nulls=True)
TABLE = TableSpec(
    schema="shop",
    table="orders",
    mode="scd1",
    connection="shop",
    primary_keys=("id",),
    incremental_column="changed_at",
    incr_col_type=CursorType.TIMESTAMP,
)


def request(**changes: object) -> PlannerRequest:
    """Return a request for one day of a timestamp table, with changes."""
    base = PlannerRequest(
        table=TABLE,
        capabilities=Capabilities(True, frozenset(CursorType), staging=True, commit=True),
        policy=SlicingPolicy(),
        load_date=date(2024, 1, 2),
        lower=LOWER,
        upper=UPPER,
    )
    return replace(base, **changes)


def text_request(**changes: object) -> PlannerRequest:
    """Return a request for a text cursor."""
    table = replace(TABLE, incr_col_type=CursorType.TEXT)
    lower, upper = Watermark(CursorType.TEXT, "b"), Watermark(CursorType.TEXT, "Z")
    return request(**{"table": table, "lower": lower, "upper": upper} | changes)


def counting(rows: int | None) -> tuple[RowCountProbe, list[Interval]]:
    """Return a probe that answers ``rows`` and the list of windows it was asked for."""
    asked: list[Interval] = []

    def count(window: Interval) -> int | None:
        asked.append(window)
        return rows

    return RowCountProbe(count), asked


def test_a_small_window_is_one_slice() -> None:
    """Nothing is cut within the bounds of the policy; the literals and the probe go into the metadata."""
    probe, asked = counting(5)
    plan = AdaptivePlanner(probe).plan(request())
    assert plan.slices == (Slice(0, window=Interval(LOWER, UPPER)),)
    assert plan.watermark == UPPER
    assert asked == [Interval(LOWER, UPPER)]
    assert (plan.metadata.lower_literal, plan.metadata.upper_literal) == (LOWER.literal, UPPER.literal)
    assert (plan.metadata.estimated_rows, plan.metadata.probed) == (5, True)
    assert plan.metadata.reason == "5 rows within bounds: 1 slice"


def test_many_rows_are_cut_and_the_reread_set_comes_first() -> None:
    """Ordinals ascend from 0, so that newer cursor values win over older ones."""
    probe, _ = counting(12_500_000)
    fingerprint = Fingerprint(REREAD, 3, "abc")
    plan = AdaptivePlanner(probe).plan(request(reread=REREAD, fingerprint=fingerprint))
    assert [piece.ordinal for piece in plan.slices] == list(range(14))
    assert plan.slices[0] == Slice(0, reread=REREAD)
    assert all(piece.window and not piece.reread for piece in plan.slices[1:])
    assert plan.fingerprint == fingerprint
    assert plan.metadata.reason == "12,500,000 rows above max_count: 13 slices"


LATE = Watermark(CursorType.INT, "10000")


def int_request(**changes: object) -> PlannerRequest:
    """Return a request for (0, 10000] of an integer cursor, cut above 100 rows into pieces of about 50."""
    policy = SlicingPolicy(max_count=100, target_rows_per_slice=50, max_partitions=4)
    table = replace(TABLE, incr_col_type=CursorType.INT)
    base = {"table": table, "policy": policy, "lower": Watermark(CursorType.INT, "0"), "upper": LATE}
    return request(**base | changes)


def holding(*ticks: int) -> tuple[RowCountProbe, list[int]]:
    """Return a probe of a source with these rows, and the list of the cells it was asked for, question by question."""
    asked: list[int] = []

    def histogram(edges: Sequence[int]) -> tuple[Cell, ...]:
        asked.append(len(edges) - 1)
        held = [sorted(tick for tick in ticks if low < tick <= high) for low, high in pairwise(edges)]
        ends = pairwise(edges)
        return tuple(
            Cell(*at, len(rows), *((rows[0], rows[-1]) if rows else ())) for at, rows in zip(ends, held, strict=True)
        )

    return RowCountProbe(lambda _: len(ticks), histogram), asked


def windows(plan: IngestionPlan) -> list[tuple[int, int]]:
    """Return the plan's windows as numbers."""
    found = [piece.window for piece in plan.slices if piece.window]
    return [(int(window.low.literal), int(window.high.literal)) for window in found]


def rows_in(plan: IngestionPlan, ticks: Sequence[int]) -> list[int]:
    """Return how many of the ticks lie in each window."""
    return [sum(low < tick <= high for tick in ticks) for low, high in windows(plan)]


def test_windows_are_cut_where_the_rows_are() -> None:
    """A dense stretch gets the slices, the empty rest goes with its neighbours, and the cover is exact."""
    ticks = [*range(7001, 7181), *range(500, 10_000, 500)]
    probe, asked = holding(*ticks)
    plan = AdaptivePlanner(probe).plan(int_request(first=Watermark(CursorType.INT, "500")))
    cut = windows(plan)
    assert (cut[0][0], cut[-1][1]) == (0, 10_000)
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    assert len(cut) == 4  # ceil(199 / 50)
    assert max(rows_in(plan, ticks)) <= 2 * 199 / 4
    assert len(asked) <= 2
    assert plan.metadata.reason == "199 rows above max_count: 4 slices"


def test_a_table_within_bounds_costs_one_count_and_no_histogram() -> None:
    """A question that cannot change the plan is not asked."""
    probe, asked = holding(*range(1, 101))
    assert len(AdaptivePlanner(probe).plan(int_request()).slices) == 1
    assert asked == []


def test_ties_stay_together_and_the_plan_says_so() -> None:
    """A migration gave 900 rows one cursor value: they are one slice, the others are cut around it."""
    probe, _ = holding(*[5000] * 900, *range(1000, 2000, 10))
    plan = AdaptivePlanner(probe).plan(int_request())
    assert max(rows_in(plan, [*[5000] * 900, *range(1000, 2000, 10)])) == 900
    assert plan.metadata.reason == "1,000 rows above max_count: 4 slices; 900 rows share one cursor value"


def test_duration_too_cuts_where_the_rows_are() -> None:
    """A hundred days that are sliced for their length, most rows in the last of them."""
    day = 86_400 * 1_000_000
    start = 19_723 * day  # 2024-01-01
    ticks = [start + 99 * day + hour * 3_600_000_000 for hour in range(1, 24)] * 10 + [start + day * n for n in range(1, 9)]
    probe, _ = holding(*ticks)
    upper = Watermark(CursorType.TIMESTAMP, "2024-04-10 00:00:00.000000")
    plan = AdaptivePlanner(probe).plan(request(upper=upper, policy=SlicingPolicy(target_rows_per_slice=60)))
    starts = [piece.window.low.literal for piece in plan.slices if piece.window]
    assert starts[0] == LOWER.literal
    assert len(starts) == 4
    assert starts[2].startswith("2024-04-09")


def test_nothing_above_the_watermark_is_no_window() -> None:
    """Only the re-read set is left, the watermark stays, and nothing is probed."""
    probe, asked = counting(5)
    plan = AdaptivePlanner(probe).plan(request(upper=None, reread=REREAD))
    assert plan.slices == (Slice(0, reread=REREAD),)
    assert plan.watermark == LOWER
    assert plan.metadata.upper_literal is None
    assert not asked
    assert not plan.metadata.probed


def test_an_upper_bound_below_the_watermark_reads_nothing() -> None:
    """The safe horizon can lie below what was read; the watermark never regresses."""
    plan = AdaptivePlanner().plan(request(lower=UPPER, upper=LOWER))
    assert plan.slices == ()
    assert plan.watermark == UPPER


def test_text_is_one_slice_and_never_compared() -> None:
    """The upper bound is taken as it is, though Python would order it below the lower one."""
    probe, asked = counting(50_000_000)
    plan = AdaptivePlanner(probe).plan(text_request())
    assert [piece.window for piece in plan.slices] == [
        Interval(Watermark(CursorType.TEXT, "b"), Watermark(CursorType.TEXT, "Z"))
    ]
    assert plan.watermark == Watermark(CursorType.TEXT, "Z")
    assert not asked
    assert AdaptivePlanner().plan(text_request(upper=None)).watermark == Watermark(CursorType.TEXT, "b")


def test_slicing_switched_off_does_not_probe() -> None:
    """One slice whatever the size, and no question to the source."""
    probe, asked = counting(50_000_000)
    plan = AdaptivePlanner(probe).plan(request(policy=SlicingPolicy(enabled=False)))
    assert len(plan.slices) == 1
    assert not asked


def test_without_a_probe_duration_decides() -> None:
    """A hundred days are fifteen slices of at most a week."""
    upper = Watermark(CursorType.TIMESTAMP, "2024-04-10 00:00:00.000000")
    plan = AdaptivePlanner().plan(request(upper=upper))
    assert len(plan.slices) == 15
    assert plan.metadata.reason == "rows not known, 2,400 hours beyond max_duration_hours: 15 slices"


def test_duration_counts_from_the_first_row() -> None:
    """The empty stretch since the initial watermark needs no slices of its own."""
    lower = Watermark(CursorType.TIMESTAMP, "1900-01-01 00:00:00.000000")
    plan = AdaptivePlanner().plan(request(lower=lower, first=LOWER))
    assert [piece.window for piece in plan.slices] == [Interval(lower, UPPER)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capabilities": Capabilities(False, frozenset(CursorType), True, True)}, "cannot be read incrementally"),
        ({"capabilities": Capabilities(True, frozenset({CursorType.INT}), True, True)}, r"it can: int"),
        ({"table": replace(TABLE, incr_col_type=CursorType.DATE)}, "incr_col_type date"),
    ],
)
def test_a_source_that_cannot_do_it_is_refused(changes: dict[str, object], message: str) -> None:
    """Capabilities are confirmed before anything is planned; a changed cursor type asks for --reload."""
    with pytest.raises(TerminalError, match=message):
        AdaptivePlanner().plan(request(**changes))


def test_a_probe_that_fails_fails_the_plan() -> None:
    """An unreachable source is worth a retry, not a guess."""

    def unreachable() -> Callable[[Interval], int]:
        def count(window: Interval) -> int:
            raise TransientError("down", remedy="Try again.")

        return count

    with pytest.raises(TransientError):
        AdaptivePlanner(RowCountProbe(unreachable())).plan(request())


def test_a_full_plan_is_one_slice_without_a_watermark() -> None:
    """A full refresh reads the whole table."""
    plan = full_plan()
    assert plan.slices == (Slice(0),)
    assert plan.watermark is None
    assert plan.fingerprint is None
