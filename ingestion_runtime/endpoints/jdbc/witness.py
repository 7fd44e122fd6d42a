"""The source's own word on the rows of one read: it counts them, and sums the hashes of their values, by SQL.

It is asked in the very view in which the rows are read, so that it speaks of these rows and of no others: what was staged
either agrees with it, or was changed on the way. Nothing of it is asked where no table demands it.
"""

from collections.abc import Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Dialect
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.reconciliation import Check
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.testimony import Testimony


class Witness:
    """Collects what a source says of one read. Parts of a read that was divided are added up."""

    def __init__(self, *, sums: bool) -> None:
        """``sums``: the source is asked for its values as well, and not for the number of rows alone."""
        self._sums = sums
        self._said: Testimony | None = None

    @property
    def said(self) -> Testimony | None:
        """What was said so far; None before the source was asked."""
        return self._said

    def question(self, dialect: Dialect, table: TableSpec, columns: Sequence[SourceColumn], condition: str | None) -> str:
        """Return the statement that asks for rows, and, where values are asked for, for high and low sum. ``columns`` are
        those that land as they are."""
        read = source(dialect, table, condition)
        if not self._sums:
            return f"SELECT count(*) AS ingest_rows, 0 AS ingest_high, 0 AS ingest_low {read}"
        high, low = (dialect.hex_sum(f"substr(ingest_row, {start}, 11)") for start in (1, 12))
        hashed = f"SELECT {dialect.row_hash(columns)} AS ingest_row {read} {dialect.fence}"
        return f"SELECT count(*) AS ingest_rows, {high} AS ingest_high, {low} AS ingest_low FROM ({hashed}) AS ingest_hashed"

    def understand(self, answer: Sequence[Any], columns: Sequence[SourceColumn]) -> Testimony:
        """Return what the statement's one row says."""
        rows, high, low = answer
        if not self._sums:
            return Testimony(int(rows))
        names = tuple(column.name for column in columns)
        return Testimony(int(rows), int(str(high or 0)), int(str(low or 0)), names)

    def add(self, said: Testimony) -> None:
        """Take what was said of a part that has been read whole."""
        self._said = said if self._said is None else self._said.joined(said)


def witness_of(table: TableSpec) -> Witness | None:
    """Return a witness for one read of a table; None where the table demands none."""
    demanded = table.reconciliation.before_publish
    return Witness(sums=Check.CHECKSUM in demanded) if demanded else None


def refuse_unseen(table: TableSpec, why: str) -> TerminalError:
    """Return the error for a read that has no view which the source could speak of."""
    return TerminalError(
        f"{table.name}: before_publish wants the source's word on the rows as they are read, and {why}.",
        remedy='Set "engine": "arrow" and max_connections to 3 at least, or leave before_publish out.',
        table=table.name,
    )
