"""From the array that a source's client gives to the type in which its column lands: the same value, or an error.

Arrow's casts are checked, but not all of them: text of more than 38 digits wraps around on its way to a decimal, 2 becomes
True, 0.1 another float, and nobody looks whether text is UTF-8 or a day lies in the calendar. That is done here.
"""

from collections.abc import Callable

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.model.errors import TerminalError

# Days and microseconds from 0001-01-01 to 9999-12-31, as they are counted from 1970-01-01.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY_MICROS = 86_400_000_000
_UTC = pa.timestamp("us", tz="UTC")
_MAX_DIGITS = 38
_TO_THE_SECOND = len("2024-01-01 10:00:00")
_NO_MOMENT = "a moment that is infinite, or outside the years 0001 to 9999"

Land = Callable[[pa.Array], pa.Array]


class MisfitError(Exception):
    """A value that the landing type does not hold; the message says what it is."""


def lander(given: pa.DataType, column: SourceColumn) -> Land:
    """Return what makes a column's arrays land; its errors are TerminalErrors that name column and reason.

    Raises TerminalError where there is no way from one type to the other.
    """
    way = _way(given.storage_type if isinstance(given, pa.BaseExtensionType) else given, column.lands_as)
    if way is None:
        raise refusal(column, f"comes as {given}")

    def land(array: pa.Array) -> pa.Array:
        plain = array.storage if isinstance(array, pa.ExtensionArray) else array
        try:
            return way(plain)
        except MisfitError as error:
            raise refusal(column, f"holds {error}") from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            reason = column.reason or f"nothing that fits {column.lands_as}"
            raise refusal(column, f"holds values that are {reason}") from None

    return land


def refusal(column: SourceColumn, what: str) -> TerminalError:
    """Return the error for a column that holds something which its landing type does not."""
    return TerminalError(
        f"Column {column.name} {what}: it cannot land as {column.lands_as} ({column.native_type or 'without a type'}).",
        remedy="Correct it at the source, exclude it with source_filter, or cast the column in query_sql.",
        column=column.name,
    )


def _way(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    for kind, find in _WAYS:
        if kind(wanted):
            return find(given, wanted)
    return (lambda array: array) if given == wanted else None


def _texts(given: pa.DataType, wanted: pa.DataType) -> Land | None:  # noqa: ARG001 - one kind of text
    if pa.types.is_binary(given):
        return lambda array: array.cast(pa.string())  # which does validate
    return _valid_text if pa.types.is_string(given) else None


def _valid_text(array: pa.Array) -> pa.Array:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise MisfitError("text that is no valid UTF-8") from None
    return array


def _days(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    return _checked_days if pa.types.is_string(given) or given == wanted else None


def _checked_days(array: pa.Array) -> pa.Array:
    days = array.cast(pa.date32())
    _require_range(days.view(pa.int32()), _FIRST_DAY, _LAST_DAY)
    return days


def _moments(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    naive = pa.timestamp("us")
    if not (pa.types.is_string(given) or (given in (naive, _UTC) and given.tz == wanted.tz)):
        return None

    def land(array: pa.Array) -> pa.Array:
        moments = _parsed(array) if pa.types.is_string(given) else array
        _require_range(moments.view(pa.int64()), _FIRST_DAY * _DAY_MICROS, (_LAST_DAY + 1) * _DAY_MICROS - 1)
        return moments.view(wanted)

    return land


def _parsed(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    # The cast takes 2024-01-01 and 10:00 for moments too; to the second it is as strict as it should be.
    ends = pc.min_max(pc.binary_length(array))
    if ends["min"].is_valid and ends["min"].as_py() < _TO_THE_SECOND:
        raise MisfitError("a moment that is not spelled to the second")
    return array.cast(pa.timestamp("us"))


def _require_range(numbers: pa.Array, low: int, high: int, otherwise: str = _NO_MOMENT) -> None:
    import pyarrow.compute as pc

    ends = pc.min_max(numbers)
    if ends["min"].is_valid and not (low <= ends["min"].as_py() and ends["max"].as_py() <= high):
        raise MisfitError(otherwise)


def _decimals(given: pa.DataType, wanted: pa.Decimal128Type) -> Land | None:
    if pa.types.is_string(given):
        return lambda array: _short_digits(array).cast(wanted)
    if given == pa.float64():
        return lambda array: _from_doubles(array, wanted)
    if pa.types.is_integer(given):
        # Directly, the cast asks for a type that would hold every integer.
        return lambda array: array.cast(pa.decimal128(20, 0)).cast(wanted)
    if pa.types.is_decimal128(given):
        return lambda array: array.cast(wanted)
    return None


def _from_doubles(array: pa.Array, wanted: pa.Decimal128Type) -> pa.Array:
    """Return doubles as the decimals that they stand for: those of ``scale`` digits whose nearest double they are.

    Exact for 15 digits in all: up to there the product is rounded to the right whole number, and the quotient of two
    doubles that are whole is the double nearest to the decimal.
    """
    import pyarrow.compute as pc

    power = float(10**wanted.scale)
    whole = pc.round(pc.multiply(array, power))
    if pc.all(pc.equal(pc.divide(whole, power), array)).as_py() is False:
        raise MisfitError(f"a number with more than {wanted.scale} digits after the point")
    digits = whole.cast(pa.int64())
    _require_range(digits, 1 - 10**wanted.precision, 10**wanted.precision - 1, f"a number beyond {wanted}")
    unscaled = digits.cast(pa.decimal128(_MAX_DIGITS, 0))
    return pa.Array.from_buffers(wanted, len(array), unscaled.buffers(), unscaled.null_count, unscaled.offset)


def _short_digits(array: pa.Array) -> pa.Array:
    """Return the same numbers without zeros that say nothing, where there are too many digits for a cast that checks.

    A text of more than 38 digits wraps around silently (measured: 39 nines become another number).
    """
    import pyarrow.compute as pc

    longest = pc.max(pc.binary_length(array)).as_py()
    if longest is None or longest <= _MAX_DIGITS:
        return array
    plain = pc.replace_substring_regex(array, r"^([+-]?)0+(\d)", r"\1\2")
    plain = pc.replace_substring_regex(plain, r"(\.\d*?)0+$", r"\1")
    digits = pc.replace_substring_regex(plain, r"^[+-]?0?\.?|\.", "")
    if (pc.max(pc.binary_length(digits)).as_py() or 0) > _MAX_DIGITS or pc.any(
        pc.match_substring_regex(plain, "[eE]")
    ).as_py():
        raise MisfitError(f"a number of more than {_MAX_DIGITS} digits")
    return plain


def _flags(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    if given == wanted:
        return lambda array: array

    def land(array: pa.Array) -> pa.Array:
        _require_range(array, 0, 1, "a number that is neither 0 nor 1")
        return array.cast(wanted)

    return land if pa.types.is_integer(given) else None


def _floats(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    if given == wanted:
        return lambda array: array
    if pa.types.is_integer(given) or given == pa.float32():
        return lambda array: array.cast(wanted)
    return _single if given == pa.float64() and wanted == pa.float32() else None


def _single(array: pa.Array) -> pa.Array:
    """Return doubles as floats; each must be one."""
    import pyarrow.compute as pc

    single = array.cast(pa.float32(), safe=False)
    same = pc.or_(pc.equal(single.cast(pa.float64()), array), pc.is_nan(array))
    if pc.all(same).as_py() is False:
        raise MisfitError("a number that is no float")
    return single


def _integers(given: pa.DataType, wanted: pa.DataType) -> Land | None:
    if given == wanted:
        return lambda array: array
    if pa.types.is_integer(given) or pa.types.is_decimal128(given):  # the cast refuses what it would cut off
        return lambda array: array.cast(wanted)
    if pa.types.is_string(given):  # an exact number with zeros behind its point
        return lambda array: _short_digits(array).cast(pa.decimal128(_MAX_DIGITS, 0)).cast(wanted)
    return None


_WAYS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType, pa.DataType], Land | None]], ...] = (
    (pa.types.is_string, _texts),
    (pa.types.is_date32, _days),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_decimal128, _decimals),
    (pa.types.is_boolean, _flags),
    (pa.types.is_floating, _floats),
    (pa.types.is_integer, _integers),
)
