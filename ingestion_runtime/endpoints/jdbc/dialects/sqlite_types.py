"""SQLite's types: every value carries its own, whatever the column was declared as.

A JDBC read of such a column is silent about misfits ('abc' in an INTEGER column reads 0), so each expression guards
itself: it fails at the source for a value that is not what the declaration says, in the very statement that reads it. A
stream takes the plain column: there the type of every value is looked at in this process, in a third of the time.

Columns whose declaration says nothing that we know (no type, TIME, NUMERIC without digits ...) land as text: text
as it is, integers as digits, reals with 17 significant digits (they name one double and no other); blobs are refused.
"""

import re
from dataclasses import replace
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, NUMBER_CURSORS, RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Measures
from ingestion_runtime.model.cursor import CursorType

_DECLARED = re.compile(r"\s*([^()]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*")
_KINDS = {
    "int": "INT,INTEGER,TINYINT,SMALLINT,MEDIUMINT,BIGINT,INT2,INT4,INT8,UNSIGNED BIG INT,BIGINT UNSIGNED,INT UNSIGNED",
    "real": "REAL,DOUBLE,DOUBLE PRECISION,FLOAT",
    "decimal": "DECIMAL,NUMERIC,DEC",
    "blob": "BLOB,BINARY,VARBINARY",
    "bool": "BOOLEAN,BOOL",
    "date": "DATE",
    "timestamp": "DATETIME,TIMESTAMP",
}
MEASURES = Measures(
    finite="typeof({0}) IN ('integer', 'real') AND abs({0}) < 9e999",
    nan=None,
    infinite="abs({0}) = 9e999",
    # 17 digits name a double; the point of one that is spelled with an exponent is not looked for.
    fraction="CASE WHEN typeof({0}) = 'real' AND instr(printf('%!.15g', {0}), 'e') = 0 THEN"
    " length(rtrim(substr(printf('%!.15g', {0}), instr(printf('%!.15g', {0}), '.') + 1), '0')) ELSE 0 END",
)
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split(",")}
_TEXT_WORDS = ("CHAR", "CLOB", "TEXT")  # SQLite's own rule for text affinity
_MAX_DIGITS = 38
_REAL_DIGITS = 15  # decimal digits that a double gives back unchanged
_MAX_EXACT_INT = 2**53
_TIME_SHAPE = "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
_DAY_SHAPE = "[0-9][0-9][0-9][0-9]-[0-1][0-9]-[0-3][0-9]"

UTF8 = "UTF-8"
# A function lent to the connections that probe, for SQLite itself takes any bytes for text: a quarter of a second for a
# million texts. The driver that Spark reads through does not know it.
TEXT_CHECK = "ingest_is_text"


def is_text(value: bytes | None, encoding: str) -> bool:
    """Return whether the bytes are text in that encoding; what `TEXT_CHECK` names."""
    try:
        return value is None or value.decode(encoding) is not None
    except UnicodeDecodeError:
        return False


def kind_of(declared: str) -> tuple[str, tuple[int, ...]]:
    """Return what a declared type means here (empty: nothing that we know), and its arguments."""
    match = _DECLARED.fullmatch(declared)
    if match is None:
        return "", ()
    words = " ".join(match[1].upper().split())
    arguments = tuple(int(part) for part in match.groups()[1:] if part)
    if words in _KIND_OF:
        return _KIND_OF[words], arguments
    # INT anywhere gives integer affinity before text is looked for; such names are none of ours.
    is_text = "INT" not in words and any(part in words for part in _TEXT_WORDS)
    return ("text" if is_text else ""), arguments


def land(raw: RawColumn, name: str) -> SourceColumn:
    """Return the way of a column; ``name`` is its quoted name. An encoding other than UTF-8 stands before the kind."""
    encoding, _, kind = raw.kind.rpartition(" ")
    raw = replace(raw, kind=kind)
    if kind == "decimal" and raw.arguments:
        precision, scale = (*raw.arguments, 0)[:2]
        if 1 <= precision <= _MAX_DIGITS and scale <= precision:
            return _decimal(raw, name, precision, scale)
    maker = {"int": _int, "real": _real, "blob": _blob, "bool": _bool, "date": _date, "timestamp": _timestamp}
    return maker[kind](raw, name) if kind in maker else _string(raw, name, encoding)


def land_as(raw: RawColumn, name: str, kind: pa.DataType) -> SourceColumn | None:
    """Return the way of a column that lands as ``kind``; None where there is none."""
    raw = replace(raw, kind=raw.kind.rpartition(" ")[2])
    if kind == pa.string():
        return None if raw.kind == "blob" else _number_text(raw, name)
    if raw.kind in ("int", "decimal") and pa.types.is_decimal128(kind):
        return _decimal(raw, name, kind.precision, kind.scale)
    if raw.kind == "int" and kind == pa.int32():
        own = _int(raw, name)
        bad = f"{own.bad_when} OR {name} >= {2**31} OR {name} < -{2**31}"
        return _guarded(
            raw,
            name,
            name,
            read_as="BIGINT",
            lands_as=kind,
            convert="CAST({} AS INT)",
            bad_when=bad,
            reason="no integers of 32 bits",
            cursors=own.cursors,
            stream=name,
        )
    return None


def carrier_of(column: SourceColumn) -> pa.DataType:
    """Return the type in which a column's values are streamed; what it lands as is made of that."""
    kind = column.lands_as
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or (pa.types.is_decimal(kind) and kind.precision <= _REAL_DIGITS):
        return pa.float64()
    return kind if pa.types.is_binary(kind) else pa.string()


def day_misfit(name: str) -> str:
    """Return a predicate for values that are no day from 0001-01-01 to 9999-12-31 in ISO spelling."""
    # Only a modifier makes date() carry 2023-02-30 over into March, where it is seen to be no day.
    return (
        f"{name} IS NOT NULL AND (typeof({name}) <> 'text' OR {name} NOT GLOB '{_DAY_SHAPE}'"
        f" OR date({name}, '+0 days') IS NOT {name} OR substr({name}, 1, 4) = '0000')"
    )


def moment_misfit(name: str, separators: str) -> str:
    """Return a predicate for values that are no moment: a day, one of ``separators``, a time, up to six digits."""
    day, whole, fraction = f"substr({name}, 1, 10)", f"substr({name}, 1, 19)", f"substr({name}, 21)"
    shape = f"{_DAY_SHAPE}[{separators}]{_TIME_SHAPE}"
    return (
        f"{name} IS NOT NULL AND (typeof({name}) <> 'text'"
        # The text functions of SQLite stop at a NUL, instr() does not.
        f" OR instr({name}, char(0)) > 0 OR substr({name}, 1, 4) = '0000'"
        # Six digits first, as most are written: a million values take 1.0 s so, 1.7 s without and by strftime().
        f" OR ({name} NOT GLOB '{shape}.{'[0-9]' * 6}' AND ({whole} NOT GLOB '{shape}'"
        f" OR length({name}) NOT IN (19, 21, 22, 23, 24, 25, 26)"
        f" OR (length({name}) > 19 AND (substr({name}, 20, 1) <> '.' OR {fraction} GLOB '*[^0-9]*'))))"
        f" OR datetime({whole}, '+0 days') IS NOT {day} || ' ' || substr({name}, 12, 8))"
    )


def _guarded(raw: RawColumn, name: str, value: str, **landing: Any) -> SourceColumn:
    select = _guard(name, landing["bad_when"], value)
    return SourceColumn(raw.name, raw.native_type, raw.nullable, select, **landing)


def _guard(name: str, bad_when: str, value: str) -> str:
    # The overflow of abs() is SQLite's way to raise an error in an expression; it depends on the column, so that no
    # version computes it before the first row.
    return f"CASE WHEN {bad_when} THEN abs(-9223372036854775807 - ({name} IS NOT NULL)) ELSE {value} END"


def _int(raw: RawColumn, name: str) -> SourceColumn:
    return _guarded(
        raw,
        name,
        name,
        read_as="BIGINT",
        lands_as=pa.int64(),
        bad_when=f"typeof({name}) NOT IN ('integer', 'null')",
        reason="no integers",
        stream=name,
        cursors=NUMBER_CURSORS,
    )


def _real(raw: RawColumn, name: str) -> SourceColumn:
    big = f"{name} > {_MAX_EXACT_INT} OR {name} < -{_MAX_EXACT_INT}"
    return _guarded(
        raw,
        name,
        name,
        read_as="DOUBLE",
        lands_as=pa.float64(),
        bad_when=f"typeof({name}) NOT IN ('real', 'integer', 'null') OR (typeof({name}) = 'integer' AND ({big}))",
        reason="no numbers that a double holds exactly",
        stream=name,
    )


def _blob(raw: RawColumn, name: str) -> SourceColumn:
    bad = f"typeof({name}) NOT IN ('blob', 'null')"
    return _guarded(raw, name, name, read_as="BINARY", lands_as=pa.binary(), bad_when=bad, reason="no blobs", stream=name)


def _bool(raw: RawColumn, name: str) -> SourceColumn:
    return _guarded(
        raw,
        name,
        name,
        read_as="INT",
        lands_as=pa.bool_(),
        convert="CAST({} AS BOOLEAN)",
        bad_when=f"typeof({name}) NOT IN ('integer', 'null') OR {name} NOT IN (0, 1)",
        reason="neither 0 nor 1",
        stream=name,
    )


def _date(raw: RawColumn, name: str) -> SourceColumn:
    return _guarded(
        raw,
        name,
        name,
        read_as="STRING",
        lands_as=pa.date32(),
        convert="CAST({} AS DATE)",
        bad_when=day_misfit(name),
        reason="not days spelled YYYY-MM-DD",
        stream=name,
        cursors=frozenset({CursorType.DATE}),
    )


def _timestamp(raw: RawColumn, name: str) -> SourceColumn:
    return _guarded(
        raw,
        name,
        name,
        read_as="STRING",
        lands_as=pa.timestamp("us"),
        convert="CAST({} AS TIMESTAMP_NTZ)",
        bad_when=moment_misfit(name, " T"),
        reason="not spelled YYYY-MM-DD HH:MM:SS with up to six digits of fraction",
        stream=name,
        cursors=frozenset({CursorType.TIMESTAMP}),
    )


def _decimal(raw: RawColumn, name: str, precision: int, scale: int) -> SourceColumn:
    spelled, whole = f"printf('%.{scale}f', {name})", f"1e{precision - scale}"
    return _guarded(
        raw,
        name,
        f"CASE typeof({name}) WHEN 'real' THEN {spelled} ELSE CAST({name} AS TEXT) END",
        read_as="STRING",
        lands_as=pa.decimal128(precision, scale),
        convert=f"CAST({{}} AS DECIMAL({precision},{scale}))",
        # A double stands for the shortest decimal that gives it back: it must have no digits beyond the scale.
        bad_when=f"typeof({name}) NOT IN ('integer', 'real', 'null')"
        f" OR (typeof({name}) = 'integer' AND ({name} >= {whole} OR {name} <= -{whole}))"
        f" OR (typeof({name}) = 'real' AND (abs({name}) >= 1e{min(precision, _REAL_DIGITS) - scale}"
        f" OR CAST({spelled} AS REAL) <> {name}))",
        reason=f"no numbers of {precision} digits, {scale} of them after the point",
        stream=name if precision <= _REAL_DIGITS else None,
    )


def _number_text(raw: RawColumn, name: str) -> SourceColumn:
    # As the driver hands text over: bytes would be those of the database's encoding, and digits are alike in all.
    column = _guarded(
        raw,
        name,
        f"CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) ELSE CAST({name} AS TEXT) END",
        read_as="STRING",
        lands_as=pa.string(),
        bad_when=f"typeof({name}) = 'blob' OR (typeof({name}) = 'text' AND {name} GLOB '*[^ -~]*')",
        reason="blobs, or text beyond ASCII in a column of numbers or times",
    )
    return replace(column, stream=_guard(name, str(column.bad_when), name))


def _streamed_text(name: str, encoding: str) -> str:
    if not encoding:
        return name
    # Converted by SQLite, half of a surrogate pair would become another letter: the text's own bytes.
    return _guard(
        name, f"typeof({name}) = 'blob'", f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
    )


def _string(raw: RawColumn, name: str, encoding: str) -> SourceColumn:
    value = f"CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) ELSE {name} END"
    # UTF-8 is read as bytes and validated in Spark as well: the driver would replace invalid bytes silently.
    column = _guarded(
        raw,
        name,
        value if encoding else f"CAST({value} AS BLOB)",
        read_as="STRING" if encoding else "BINARY",
        lands_as=pa.string(),
        convert="{}" if encoding else "validate_utf8(CAST({} AS STRING))",
        bad_when=f"typeof({name}) = 'blob'",
        # Text affinity or none: elsewhere a text literal that looks like a number would be compared as one.
        cursors=CLOCK_CURSORS | {CursorType.TEXT} if raw.kind == "text" or not raw.native_type else CLOCK_CURSORS,
        stream=_streamed_text(name, encoding),
    )
    valid = f"{TEXT_CHECK}(CAST({name} AS BLOB), '{encoding or UTF8}')"
    return replace(
        column,
        bad_when=f"typeof({name}) = 'blob' OR (typeof({name}) = 'text' AND NOT {valid})",
        reason=f"blobs or invalid {encoding or UTF8} in a column of text",
    )
