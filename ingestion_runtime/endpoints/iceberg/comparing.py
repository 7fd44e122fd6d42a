"""The rows of an Iceberg table at one snapshot, compared in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.comparison import Basis, ComparedRows, Stand
from ingestion_runtime.model.cursor import CursorType, ReRead, Span, Watermark
from ingestion_runtime.model.errors import IngestionError, TransientError, UnfitEngineError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import from_ticks, lowest_ticks
from ingestion_runtime.tools.local_sql import LocalSql, quote

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from ingestion_runtime.endpoints.duck_rows import DuckSource
    from ingestion_runtime.endpoints.iceberg.cursor_span import SpanSql
    from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile


class IcebergStands:
    """Where a table in a catalog stands, and the same table once more when its rows are read."""

    def __init__(self, catalog: IcebergCatalog, table: TableSpec) -> None:
        self.name = table.name
        self.identifier = catalog.identifier(table)
        self._catalog = catalog

    def stand(self) -> Stand | None:
        """Return where the table stands; see ``TargetRows``."""
        from ingestion_runtime.endpoints.iceberg.commits import read_head
        from ingestion_runtime.endpoints.iceberg.growth import landed_columns

        table = self._load()
        head = None if table is None else read_head(table)
        if table is None or head is None or (head.receipt is None and head.snapshot is None and head.damage is None):
            return None
        return Stand(head.receipt, head.snapshot, landed_columns(table), head.damage)

    def at(self, stand: Stand) -> "Table":
        """Return the table, in which the stand's snapshot still is, and the columns still are what they were.

        Raises TransientError where that is not so.
        """
        from ingestion_runtime.endpoints.iceberg.growth import landed_columns

        table = self._load()
        if table is None:
            raise self.moved("it was dropped")
        if stand.snapshot is not None and table.snapshot_by_id(int(stand.snapshot)) is None:
            raise self.moved(f"snapshot {stand.snapshot} was expired")
        now = landed_columns(table)
        for field in stand.columns:
            if field.name not in now.names or now.field(field.name).type != field.type:
                raise self.moved(f"the column {field.name} was changed")
        return table

    @contextmanager
    def watched(self, stand: Stand) -> Iterator[None]:
        """Turn an error into TransientError where the snapshot was expired meanwhile, whose files are gone as well: then
        nothing is broken."""
        try:
            yield
        except IngestionError as error:
            if isinstance(error, TransientError) or not self._is_gone(stand.snapshot):
                raise
            raise self.moved(f"snapshot {stand.snapshot} was expired") from error

    def _is_gone(self, snapshot: str | None) -> bool:
        table = self._load()
        return table is None or (snapshot is not None and table.snapshot_by_id(int(snapshot)) is None)

    def moved(self, how: str) -> TransientError:
        """Return the error for a table that changed while it was compared."""
        return TransientError(
            f"{self.name}: the table changed while it was compared: {how}.",
            remedy="Run the same command again.",
            table=self.name,
        )

    def _load(self) -> "Table | None":
        return self._catalog.load(self.identifier)


class LocalIcebergRows:
    """The rows of one table. Implements ``TargetRows``; raises UnfitEngineError where only Spark can read them, and
    OutgrownError where they do not fit into the memory."""

    def __init__(self, catalog: IcebergCatalog, table: TableSpec, sql: LocalSql) -> None:
        self._catalog = catalog
        self._table = table
        self._stands = IcebergStands(catalog, table)
        self._sql = sql

    def stand(self) -> Stand | None:
        """Return where the table stands; see ``TargetRows``."""
        if not self._catalog.local:
            raise self._unfit("its files are not on a local disk")
        return self._stands.stand()

    @contextmanager
    def view(
        self,
        stand: Stand,
        basis: Basis,
        left_out: Iterator[pa.RecordBatch] | None = None,
        apart: Sequence[ReRead] = (),
    ) -> Iterator[ComparedRows]:
        """Open the living rows of that snapshot; see ``TargetRows``."""
        from ingestion_runtime.endpoints.duck_rows import duck_rows
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot

        table = self._stands.at(stand)
        try:
            source = _source(table, stand, apart, self._table.incremental_column)
            with self._stands.watched(stand), duck_rows(self._sql, source, basis, left_out) as rows:
                yield rows
        except UnfitSnapshot as unfit:
            raise self._unfit(unfit.reason) from unfit

    def _unfit(self, reason: str) -> UnfitEngineError:
        return UnfitEngineError(
            f"{self._table.name}: this process cannot read the table: {reason}.",
            remedy="Let Spark read it: --engine spark.",
            table=self._table.name,
        )


def without(apart: Sequence[ReRead], schema: "Schema", cursor: str | None, sql: "SpanSql") -> list[str]:
    """Return the conditions, in an engine's SQL, for the rows whose cursor lies in none of these sets.

    Raises TerminalError for a cursor that does not compare in the table as it does at the source.
    """
    return [f"({_within(subject, schema, cursor or '', sql)}) IS NOT TRUE" for subject in apart]


def _within(subject: ReRead, schema: "Schema", name: str, sql: "SpanSql") -> str:
    """Return the condition for the rows whose cursor lies in a set; it may be NULL for a row."""
    from ingestion_runtime.endpoints.iceberg.cursor_span import CursorSpan

    parts = [f"{sql.quote(name)} IS NULL"] if subject.nulls else []
    if subject.high is not None:
        low = _lowest(subject.high.type) if subject.low is None else subject.low
        parts.append(CursorSpan(Span(low, subject.high, takes_low=True), schema, name).condition(sql))
    return " OR ".join(parts) or "false"


def _lowest(kind: CursorType) -> Watermark:
    ticks = lowest_ticks(kind)
    return from_ticks(kind, 1 - 10**38 if ticks is None else ticks)


def _source(table: "Table", stand: Stand, apart: Sequence[ReRead], cursor: str | None) -> "DuckSource":
    from ingestion_runtime.endpoints.duck_rows import DuckSource
    from ingestion_runtime.endpoints.iceberg.cursor_span import DUCKDB
    from ingestion_runtime.endpoints.iceberg.growth import has_marks
    from ingestion_runtime.endpoints.iceberg.snapshot_files import FILE_COLUMN, PLACE_COLUMN, deleted_places, list_files

    # By the present schema, and not by the snapshot's own; see ``LocalKeys``.
    files = list_files(table, int(stand.snapshot)).files if stand.snapshot else ()
    names = tuple(stand.columns.names)
    conditions = without(apart, table.schema(), cursor, DUCKDB)
    if has_marks(table):
        names += (DELETED_AT,)
        conditions.append(f"{quote(DELETED_AT)} IS NULL")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    clean = [file for file in files if not file.deletes]
    touched = [file for file in files if file.deletes]
    if not touched:
        return DuckSource(_raw(table, clean, names) + where)
    removed = sorted({path for file in touched for path in file.deletes})
    gone = deleted_places(removed)
    return DuckSource(
        _raw(table, clean, names) + where, _raw(table, touched, names) + where, gone, (FILE_COLUMN, PLACE_COLUMN)
    )


def _raw(table: "Table", files: "Sequence[SnapshotFile]", names: Sequence[str]) -> str:
    """Return the query for all rows of files, deleted ones included."""
    from ingestion_runtime.endpoints.iceberg.snapshot_files import relation

    bare = [replace(file, deletes=()) for file in files]
    return f"SELECT * FROM {relation(table.schema(), bare, names)}"
