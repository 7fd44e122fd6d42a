"""Cron expressions that every scheduler takes for the same: cron itself, Airflow, Temporal."""

import re
from dataclasses import dataclass

_ITEM = re.compile(r"(?:(?P<all>\*)|(?P<low>\w{1,3})(?:-(?P<high>\w{1,3}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """Return the value that ``text`` spells, None where it is none of this field."""
        if text.lower() in self.words:
            return self.low + self.words.index(text.lower())
        value = int(text) if text.isdigit() else -1
        return value if self.low <= value <= self.high else None


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


def cron_problem(text: str) -> str:
    """Return what is wrong with an expression, in words that do not repeat it; empty when nothing is.

    Accepted is what cron, Airflow and Temporal read alike: five fields of ``*``, numbers, names, ranges and lists, with
    steps behind ``*`` and ranges. Sunday is 0, because 7 is unknown to some of them.
    """
    if text.strip().lower() in _MACROS:
        return f"must be five fields; write '{_MACROS[text.strip().lower()]}'"
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return "must be five fields: minute, hour, day of the month, month, day of the week"
    chosen = []
    for part, field in zip(parts, _FIELDS, strict=True):
        values = _values(part, field)
        if isinstance(values, str):
            return values
        chosen.append(values)
    _, _, days, months, _ = chosen
    if parts[4] == "*" and all(min(days) > _LONGEST[month - 1] for month in months):
        return "never comes: none of its months has such a day"
    return ""


def _values(text: str, field: _Field) -> set[int] | str:
    """Return the values that a field allows, or what is wrong with it."""
    allowed: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is None or (found["step"] and not found["all"] and not found["high"]):
            return f"has a wrong {field.name}: write *, a value, a range, a list of them, or a step behind * or a range"
        low = field.low if found["all"] else field.number(found["low"])
        high = field.high if found["all"] else field.number(found["high"]) if found["high"] else low
        step = int(found["step"] or 1)
        if low is None or high is None or low > high:
            words = f" (or {field.words[0]} to {field.words[-1]})" if field.words else ""
            return f"has a wrong {field.name}: values go from {field.low} to {field.high}{words}, ranges upwards"
        if not 1 <= step <= field.high:
            return f"has a wrong {field.name}: a step goes from 1 to {field.high}"
        allowed.update(range(low, high + 1, step))
    return allowed
