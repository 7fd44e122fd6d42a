"""Spellings and hashes of values as ``endpoints/spelling.py`` defines them, in plain Python: what every engine must say.

Written from the definition; nothing here imports the program.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa


def spell(value: Any, kind: pa.DataType) -> str | None:
    """Return the spelling of a value that stands in a column of that type."""
    if value is None:
        return None
    if isinstance(value, datetime):
        clock = value.astimezone(UTC) if kind.tz else value
        return clock.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{abs(value) if value == 0 else value:.{kind.scale}f}"
    return _SPELLERS[type(value)](value)


def _spell_double(value: float) -> str:
    return "nan" if value != value else struct.pack(">d", value or 0.0).hex()  # noqa: PLR0124 - the definition of NaN


_SPELLERS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    int: str,
    float: _spell_double,
    bytes: bytes.hex,
    str: str,
    date: date.isoformat,
}


def row_hash(values: Sequence[Any], kinds: Sequence[pa.DataType]) -> str:
    """Return the hash of a row."""
    return _md5("".join("~" if value is None else _told(value, kind) for value, kind in zip(values, kinds, strict=True)))


def key_hash(values: Sequence[Any], kinds: Sequence[pa.DataType]) -> str | None:
    """Return the hash of a key; None where a part of it is NULL."""
    if any(value is None for value in values):
        return None
    if len(values) == 1:
        return _md5(spell(values[0], kinds[0]) or "")
    return _md5("".join(_told(value, kind) for value, kind in zip(values, kinds, strict=True)))


def totals(hashes: Iterable[str]) -> tuple[int, int, int]:
    """Return how many hashes there are, and the sums of their numbers."""
    listed = list(hashes)
    return len(listed), sum(int(text[:11], 16) for text in listed), sum(int(text[11:22], 16) for text in listed)


def _told(value: Any, kind: pa.DataType) -> str:
    text = spell(value, kind) or ""
    return f"{len(text)}:{text}" if isinstance(value, str) else f"{text},"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
