"""Random values as SQL literals, and the edges that several engines share."""

import math
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random

# Each pool is something that a careless reader breaks; NUL is left out, for most engines know none.
_POOLS = (
    "abcXYZ 0123456789",
    "'\"\\`%_?:;{}$&|/,()[]#@",
    "\t\n\r\x01\x08\x0b\x0c\x1a\x1b\x1f\x7f\x80\x9f",
    "éüßñçøÅ€…\u2013\u201c\u201d",
    "e\u0301a\u0308\u200d\u200b\u202e\ufeff\u2028\u2029\u00a0\ufffd\ufffe\uffff",
    "日本語한국어עבריתالعربيةไทย",
    "🚲😀👩\u200d👩\u200d👧🏳\ufe0f\u200d🌈𝔘𠮷\U0010ffff",
)
TEXT_EDGES = (
    "",
    " ",
    "  blanks  ",
    "NULL",
    "\\N",
    "\\",
    "\\\\",
    "'",
    "''",
    "e\u0301 is not é",
    "👩\u200d👩\u200d👧🏳\ufe0f\u200d🌈",
    "\U0010ffff\ufffd\ufeff",
    "\x01\x1f\x7f\x80",
    "\t\r\n\x0b\x0c",
    "\u2028\u2029\u0085",
    "nan",
    "0x41",
)
# Clocks are turned back and forward here, in Berlin, New York and on Lord Howe Island (by half an hour).
_TURNS = (
    datetime(2024, 10, 27, 1, tzinfo=UTC),
    datetime(2024, 3, 31, 1, tzinfo=UTC),
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2024, 4, 6, 15, tzinfo=UTC),
    datetime(1582, 10, 10, tzinfo=UTC),
    datetime(1883, 11, 18, 17, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
)
DATE_EDGES = (
    "0001-01-01",
    "0001-12-31",
    "0099-02-28",
    "1000-02-28",
    "1582-10-04",
    "1582-10-05",
    "1582-10-10",
    "1582-10-14",
    "1582-10-15",
    "1899-12-31",
    "1900-02-28",
    "1969-12-31",
    "1970-01-01",
    "2000-02-29",
    "2024-03-31",
    "9999-12-31",
)
TIMESTAMP_EDGES = (
    "0001-01-01 00:00:00",
    "0001-01-01 00:00:00.000001",
    "1582-10-04 23:59:59.999999",
    "1582-10-05 00:00:00",
    "1582-10-10 12:00:00.5",
    "1582-10-15 00:00:00",
    "1883-11-18 12:03:57.999999",
    "1893-04-01 00:03:00",
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    "2024-03-10 02:30:00",
    "2024-03-31 02:30:00",
    "2024-10-27 02:00:00",
    "2024-10-27 02:30:00.000001",
    "2024-11-03 01:30:00",
    "2038-01-19 03:14:07",
    "2038-01-19 03:14:08",
    "9999-12-31 23:59:59.999999",
)
DOUBLE_EDGES = (0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1 / 3, 2.0**53 + 2)


def quoted(text: str) -> str:
    """Return a literal of standard SQL."""
    return "'" + text.replace("'", "''") + "'"


def literals(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return quoted literals."""
    return tuple(map(quoted, values))


def text(longest: int) -> Callable[[Random], str]:
    """Return a generator of texts of up to so many characters."""

    def make(source: Random) -> str:
        size = source.randint(0, source.choice((3, longest)))
        return quoted("".join(source.choice(source.choice(_POOLS)) for _ in range(size)))

    return make


def integer(low: int, high: int) -> Callable[[Random], str]:
    """Return a generator of integers of every length from low to high, both included."""

    def make(source: Random) -> str:
        drawn = source.getrandbits(source.randint(1, high.bit_length()))
        return str(min(max(drawn if low == 0 or source.random() < 0.5 else -drawn, low), high))

    return make


def decimal(precision: int, scale: int) -> Callable[[Random], str]:
    """Return a generator of numbers of up to so many digits, ``scale`` of them after the point."""

    def make(source: Random) -> str:
        digits = str(source.randrange(10 ** source.randint(1, precision))).rjust(scale + 1, "0")
        number = f"{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}".rstrip(".")
        return source.choice(("", "-")) + number

    return make


def double(source: Random) -> str:
    """Return a finite double, any of them."""
    while True:
        (value,) = struct.unpack("d", source.randbytes(8))
        if math.isfinite(value):
            return repr(value)


def single(source: Random) -> str:
    """Return a finite 32-bit float, any of them."""
    while True:
        (value,) = struct.unpack("f", source.randbytes(4))
        if math.isfinite(value):
            return repr(value)


def day(source: Random) -> str:
    """Return a day of the years 1 to 9999."""
    return quoted(date.fromordinal(source.randint(1, date.max.toordinal())).isoformat())


def instant(first: datetime, last: datetime) -> Callable[[Random], datetime]:
    """Return a generator of instants, half of them near the turns of clocks; both ends included."""
    span = (last - first) // timedelta(microseconds=1)
    turns = [turn for turn in _TURNS if first + timedelta(days=1) < turn < last - timedelta(days=1)]

    def make(source: Random) -> datetime:
        if source.random() < 0.5:
            return source.choice(turns) + timedelta(microseconds=source.randint(-7_200_000_000, 7_200_000_000))
        return first + timedelta(microseconds=source.randint(0, span))

    return make


_ANY_TIME = instant(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


def clock(digits: int = 6) -> Callable[[Random], str]:
    """Return a generator of ``YYYY-MM-DD HH:MM:SS`` with so many digits of fraction, none for 0."""

    def make(source: Random) -> str:
        made = _ANY_TIME(source).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return quoted(made[: 20 + digits].rstrip("."))

    return make


def zoned(source: Random) -> str:
    """Return an instant with an explicit offset."""
    return quoted(_ANY_TIME(source).isoformat(sep=" "))
