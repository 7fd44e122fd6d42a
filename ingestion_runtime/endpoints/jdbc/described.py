"""What is known of one table of a source: its columns as they are read, its cursor and its snapshot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.catalogue import Catalogue
from ingestion_runtime.endpoints.jdbc.columns import (
    RawColumn,
    SourceColumn,
    check_cursor,
    check_names,
    did_you_mean,
    find_column,
    is_altered,
)
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.endpoints.jdbc.fitting import is_exact_number
from ingestion_runtime.endpoints.jdbc.hiding import hide, without_excluded
from ingestion_runtime.endpoints.jdbc.keys import refuse_unfit_keys
from ingestion_runtime.endpoints.jdbc.sql import Cursor, relation
from ingestion_runtime.model.errors import SpoiltBatchError, TerminalError
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.privacy import Mask
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import Deletes, TableSpec


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of the table. ``columns`` are those that are read, ``emptied`` those that arrive as NULL instead."""

    raw: Mapping[str, RawColumn]
    columns: tuple[SourceColumn, ...]
    cursor: Cursor | None
    snapshot: TableSnapshot
    elsewhere: str
    masks: Mapping[str, Mask]
    emptied: tuple[pa.Field, ...]


class Description:
    """Describes a table (or query) when it is first asked, and whenever it is told to: by the ``catalogue`` that it shares
    with other tables, or by itself. Raises TerminalError for a missing table, cursor or key, or an unusable name."""

    def __init__(self, table: TableSpec, database: Database, catalogue: Catalogue | None = None) -> None:
        self._table = table
        self._database = database
        self._dialect = database.dialect
        self._look_at = Catalogue(database).look
        self._describe = self._look_at if catalogue is None else catalogue.describe
        self._known: Described | None = None

    def known(self) -> Described:
        """Return the description by which the table is read."""
        return self.renew() if self._known is None else self._known

    def renew(self) -> Described:
        """Describe the table once more."""
        self._known = self._look()
        return self._known

    def confirm(self) -> None:
        """Raise SpoiltBatchError if columns were altered since they were described: what does not fit is rounded unasked.

        If one was added or dropped too: the watermark would pass the values of a new one. A query's columns are its own.
        """
        known, now = self.known().raw, {column.name: column for column in self._raw(self._look_at).columns}
        altered = [name for name, column in now.items() if name in known and is_altered(known[name], column)]
        if self._table.query_sql is None:
            altered += [name for name in known if name not in now]
            if self._table.policy.added is not OnChange.IGNORE:
                altered += [name for name in now if name not in known]
        if altered:
            raise SpoiltBatchError(
                f"Table {self._table.name} was altered while it was read: {', '.join(altered)}.",
                remedy="Run again: what was read is given up and read anew.",
                table=self._table.name,
                columns=tuple(altered),
            )

    def _look(self) -> Described:
        table, name = self._table, self._table.name
        raw = self._raw(self._describe)
        columns = tuple(self._dialect.column(column) for column in raw.columns)
        check_names(columns, name)
        hidden = hide(table, columns)
        keys = [find_column(columns, key, "primary_keys", name) for key in table.primary_keys]
        if table.deletes is not Deletes.IGNORE:
            refuse_unfit_keys(keys, table)
        if table.partition_read is not None:
            find_column(columns, table.partition_read.column, "partition_read", name)
        cursor = None
        if table.incremental_column is not None and table.incr_col_type is not None:
            column = find_column(columns, table.incremental_column, "incremental_column", name)
            check_cursor(column, table.incr_col_type, name)
            cursor = Cursor(column, table.incr_col_type)
        snapshot = TableSnapshot(
            schema=table.schema,
            table=table.table,
            columns=tuple(hidden.described(_snapshot(*pair)) for pair in zip(raw.columns, columns, strict=True)),
            primary_keys=raw.primary_keys,
            estimated_rows=raw.estimated_rows,
            taken_at=datetime.now(UTC),
            estimated_bytes=raw.estimated_bytes,
        )
        own = {column.name: column for column in raw.columns}
        return Described(own, hidden.read(columns), cursor, snapshot, raw.elsewhere, hidden.masks, hidden.emptied)

    def _raw(self, describe: Callable[[TableSpec], RawTable | None]) -> RawTable:
        """Return the relation without the columns that are excluded."""
        if self._table.query_sql is not None:
            with self._database.connect() as connection:
                return without_excluded(
                    self._table, self._dialect.describe_query(connection, relation(self._dialect, self._table))
                )
        raw = describe(self._table)
        if raw is not None:
            return without_excluded(self._table, raw)
        with self._database.connect() as connection:
            # Compared with and without the schema, whichever way the engine names its tables.
            candidates = self._dialect.table_names(connection)
        near = did_you_mean(self._table.name, candidates) or did_you_mean(self._table.table, candidates)
        raise TerminalError(
            f"{self._database.place} has no table {self._table.name!r}.{near}",
            remedy="Correct schema and table in the configuration, or restore the table at the source.",
            table=self._table.name,
        )


def _snapshot(raw: RawColumn, column: SourceColumn) -> ColumnSnapshot:
    return ColumnSnapshot(
        column.name,
        column.native_type,
        str(column.lands_as),
        column.nullable,
        identity=raw.identity,
        number=is_exact_number(column, raw.kind),
    )
