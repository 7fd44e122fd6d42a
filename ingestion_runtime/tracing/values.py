"""Values of a key as people type them: read as the type of their column, written into SQL as nothing but a value."""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pyarrow as pa

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.watermark import parse_watermark, to_ticks
from ingestion_runtime.tools.local_sql import text as quoted

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})")
_TRUTHS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_SHOWN: Final = 80
_PER_SECOND: Final = {CursorType.TIMESTAMP: 1_000_000, CursorType.EPOCH_SECONDS: 1, CursorType.EPOCH_MILLIS: 1000}
_UNITS: Final = (("days", 86_400), ("hours", 3600))


def read_value(text: str, kind: pa.DataType) -> Any:
    """Return a value of a column's type; raises ValueError where the text names none."""
    try:
        return pa.scalar(_parse(text, kind), kind).as_py()
    except (ArithmeticError, ConfigError, TerminalError, pa.ArrowException, InvalidOperation) as error:
        raise ValueError(text) from error


def _parse(text: str, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return text
    for is_kind, parse in _PARSERS:
        if is_kind(kind):
            return parse(text.strip())
    if pa.types.is_timestamp(kind):
        return _moment(text.strip(), zoned=kind.tz is not None)
    raise ValueError(text)


def _truth(text: str) -> bool:
    return bool(_known(_TRUTHS.get(text.lower()), text))


def _whole(text: str) -> int:
    return int(_known(_WHOLE.fullmatch(text), text)[0])


def _number(text: str) -> Decimal:
    return Decimal(_known(_NUMBER.fullmatch(text), text)[0])


def _day(text: str) -> date:
    return date.fromisoformat(parse_watermark(CursorType.DATE, text).literal)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x").removeprefix("\\x"))


_PARSERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any]], ...]] = (
    (pa.types.is_boolean, _truth),
    (pa.types.is_integer, _whole),
    (pa.types.is_decimal, _number),
    (pa.types.is_floating, float),
    (pa.types.is_date, _day),
    (pa.types.is_binary, _bytes),
)


def _known(found: Any, text: str) -> Any:
    if found is None:
        raise ValueError(text)
    return found


def _moment(text: str, *, zoned: bool) -> datetime:
    """Return a moment; one without a zone is UTC where the column has one."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC) if zoned else moment
    if not zoned:
        raise ValueError(text)
    return moment.astimezone(UTC)


def describe_kind(kind: pa.DataType) -> str:
    """Return in words which values a column of a type holds, and how they are written."""
    if pa.types.is_integer(kind):
        return f"whole numbers of up to {kind.bit_width} bits"
    if pa.types.is_decimal(kind):
        return f"numbers of up to {kind.precision} digits, {kind.scale} of them behind the point"
    if pa.types.is_timestamp(kind):
        return f"moments, as 2026-06-28 09:00:00{'+02:00' if kind.tz else ', without a zone'}"
    return next((words for is_kind, words in _WORDS if is_kind(kind)), "text")


_WORDS: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (pa.types.is_boolean, "true and false"),
    (pa.types.is_floating, "numbers"),
    (pa.types.is_date, "days, as 2026-06-28"),
    (pa.types.is_binary, "bytes, in hex digits"),
)


def sql_value(value: Any, kind: pa.DataType) -> str:
    """Return a value as DuckDB's SQL; whatever the text holds, it stays a value."""
    if pa.types.is_timestamp(kind):
        return f"{'TIMESTAMPTZ' if kind.tz else 'TIMESTAMP'} '{value.isoformat(sep=' ')}'"
    if pa.types.is_decimal(kind):
        return f"CAST('{value:f}' AS DECIMAL({kind.precision},{kind.scale}))"
    for is_kind, spell in _SPELLERS:
        if is_kind(kind):
            return spell(value)
    raise ValueError(f"no column lands as {kind}")


def _sql_text(value: str) -> str:
    # A NUL ends a statement for whoever reads it as C does.
    return " || chr(0) || ".join(map(quoted, value.split("\0"))) if "\0" in value else quoted(value)


_SPELLERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], str]], ...]] = (
    (pa.types.is_string, _sql_text),
    (pa.types.is_boolean, lambda value: "true" if value else "false"),
    (pa.types.is_integer, lambda value: str(int(value))),
    (pa.types.is_floating, lambda value: f"CAST('{value!r}' AS DOUBLE)"),
    (pa.types.is_date, lambda value: f"DATE '{value.isoformat()}'"),
    (pa.types.is_binary, lambda value: f"from_hex('{value.hex()}')"),
)


def cursor_of(value: Any, kind: CursorType) -> Watermark | None:
    """Return a landed value of the incremental column as the watermark that it would be; None for NULL.

    Raises TerminalError for a value that is no cursor of this kind.
    """
    if value is None:
        return None
    if kind is CursorType.TEXT:
        return Watermark(kind, str(value))
    if isinstance(value, datetime):
        spelled = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return Watermark(kind, spelled.isoformat(sep=" ", timespec="microseconds"))
    try:
        return parse_watermark(kind, value.isoformat() if isinstance(value, date) else str(value))
    except ConfigError as error:
        raise TerminalError(error.message, remedy=error.remedy) from None


def is_later(one: Watermark, other: Watermark) -> bool:
    """Whether a cursor lies above another one; of text only the source knows (TerminalError)."""
    return to_ticks(one) > to_ticks(other)


def apart(later: Watermark, earlier: Watermark) -> str:
    """Return how far two cursors lie apart, in words: a time, or units of the column."""
    ticks = to_ticks(later) - to_ticks(earlier)
    if later.type is CursorType.DATE:
        return f"{ticks} {'day' if ticks == 1 else 'days'}"
    per_second = _PER_SECOND.get(later.type)
    if per_second is None:
        return str(ticks)
    seconds = ticks / per_second
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.6g} s"


def is_same(one: Any, other: Any) -> bool:
    """Whether two landed values are equal: any NaN equals any other, 0.0 equals -0.0."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def show(value: Any) -> str:
    """Return a value for people, on one line and cut where it is long."""
    if value is None:
        return "NULL"
    spelled = value.hex() if isinstance(value, bytes) else str(value)
    spelled = repr(spelled)[1:-1] if not spelled.isprintable() else spelled
    if not spelled or spelled == "NULL" or spelled != spelled.strip():
        spelled = f"'{spelled}'"  # blanks at an end, which else nobody would see; a text that is no NULL
    return spelled if len(spelled) <= _SHOWN else f"{spelled[: _SHOWN - 3]}..."
