"""One line of an event log (``docs/reference/events.md``), checked as something that anybody may have written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

_OWN: Final = ("ts", "seq", "level", "event", "run_id", "table", "slice")
# Beyond these a number is no count of anything, and a time is no clock's: arithmetic on both stays within its types.
_MOST: Final = 2**63
_MOST_SECONDS: Final = 10 * 366 * 86_400.0
_YEARS: Final = range(1990, 9000)


@dataclass(frozen=True, slots=True)
class Line:
    """One event as the log tells it. ``at`` is aware, in UTC; ``fields`` are the event's own, and may hold anything."""

    at: datetime
    seq: int
    level: str
    event: str
    run_id: str
    table: str | None
    slice: str | None
    fields: Mapping[str, Any]

    def text(self, key: str) -> str:
        """Return a field that is a text; empty without it."""
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """Return those members of a list that are texts; none without it."""
        value = self.fields.get(key)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    def count(self, key: str) -> int | None:
        """Return a field that is a whole number from 0; None without it."""
        value = self.fields.get(key)
        return value if _is_whole(value) and 0 <= value < _MOST else None

    def seconds(self, key: str) -> float | None:
        """Return a field that is a duration, from 0 to ten years; None without it."""
        value = self.fields.get(key)
        if _is_whole(value) or (isinstance(value, float) and math.isfinite(value)):
            return float(value) if 0 <= value <= _MOST_SECONDS else None
        return None

    def flag(self, key: str) -> bool:
        """Whether a field is true."""
        return self.fields.get(key) is True


def parse_line(text: str) -> Line | None:
    """Return what a line of a log says; None for one that is not ours: half of one, another format, no time."""
    try:
        values = _load(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    at, seq = _moment(values.get("ts")), values.get("seq")
    level, event, run_id = (_name(values.get(key)) for key in ("level", "event", "run_id"))
    table, piece = values.get("table"), values.get("slice")
    if at is None or not _is_whole(seq) or not (level and event and run_id):
        return None
    if not isinstance(table, str | None) or not isinstance(piece, str | None):
        return None
    fields = {key: value for key, value in values.items() if key not in _OWN}
    return Line(at, seq, level, event, run_id, table, piece, fields)


def _load(text: str) -> Any:
    """Return what JSON says, as values that can be written down again: nothing in place of infinity and of what is no
    number, a question mark in place of half a character."""
    values = json.loads(text, parse_constant=lambda _name: None, parse_float=_finite)
    if "\\ud" in text.lower():
        # Characters beyond the first 65,536 are written as two halves; one without the other is no character.
        values = json.loads(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))
    return values


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _name(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: object) -> datetime | None:
    """Return an aware time in UTC, of a year in which a log may have been written."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None and at.year in _YEARS else None
    except (ValueError, OverflowError):
        return None
