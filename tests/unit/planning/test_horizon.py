"""From a moment at the source to a value of the cursor."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.planning.horizon import fold_seconds, value_at, value_below

BERLIN = ZoneInfo("Europe/Berlin")


def micros(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize(
    ("kind", "resolution", "zone", "moment", "expected"),
    [
        (CursorType.TIMESTAMP, 1, None, "2026-07-01 10:00:00.000001", "2026-07-01 10:00:00.000000"),
        (CursorType.TIMESTAMP, 1, None, "2026-07-01 00:00:00", "2026-06-30 23:59:59.999999"),
        (CursorType.TIMESTAMP, 1_000_000, None, "2026-07-01 10:00:00.5", "2026-07-01 10:00:00.000000"),
        (CursorType.TIMESTAMP, 1_000_000, None, "2026-07-01 10:00:00", "2026-07-01 09:59:59.000000"),
        (CursorType.TIMESTAMP, 1, BERLIN, "2026-07-01 10:00:00.000001", "2026-07-01 12:00:00.000000"),
        (CursorType.TIMESTAMP, 1, BERLIN, "2026-10-25 00:59:59.5", "2026-10-25 02:59:59.499999"),
        (CursorType.TIMESTAMP, 1, BERLIN, "2026-10-25 01:00:00.5", "2026-10-25 02:00:00.499999"),
        (CursorType.TIMESTAMP, 1_000, None, "1969-12-31 23:59:59.9995", "1969-12-31 23:59:59.999000"),
        (CursorType.DATE, 1, None, "2026-07-01 00:00:00", "2026-06-30"),
        (CursorType.DATE, 1, None, "2026-07-01 00:00:00.000001", "2026-07-01"),
        (CursorType.DATE, 1, BERLIN, "2026-06-30 22:00:00.000001", "2026-07-01"),
        (CursorType.EPOCH_SECONDS, 1, None, "1970-01-01 00:00:02", "1"),
        (CursorType.EPOCH_SECONDS, 1, None, "1970-01-01 00:00:02.9", "2"),
        (CursorType.EPOCH_MILLIS, 1, None, "1970-01-01 00:00:02", "1999"),
    ],
)
def test_a_bound_is_the_largest_value_strictly_below_the_moment(
    kind: CursorType, resolution: int, zone: ZoneInfo | None, moment: str, expected: str
) -> None:
    """Cut to what the column keeps: a value taken at the moment or later, and cut the same way, is never below it."""
    assert value_below(micros(moment), kind, resolution, zone).literal == expected


@pytest.mark.parametrize(
    ("kind", "zone", "moment", "expected"),
    [
        (CursorType.TIMESTAMP, BERLIN, "2026-01-01 10:00:00.000001", "2026-01-01 11:00:00.000001"),
        (CursorType.DATE, BERLIN, "2026-01-01 23:30:00", "2026-01-02"),
        (CursorType.EPOCH_SECONDS, None, "1970-01-01 00:00:02.1", "3"),
    ],
)
def test_now_is_rounded_up_to_the_cursors_unit(kind: CursorType, zone: ZoneInfo | None, moment: str, expected: str) -> None:
    """A row of this very moment is not beyond it."""
    assert value_at(micros(moment), kind, zone).literal == expected


@pytest.mark.parametrize(
    ("zone", "year", "timestamps", "dates"),
    [
        ("UTC", 2026, 0, 0),
        ("Asia/Tokyo", 2026, 0, 0),
        ("Europe/Berlin", 2026, 3600, 0),
        ("Australia/Lord_Howe", 2026, 1800, 0),
        ("America/St_Johns", 2005, 3600, 3600),  # from 00:01 to 23:01 of the day before
    ],
)
def test_a_fold_is_as_long_as_clocks_are_set_back(zone: str, year: int, timestamps: int, dates: int) -> None:
    """For a date only where the day goes back with them."""
    today = date(year, 7, 1)
    assert fold_seconds(ZoneInfo(zone), CursorType.TIMESTAMP, today) == timestamps
    assert fold_seconds(ZoneInfo(zone), CursorType.DATE, today) == dates


@pytest.mark.parametrize(
    ("look", "over"),
    [
        (Horizon(100, 90), True),
        (Horizon(100, 60, oldest=60), True),
        (Horizon(100, 50, oldest=50), False),
        (Horizon(100, 40, oldest=40), False),
        (Horizon(100, None, prepared=("x",)), False),
        (Horizon(100, None, blind="a standby"), False),
    ],
)
def test_transactions_are_over_when_the_oldest_open_one_began_later(look: Horizon, *, over: bool) -> None:
    """Of a prepared one nobody knows when it began; what cannot be seen is never over."""
    assert look.over(50) is over
