"""Watermark arithmetic holds for every value, not only for the examples."""

from datetime import date, datetime

from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.watermark import from_ticks, lowest_ticks, parse_watermark, to_ticks
from ingestion_runtime.planning.watermark import is_above, newest, subtract_lag

INTEGERS = (CursorType.EPOCH_SECONDS, CursorType.EPOCH_MILLIS, CursorType.INT)
TICKS_PER_SECOND = {CursorType.TIMESTAMP: 1_000_000, CursorType.EPOCH_SECONDS: 1, CursorType.EPOCH_MILLIS: 1_000}

TIMES = st.builds(lambda m: Watermark(CursorType.TIMESTAMP, m.isoformat(sep=" ", timespec="microseconds")), st.datetimes())
DATES = st.builds(lambda d: Watermark(CursorType.DATE, d.isoformat()), st.dates())
NUMBERS = st.builds(lambda t, n: Watermark(t, str(n)), st.sampled_from(INTEGERS), st.integers(-(10**38) + 1, 10**38 - 1))
ORDERED = TIMES | DATES | NUMBERS
LAGGABLE = ORDERED.filter(lambda w: w.type is not CursorType.INT)


@given(ORDERED)
def test_a_watermark_survives_its_ticks(watermark: Watermark) -> None:
    """from_ticks is the inverse of to_ticks, and the canonical spelling is a fixed point of the parser."""
    assert from_ticks(watermark.type, to_ticks(watermark)) == watermark
    assert parse_watermark(watermark.type, watermark.literal) == watermark


@given(st.datetimes(), st.sampled_from([" ", "T"]))
def test_every_iso_spelling_is_the_same_moment(moment: datetime, separator: str) -> None:
    """Separator and trailing zeros of the fraction carry no meaning."""
    literal = moment.isoformat(sep=separator)
    assert parse_watermark(CursorType.TIMESTAMP, literal).literal == moment.isoformat(" ", "microseconds")


@given(st.dates())
def test_a_day_is_its_midnight(day: date) -> None:
    """As a timestamp, and back as a date."""
    midnight = parse_watermark(CursorType.TIMESTAMP, day.isoformat())
    assert parse_watermark(CursorType.DATE, midnight.literal).literal == day.isoformat()


@given(st.text())
def test_text_is_left_alone(literal: str) -> None:
    """Not even blanks are touched: the collation decides what they mean."""
    assert parse_watermark(CursorType.TEXT, literal).literal == literal


@given(LAGGABLE, st.integers(0, 10**12))
def test_a_lag_covers_at_least_its_seconds_and_never_moves_forward(watermark: Watermark, seconds: int) -> None:
    """Exact to the tick where the type has seconds, the next whole day for dates, never below the floor."""
    lagged = subtract_lag(watermark, seconds)
    before, after = to_ticks(watermark), to_ticks(lagged)
    assert after <= before
    floor = 0 if watermark.type in INTEGERS else lowest_ticks(watermark.type)
    assert floor is not None
    if after > floor and before > floor:
        per_second = TICKS_PER_SECOND.get(watermark.type)
        if per_second is None:
            assert 0 <= (before - after) * 86_400 - seconds < 86_400
        else:
            assert before - after == seconds * per_second
    elif before >= floor and seconds:
        assert after == floor


@given(LAGGABLE, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_longer_lag_reads_at_least_as_much(watermark: Watermark, a: int, b: int) -> None:
    """The lag is monotonic."""
    short, long = sorted((a, b))
    assert not is_above(subtract_lag(watermark, long), subtract_lag(watermark, short))


@given(st.tuples(TIMES, TIMES) | st.tuples(DATES, DATES))
def test_order_agrees_with_the_canonical_spelling(pair: tuple[Watermark, Watermark]) -> None:
    """Canonical timestamps and dates sort like their text, so that stored literals can be ordered by people too."""
    a, b = pair
    assert is_above(a, b) == (a.literal > b.literal)
    assert newest(a, b) == newest(b, a)
