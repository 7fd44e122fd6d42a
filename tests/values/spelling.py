"""Spellings of values that several clients share, written from the ISO calendar and from IEEE 754."""

import struct
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROS_A_DAY = 86_400_000_000


def double(value: float) -> str:
    """Return the sixteen hex digits of a double; all NaN are one."""
    return "NaN" if value != value else struct.pack(">d", value).hex()  # noqa: PLR0124 - the definition of NaN


def double_of(text: str) -> str:
    """Return the same of a double that a client printed in decimal digits."""
    return double(float(text))


def single(value: float) -> str:
    """Return the eight hex digits of a float; fails for a value that is none."""
    packed = struct.pack(">f", value)
    assert value != value or struct.unpack(">f", packed)[0] == value, f"{value!r} is not a 32-bit float"  # noqa: PLR0124
    return "NaN" if value != value else packed.hex()  # noqa: PLR0124


def single_of(text: str) -> str:
    """Return the same of a float that a client printed in decimal digits."""
    try:
        return single(struct.unpack(">f", struct.pack(">f", float(text)))[0])
    except OverflowError:
        return f"{text} overflows"


def micros(value: datetime) -> int:
    """Return microseconds since 1970 of a clock reading, whatever its zone."""
    bare = value.replace(tzinfo=None)
    return (bare - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001 - a clock reading


def moment(value: int, *, separator: str = " ") -> str:
    """Return ``YYYY-MM-DD HH:MM:SS.ffffff`` with no zeros at the end, and `` BC`` where the calendar says so."""
    days, rest = divmod(value, _MICROS_A_DAY)
    year, month, day = _civil(days)
    seconds, fraction = divmod(rest, 1_000_000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    digits = f".{fraction:06}".rstrip("0").rstrip(".")
    before = "" if year > 0 else " BC"
    return f"{year if year > 0 else 1 - year:04}-{month:02}-{day:02}{separator}{clock}{digits}{before}"


def moment_in(value: datetime, zone: str) -> str:
    """Return an instant as the clocks of a zone show it, with the offset as ``+HH``, ``+HH:MM`` or ``+HH:MM:SS``."""
    instant = micros(value.astimezone(UTC))
    # Where a local year would leave 1 to 9999 the offset of a day nearby serves: none changes there.
    first, last = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
    offset = min(max(value, first), last).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    text = moment(instant + offset // timedelta(microseconds=1))
    before = text.removesuffix(" BC")
    return before + _offset(int(offset.total_seconds())) + text[len(before) :]


def _offset(seconds: int) -> str:
    sign, rest = ("-" if seconds < 0 else "+"), abs(seconds)
    parts = [rest // 3600, rest // 60 % 60, rest % 60]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return sign + ":".join(f"{part:02}" for part in parts)


def _civil(days: int) -> tuple[int, int, int]:
    """Return year (0 is 1 BC), month and day of a day since 1970: the calendar repeats every 146,097 days."""
    ordinal = days + _EPOCH_DAY
    cycles = 0 if 1 <= ordinal <= date.max.toordinal() else (ordinal - 1) // 146_097
    found = date.fromordinal(ordinal - cycles * 146_097)
    return found.year + cycles * 400, found.month, found.day
