"""Columns of a source: how each is selected, how Spark reads it, in which type it lands, and what it refuses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from ingestion_runtime.model.columns import INGEST_PREFIX
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.errors import TerminalError

CLOCK_CURSORS = frozenset({CursorType.TIMESTAMP, CursorType.DATE})
NUMBER_CURSORS = frozenset({CursorType.INT, CursorType.EPOCH_SECONDS, CursorType.EPOCH_MILLIS})


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column in the source's own words. ``kind`` is the base type's plain name, ``arguments`` its modifiers.

    ``identity`` stays when the column is renamed; None where the engine keeps no such thing.
    """

    name: str
    native_type: str
    kind: str
    arguments: tuple[int, ...]
    nullable: bool
    identity: str | None = None


def is_altered(before: RawColumn, after: RawColumn) -> bool:
    """Whether a column is read otherwise than before, or is another one. How long a text may be changes nothing."""
    return (before.kind, before.arguments, before.identity) != (after.kind, after.arguments, after.identity)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column on its way from the source to a Parquet file.

    ``select`` is the SQL expression evaluated at the source, ``read_as`` the Spark type in which the driver's value
    is taken, ``convert`` a Spark expression over ``{}`` that makes the landed value of it. ``bad_when`` is an SQL
    predicate that holds for values which cannot land exactly, and ``reason`` says why. ``cursors`` are the cursor types
    as which the source itself compares this column rightly. ``stream`` is the SQL expression for readers that take record
    batches from the source's own client, None where it is ``select``; what it gives becomes ``lands_as`` by value.
    """

    name: str
    native_type: str
    nullable: bool
    select: str
    read_as: str
    lands_as: pa.DataType
    convert: str = "{}"
    bad_when: str | None = None
    reason: str = ""
    cursors: frozenset[CursorType] = frozenset()
    stream: str | None = None


def arrow_schema(columns: Iterable[SourceColumn]) -> pa.Schema:
    """Return the schema in which columns land; every field may be NULL, as Spark writes it."""
    return pa.schema([pa.field(column.name, column.lands_as) for column in columns])


_SPARK_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "STRING",
    pa.binary(): "BINARY",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP_NTZ",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}


def spark_type(kind: pa.DataType) -> str:
    """Return Spark's spelling of a landed type; raises TerminalError for a type in which nothing lands."""
    if pa.types.is_decimal128(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    try:
        return _SPARK_TYPES[kind]
    except KeyError:
        raise TerminalError(
            f"Type {kind} is not one in which columns land.",
            remedy="Remove the table's cached metadata, so that it is described anew.",
            type=str(kind),
        ) from None


def find_column(columns: Sequence[SourceColumn], name: str, role: str, table: str) -> SourceColumn:
    """Return the column of that name; raises TerminalError with the nearest names when there is none."""
    for column in columns:
        if column.name == name:
            return column
    raise TerminalError(
        f"Table {table} has no column {name!r} ({role}).{did_you_mean(name, [c.name for c in columns])}",
        remedy=f"Correct {role} in the configuration, or restore the column at the source.",
        table=table,
        column=name,
    )


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest candidate, or nothing."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def check_names(columns: Sequence[SourceColumn], table: str) -> None:
    """Refuse names that cannot stand side by side in the target, where letter case does not tell columns apart."""
    seen: dict[str, str] = {}
    for column in columns:
        folded = column.name.casefold()
        if folded.startswith(INGEST_PREFIX):
            raise TerminalError(
                f"Table {table} has a column {column.name!r}; {INGEST_PREFIX}* names are this program's own.",
                remedy="Read the table through query_sql and give the column another name.",
                table=table,
                column=column.name,
            )
        if folded in seen:
            raise TerminalError(
                f"Table {table} has columns {seen[folded]!r} and {column.name!r}, which differ by letter case at most; "
                "the target cannot hold both.",
                remedy="Read the table through query_sql and give one of them another name.",
                table=table,
                column=column.name,
            )
        seen[folded] = column.name
    if not columns:
        raise TerminalError(f"Table {table} has no columns.", remedy="Check the table at the source.", table=table)


def check_cursor(column: SourceColumn, kind: CursorType, table: str) -> None:
    """Refuse a cursor whose declared type is not how the source compares the column."""
    if kind in column.cursors:
        return
    fitting = ", ".join(sorted(column.cursors)) or "none"
    raise TerminalError(
        f"Column {column.name!r} of table {table} is {column.native_type or 'without a type'}: "
        f"it cannot serve as a cursor of type {kind} (fitting types: {fitting}).",
        remedy="Correct incremental_column or incr_col_type, or cast the column in query_sql.",
        table=table,
        column=column.name,
    )
