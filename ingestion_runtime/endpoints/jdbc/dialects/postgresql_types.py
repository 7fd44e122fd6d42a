"""PostgreSQL's types: how each is read and in which type it lands, so that nothing is rounded, shifted or dropped.

Where Spark's own mapping loses something the value is read in a spelling of the server's. Numerics without or beyond 38
digits and every type without a counterpart (uuid, json, inet, interval, money, time, enums, arrays, ranges ...) arrive
as their text. Dates arrive as days and timestamps as text, because Spark's way through `java.sql` moves 1582-10-05 to
1582-10-14 by ten days (measured; reading the text takes the same time: 1.1 s for two columns of a million rows).
"""

from dataclasses import replace

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Measures
from ingestion_runtime.endpoints.jdbc.fitting import fit_number, is_exact_number
from ingestion_runtime.model.cursor import CursorType

_MAX_DIGITS = 38

MEASURES = Measures(
    # As text, because a whole number cannot be compared with NaN.
    finite="{0}::text NOT IN ('NaN', 'Infinity', '-Infinity')",
    nan="{0}::text = 'NaN'",
    infinite="{0}::text IN ('Infinity', '-Infinity')",
    fraction="min_scale({0}::numeric)",
)
_UTC = pa.timestamp("us", tz="UTC")
_YEARS = "infinite, or outside the years 0001 to 9999"
_TEXT_CURSOR = frozenset({CursorType.TEXT})
_TIMESTAMP_CURSOR = frozenset({CursorType.TIMESTAMP})

# Stands before the kind of a column whose text no server has ever checked: a database in SQL_ASCII takes any bytes.
UNCHECKED = "unchecked "
_HEX, _TAIL = "[0-9a-f]", "[89ab][0-9a-f]"
# Valid UTF-8 in hex digits (Unicode, table 3-7): no function of the server says it without an error that names no column.
_UTF8 = (
    f"^(?:[0-7]{_HEX}|(?:c[2-9a-f]|d{_HEX}){_TAIL}|e0[ab]{_HEX}{_TAIL}|e[1-9abcef]{_TAIL}{_TAIL}|ed[89]{_HEX}{_TAIL}"
    f"|f0[9ab]{_HEX}{_TAIL}{_TAIL}|f[1-3]{_TAIL}{_TAIL}{_TAIL}|f48{_HEX}{_TAIL}{_TAIL})*$"
)

# As the server prints them. A cast would add to what it prints: /32 to an inet, an XML declaration that speaks of the
# encoding in which the text once came.
_PRINTED = {"inet": "textin(inet_out({}))", "xml": "textin(xml_out({}))"}

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
    if not raw.kind.startswith(UNCHECKED):
        return _land(raw, name)
    column = _land(replace(raw, kind=raw.kind.removeprefix(UNCHECKED)), name)
    if not pa.types.is_string(column.lands_as):
        return column
    bad = f"encode(convert_to({name}::text, 'SQL_ASCII'), 'hex') !~ '{_UTF8}'"
    return replace(column, bad_when=bad, reason="no valid UTF-8")


def land_as(raw: RawColumn, name: str, kind: pa.DataType) -> SourceColumn | None:
    """Return the way of a column that lands as ``kind``; None where there is none."""
    own = land(raw, name)
    if kind == pa.string():
        return None if pa.types.is_binary(own.lands_as) else land(replace(raw, kind="", arguments=()), name)
    return fit_number(own, name, kind, exact=is_exact_number(own, raw.kind))


def _land(raw: RawColumn, name: str) -> SourceColumn:
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
            stream=name,  # whose client counts days and microseconds as they are stored
        )
    if raw.kind == "numeric" and raw.arguments:
        precision, scale = (*raw.arguments, 0)[:2]
        if precision <= _MAX_DIGITS and 0 <= scale <= precision:
            return _decimal(raw, name, precision, scale)
    printed = _PRINTED.get(raw.kind, "{}::text").format(name)
    return SourceColumn(raw.name, raw.native_type, raw.nullable, printed, "STRING", pa.string(), stream=printed)


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
        # Read as text and made decimals here: 3.0 s for a table that takes 5.3 with the client's own numerics.
        stream=f"{name}::text",
    )
