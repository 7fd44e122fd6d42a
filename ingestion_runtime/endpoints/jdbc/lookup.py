"""A few rows of a source, looked up by the values of some columns and landed in memory as a run would land them."""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, fetch
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.landed_rows import LandedRows
from ingestion_runtime.endpoints.jdbc.landing import refusal
from ingestion_runtime.endpoints.jdbc.sql import bad_values, extraction, selection
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import TerminalError

_BATCH_BYTES = 2**20


def look_up(extract: JdbcExtract, condition: str, limit: int, newest: SourceColumn | None = None) -> pa.Table:
    """Return at most ``limit`` rows of an extract that fulfil a condition, by one statement in a view of its own.

    ``newest``: those with the highest value in this column come first, by the source's own order; NULL comes last.
    Raises TerminalError for a value that cannot land, and what the source raises.
    """
    dialect, database = extract.database.dialect, extract.database
    columns = [replace(column, select=column.stream or column.select) for column in extract.columns]
    order = ""
    if newest is not None:
        # With its table, as the rank of an extraction: a bare name might be taken for one that this statement gives.
        owner = dialect.relation(extract.table) if extract.table.query_sql is None else "ingest_source"
        name = f"{owner}.{dialect.quote(newest.name)}"
        order = f" ORDER BY ({name} IS NOT NULL) DESC, {name} DESC"
    statement = f"{extraction(dialect, extract.table, columns, condition)}{order} LIMIT {limit}"
    asked = selection(dialect, extract.table, extract.columns, condition)
    with database.snapshot(asked) as snapshot, database.stream(snapshot.join) as streamer:
        rows = streamer.run(statement, extract.columns, _BATCH_BYTES)
        landed = LandedRows(extract, rows.schema)
        return pa.Table.from_batches([landed.land(batch) for batch in rows.batches], landed.schema)


def find_unfit(extract: JdbcExtract, condition: str) -> TerminalError | None:
    """Return the error that names the first column of which a value cannot land, in the rows that fulfil a condition; None
    where no column says so by its own rule. Raises what the source raises."""
    judged = [column for column in extract.columns if column.bad_when]
    if not judged:
        return None
    database = extract.database
    with database.connect() as connection:
        (counts,) = fetch(connection, bad_values(database.dialect, extract.table, judged, condition))
    found = (column for column, count in zip(judged, counts, strict=True) if count)
    return next((refusal(column, f"holds values that are {column.reason}") for column in found), None)


def holding(dialect: Dialect, parts: Sequence[tuple[SourceColumn, Any]], *, hashed: bool = False) -> str:
    """Return the condition for rows that hold these landed values (None: NULL).

    Numbers, days and texts are compared by literals, which an index serves; more rows than wanted may fulfil it, where a
    collation finds texts equal that are not. Everything else is compared by its md5, for which all rows are looked at;
    ``hashed``: all values are, as the engine may refuse a literal that its column has no letters for.
    """
    return " AND ".join(f"({_holds(dialect, column, value, hashed=hashed)})" for column, value in parts) or "1 = 1"


def resembling(dialect: Dialect, parts: Sequence[tuple[SourceColumn, Any]]) -> str | None:
    """Return the condition for rows with values that the engine takes for these, where it has a type of its own for what
    lands as text (a uuid in capitals, 1.1 for 1.10); None where it has none. The engine may refuse it."""
    spelled = {column.name for column, value in parts if value is not None and _has_own_equality(column)}
    if not spelled:
        return None
    return " AND ".join(
        f"({dialect.quote(column.name)} = {dialect.literal(Watermark(CursorType.TEXT, value), column)})"
        if column.name in spelled
        else f"({_holds(dialect, column, value)})"
        for column, value in parts
    )


def _has_own_equality(column: SourceColumn) -> bool:
    return bool(pa.types.is_string(column.lands_as)) and CursorType.TEXT not in column.cursors


def _holds(dialect: Dialect, column: SourceColumn, value: Any, *, hashed: bool = False) -> str:
    name = dialect.quote(column.name)
    if value is None:
        return f"{name} IS NULL"
    literal = None if hashed else _literal(dialect, column, value)
    if literal is not None:
        return f"{name} = {literal}"
    digest = hashlib.md5(_spell(value).encode(), usedforsecurity=False).hexdigest()
    return f"{dialect.key_hash([column])} = '{digest}'"


def _literal(dialect: Dialect, column: SourceColumn, value: Any) -> str | None:
    """Return a value as SQL that the engine compares with the column rightly, None where it has no such spelling."""
    kind, cursors = column.lands_as, column.cursors
    if CursorType.INT in cursors:
        return dialect.literal(Watermark(CursorType.INT, str(int(value))), column)
    if CursorType.DATE in cursors and pa.types.is_date(kind):
        return dialect.literal(Watermark(CursorType.DATE, value.isoformat()), column)
    # In a column without a type a number, which lands as its digits, equals no text.
    if CursorType.TEXT in cursors and column.native_type and "\0" not in value:
        return dialect.literal(Watermark(CursorType.TEXT, value), column)
    if pa.types.is_decimal(kind):
        return f"CAST('{value:f}' AS DECIMAL({kind.precision},{kind.scale}))"
    # No engine writes NaN and infinities as numbers.
    return f"({float(value)!r})" if pa.types.is_floating(kind) and math.isfinite(value) else None


def _spell(value: Any) -> str:
    """Return a value as keys are spelled; see ``keys.py``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return plain.isoformat(sep=" ", timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value).hex()
    return value.hex() if isinstance(value, bytes) else str(value)
