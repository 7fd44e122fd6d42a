"""Values in MySQL, MariaDB and SingleStore, spelled and hashed as ``endpoints/spelling.py`` says."""

from collections.abc import Sequence

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn

_MOST_DIGITS = 65  # of a decimal


def key_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a key, 32 hex digits; NULL where a column of it is NULL."""
    if len(columns) == 1:
        return f"MD5({spelled(columns[0], names[0])})"
    return f"MD5(CONCAT({', '.join(_told_apart(*part) for part in zip(columns, names, strict=True))}))"


def row_hash(columns: Sequence[SourceColumn], names: Sequence[str]) -> str:
    """Return SQL for the md5 of a row, 32 hex digits. It fails for a row that is longer than max_allowed_packet."""
    listed = zip(columns, names, strict=True)
    parts = [f"IF({name} IS NULL, '~', CONCAT({_told_apart(column, name)}))" for column, name in listed]
    # What is too long comes as NULL, with a warning that nobody reads: here it overflows instead, which is an error.
    failure = f"CAST(9223372036854775807 + (1 + IFNULL(LENGTH({names[0]}), 0)) AS CHAR)"
    return f"IFNULL(MD5(CONCAT({', '.join(parts)})), {failure})"


def spelled(column: SourceColumn, name: str) -> str:
    """Return SQL for the spelling of a column; NULL for NULL."""
    kind = column.lands_as
    if pa.types.is_date(kind):
        return f"DATE_FORMAT({name}, '%Y-%m-%d')"
    if pa.types.is_timestamp(kind):
        return f"DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f')"
    if pa.types.is_binary(kind):
        return f"LOWER(HEX({name}))"
    if pa.types.is_string(kind):
        text = f"CONVERT({column.select} USING utf8mb4)"
        # What is selected of a value that cannot land is an error.
        return f"IF({column.bad_when}, CONCAT('x', HEX({name})), {text})" if column.bad_when else text
    if pa.types.is_floating(kind):
        # No function tells the bits of a double. A point has them, the lowest byte first, behind five bytes of its own;
        # REVERSE turns bytes around where the text is binary. 0 is added for the sign of -0 to go.
        return f"LOWER(HEX(REVERSE(SUBSTR(ST_AsWKB(POINT({name} + 0e0, 0)), 6, 8))))"
    return _number(column, name)


def _told_apart(column: SourceColumn, name: str) -> str:
    """Return SQL for what a column contributes to a hash, as arguments of CONCAT."""
    text = spelled(column, name)
    return f"CHAR_LENGTH({text}), ':', {text}" if pa.types.is_string(column.lands_as) else f"{text}, ','"


def _number(column: SourceColumn, name: str) -> str:
    """Return the digits; of a number that has others than those of its type, its own."""
    if not column.bad_when:
        # Plus nothing: ZEROFILL would pad the digits.
        return f"({column.select} + 0)"
    scale = column.lands_as.scale if pa.types.is_decimal(column.lands_as) else 0
    fitted = f"CAST({name} AS DECIMAL({_MOST_DIGITS},{scale}))"
    return f"IF({fitted} = {name}, CAST({fitted} AS CHAR), CAST({name} AS CHAR))"
