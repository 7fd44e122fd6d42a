"""How values are spelled and hashed where rows are compared without moving them, and the SQL for it in DuckDB.

One definition for every engine. It stands here; the sources' dialects and Spark have it in their own SQL, and contract tests
hold all of them against each other, type by type.

A value is spelled by the type that its column has in the target:

- booleans as ``true`` and ``false``; integers as their digits; decimals as digits with all digits of their scale;
- floats and doubles as the 16 lower-case hex digits of the IEEE-754 bits of the value as a double; -0.0 as 0.0, every NaN as
  ``nan``;
- days as ``YYYY-MM-DD``; moments as ``YYYY-MM-DD HH:MM:SS.ffffff``, in UTC where they have a zone;
- bytes as lower-case hex; text as itself, code point by code point: nothing is trimmed, folded or normalised.

Only the years 1 to 9999 ever land. What else may stand in a table behind the program's back has a spelling of its own on
each engine, which no value that lands has.

*Hash of a key*: md5 in UTF-8 of the spellings of its columns, each followed by a comma, or, where it is text, led by its
length in code points and a colon; of one column alone the bare spelling. NULL where one of them is NULL. Stored
fingerprints depend on it: it must not change.

*Hash of a row*: the same of all compared columns, a single one too, with ``~`` for NULL.

A hash is 32 lower-case hex digits. Digits 1 to 11 and 12 to 22 are numbers to be summed (44 bits each, so that half a
million fit into 63). From the 12th digit on, that of a key names its bucket.
"""

from collections.abc import Sequence

import pyarrow as pa

#: A column's SQL, and the type by which it is spelled.
Typed = tuple[str, pa.DataType]

_MOMENT = "'%Y-%m-%d %H:%M:%S.%f'"
_ZERO, _MINUS_ZERO = "0" * 16, "8" + "0" * 15
_INFINITE, _MINUS_INFINITE = "7ff" + "0" * 13, "fff" + "0" * 13


def spelled(column: str, kind: pa.DataType) -> str:
    """Return DuckDB's SQL for the spelling of a column whose values are of that type; NULL stays NULL."""
    if pa.types.is_string(kind):
        return column
    if pa.types.is_timestamp(kind):
        clock = column if kind.tz is None else f"timezone('UTC', {column})"
        return f"strftime({clock}, {_MOMENT})"
    if pa.types.is_binary(kind):
        return f"lower(hex({column}))"
    if pa.types.is_floating(kind):
        bits = f"lower(hex(CAST(CAST(CAST({column} AS DOUBLE) AS BIT) AS BLOB)))"
        # By the bits alone: Parquet's statistics leave NaN out, and by them DuckDB takes isnan() for false.
        nan = f"{bits} > '{_MINUS_INFINITE}' OR ({bits} > '{_INFINITE}' AND {bits} < '{_MINUS_ZERO}')"
        return f"CASE WHEN {bits} = '{_MINUS_ZERO}' THEN '{_ZERO}' WHEN {nan} THEN 'nan' ELSE {bits} END"
    if pa.types.is_decimal(kind) and kind.precision == kind.scale:
        # Where no digit can stand before the point DuckDB leaves the zero out as well.
        return f"regexp_replace(CAST({column} AS VARCHAR), '^(-?)\\.', '\\10.')"
    return f"CAST({column} AS VARCHAR)"


def key_hash(columns: Sequence[Typed]) -> str:
    """Return DuckDB's SQL for the hash of a key."""
    if len(columns) == 1:
        return f"md5({spelled(*columns[0])})"
    return f"md5({' || '.join(_told_apart(column, kind) for column, kind in columns)})"


def row_hash(columns: Sequence[Typed]) -> str:
    """Return DuckDB's SQL for the hash of a row of at least one column."""
    # Eight columns of 3 million rows: 2.6 s of processor time this way, 3.1 s with ||, which makes a text for each step.
    parts = [f"coalesce({_told_apart(column, kind)}, '~')" for column, kind in columns]
    return f"md5(concat({', '.join(parts)}))"


def bucket(digest: str, digits: int) -> str:
    """Return SQL for the name of a bucket, of so many digits, by the hash of a key."""
    return f"substr({digest}, 12, {digits})"


def high(digest: str) -> str:
    """Return DuckDB's SQL for the number in the first 11 digits of a hash: BIGINT, at most 2^44 - 1."""
    return f"CAST('0x' || substr({digest}, 1, 11) AS BIGINT)"


def low(digest: str) -> str:
    """Return the same for the next 11 digits."""
    return f"CAST('0x' || substr({digest}, 12, 11) AS BIGINT)"


def _told_apart(column: str, kind: pa.DataType) -> str:
    text = spelled(column, kind)
    return f"length({text}) || ':' || {text}" if pa.types.is_string(kind) else f"{text} || ','"
