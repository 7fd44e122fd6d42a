"""Lag and order of watermarks."""

import pytest

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.planning.watermark import duration_hours, is_above, newest, subtract_lag


@pytest.mark.parametrize(
    ("cursor_type", "literal", "seconds", "expected"),
    [
        (CursorType.EPOCH_SECONDS, "1000", 60, "940"),
        (CursorType.EPOCH_MILLIS, "100000", 60, "40000"),
        (CursorType.EPOCH_SECONDS, "10", 60, "0"),
        (CursorType.EPOCH_MILLIS, "10", 60, "0"),
        (CursorType.EPOCH_SECONDS, "-5", 60, "-5"),
        (CursorType.TIMESTAMP, "2024-03-01 00:00:00.000001", 1, "2024-02-29 23:59:59.000001"),
        (CursorType.TIMESTAMP, "0001-01-01 00:00:05.000000", 60, "0001-01-01 00:00:00.000000"),
        (CursorType.DATE, "2024-03-01", 1, "2024-02-29"),
        (CursorType.DATE, "2024-03-01", 86_400, "2024-02-29"),
        (CursorType.DATE, "2024-03-01", 86_401, "2024-02-28"),
        (CursorType.DATE, "0001-01-02", 10**12, "0001-01-01"),
        (CursorType.INT, "5", 0, "5"),
        (CursorType.INT, "5", 60, "-55"),
        (CursorType.TEXT, "z", 0, "z"),
    ],
)
def test_a_lag_moves_the_watermark_back(cursor_type: CursorType, literal: str, seconds: int, expected: str) -> None:
    """Seconds become ticks of the type; dates round up to whole days; epochs stop at 0 and the calendar at year 1.

    The lag of an int cursor counts in the cursor's own units.
    """
    assert subtract_lag(Watermark(cursor_type, literal), seconds) == Watermark(cursor_type, expected)


def test_a_lag_means_nothing_for_text() -> None:
    """A lag on such a cursor is a mistake, not a silent nothing."""
    with pytest.raises(ConfigError, match="means nothing"):
        subtract_lag(Watermark(CursorType.TEXT, "5"), 60)


def test_a_negative_lag_is_refused() -> None:
    """It would skip rows."""
    with pytest.raises(ConfigError, match="negative"):
        subtract_lag(Watermark(CursorType.DATE, "2024-03-01"), -1)


def test_order_is_by_value_and_not_by_spelling() -> None:
    """9 is below 10, though its text is not."""
    nine, ten = Watermark(CursorType.INT, "9"), Watermark(CursorType.INT, "10")
    assert is_above(ten, nine)
    assert not is_above(ten, ten)
    assert newest(nine, ten) == newest(ten, nine) == ten


def test_text_and_different_types_are_never_compared() -> None:
    """The source decides about text; two types have no common order."""
    text = Watermark(CursorType.TEXT, "a")
    with pytest.raises(TerminalError):
        is_above(text, text)
    with pytest.raises(TerminalError):
        newest(text, text)
    with pytest.raises(TerminalError, match="cannot be compared"):
        is_above(Watermark(CursorType.INT, "1"), Watermark(CursorType.EPOCH_SECONDS, "1"))


@pytest.mark.parametrize(
    ("cursor_type", "low", "high", "hours"),
    [
        (CursorType.TIMESTAMP, "2024-01-01 00:00:00.000000", "2024-01-01 01:30:00.000000", 1.5),
        (CursorType.DATE, "2024-01-01", "2024-01-03", 48.0),
        (CursorType.EPOCH_SECONDS, "0", "3600", 1.0),
        (CursorType.EPOCH_MILLIS, "0", "3600000", 1.0),
        (CursorType.INT, "0", "3600", None),
        (CursorType.TEXT, "a", "b", None),
    ],
)
def test_only_time_cursors_have_a_duration(cursor_type: CursorType, low: str, high: str, hours: float | None) -> None:
    """Hours between two cursors, None where the cursor is no time."""
    assert duration_hours(Watermark(cursor_type, low), Watermark(cursor_type, high)) == hours
