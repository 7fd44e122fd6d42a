"""Windows that are asked for on the command line, in the terms of a cursor."""

import pytest

from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.planning.window import has_windows, read_window, why_not


def table(kind: CursorType | None, mode: str = "append") -> TableSpec:
    return TableSpec("web", "visits", mode, "source", incremental_column="at", incr_col_type=kind)


@pytest.mark.parametrize(
    ("kind", "asked", "low", "high"),
    [
        (CursorType.TIMESTAMP, ("2026-03-01", "2026-03-02"), "2026-02-28 23:59:59.999999", "2026-03-01 23:59:59.999999"),
        (CursorType.TIMESTAMP, (" 2026-03-01T10:00:00.5 ", None), "2026-03-01 10:00:00.499999", None),
        (CursorType.DATE, ("2024-03-01", "2024-03-02"), "2024-02-29", "2024-03-01"),
        (CursorType.INT, ("-5", "12"), "-6", "11"),
        (CursorType.INT, ("9" * 38, None), f"{int('9' * 38) - 1}", None),
        (CursorType.EPOCH_SECONDS, ("1970-01-02", "1970-01-02 00:00:10"), "86399", "86409"),
        # Seconds that begin within the window belong to it: 1 is the first at or after half a second.
        (CursorType.EPOCH_SECONDS, ("1970-01-01 00:00:00.5", "1970-01-01 00:00:01.5"), "0", "1"),
        (CursorType.EPOCH_MILLIS, ("1969-12-31 23:59:59.999", "1970-01-01"), "-2", "-1"),
    ],
)
def test_a_window_takes_its_start_and_not_its_end(
    kind: CursorType, asked: tuple[str, str | None], low: str, high: str | None
) -> None:
    """In whole ticks of the cursor: above low, up to high."""
    window = read_window(table(kind), AskedWindow(*asked))
    assert (window.low.literal, window.high and window.high.literal) == (low, high)
    assert window.low.type is kind


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        (CursorType.TIMESTAMP, ("yesterday", None), ["--start-date 'yesterday'", "cursor of type timestamp", "YYYY-MM-DD"]),
        (CursorType.TIMESTAMP, ("2026-02-30", None), ["--start-date '2026-02-30'"]),
        (CursorType.TIMESTAMP, ("2026-01-01T00:00:00+01:00", None), ["without a time zone"]),
        (CursorType.TIMESTAMP, ("2026-01-01", "1"), ["--end-date '1'"]),
        (CursorType.DATE, ("2026-01-01 10:00:00", None), ["cursor of type date", "YYYY-MM-DD"]),
        (CursorType.INT, ("2026-01-01", None), ["cursor of type int", "a whole number"]),
        (CursorType.EPOCH_SECONDS, ("20260101", None), ["cursor of type epoch_seconds", "YYYY-MM-DD"]),
        (CursorType.INT, ("5", "5"), ["no value lies from '5' up to '5'", "later value"]),
        (CursorType.DATE, ("2026-01-02", "2026-01-01"), ["no value lies"]),
        (CursorType.DATE, ("0001-01-01", None), ["nothing lies before"]),
        (CursorType.TEXT, ("a", None), ["only the source knows the order of a text cursor"]),
    ],
)
def test_what_is_no_window_of_the_cursor_is_refused(
    kind: CursorType, asked: tuple[str, str | None], words: list[str]
) -> None:
    """With the option, what stood there, and how it is written. A number is never taken for a day, nor the other way."""
    with pytest.raises(ConfigError) as caught:
        read_window(table(kind), AskedWindow(*asked))
    assert all(word in str(caught.value) for word in ["web.visits", *words])


def test_tables_without_a_cursor_that_is_compared_here_have_no_windows() -> None:
    """A full refresh reads everything; the order of a text is the source's."""
    assert has_windows(table(CursorType.INT, "scd1"))
    assert not has_windows(table(CursorType.TEXT, "scd1"))
    assert not has_windows(table(CursorType.INT, "full"))
    assert why_not(table(None, "full")) == "it is loaded whole"
