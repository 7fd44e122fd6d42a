"""In which manner two values differ, told from their canonical spellings: what went wrong is often plain from it."""

import struct
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

import pyarrow as pa

from ingestion_runtime.model.comparison import ComparedColumn
from ingestion_runtime.reconciliation.report import ValueDifference

Spelled = Sequence[str | None]
Alike = Callable[[str, str], bool]

_QUARTER: Final = timedelta(minutes=15)
_FARTHEST: Final = timedelta(hours=26)  # from UTC+14 to UTC-12
_SECOND: Final = 1_000_000
_MANY_BITS: Final = 8  # so many neighbours away is what another order of summing makes of a double


def compare_rows(columns: Sequence[ComparedColumn], source: Spelled, target: Spelled) -> tuple[ValueDifference, ...]:
    """Return the columns in which two rows differ and how, with both values as people write them."""
    found = []
    for at, column in enumerate(columns):
        left, right = source[at], target[at]
        if left != right:
            how = _swapped(columns, source, target, at) or describe(column.kind, left, right)
            found.append(ValueDifference(column.target, how, readable(column.kind, left), readable(column.kind, right)))
    return tuple(found)


def readable(kind: pa.DataType, spelled: str | None) -> str | None:
    """Return a value as people write it: a double in the fewest digits that tell it from all others."""
    number = _read_double(spelled) if spelled is not None and pa.types.is_floating(kind) else None
    return spelled if number is None else repr(number)


def _swapped(columns: Sequence[ComparedColumn], source: Spelled, target: Spelled, at: int) -> str | None:
    for other, column in enumerate(columns):
        there = other != at and columns[at].kind == column.kind
        if there and source[at] == target[other] and source[other] == target[at] and source[at] is not None:
            return f"swapped with {column.target}"
    return None


def describe(kind: pa.DataType, source: str | None, target: str | None) -> str:
    """Return in a few words how the target's value differs from the source's; both are spelled by ``kind``, None: NULL."""
    if source is None or target is None:
        return _null(kind, source, target)
    told = next((tell for fits, tell in _KINDS if fits(kind)), None)
    return "another value" if told is None else told(source, target)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_exact(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _null(kind: pa.DataType, source: str | None, target: str | None) -> str:
    empty = _is_text(kind) or _is_bytes(kind)
    if empty and target == "":
        return "empty in the target, NULL at the source"
    if empty and source == "":
        return "NULL in the target, empty at the source"
    return "a value in the target, NULL at the source" if source is None else "NULL in the target"


def _text(source: str, target: str) -> str:
    return next((words for words, alike in _TEXTS if alike(source, target)), None) or (
        _shortened(source, target) or ("garbled: UTF-8 read as Latin-1" if _garbled(source, target) else "another text")
    )


def _by(change: Callable[[str], str]) -> Alike:
    """Return whether two texts are equal once both are changed so."""
    return lambda source, target: change(source) == change(target)


_TEXTS: Final[tuple[tuple[str, Alike], ...]] = (
    ("blanks at the end", _by(str.rstrip)),
    ("blanks around it", _by(str.strip)),
    ("another Unicode form of the same characters", _by(lambda text: unicodedata.normalize("NFKC", text))),
    ("upper and lower case", _by(str.casefold)),
    ("line ends", _by(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))),
)


def _shortened(source: str, target: str) -> str | None:
    if source.startswith(target):
        return "cut off at the end" if target else "cut off at the end, to nothing"
    if target.startswith(source):
        return "longer than at the source" if source else "longer than at the source, which is empty"
    return None


def _garbled(source: str, target: str) -> bool:
    for left, right in ((source, target), (target, source)):
        for wrong in ("latin-1", "cp1252"):
            try:
                if left.encode().decode(wrong) == right:
                    return True
            except UnicodeError:
                continue
    return False


def _moment(source: str, target: str) -> str:
    left, right = _read_moment(source), _read_moment(target)
    if left is None or right is None:
        return "another time"
    return _other_zone(left, right) or _less_exact(left, right) or "another time"


def _other_zone(left: datetime, right: datetime) -> str | None:
    apart = abs(right - left)
    if apart % _QUARTER or apart > _FARTHEST or not apart:
        return None
    hours = apart / timedelta(hours=1)
    return f"{hours:g} h {'later' if right > left else 'earlier'}, as in another time zone"


def _less_exact(left: datetime, right: datetime) -> str | None:
    for digits, unit in ((0, "seconds"), (3, "milliseconds")):
        for one, other, where in ((left, right, ""), (right, left, " at the source")):
            if _cut(one, digits) == other:
                return f"cut to {unit}{where}"
            if _cut(other, digits) == other and abs(one - other) <= timedelta(microseconds=_SECOND // 10**digits / 2):
                return f"rounded to {unit}{where}"
    for one, other, where in ((left, right, ""), (right, left, " at the source")):
        if one.date() == other.date() and other.time() == datetime.min.time():
            return f"its time of day is missing{where}"
    return None


def _cut(moment: datetime, digits: int) -> datetime:
    step = 10 ** (6 - digits)
    return moment.replace(microsecond=moment.microsecond // step * step)


def _read_moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def _date(source: str, target: str) -> str:
    try:
        days = (date.fromisoformat(target) - date.fromisoformat(source)).days
    except ValueError:
        return "another day"
    return f"{abs(days)} {'day' if abs(days) == 1 else 'days'} {'later' if days > 0 else 'earlier'}"


def _number(source: str, target: str) -> str:
    try:
        left, right = Decimal(source), Decimal(target)
    except InvalidOperation:
        return "another number"
    if left == -right:
        return "the other sign"
    for one, other, where in ((left, right, ""), (right, left, " at the source")):
        digits = _fraction_digits(other)
        if digits < _fraction_digits(one):
            unit = Decimal(1).scaleb(-digits)
            if abs(one - other) <= unit / 2:
                return f"rounded to {_digits(digits)}{where}"
            if abs(one - other) < unit and abs(other) < abs(one):
                return f"cut to {_digits(digits)}{where}"
    for power in (3, 2, 1, 6):
        if left and right in (left.scaleb(power), left.scaleb(-power)):
            return f"{10**power} times as {'large' if abs(right) > abs(left) else 'small'}"
    return "another number"


def _fraction_digits(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _digits(number: int) -> str:
    return "a whole number" if number == 0 else f"{number} {'digit' if number == 1 else 'digits'} behind the point"


def _double(source: str, target: str) -> str:
    left, right = _read_double(source), _read_double(target)
    if left is None or right is None:
        return "not a number (NaN) on one side"
    if left == -right:
        return "the other sign"
    apart = abs(_place(source) - _place(target))
    if apart <= _MANY_BITS:
        return "the last bit" if apart == 1 else "the last bits"
    for one, other, where in ((left, right, ""), (right, left, " at the source")):
        if _single(one) == other:
            return f"rounded to single precision{where}"
        digits = next((n for n in range(16) if round(one, n) == other), None)
        if digits is not None:
            return f"rounded to {_digits(digits)}{where}"
    return "another number"


def _read_double(text: str) -> float | None:
    try:
        return float(struct.unpack(">d", bytes.fromhex(text))[0])
    except (ValueError, struct.error):
        return None


def _place(text: str) -> int:
    """Return the place of a double among all doubles in their order."""
    bits = int(text, 16)
    return -(bits - 2**63) if bits >= 2**63 else bits


def _single(number: float) -> float | None:
    try:
        return float(struct.unpack(">f", struct.pack(">f", number))[0])
    except OverflowError:
        return None


_KINDS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[str, str], str]], ...]] = (
    (_is_text, _text),
    (pa.types.is_timestamp, _moment),
    (pa.types.is_date, _date),
    (pa.types.is_floating, _double),
    (_is_exact, _number),
    (_is_bytes, lambda source, target: _shortened(source, target) or "other bytes"),
)
