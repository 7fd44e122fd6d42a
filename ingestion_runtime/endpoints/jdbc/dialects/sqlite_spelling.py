"""Values in SQLite, spelled and hashed as ``endpoints/spelling.py`` says.

SQLite has no hash function, and no way to the bits of a real: functions of Python's are lent to the connections that probe.
The driver that Spark reads through has none of them, so that keys cannot be picked by bucket there. Eight columns of a
million rows are hashed in 3 s, spelled by SQLite and joined to few arguments: each costs 0.1 s on its way into Python.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_reals import spell_real

_BITS = struct.Struct(">d").pack


def register(connection: Any) -> None:
    """Lend the functions to a connection."""
    connection.create_function("ingest_md5", -1, _md5, deterministic=True)
    connection.create_function("ingest_number", 1, _number, deterministic=True)
    connection.create_function("ingest_bits", 1, _bits, deterministic=True)
    connection.create_function("ingest_real", 1, spell_real, deterministic=True)
    connection.create_function("ingest_length", 1, _length, deterministic=True)
    connection.create_aggregate("ingest_sum", 1, _Sum)


def key_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a key, 32 hex digits; NULL where a column of it is NULL."""
    if len(columns) == 1:
        return f"ingest_md5({_bytes(columns, spelled(columns[0], names[0]))})"
    return f"ingest_md5({_bytes(columns, _joined(_told_apart(*part) for part in zip(columns, names, strict=True)))})"


def row_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a row, 32 hex digits."""
    parts = []
    for real, listed in groupby(zip(columns, names, strict=True), lambda part: pa.types.is_floating(part[0].lands_as)):
        if real:
            # As they are: a function for the bits and another for the hash would cost twice as much.
            parts += [f"ifnull({name}, '~')" for _, name in listed]
        else:
            parts.append(_bytes(columns, _joined(f"ifnull({_told_apart(*part)}, '~')" for part in listed)))
    return f"ingest_md5({', '.join(parts)})"


def hex_number(digits: str) -> str:
    """Return SQL for the number that these hex digits spell."""
    return f"ingest_number({digits})"


def hex_sum(digits: str) -> str:
    """Return SQL for the sum of such numbers, which may be larger than an integer of SQLite's, as text."""
    return f"ingest_sum({digits})"


def spelled(column: SourceColumn, name: str) -> str:
    """Return SQL for the spelling of a column; NULL for NULL. A value of another type than its column's has its own."""
    kind = column.lands_as
    if pa.types.is_decimal(kind):
        return _decimal(kind, name)
    if pa.types.is_timestamp(kind):
        return _moment(name)
    if pa.types.is_string(kind):
        # By this process: an older SQLite prints other digits than the one that Spark reads through.
        real, blob = f"WHEN 'real' THEN ingest_real({name})", f"WHEN 'blob' THEN 'x' || hex({name})"
        return f"CASE typeof({name}) {real} {blob} ELSE CAST({name} AS TEXT) END"
    if pa.types.is_boolean(kind):
        return f"CASE {name} WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE CAST({name} AS TEXT) END"
    if pa.types.is_binary(kind):
        # The hex digits of NULL are an empty text.
        return f"CASE typeof({name}) WHEN 'blob' THEN lower(hex({name})) ELSE typeof({name}) || ' ' || {name} END"
    return f"ingest_bits({name})" if pa.types.is_floating(kind) else f"CAST({name} AS TEXT)"


def _decimal(kind: pa.Decimal128Type, name: str) -> str:
    zeros = f" || '.{'0' * kind.scale}'" if kind.scale else ""
    rounded = f"printf('%.{kind.scale}f', {name} + 0.0)"
    real = f"CASE WHEN CAST({rounded} AS REAL) = {name} THEN {rounded} ELSE ingest_real({name}) END"
    return f"CASE typeof({name}) WHEN 'real' THEN {real} ELSE {name}{zeros} END"


def _moment(name: str) -> str:
    padded = f"substr({name} || CASE length({name}) WHEN 19 THEN '.000000' ELSE '000000' END, 1, 26)"
    return f"replace(CASE WHEN length({name}) <= 26 THEN {padded} ELSE {name} END, 'T', ' ')"


def outspoken(column: SourceColumn, text: str) -> str:
    """Return a spelling as it is grouped and fetched: told byte by byte, whatever the column's own rule for letters is."""
    return f"{_bytes([column], text)} COLLATE BINARY"


def _told_apart(column: SourceColumn, name: str) -> str:
    text = spelled(column, name)
    if not pa.types.is_string(column.lands_as):
        return f"{text} || ','"
    # SQLite counts up to a NUL, which is no end of a text.
    exact = f"ingest_length({_bytes([column], text)})"
    length = f"CASE WHEN instr({name}, char(0)) > 0 THEN {exact} ELSE length({text}) END"
    return f"{length} || ':' || {text}"


def _bytes(columns: Sequence[SourceColumn], text: str) -> str:
    """Return text as bytes, where it may hold some that are no UTF-8: at them a function of Python's would fail.

    Where text is not read as bytes the file may be in another encoding, in which SQLite would give them.
    """
    return f"CAST({text} AS BLOB)" if any(column.read_as == "BINARY" and _is_text(column) for column in columns) else text


def _is_text(column: SourceColumn) -> bool:
    return bool(pa.types.is_string(column.lands_as))


def _joined(parts: Iterable[str]) -> str:
    return " || ".join(parts)


def _md5(*parts: Any) -> str | None:
    if None in parts:
        return None
    texts = [part if type(part) is bytes else part.encode() if type(part) is str else _real(part) for part in parts]
    return hashlib.md5(b"".join(texts), usedforsecurity=False).hexdigest()


def _real(value: float) -> bytes:
    return f"{_bits(value)},".encode()


def _bits(value: Any) -> Any:
    """Return the 16 hex digits of a number's bits as a double, -0.0 being 0.0; what is none as it is."""
    if isinstance(value, int) and float(value) == value:
        value = float(value)
    return _BITS(value + 0.0).hex() if isinstance(value, float) else value


def _length(text: str | bytes) -> int:
    return len(text.decode(errors="replace") if isinstance(text, bytes) else text)


def _number(digits: str) -> int:
    return int(digits, 16)


class _Sum:
    """Sums numbers spelled in hex digits."""

    def __init__(self) -> None:
        self._total = 0

    def step(self, digits: str) -> None:
        self._total += int(digits, 16)

    def finalize(self) -> str:
        return str(self._total)
