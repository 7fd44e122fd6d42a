"""Rows of a relational source on their way to Parquet files: what is read, whichever engine reads it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, cut_conditions
from ingestion_runtime.endpoints.jdbc.database import Database, Snapshot
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.divided import Divisible, read_divided
from ingestion_runtime.endpoints.jdbc.masking import refuse_other_types
from ingestion_runtime.endpoints.jdbc.meter import ReadMeter
from ingestion_runtime.endpoints.jdbc.profile import fit
from ingestion_runtime.endpoints.jdbc.sql import Cursor, bad_values, selection
from ingestion_runtime.endpoints.jdbc.witness import Witness, refuse_unseen
from ingestion_runtime.model.endpoint import IngestColumns, OnSplit, Reading, Shape
from ingestion_runtime.model.errors import IngestionError, OversizedReadError, TerminalError
from ingestion_runtime.model.privacy import Mask
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.testimony import Testimony

# As many connections as a reader uses at once where nothing else is configured.
_MOST_READERS = 4


class Reader(Protocol):
    """An engine that reads extracts into Parquet files."""

    @property
    def judges(self) -> bool:
        """Whether a value that cannot land exactly ends a read with an error; otherwise the source is asked before."""
        ...

    @property
    def testifies(self) -> bool:
        """Whether it asks the extract's witness where a read joins no view; in a shared one the extract does."""
        ...

    def prepare(self) -> None:
        """Start what takes time to start, before a snapshot of the source is taken."""
        ...

    def read(self, extract: "JdbcExtract", snapshot: Snapshot, condition: str | None, directory: str) -> None:
        """Write the rows of ``condition`` (None: all) into ``directory``, which must not exist yet.

        Raises OversizedReadError for too many rows at once; every error is one of our own, or nobody's.
        """
        ...

    def foresee(self, extract: "JdbcExtract", snapshot: Snapshot, condition: str | None) -> Reading:
        """Return how the rows of ``condition`` would be read; starts nothing."""
        ...

    def discard(self, directory: str) -> None:
        """Remove what a failed read left in its directory."""
        ...


@dataclass(frozen=True, slots=True)
class JdbcExtract:
    """The rows of one slice. Nothing is read before ``write_parquet``.

    With ``ranked`` (a text cursor) the files carry one more column, ``_ingest_cursor_rank``: the row's place in the
    source's own order of cursor values, for no one else can tell which of two texts is newer.

    A read that fails for its size is cut in two along ``divided_by`` and tried again; without that column it fails.
    ``confirm`` is called after the last row: it raises where the rows were not read as they stood. ``field_ids`` are
    written into the files, by column name. The reader tells the ``meter`` what it takes. Columns in ``masks`` land as
    they are in memory, and are written masked, as text. The ``witness`` hears what the source says of the rows.
    """

    table: TableSpec
    columns: tuple[SourceColumn, ...]
    condition: str | None
    database: Database
    reader: Reader
    ranked: Cursor | None = None
    missing: tuple[pa.Field, ...] = ()
    ingest: IngestColumns | None = None
    divided_by: Cursor | None = None
    on_split: OnSplit | None = None
    raw: Mapping[str, RawColumn] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    confirm: Callable[[], None] | None = None
    field_ids: Mapping[str, int] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    meter: ReadMeter = field(default_factory=ReadMeter, compare=False)
    witness: Witness | None = field(default=None, compare=False)

    @property
    def connections(self) -> int:
        """Over how many connections at once the rows were read; 0 before they were."""
        return self.meter.connections

    @property
    def testimony(self) -> Testimony | None:
        """What the source said of the rows; None before they were read, or where nobody demands it."""
        return None if self.witness is None else self.witness.said

    @property
    def plain_columns(self) -> tuple[SourceColumn, ...]:
        """The columns whose values land as they stand at the source."""
        return tuple(column for column in self.columns if column.name not in self.masks)

    @property
    def schema(self) -> pa.Schema:
        """The columns as they will land, without the housekeeping columns. Needs neither a JVM nor the source."""
        written = [pa.field(column.name, self.written_as(column)) for column in self.columns]
        return pa.schema([*written, *(pa.field(added.name, added.type) for added in self.missing)])

    def written_as(self, column: SourceColumn) -> pa.DataType:
        """Return the type in which a column is written."""
        return pa.string() if column.name in self.masks else column.lands_as

    def with_missing(self, fields: tuple[pa.Field, ...]) -> "JdbcExtract":
        """Return the same rows with these columns added as NULL."""
        return replace(self, missing=self.missing + fields)

    def shaped(self, shape: Shape) -> "JdbcExtract":
        """Return the same rows in another shape; raises TerminalError for a type in which a column cannot land."""
        landing = {item.name: item.type for item in shape.landing}
        dialect, name = self.database.dialect, self.table.name
        refuse_other_types(landing, self.masks, name)
        columns = tuple(
            fit(dialect, self.raw[column.name], landing[column.name], name)
            if column.name in landing and column.name not in self.masks
            else column
            for column in self.columns
            if column.name not in shape.skipped
        )
        emptied = (pa.field(item.name, landing.get(item.name, item.type)) for item in self.missing)
        empty = tuple(item for item in emptied if item.name not in shape.skipped)
        missing = (*empty, *shape.missing, *shape.hidden)
        return replace(self, columns=columns, missing=missing, renamed=dict(shape.renamed))

    def with_ingest_cols(self, columns: IngestColumns) -> "JdbcExtract":
        """Return the same rows with the housekeeping columns added."""
        return replace(self, ingest=columns)

    def with_field_ids(self, ids: Mapping[str, int]) -> "JdbcExtract":
        """Return the same rows, in files whose columns carry these ids."""
        return replace(self, field_ids=dict(ids))

    def write_parquet(self, directory: str) -> None:
        """Read the rows and write them as Parquet files into ``directory``, which must not exist yet.

        All parts of it read one view of the source where the engine can share one. Raises TerminalError, with the columns
        named, when a value at the source cannot land exactly, and OversizedReadError for too many rows.
        """
        self.reader.prepare()
        with self._snapshot() as snapshot:
            if not self.reader.judges:
                self.refuse_bad_values(snapshot)
            steps = Divisible(
                read=lambda condition, place: self._read(snapshot, condition, place),
                halve=lambda condition: self._halve(snapshot, condition),
                discard=self.reader.discard,
                on_split=self.on_split,
            )
            self._require_view(snapshot)
            read_divided(steps, self.condition, directory)
            self._testify(snapshot)
        if self.confirm is not None:
            self.confirm()

    def foresee(self) -> Reading:
        """Return how the rows would be read now."""
        with self._snapshot() as snapshot:
            return self.reader.foresee(self, snapshot, self.condition)

    def _snapshot(self) -> AbstractContextManager[Snapshot]:
        split = self.table.partition_read
        statement = selection(self.database.dialect, self.table, self.columns, self.condition)
        return self.database.snapshot(statement, max(_MOST_READERS, split.partitions if split else 0))

    def _read(self, snapshot: Snapshot, condition: str | None, place: str) -> None:
        before = self.meter.taken
        try:
            self.reader.read(self, snapshot, condition, place)
        except OversizedReadError:
            self.meter.go_back(before)
            raise

    def _require_view(self, snapshot: Snapshot) -> None:
        """Raise TerminalError, before anything is read, where the source could not be asked for its word."""
        if self.witness is not None and not snapshot.shared and not self.reader.testifies:
            raise refuse_unseen(self.table, "Spark and this source have no common view")

    def _testify(self, snapshot: Snapshot) -> None:
        """Ask the source for its word in a view that all connections share; else the reader has done so."""
        if self.witness is None or not snapshot.shared:
            return
        columns = self.plain_columns
        question = self.witness.question(self.database.dialect, self.table, columns, self.condition)
        with snapshot.asked() as connection:
            (answer,) = fetch(connection, question)
        self.witness.add(self.witness.understand(answer, columns))

    def _halve(self, snapshot: Snapshot, condition: str | None) -> tuple[str, str] | str:
        """Return the conditions of two halves, or why there are none."""
        line = self.divided_by
        if line is None:
            return "there is no column along which it could be"
        if condition is None and not snapshot.shared:
            return "its halves would not be of one moment"
        try:
            with snapshot.asked() as connection:
                rows = ColumnRows(connection, self.database.dialect, self.table, line, condition)
                halves = cut_conditions(rows, 2, self.database.dialect.quote(line.column.name))
        except Exception as error:  # whatever it was: what has to be told is that the read failed for its size
            ours = error if isinstance(error, IngestionError) else self.database.translate(error)
            if ours is None:
                raise
            return f"its rows could not be counted: {ours.message.rstrip('.')}"
        if len(halves) == 1:
            return f"all its rows have the same value of {line.column.name!r}"
        first, second = (f"({condition}) AND ({half})" if condition else half for half in halves)
        return first, second

    def refuse_bad_values(self, snapshot: Snapshot) -> None:
        """Raise TerminalError, naming the columns, when a value at the source cannot land exactly."""
        judged = [column for column in self.columns if column.bad_when]
        if not judged:
            return
        with snapshot.asked() as connection:
            (counts,) = fetch(connection, bad_values(self.database.dialect, self.table, judged, self.condition))
        found = [(column, count) for column, count in zip(judged, counts, strict=True) if count]
        if not found:
            return
        listed = "; ".join(f"column {c.name!r} ({c.native_type}): {count} values are {c.reason}" for c, count in found)
        raise TerminalError(
            f"Table {self.table.name} holds values that cannot land exactly: {listed}.",
            remedy="Correct them at the source, exclude them with source_filter, or cast the column in query_sql.",
            table=self.table.name,
            columns={column.name: int(count) for column, count in found},
        )
