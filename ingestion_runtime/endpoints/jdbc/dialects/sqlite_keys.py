"""Primary keys in SQLite, spelled and hashed as ``endpoints/jdbc/keys.py`` says.

SQLite has no hash function: two of Python's are lent to the connections that probe. The driver that Spark reads through
has none either, so that keys cannot be picked by bucket there.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn


def register(connection: Any) -> None:
    """Lend the functions to a connection."""
    connection.create_function("ingest_md5", -1, _md5, deterministic=True)
    connection.create_function("ingest_number", 1, _number, deterministic=True)


def key_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a key, 32 hex digits."""
    texts = [_spelled(column, name) for column, name in zip(columns, names, strict=True)]
    if len(texts) > 1:
        texts = [
            f"length({text}), ':', {_bytes(column, text)}" if pa.types.is_string(column.lands_as) else f"{text}, ','"
            for column, text in zip(columns, texts, strict=True)
        ]
    else:
        texts = [_bytes(columns[0], texts[0])]
    return f"ingest_md5({', '.join(texts)})"


def hex_number(digits: str) -> str:
    """Return SQL for the number that these hex digits spell."""
    return f"ingest_number({digits})"


def _spelled(column: SourceColumn, name: str) -> str:
    kind = column.lands_as
    if pa.types.is_boolean(kind):
        return f"CASE {name} WHEN 0 THEN 'false' ELSE 'true' END"
    if pa.types.is_timestamp(kind):
        padded = f"CASE length({name}) WHEN 19 THEN '.000000' ELSE '000000' END"
        return f"replace(substr({name} || {padded}, 1, 26), 'T', ' ')"
    if pa.types.is_binary(kind):
        return f"lower(hex({name}))"
    if pa.types.is_decimal(kind):
        zeros = f" || '.{'0' * kind.scale}'" if kind.scale else ""
        return f"CASE typeof({name}) WHEN 'real' THEN printf('%.{kind.scale}f', {name}) ELSE {name}{zeros} END"
    if pa.types.is_string(kind):
        return f"CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) ELSE CAST({name} AS TEXT) END"
    return f"CAST({name} AS TEXT)"


def _bytes(column: SourceColumn, text: str) -> str:
    # Text that is read as bytes may hold some that are no UTF-8, at which a function of Python's would fail.
    return f"CAST({text} AS BLOB)" if column.read_as == "BINARY" else text


def _md5(*parts: Any) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
    return digest.hexdigest()


def _number(digits: str) -> int:
    return int(digits, 16)
