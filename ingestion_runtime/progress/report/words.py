"""Numbers, times and foreign texts as the page shows them."""

import unicodedata
from datetime import datetime
from typing import Final

_MINUTE: Final = 60
# They turn the order of everything that follows: a name could show another one's figures.
_TURNING: Final = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def count(number: float) -> str:
    """Return a number with commas: ``1,234,567``."""
    return f"{round(number):,}"


def short_count(number: float) -> str:
    """Return a number for an axis: ``1.2M``, ``300k``, ``0.5``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a duration: ``0.25 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // _MINUTE} h {minutes % _MINUTE:02d} min"


def moment(at: datetime) -> str:
    """Return a moment, which is in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def visible(text: str, *, lines: bool = False) -> str:
    """Return a text with its control characters spelled out, so that nothing of it acts; with ``lines`` it keeps its own."""
    kept = "\n\t" if lines else ""
    return "".join(sign if sign in kept or _is_plain(sign) else f"[U+{ord(sign):04X}]" for sign in text)


def clip(text: str, length: int) -> str:
    """Return a text of so many characters at most, and say what is missing."""
    return text if len(text) <= length else f"{text[:length]} … ({len(text) - length:,} more characters)"


def shorten(name: str, length: int) -> str:
    """Return a name of so many characters at most, without its middle: ends tell tables apart."""
    tail = length // 2
    return name if len(name) <= length else f"{name[: length - tail - 1]}…{name[-tail:]}"


def plural(number: int, noun: str) -> str:
    """Return ``1 table``, ``2 tables``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _is_plain(sign: str) -> bool:
    return sign not in _TURNING and unicodedata.category(sign) != "Cc"
