"""Whether a large table is well kept in Iceberg partitions by month."""

from dataclasses import dataclass
from datetime import date

from ingestion_runtime.drafting.cursors import Cursor
from ingestion_runtime.drafting.facts import TableFacts
from ingestion_runtime.drafting.names import names_its_day
from ingestion_runtime.endpoints.jdbc.columns import CLOCK_CURSORS, SourceColumn
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.sql import relation
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.spec import TableSpec

#: Smaller tables are served as well by a few files.
PARTITIONED_ROWS = 5_000_000
_FEWEST, _MOST = 6, 240  # months
_ROWS_A_MONTH = 50_000  # fewer make many small files


@dataclass(frozen=True, slots=True)
class Month:
    """The column by whose month the table is partitioned, and why."""

    column: str
    reason: str


def choose_month(database: Database, facts: TableFacts, cursor: Cursor | None) -> Month | None:
    """Return the one column that clearly says on which day a row belongs; None where the table is small, or none does.

    Its ends are asked of an index: nothing is scanned.
    """
    rows = facts.rows or 0
    if rows < PARTITIONED_ROWS:
        return None
    fitting = [column for column in facts.columns if _fits(facts, column, cursor)]
    if len(fitting) != 1:
        return None
    (column,) = fitting
    months = _months(database, facts, column)
    if months is None or not _FEWEST <= months <= _MOST or rows / months < _ROWS_A_MONTH:
        return None
    return Month(
        column.name, f"partitioned by the month of {column.name}: some {rows / months:,.0f} rows in each of {months}"
    )


def _fits(facts: TableFacts, column: SourceColumn, cursor: Cursor | None) -> bool:
    """Whether a column is a day that stays: rows whose partition changes are written twice."""
    return bool(
        not column.nullable
        and column.cursors & CLOCK_CURSORS
        and names_its_day(column.name, facts.listed.table)
        and facts.design.leads_index(column.name)
        and not (cursor is not None and cursor.changes and cursor.column == column.name)
    )


def _months(database: Database, facts: TableFacts, column: SourceColumn) -> int | None:
    dialect = database.dialect
    kind = CursorType.DATE if CursorType.DATE in column.cursors else CursorType.TIMESTAMP
    name = dialect.quote(column.name)
    place = relation(dialect, TableSpec(facts.listed.schema, facts.listed.table, "full", database.spec.name))
    ends = [
        database.rows(f"SELECT {dialect.spell(f'{end}({name})', column, kind)} FROM {place}")[0][0] for end in ("min", "max")
    ]
    try:
        first, last = (date.fromisoformat(str(end)[:10]) for end in ends)
    except ValueError:
        return None
    return (last.year - first.year) * 12 + last.month - first.month + 1
