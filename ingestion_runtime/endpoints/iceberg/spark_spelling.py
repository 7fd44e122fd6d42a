"""Spellings and hashes in Spark's SQL, as ``endpoints/spelling.py`` defines them. For sessions in UTC and ANSI mode."""

from collections.abc import Sequence

import pyarrow as pa

from ingestion_runtime.endpoints.spelling import Typed

_ZERO = "0" * 16


def spelled(column: str, kind: pa.DataType) -> str:
    """Return the SQL for the spelling of a column whose values are of that type; NULL stays NULL."""
    if pa.types.is_string(kind):
        return column
    if pa.types.is_timestamp(kind):
        return f"date_format({column}, 'yyyy-MM-dd HH:mm:ss.SSSSSS')"
    if pa.types.is_binary(kind):
        return f"lower(hex({column}))"
    if pa.types.is_floating(kind):
        # Spark's own SQL does not come at the bits, and its text for a double is not the same in each Java.
        bits = f"java_method('java.lang.Double', 'doubleToLongBits', CAST({column} AS DOUBLE))"
        digits = f"lpad(lower(hex(CAST({bits} AS BIGINT))), 16, '0')"
        # The method cannot be called with NULL.
        return (
            f"CASE WHEN {column} IS NULL THEN NULL WHEN {column} = 0 THEN '{_ZERO}' WHEN isnan({column}) THEN 'nan' "
            f"ELSE {digits} END"
        )
    return f"CAST({column} AS STRING)"


def key_hash(columns: Sequence[Typed]) -> str:
    """Return the SQL for the hash of a key."""
    parts = [spelled(*columns[0])] if len(columns) == 1 else [_told_apart(column, kind) for column, kind in columns]
    return _md5(parts)


def row_hash(columns: Sequence[Typed]) -> str:
    """Return the SQL for the hash of a row of at least one column."""
    return _md5([f"coalesce({_told_apart(column, kind)}, '~')" for column, kind in columns])


def high(digest: str) -> str:
    """Return the SQL for the number in the first 11 digits of a hash, as a decimal: a sum of integers would overflow."""
    return _number(f"substr({digest}, 1, 11)")


def low(digest: str) -> str:
    """Return the same for the next 11 digits."""
    return _number(f"substr({digest}, 12, 11)")


def _number(digits: str) -> str:
    return f"CAST(conv({digits}, 16, 10) AS DECIMAL(20, 0))"  # conv() yields text


def _md5(parts: Sequence[str]) -> str:
    return f"md5(CAST(concat({', '.join(parts)}) AS BINARY))"


def _told_apart(column: str, kind: pa.DataType) -> str:
    text = spelled(column, kind)
    return f"concat(length({text}), ':', {text})" if pa.types.is_string(kind) else f"concat({text}, ',')"
