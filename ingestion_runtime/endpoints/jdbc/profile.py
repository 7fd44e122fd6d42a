"""Profiles of columns: whether values fit a type, and what they use of it, by one aggregate query."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect, fetch
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.schema import ColumnProfile
from ingestion_runtime.model.spec import TableSpec


def fit(dialect: Dialect, raw: RawColumn, kind: pa.DataType, table: str) -> SourceColumn:
    """Return the way of a column that lands as ``kind``; raises TerminalError where there is none."""
    own = dialect.column(raw)
    if own.lands_as == kind:
        return own
    fitted = dialect.landing(raw, kind)
    if fitted is None:
        raise TerminalError(
            f"Column {raw.name!r} of table {table} is {raw.native_type or 'without a type'}:"
            f" it cannot land as {kind} and stay what it is.",
            remedy="Wish another type (string holds every text and number), cast it in query_sql, or, if the target's"
            " column is of that type, read the table anew with --reload.",
            table=table,
            column=raw.name,
        )
    return fitted


def take_profiles(
    connection: Any, dialect: Dialect, table: TableSpec, wanted: Sequence[tuple[RawColumn, pa.DataType]]
) -> tuple[ColumnProfile, ...]:
    """Return whether the values of columns fit these types, by one query over all rows of the table.

    Columns that any value of their own declaration fits are left out; without others nothing is asked.
    """
    asked = [(raw, kind, fit(dialect, raw, kind, table.name)) for raw, kind in wanted]
    asked = [(raw, kind, column) for raw, kind, column in asked if column.bad_when]
    if not asked:
        return ()
    listed = [part for raw, _, column in asked for part in _measures(dialect, raw, column)]
    (row,) = fetch(connection, f"SELECT count(*), {', '.join(listed)} {source(dialect, table)}")
    width = (len(row) - 1) // len(asked)
    found = [row[1 + i * width : 1 + (i + 1) * width] for i in range(len(asked))]
    return tuple(
        _profile(raw, kind, column, int(row[0]), values) for (raw, kind, column), values in zip(asked, found, strict=True)
    )


def _measures(dialect: Dialect, raw: RawColumn, column: SourceColumn) -> list[str]:
    """Return filled, unfit, NaN, infinite, low, high, fraction: one expression each."""
    name, measures = dialect.quote(raw.name), dialect.measures
    finite = measures.finite.format(name)
    value = f"CASE WHEN {finite} THEN {name} END"
    number = pa.types.is_floating(dialect.column(raw).lands_as)
    fraction = "NULL" if number else f"max(CASE WHEN {finite} THEN {measures.fraction.format(name)} END)"
    return [
        f"count({name})",
        f"sum(CASE WHEN {column.bad_when} THEN 1 ELSE 0 END)",
        _count(measures.nan, name),
        _count(measures.infinite, name),
        f"min({value})",
        f"max({value})",
        fraction,
    ]


def _count(template: str | None, name: str) -> str:
    return f"sum(CASE WHEN {template.format(name)} THEN 1 ELSE 0 END)" if template else "NULL"


def _profile(raw: RawColumn, kind: pa.DataType, column: SourceColumn, rows: int, values: Sequence[Any]) -> ColumnProfile:
    filled, unfit, nans, infinities, low, high, fraction = values
    return ColumnProfile(
        column=raw.name,
        native_type=raw.native_type,
        asked=str(kind),
        reason=column.reason,
        rows=rows,
        nulls=rows - int(filled),
        unfit=int(unfit or 0),
        nans=None if nans is None else int(nans),
        infinities=None if infinities is None else int(infinities),
        whole=_whole_digits(low, high),
        fraction=None if fraction is None else int(fraction),
        low=None if low is None else str(low),
        high=None if high is None else str(high),
    )


def _whole_digits(low: object, high: object) -> int | None:
    try:
        # Not abs(), which rounds to the 28 digits of the context.
        ends = [Decimal(str(end)).copy_abs() for end in (low, high) if end is not None]
    except InvalidOperation:
        return None
    return max((max(0, end.adjusted() + 1) if end else 0 for end in ends), default=None)
