"""Watermark arithmetic: lag and order. Spelling and ticks are in `ingestion_runtime.model.watermark`."""

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.watermark import from_ticks, lowest_ticks, to_ticks

_SECONDS_PER_DAY = 86_400
_TICKS_PER_SECOND = {
    CursorType.TIMESTAMP: 1_000_000,
    CursorType.EPOCH_SECONDS: 1,
    CursorType.EPOCH_MILLIS: 1_000,
}
_EPOCHS = (CursorType.EPOCH_SECONDS, CursorType.EPOCH_MILLIS)


def subtract_lag(watermark: Watermark, seconds: int) -> Watermark:
    """Return the watermark ``seconds`` earlier, never later than ``watermark`` itself; an int one moves by its own units.

    A date moves by whole days, rounded up, so that every row of the lag is covered. Epochs stop at 0, timestamps and
    dates at the first moment of year 1. Raises ConfigError for a negative lag, and for any lag but 0 on a text cursor.
    """
    if seconds == 0:
        return watermark
    if seconds < 0:
        raise ConfigError(
            f"A lag of {seconds} seconds is negative.",
            remedy="Set lag_seconds or --wm-lag-seconds to 0 or more.",
            seconds=seconds,
        )
    lag = _ticks_of_lag(watermark.type, seconds)
    start = to_ticks(watermark)
    ticks = start - lag
    floor = 0 if watermark.type in _EPOCHS else lowest_ticks(watermark.type)
    if floor is not None:
        # A watermark below the floor (an epoch before 1970) stays where it is: a lag never moves forward.
        ticks = max(ticks, min(floor, start))
    return from_ticks(watermark.type, ticks)


def is_above(a: Watermark, b: Watermark) -> bool:
    """Return whether ``a`` is later than ``b``; raises TerminalError for text and for two different types."""
    if a.type is not b.type:
        raise TerminalError(
            f"A watermark of type {a.type} cannot be compared with one of type {b.type}.",
            remedy="If incr_col_type was changed on purpose, rerun the table with --reload.",
            types=(a.type.value, b.type.value),
        )
    return to_ticks(a) > to_ticks(b)


def newest(a: Watermark, b: Watermark) -> Watermark:
    """Return the later of two watermarks; raises TerminalError for text (ask the source) and for different types."""
    return a if is_above(a, b) else b


def duration_hours(low: Watermark, high: Watermark) -> float | None:
    """Return the hours from ``low`` to ``high``; None where the cursor is no time (integers, text)."""
    if low.type is CursorType.DATE:
        return (to_ticks(high) - to_ticks(low)) * 24.0
    per_second = _TICKS_PER_SECOND.get(low.type)
    if per_second is None:
        return None
    return (to_ticks(high) - to_ticks(low)) / (per_second * 3600)


def _ticks_of_lag(cursor_type: CursorType, seconds: int) -> int:
    if cursor_type is CursorType.DATE:
        return -(-seconds // _SECONDS_PER_DAY)
    if cursor_type is CursorType.INT:
        return seconds
    per_second = _TICKS_PER_SECOND.get(cursor_type)
    if per_second is None:
        raise ConfigError(
            f"A lag of {seconds} seconds means nothing for a cursor of type {cursor_type}.",
            remedy="Remove lag_seconds from the table, run it without --wm-lag-seconds, or use a time cursor.",
            seconds=seconds,
            type=cursor_type.value,
        )
    return seconds * per_second
