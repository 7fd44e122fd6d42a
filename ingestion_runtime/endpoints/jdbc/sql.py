"""The statements that probes and reads are made of. Pure text: every engine's part comes from its dialect."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.spec import TableSpec

PARTITION_ALIAS = "ingest_part"
RANK_ALIAS = "ingest_rank"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The incremental column of a table and the type as which it is compared."""

    column: SourceColumn
    kind: CursorType


def relation(dialect: Dialect, table: TableSpec) -> str:
    """Return what stands after FROM: the table, or the configured query in parentheses."""
    if table.query_sql is None:
        return dialect.relation(table)
    # On lines of their own, so that a comment at the query's end does not swallow the parenthesis.
    return f"(\n{table.query_sql.rstrip().rstrip(';')}\n) AS ingest_source"


def source(dialect: Dialect, table: TableSpec, condition: str | None = None) -> str:
    """Return ``FROM ... WHERE ...`` with the table's filter and one more condition."""
    conditions = [f"(\n{table.source_filter}\n)"] if table.source_filter else []
    conditions += [f"({condition})"] if condition else []
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"FROM {relation(dialect, table)}{where}"


def in_window(dialect: Dialect, cursor: Cursor, window: Interval) -> str:
    """Return the condition for (low, high]."""
    name, column = dialect.quote(cursor.column.name), cursor.column
    return f"{name} > {dialect.literal(window.low, column)} AND {name} <= {dialect.literal(window.high, column)}"


def in_reread(dialect: Dialect, cursor: Cursor, subject: ReRead) -> str:
    """Return the condition for [low, high] and, if asked for, the rows without a cursor."""
    name, column = dialect.quote(cursor.column.name), cursor.column
    parts = []
    if subject.low is not None and subject.high is not None:
        low, high = dialect.literal(subject.low, column, floor=True), dialect.literal(subject.high, column)
        parts.append(f"({name} >= {low} AND {name} <= {high})")
    elif subject.high is not None:
        parts.append(f"{name} <= {dialect.literal(subject.high, column)}")
    if subject.nulls:
        parts.append(f"{name} IS NULL")
    return " OR ".join(parts) or "1 = 0"


def in_slice(dialect: Dialect, cursor: Cursor, piece: Slice) -> str | None:
    """Return the condition of a slice; None for the whole table."""
    if piece.window is not None:
        return in_window(dialect, cursor, piece.window)
    return in_reread(dialect, cursor, piece.reread) if piece.reread is not None else None


def bounds(dialect: Dialect, table: TableSpec, cursor: Cursor, after: Watermark) -> str:
    """Return the one statement that asks for low, high, rows beyond now, rows without a cursor, and misfits.

    Two scans: of what lies above ``after`` (it is read next anyway), and of what no window meets: rows without a cursor,
    and misfits that sort below. On a typed engine there are no misfits, and an index on the cursor serves both.
    """
    name, column, kind = dialect.quote(cursor.column.name), cursor.column, cursor.kind
    now, misfit, start = dialect.now(column, kind), dialect.misfit(column, kind), dialect.literal(after, column)
    # Without a now the bare column keeps its collation, which a CASE would lose on SQLite.
    value = f"CASE WHEN {name} <= {now} THEN {name} END" if now else name
    above = source(dialect, table, f"{name} > {start}")
    outside = source(dialect, table, f"{name} IS NULL" + (f" OR ({name} <= {start} AND ({misfit}))" if misfit else ""))
    return (
        f"SELECT a.low, a.high, a.beyond, o.nulls, a.misfits + o.misfits FROM (SELECT"
        f" {dialect.spell(f'min({value})', column, kind)} AS low,"
        f" {dialect.spell(f'max({value})', column, kind)} AS high,"
        f" {_count_if(f'{name} > {now}' if now else None)} AS beyond,"
        f" {_count_if(misfit)} AS misfits {above}) AS a"
        f" CROSS JOIN (SELECT {_count_if(f'{name} IS NULL')} AS nulls,"
        f" {_count_if(misfit and f'{name} IS NOT NULL')} AS misfits {outside}) AS o"
    )


def bad_values(dialect: Dialect, table: TableSpec, columns: Sequence[SourceColumn], condition: str | None) -> str:
    """Return the statement that counts, per column with a rule, the values that cannot land exactly."""
    counts = ", ".join(_count_if(column.bad_when) for column in columns)
    return f"SELECT {counts} {source(dialect, table, condition)}"


def extraction(
    dialect: Dialect,
    table: TableSpec,
    columns: Sequence[SourceColumn],
    condition: str | None,
    *,
    ranked: Cursor | None = None,
    partitioned: SourceColumn | None = None,
) -> str:
    """Return the SELECT that Spark reads. Columns are called c0, c1 ...: no name has to survive Spark's quoting."""
    listed = [f"{column.select} AS c{place}" for place, column in enumerate(columns)]
    if ranked is not None:
        name = dialect.quote(ranked.column.name)
        # NULL first on every engine, so that a row with a cursor is newer than one without.
        listed.append(f"DENSE_RANK() OVER (ORDER BY ({name} IS NOT NULL), {name}) AS {RANK_ALIAS}")
    if partitioned is not None:
        listed.append(f"{dialect.quote(partitioned.name)} AS {PARTITION_ALIAS}")
    return f"SELECT {', '.join(listed)} {source(dialect, table, condition)}"


def _count_if(condition: str | None) -> str:
    return f"coalesce(sum(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)" if condition else "0"
