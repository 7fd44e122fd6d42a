"""Cursor literals have one canonical spelling."""

import pytest

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.watermark import from_ticks, parse_watermark, to_ticks


@pytest.mark.parametrize(
    ("cursor_type", "literal", "canonical"),
    [
        (CursorType.TIMESTAMP, "1900-01-01", "1900-01-01 00:00:00.000000"),
        (CursorType.TIMESTAMP, "1900-01-01 00:00:00", "1900-01-01 00:00:00.000000"),
        (CursorType.TIMESTAMP, "2024-02-29T23:59:59.5", "2024-02-29 23:59:59.500000"),
        (CursorType.TIMESTAMP, " 0001-01-01 00:00:00.000001 ", "0001-01-01 00:00:00.000001"),
        (CursorType.DATE, "2024-02-29", "2024-02-29"),
        (CursorType.DATE, "1900-01-01 00:00:00", "1900-01-01"),
        (CursorType.EPOCH_SECONDS, "+0010", "10"),
        (CursorType.EPOCH_MILLIS, "-1", "-1"),
        (CursorType.INT, "99999999999999999999999999999999999999", "9" * 38),
        (CursorType.TEXT, " as it is ", " as it is "),
        (CursorType.TEXT, "", ""),
    ],
)
def test_a_literal_is_canonicalised(cursor_type: CursorType, literal: str, canonical: str) -> None:
    """Every accepted spelling ends in the one that the model documents."""
    assert parse_watermark(cursor_type, literal) == Watermark(cursor_type, canonical)


@pytest.mark.parametrize(
    ("cursor_type", "literal"),
    [
        (CursorType.TIMESTAMP, "yesterday"),
        (CursorType.TIMESTAMP, "2023-02-29"),
        (CursorType.TIMESTAMP, "2023-02-28 24:00:00"),
        (CursorType.TIMESTAMP, "2023-02-28 10:00:00.1234567"),
        (CursorType.TIMESTAMP, "2023-02-28T10:00:00Z"),
        (CursorType.TIMESTAMP, "2023-02-28 10:00:00+01:00"),
        (CursorType.TIMESTAMP, "0000-01-01"),
        (CursorType.TIMESTAMP, "٢٠٢٤-01-01"),
        (CursorType.DATE, "2023-02-28 10:00:00"),
        (CursorType.DATE, "infinity"),
        (CursorType.EPOCH_SECONDS, "1.5"),
        (CursorType.EPOCH_MILLIS, ""),
        (CursorType.INT, "1_000"),
        (CursorType.INT, "9" * 39),
    ],
)
def test_nonsense_is_a_configuration_error(cursor_type: CursorType, literal: str) -> None:
    """What is not a value of the type is refused, with the literal and the expected spelling."""
    with pytest.raises(ConfigError, match="Write it as") as caught:
        parse_watermark(cursor_type, literal)
    assert caught.value.values["literal"] == literal


@pytest.mark.parametrize(
    ("watermark", "ticks"),
    [
        (Watermark(CursorType.TIMESTAMP, "1970-01-01 00:00:01.000001"), 1_000_001),
        (Watermark(CursorType.TIMESTAMP, "1969-12-31 23:59:59.999999"), -1),
        (Watermark(CursorType.DATE, "1970-01-02"), 1),
        (Watermark(CursorType.EPOCH_MILLIS, "7"), 7),
    ],
)
def test_ticks_count_from_the_epoch(watermark: Watermark, ticks: int) -> None:
    """Microseconds for timestamps, days for dates, the integer itself for the rest; both ways."""
    assert to_ticks(watermark) == ticks
    assert from_ticks(watermark.type, ticks) == watermark


def test_text_has_no_ticks() -> None:
    """Text is ordered by the source's collation."""
    with pytest.raises(TerminalError, match="collation"):
        to_ticks(Watermark(CursorType.TEXT, "a"))
    with pytest.raises(TerminalError, match="collation"):
        from_ticks(CursorType.TEXT, 1)


def test_a_damaged_watermark_is_terminal() -> None:
    """A watermark that cannot be read stops the table; it never falls back to the initial one."""
    with pytest.raises(TerminalError, match="cannot be read"):
        to_ticks(Watermark(CursorType.DATE, "soon"))


@pytest.mark.parametrize("cursor_type", [CursorType.TIMESTAMP, CursorType.DATE])
def test_ticks_beyond_the_calendar_are_refused(cursor_type: CursorType) -> None:
    """Years outside 1 to 9999 have no spelling."""
    with pytest.raises(TerminalError, match="years 1 to 9999"):
        from_ticks(cursor_type, 10**30)
