"""PostgreSQL's types: how each is read and in which type it lands, so that nothing is rounded, shifted or dropped.

Where Spark's own mapping loses something the value is read in a spelling of the server's. Numerics without or beyond 38
digits and every type without a counterpart (uuid, json, inet, interval, money, time, enums, arrays, ranges ...) arrive
as their text. Dates arrive as days and timestamps as text, because Spark's way through `java.sql` moves 1582-10-05 to
1582-10-14 by ten days (measured; reading the text takes the same time: 1.1 s for two columns of a million rows).
"""

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.model.cursor import CursorType

_MAX_DIGITS = 38
_UTC = pa.timestamp("us", tz="UTC")
_YEARS = "infinite, or outside the years 0001 to 9999"
_TEXT_CURSOR = frozenset({CursorType.TEXT})
_TIMESTAMP_CURSOR = frozenset({CursorType.TIMESTAMP})

_PLAIN: dict[str, tuple[str, pa.DataType, frozenset[CursorType]]] = {
    "bool": ("BOOLEAN", pa.bool_(), frozenset()),
    "int2": ("SMALLINT", pa.int16(), NUMBER_CURSORS),
    "int4": ("INT", pa.int32(), NUMBER_CURSORS),
    "int8": ("BIGINT", pa.int64(), NUMBER_CURSORS),
    "float4": ("FLOAT", pa.float32(), frozenset()),
    "float8": ("DOUBLE", pa.float64(), frozenset()),
    "bytea": ("BINARY", pa.binary(), frozenset()),
    # The column itself, not its ::text: char(n) would lose its blanks.
    "text": ("STRING", pa.string(), _TEXT_CURSOR),
    "varchar": ("STRING", pa.string(), _TEXT_CURSOR),
    "bpchar": ("STRING", pa.string(), _TEXT_CURSOR),
}

_CLOCKS: dict[str, tuple[str, str, pa.DataType, str, frozenset[CursorType]]] = {
    "date": ("{} - DATE '1970-01-01'", "INT", pa.date32(), "date_from_unix_date({})", frozenset({CursorType.DATE})),
    "timestamp": ("{}::text", "STRING", pa.timestamp("us"), "CAST({} AS TIMESTAMP_NTZ)", _TIMESTAMP_CURSOR),
    "timestamptz": (
        "({} AT TIME ZONE 'UTC')::text",
        "STRING",
        _UTC,
        "CAST(concat({}, 'Z') AS TIMESTAMP)",
        _TIMESTAMP_CURSOR,
    ),
}

_CLOCK_LIMITS = {
    "date": "{0} < DATE '0001-01-01' OR {0} > DATE '9999-12-31'",
    "timestamp": "{0} < TIMESTAMP '0001-01-01' OR {0} >= TIMESTAMP '10000-01-01'",
    "timestamptz": "{0} < TIMESTAMPTZ '0001-01-01 00:00+00' OR {0} >= TIMESTAMPTZ '10000-01-01 00:00+00'",
}


def land(raw: RawColumn, name: str) -> SourceColumn:
    """Return the way of a column; ``name`` is its quoted name, ``raw.kind`` its built-in base type or empty."""
    if raw.kind in _PLAIN:
        read_as, lands_as, cursors = _PLAIN[raw.kind]
        return SourceColumn(raw.name, raw.native_type, raw.nullable, name, read_as, lands_as, cursors=cursors)
    if raw.kind in _CLOCKS:
        select, read_as, lands_as, convert, cursors = _CLOCKS[raw.kind]
        return SourceColumn(
            raw.name,
            raw.native_type,
            raw.nullable,
            select.format(name),
            read_as,
            lands_as,
            convert,
            _CLOCK_LIMITS[raw.kind].format(name),
            _YEARS,
            cursors,
        )
    if raw.kind == "numeric" and raw.arguments:
        precision, scale = (*raw.arguments, 0)[:2]
        if precision <= _MAX_DIGITS and 0 <= scale <= precision:
            return _decimal(raw, name, precision, scale)
    return SourceColumn(raw.name, raw.native_type, raw.nullable, f"{name}::text", "STRING", pa.string())


def _decimal(raw: RawColumn, name: str, precision: int, scale: int) -> SourceColumn:
    return SourceColumn(
        raw.name,
        raw.native_type,
        raw.nullable,
        name,
        f"DECIMAL({precision},{scale})",
        pa.decimal128(precision, scale),
        bad_when=f"{name} = 'NaN'::numeric",
        reason="NaN, which a decimal cannot hold",
        cursors=frozenset() if scale else NUMBER_CURSORS,
    )
