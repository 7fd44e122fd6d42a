"""Reals of SQLite as text, digit for digit as ``printf('%!.17g', x)`` of SQLite 3.52 and later spells them.

Spark reads through such a SQLite; the one in this process may be older, and spells 0.1 as 0.10000000000000001. One value
must have one text, whichever engine reads it, for it may be a part of a key. Compared with 3.54.1 for 100,000 doubles.
"""

import math
from functools import cache

_MOST_DIGITS = 17
# Below this power of ten a number is written with an exponent, and from 17 on.
_LEAST_PLAIN = -4


def spell_real(value: float) -> str:
    """Return the text of a real that is no NaN: at most 17 significant digits, fewer where SQLite notices that they
    suffice, and always a point."""
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0.0"
    digits, point = _digits(abs(value))
    sign, exponent = "-" if value < 0 else "", point - 1
    if not _LEAST_PLAIN <= exponent < _MOST_DIGITS:
        return f"{sign}{digits[0]}.{digits[1:] or '0'}e{exponent:+03d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"


def _digits(value: float) -> tuple[str, int]:
    """Return the digits, without zeros behind, and how many of them stand before the point."""
    number, exponent = _decimal(value)
    digits = str(number)
    point = len(digits) + exponent
    if len(digits) > _MOST_DIGITS:
        fewer = _fewer(digits, point)
        if fewer is not None and float(f"{fewer}e{point - len(fewer)}") == value:
            # Nines that were rounded up to one more digit move the point.
            digits = fewer
        elif fewer is not None and float(f"{fewer}e{point + 1 - len(fewer)}") == value:
            digits, point = fewer, point + 1
        else:
            kept = str(int(digits[:_MOST_DIGITS]) + (digits[_MOST_DIGITS] >= "5"))
            digits, point = kept, point + len(kept) - _MOST_DIGITS
    return digits.rstrip("0"), point


def _fewer(digits: str, point: int) -> str | None:
    """Return a shorter number that 18 digits are nearly equal to; SQLite looks for nines and zeros at these places only."""
    if digits[14:16] == "99":
        return str(int(digits[:14].rstrip("9") or "0") + 1)
    if point >= len(digits) or digits[13:16] == "000":
        return digits[:13].rstrip("0")
    return None


def _decimal(value: float) -> tuple[int, int]:
    """Return a number of some 18 digits and the power of ten by which it is multiplied.

    In 64 bits, and rounded as such: the last digit is not always that of the exact value.
    """
    fraction, binary = math.frexp(value)
    mantissa, binary = int(math.ldexp(fraction, 64)), binary - 64
    power = _MOST_DIGITS - (((binary + 63) * 78913) >> 18)
    scaled = (mantissa * _power_of_ten(power)) >> 64
    scaled >>= -(binary + _log2_of_ten(power) + 2)
    return (scaled + (scaled & 1) * 2) >> 1, -power


def _log2_of_ten(power: int) -> int:
    """Return the whole part of the binary logarithm of a power of ten."""
    return (power * 108853) >> 15


@cache
def _power_of_ten(power: int) -> int:
    """Return the first 64 bits of a power of ten."""
    shift = 63 - _log2_of_ten(power)
    if power < 0:
        return int((1 << shift) // 10**-power)
    return int(10**power << shift if shift >= 0 else 10**power >> -shift)
