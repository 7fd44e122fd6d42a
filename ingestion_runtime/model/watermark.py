"""How a cursor value is spelled, and its place on a line of whole numbers (ticks).

The canonical spellings are those of `Watermark`. A tick is a microsecond for a timestamp and a day for a date, both
counted from 1970-01-01 and negative before it; for the integer types it is one. Text has no ticks: its order belongs to
the source.
"""

import re
from datetime import UTC, date, datetime, timedelta

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?)?",
)
# 38 digits are the most that the databases' own exact numbers hold.
_INTEGER = re.compile(r"[+-]?[0-9]{1,38}")

_EXPECTED = {
    CursorType.TIMESTAMP: "YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, with at most six digits of fraction and no time zone",
    CursorType.DATE: "YYYY-MM-DD, or that day's midnight",
    CursorType.EPOCH_SECONDS: "a whole number of seconds since 1970-01-01",
    CursorType.EPOCH_MILLIS: "a whole number of milliseconds since 1970-01-01",
    CursorType.INT: "a whole number of at most 38 digits",
    CursorType.TEXT: "any text",
}


_DEFAULTS = {
    CursorType.TIMESTAMP: "1900-01-01 00:00:00.000000",
    CursorType.DATE: "1900-01-01",
    CursorType.EPOCH_SECONDS: "0",
    CursorType.EPOCH_MILLIS: "0",
    CursorType.INT: "-9223372036854775808",
    CursorType.TEXT: "",
}


def default_watermark(cursor_type: CursorType) -> Watermark:
    """Return where windows begin when nobody has drawn a line: below the values that applications usually write."""
    return Watermark(cursor_type, _DEFAULTS[cursor_type])


def parse_watermark(cursor_type: CursorType, literal: str) -> Watermark:
    """Return ``literal`` as a watermark in canonical spelling.

    A timestamp may be a day (its midnight) or a day and a time, separated by a blank or a ``T``, with up to six digits
    of fraction; a date may be a day or its midnight; the integer types take an optional sign; blanks around any of them
    are dropped. Text is taken as it is. Raises ConfigError for anything else, a time zone included: whether a timestamp
    is UTC or the column's own wall clock is decided by the column.
    """
    try:
        return _parse(cursor_type, literal)
    except ValueError:
        raise ConfigError(
            f"{literal!r} is not a watermark of type {cursor_type}.",
            remedy=f"Write it as {_EXPECTED[cursor_type]}.",
            literal=literal,
            type=cursor_type.value,
        ) from None


def to_ticks(watermark: Watermark) -> int:
    """Return the watermark's tick: microseconds or days since 1970-01-01, or the integer itself.

    Raises TerminalError for text, and for a literal that is not one of its type (a damaged receipt).
    """
    try:
        if watermark.type is CursorType.TIMESTAMP:
            return (_read_moment(watermark.literal) - _EPOCH) // _MICROSECOND
        if watermark.type is CursorType.DATE:
            return (_read_moment(watermark.literal) - _EPOCH).days
        if watermark.type is not CursorType.TEXT:
            return _read_integer(watermark.literal)
    except ValueError:
        raise TerminalError(
            f"The watermark {watermark.literal!r} cannot be read as {watermark.type}.",
            remedy="Restore the receipt it came from, or rerun the table with --reload.",
            literal=watermark.literal,
            type=watermark.type.value,
        ) from None
    raise _text_has_no_ticks()


def from_ticks(cursor_type: CursorType, ticks: int) -> Watermark:
    """Return the watermark at ``ticks``; the inverse of `to_ticks`.

    Raises TerminalError for text, and for a day outside the years 1 to 9999.
    """
    if cursor_type is CursorType.TEXT:
        raise _text_has_no_ticks()
    try:
        if cursor_type is CursorType.TIMESTAMP:
            return Watermark(cursor_type, _spell_moment(_EPOCH + ticks * _MICROSECOND))
        if cursor_type is CursorType.DATE:
            return Watermark(cursor_type, (_EPOCH.date() + timedelta(days=ticks)).isoformat())
    except OverflowError:
        raise TerminalError(
            f"A {cursor_type} {ticks} ticks away from 1970-01-01 lies outside the years 1 to 9999.",
            remedy="Check the cursor column for values outside these years.",
            ticks=ticks,
            type=cursor_type.value,
        ) from None
    return Watermark(cursor_type, str(ticks))


def lowest_ticks(cursor_type: CursorType) -> int | None:
    """Return the tick of year 1's first moment, below which no watermark lies; None where there is no such limit."""
    if cursor_type is CursorType.TIMESTAMP:
        return (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
    if cursor_type is CursorType.DATE:
        return (date.min - _EPOCH.date()).days
    return None


def _parse(cursor_type: CursorType, literal: str) -> Watermark:
    if cursor_type is CursorType.TEXT:
        return Watermark(cursor_type, literal)
    if cursor_type is CursorType.TIMESTAMP:
        return Watermark(cursor_type, _spell_moment(_read_moment(literal)))
    if cursor_type is CursorType.DATE:
        moment = _read_moment(literal)
        if (moment - _EPOCH) % timedelta(days=1):
            raise ValueError(literal)
        return Watermark(cursor_type, moment.date().isoformat())
    return Watermark(cursor_type, str(_read_integer(literal)))


def _read_moment(literal: str) -> datetime:
    match = _MOMENT.fullmatch(literal.strip())
    if match is None:
        raise ValueError(literal)
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    micros = int((match[7] or "").ljust(6, "0"))
    # The zone is a carrier only: it spares a naive datetime, and no conversion ever happens.
    return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)


def _read_integer(literal: str) -> int:
    if _INTEGER.fullmatch(literal.strip()) is None:
        raise ValueError(literal)
    return int(literal)


def _spell_moment(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _text_has_no_ticks() -> TerminalError:
    return TerminalError(
        "Text cursors are ordered by the source's collation and are not compared or split here.",
        remedy="Let the source compare them.",
    )
