"""How figures and foreign texts are shown: the same in every table, line and picture."""

import itertools
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from ingestion_runtime.progress.view import TableView

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_RECENT: Final = timedelta(seconds=30)


def printable(text: str) -> str:
    """Return a text in one line that no terminal takes for commands: controls, also those of direction, become escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter in "\n\t\r":
        return " "
    # C: controls, formats (direction, joiners), surrogates, private; Z: separators of lines and paragraphs
    if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"\\u{ord(letter):04x}"
    return letter


def show_duration(seconds: float | None) -> str:
    """Return ``0.4 s``, ``59 s``, ``3:05``, ``2:03:05``, ``4 d 02:03``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if round(seconds, 1) < 10 else f"{int(seconds)} s"  # noqa: PLR2004 - two digits
    whole = int(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    if whole >= _DAY:
        return f"{whole // _DAY} d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{whole % _MINUTE:02}" if hours else f"{minutes}:{whole % _MINUTE:02}"


def show_bytes(size: int) -> str:
    """Return a size with a binary unit: ``12.3 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - the unit's size
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def show_time(at: datetime) -> str:
    """Return a time in the zone of this machine, to the second."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def recent_rate(table: TableView, now: datetime) -> float | None:
    """Return rows per second: of the last half minute while a table is read, of its whole reading afterwards.

    None before anything was read.
    """
    samples = table.samples
    if not samples or table.rows_read == 0:
        return None
    first, last = samples[0], samples[-1]
    if not table.state.is_over and table.phase == "read":
        since = now - _RECENT
        first = next((sample for sample in reversed(samples[:-1]) if sample[0] <= since), first)
        last = (max(now, last[0]) if now - last[0] > _RECENT else last[0], last[1])
    seconds = (last[0] - first[0]).total_seconds()
    return max(last[1] - first[1], 0) / seconds if seconds > 0 else None


def sparkline(samples: Sequence[tuple[datetime, int]], width: int) -> str:
    """Return rows per second over time as at most ``width`` blocks, the oldest first; empty below two measurements."""
    rates = rates_over_time(samples, width)
    top = max(rates, default=0.0)
    if len(rates) < 2 or top <= 0:  # noqa: PLR2004 - one block says nothing
        return ""
    return "".join(_BLOCKS[min(int(rate / top * len(_BLOCKS)), len(_BLOCKS) - 1)] for rate in rates)


def rates_over_time(samples: Sequence[tuple[datetime, int]], places: int) -> list[float]:
    """Return rows per second in at most ``places`` equal spans of time, no more than there are measurements."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:  # noqa: PLR2004 - two points make a rate
        return []
    places = min(places, len(samples) - 1)
    begun = samples[0][0]
    span = (samples[-1][0] - begun).total_seconds() / places
    rows = [0.0] * places
    for (before, read), (at, total) in itertools.pairwise(samples):
        _spread(rows, (before - begun).total_seconds() / span, (at - begun).total_seconds() / span, max(total - read, 0))
    return [count / span for count in rows]


def _spread(rows: list[float], low: float, high: float, count: int) -> None:
    """Add rows that were read between two places to the spans that lie there, by their shares."""
    if high <= low:
        rows[min(int(low), len(rows) - 1)] += count
        return
    for place in range(int(low), min(int(high) + 1, len(rows))):
        share = min(high, place + 1) - max(low, place)
        rows[place] += count * max(share, 0.0) / (high - low)
