"""Primary keys in MySQL, MariaDB and SingleStore, spelled and hashed as ``endpoints/jdbc/keys.py`` says."""

from collections.abc import Sequence

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn


def key_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a key, 32 hex digits."""
    texts = [_spelled(column, name) for column, name in zip(columns, names, strict=True)]
    if len(texts) > 1:
        texts = [
            f"CHAR_LENGTH({text}), ':', {text}" if pa.types.is_string(column.lands_as) else f"{text}, ','"
            for column, text in zip(columns, texts, strict=True)
        ]
    return f"MD5(CONCAT({', '.join(texts)}))"


def _spelled(column: SourceColumn, name: str) -> str:
    kind = column.lands_as
    if pa.types.is_date(kind):
        return f"DATE_FORMAT({name}, '%Y-%m-%d')"
    if pa.types.is_timestamp(kind):
        return f"DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"
    if pa.types.is_binary(kind):
        return f"LOWER(HEX({name}))"
    if pa.types.is_string(kind):
        return f"CONVERT({column.select} USING utf8mb4)"
    # Plus nothing: ZEROFILL would pad the digits.
    return f"({column.select} + 0)"
