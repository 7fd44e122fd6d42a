"""The types of MySQL, MariaDB and SingleStore: how each is read and in which type it lands, so that nothing is lost.

Three things lose values silently and are therefore done by the server in the statement that reads. FLOAT is printed with
six digits: it is multiplied by a double, which prints it exactly. Dates may be zero, partial or no days of the calendar:
such a value makes its expression overflow, which fails the statement. Text of a character set whose characters do not
all exist in Unicode becomes question marks: it is converted there and back, and fails if it comes back otherwise.

Text is taken as bytes and checked in Spark, because the driver replaces invalid UTF-8. Long text is the bare column: a
function's result above max_allowed_packet is NULL, with a warning that nobody reads. What the driver calls a CHAR is no
text but bytes for the server already, for Spark pads every CHAR with blanks.
"""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Measures
from ingestion_runtime.endpoints.jdbc.fitting import fit_number, is_exact_number
from ingestion_runtime.model.cursor import CursorType

_MAX_DIGITS = 38

MEASURES = Measures(
    finite="{0} IS NOT NULL",
    nan=None,
    infinite=None,
    fraction="CASE WHEN INSTR(CAST({0} AS CHAR), '.') = 0 THEN 0 ELSE"
    " LENGTH(TRIM(TRAILING '0' FROM SUBSTRING_INDEX(CAST({0} AS CHAR), '.', -1))) END",
)
_UTC = pa.timestamp("us", tz="UTC")
_NO_DAY = "zero or partial dates, days that no calendar has, or of the year 0"
_UTF8 = "validate_utf8(CAST({} AS STRING))"

#: Character sets of which every text has its own spelling in UTF-8 (tried out: all single bytes, there and back).
EXACT_CHARSETS = frozenset({"utf8", "utf8mb3", "utf8mb4", "latin1", "ucs2", "utf16", "utf16le", "utf32"})
#: Between the kind of a text column and its character set, where that is none of the above.
CHARSET_MARK = " in "

_INTEGERS: dict[str, tuple[str, pa.DataType]] = {
    "tinyint": ("SMALLINT", pa.int16()),
    "tinyint unsigned": ("SMALLINT", pa.int16()),
    "smallint": ("SMALLINT", pa.int16()),
    "smallint unsigned": ("INT", pa.int32()),
    "mediumint": ("INT", pa.int32()),
    "mediumint unsigned": ("INT", pa.int32()),
    "int": ("INT", pa.int32()),
    "int unsigned": ("BIGINT", pa.int64()),
    "bigint": ("BIGINT", pa.int64()),
    "bigint unsigned": ("DECIMAL(20,0)", pa.decimal128(20, 0)),
}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_LABELS = frozenset({"enum", "set", "json"})
_PADDED = ("char", "enum", "set")
# Geometry as the server keeps it: four bytes of SRID, then WKB, which alone would lose the SRID.
_GEOMETRIES = frozenset({"geometry", "point", "linestring", "polygon", "geometrycollection", "geomcollection"})
_MORE_GEOMETRIES = frozenset({"multipoint", "multilinestring", "multipolygon"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"})


def land(raw: RawColumn, name: str) -> SourceColumn:
    """Return the way of a column; ``name`` is its quoted name. ``raw.kind`` as `text_kind` and the catalog spell it."""
    kind, _, charset = raw.kind.partition(CHARSET_MARK)
    if kind in _INTEGERS:
        read_as, lands_as = _INTEGERS[kind]
        return _plain(raw, name, read_as=read_as, lands_as=lands_as, cursors=NUMBER_CURSORS)
    if kind in _TEXTS or kind in _LABELS:
        return _text(raw, name, charset, frozenset({CursorType.TEXT}) if kind in _TEXTS else frozenset())
    if kind in _BYTES | _GEOMETRIES | _MORE_GEOMETRIES:
        return _plain(raw, name, read_as="BINARY", lands_as=pa.binary())
    makers = {
        "decimal": _decimal,
        "float": _float,
        "double": _double,
        "bit": _bit,
        "year": _year,
        "date": _date,
        "datetime": _datetime,
        "timestamp": _timestamp,
    }
    return makers.get(kind, _spelled)(raw, name)


def land_as(raw: RawColumn, name: str, kind: pa.DataType) -> SourceColumn | None:
    """Return the way of a column that lands as ``kind``; None where there is none."""
    own = land(raw, name)
    if kind == pa.string():
        # A float is printed with six digits, the double of the same value with all.
        value = f"{name} * 1e0" if pa.types.is_floating(own.lands_as) else own.select
        return (
            None
            if pa.types.is_binary(own.lands_as)
            else _plain(
                raw, f"CAST({value} AS CHAR)", read_as="STRING", lands_as=kind, bad_when=own.bad_when, reason=own.reason
            )
        )
    number = own.select if raw.kind in ("bit", "year") else name  # which the driver would not give as numbers
    fitted = fit_number(own, number, kind, exact=is_exact_number(own, raw.kind))
    if fitted is None or fitted.bad_when is None:
        return fitted
    # Check and read see different states here: what comes in between must fail, where Spark would round it.
    failure = f"9223372036854775807 + ({name} IS NOT NULL)"
    guarded = f"CASE WHEN {fitted.bad_when} THEN {failure} ELSE {fitted.select} END"
    return replace(fitted, select=guarded, stream=None)


def text_kind(kind: str, charset: str | None) -> str:
    """Return the kind of a text column, with its character set where that has characters of its own."""
    return kind if charset is None or charset in EXACT_CHARSETS else f"{kind}{CHARSET_MARK}{charset}"


def no_day(name: str) -> str:
    """Return a predicate for dates that are not NULL and no days from 0001-01-01 to 9999-12-31."""
    return f"coalesce(FROM_DAYS(TO_DAYS({name})) <> DATE({name}), {name} IS NOT NULL)"


def _plain(raw: RawColumn, select: str, **landing: Any) -> SourceColumn:
    return SourceColumn(raw.name, raw.native_type, raw.nullable, select, **landing)


def _guarded(raw: RawColumn, name: str, value: str, **landing: Any) -> SourceColumn:
    # An integer that overflows is an error in every sql_mode; it depends on the column, so that nothing computes it
    # before the first row.
    failure = f"CAST(9223372036854775807 + ({name} IS NOT NULL) AS CHAR)"
    return _plain(raw, f"CASE WHEN {landing['bad_when']} THEN {failure} ELSE {value} END", **landing)


def _spelled(raw: RawColumn, name: str) -> SourceColumn:
    return _plain(raw, f"CAST({name} AS CHAR)", read_as="STRING", lands_as=pa.string())


def _text(raw: RawColumn, name: str, charset: str, cursors: frozenset[CursorType]) -> SourceColumn:
    landing: dict[str, Any] = {"read_as": "BINARY", "lands_as": pa.string(), "convert": _UTF8, "cursors": cursors}
    value = f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)" if raw.kind.startswith(_PADDED) else name
    if not charset:
        return _plain(raw, value, stream=name, **landing)
    there_and_back = f"CAST(CONVERT(CONVERT({name} USING utf8mb4) USING {charset}) AS BINARY)"
    return _guarded(
        raw,
        name,
        value,
        bad_when=f"coalesce({there_and_back} <> CAST({name} AS BINARY), {name} IS NOT NULL)",
        reason=f"{charset} text with characters that Unicode does not have",
        **landing,
    )


def _decimal(raw: RawColumn, name: str) -> SourceColumn:
    precision, scale = (*raw.arguments, 0, 0)[:2]
    if not 1 <= precision <= _MAX_DIGITS or scale > precision:
        return _spelled(raw, name)
    return _plain(
        raw,
        name,
        read_as=f"DECIMAL({precision},{scale})",
        lands_as=pa.decimal128(precision, scale),
        cursors=frozenset() if scale else NUMBER_CURSORS,
    )


def _float(raw: RawColumn, name: str) -> SourceColumn:
    # Every float is a double, and a double that holds one is cast back to the same float.
    return _plain(raw, f"{name} * 1e0", read_as="DOUBLE", lands_as=pa.float32(), convert="CAST({} AS FLOAT)")


def _double(raw: RawColumn, name: str) -> SourceColumn:
    # Times one for DOUBLE(M,D), which would be printed with D digits.
    return _plain(raw, f"{name} * 1e0", read_as="DOUBLE", lands_as=pa.float64())


def _bit(raw: RawColumn, name: str) -> SourceColumn:
    wide = raw.arguments == (64,)
    read_as, lands_as = ("DECIMAL(20,0)", pa.decimal128(20, 0)) if wide else ("BIGINT", pa.int64())
    stream = None if wide else f"CAST({name} AS SIGNED)"
    return _plain(raw, f"CAST({name} AS UNSIGNED)", read_as=read_as, lands_as=lands_as, stream=stream)


def _year(raw: RawColumn, name: str) -> SourceColumn:
    number, convert = f"CAST({name} AS UNSIGNED)", "CAST({} AS SMALLINT)"
    return _plain(raw, number, read_as="INT", lands_as=pa.int16(), convert=convert, stream=name)


def _clock(raw: RawColumn, name: str, lands_as: pa.DataType, convert: str, cursor: CursorType) -> SourceColumn:
    # As text: java.sql moves days around 1582 by ten, and hours by the JVM's zone. A stream is parsed in this process.
    return _guarded(
        raw,
        name,
        f"CAST({name} AS CHAR)",
        read_as="STRING",
        lands_as=lands_as,
        convert=convert,
        bad_when=no_day(name),
        reason=_NO_DAY,
        cursors=frozenset({cursor}),
        stream=name,
    )


def _date(raw: RawColumn, name: str) -> SourceColumn:
    return _clock(raw, name, pa.date32(), "CAST({} AS DATE)", CursorType.DATE)


def _datetime(raw: RawColumn, name: str) -> SourceColumn:
    return _clock(raw, name, pa.timestamp("us"), "CAST({} AS TIMESTAMP_NTZ)", CursorType.TIMESTAMP)


def _timestamp(raw: RawColumn, name: str) -> SourceColumn:
    # Every session of ours is in UTC, so this is what is stored.
    return _clock(raw, name, _UTC, "CAST(concat({}, 'Z') AS TIMESTAMP)", CursorType.TIMESTAMP)
