"""From a source's horizon to a value of the cursor: units, wall clocks and their folds."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.watermark import from_ticks

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_MICROS = 1_000_000
_STEP = timedelta(hours=12)
# Rows that are being written now and those of the next years; what a zone did long ago concerns no open transaction.
_BACK, _AHEAD = timedelta(days=400), timedelta(days=800)


def value_below(moment: int, kind: CursorType, resolution: int, zone: ZoneInfo | None) -> Watermark:
    """Return the largest value of a clock cursor strictly below ``moment`` (microseconds, UTC), cut to ``resolution``.

    Whoever takes the time at ``moment`` or later, and whose value is cut or rounded to ``resolution`` microseconds,
    writes this value or a later one; equal ones are ties at the watermark, which are looked at again. With ``zone`` the
    value is that zone's wall clock.
    """
    return _value(moment - 1, kind, resolution, zone)


def value_at(moment: int, kind: CursorType, zone: ZoneInfo | None) -> Watermark:
    """Return ``moment`` as the cursor's clock shows it, rounded up to its unit: nothing of that moment lies above it."""
    unit = _unit(kind)
    return _value(-(-moment // unit) * unit, kind, 1, zone)


def fold_seconds(zone: ZoneInfo, kind: CursorType, today: date) -> int:
    """Return by how many seconds the zone's wall clock is ever set back in the years around ``today``; 0: never.

    For a date cursor only such changes count in which the day goes back as well. Rows written after the change lie that
    far below rows written before it.
    """
    folds = [0]
    for before, after in _transitions(zone, datetime(today.year, today.month, today.day, tzinfo=UTC)):
        earlier, later = before.astimezone(zone).replace(tzinfo=None), after.astimezone(zone).replace(tzinfo=None)
        back = (earlier - before.replace(tzinfo=None)) - (later - after.replace(tzinfo=None))
        if back > timedelta() and (kind is not CursorType.DATE or later.date() < earlier.date()):
            folds.append(int(back.total_seconds()))
    return max(folds)


def _value(moment: int, kind: CursorType, resolution: int, zone: ZoneInfo | None) -> Watermark:
    if kind is CursorType.EPOCH_SECONDS or kind is CursorType.EPOCH_MILLIS:
        return from_ticks(kind, moment // _unit(kind))
    if zone is not None:
        wall = (_EPOCH + moment * _MICROSECOND).astimezone(zone).replace(tzinfo=UTC)
        moment = (wall - _EPOCH) // _MICROSECOND
    if kind is CursorType.DATE:
        return from_ticks(kind, moment // (_DAY // _MICROSECOND))
    return from_ticks(kind, moment // resolution * resolution)


def _unit(kind: CursorType) -> int:
    return {CursorType.EPOCH_SECONDS: _MICROS, CursorType.EPOCH_MILLIS: 1000}.get(kind, 1)


def _transitions(zone: ZoneInfo, today: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the last second before and the first second after each change of the zone's offset, as moments in UTC."""
    before, last = today - _BACK, today + _AHEAD
    while before < last:
        after = before + _STEP
        if _offset(before, zone) != _offset(after, zone):
            low, high = before, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if _offset(middle, zone) == _offset(before, zone) else (low, middle)
            yield low, high
        before = after


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
