"""What the batches of a chain add up to, from their raw files alone, as SQL in this process.

Only hashes and places go through SQL, in narrow tables that spill to disk; whole rows are fetched by their place in the end
(``raw_rows``). The rules are those of the merges: of a batch each key's newest row counts, between batches the later one,
and a row that does not differ from the one that stands there is not written again.

Imported only where raw is read: pyiceberg costs 1.2 s.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.endpoints.iceberg.cursor_span import DUCKDB, CursorSpan
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot, duck_type
from ingestion_runtime.endpoints.iceberg.staged_rows import (
    STAGED_FILE,
    STAGED_ROW,
    StagedRows,
    staged_place,
    staged_source,
    staged_value,
)
from ingestion_runtime.endpoints.spelling import key_hash, row_hash
from ingestion_runtime.model.batch import WriteMode
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.provenance.chain import Chain, Link, slice_ordinal
from ingestion_runtime.provenance.columns import ChainColumns, chain_columns
from ingestion_runtime.tools.local_sql import quote
from ingestion_runtime.tools.nearby import NearFiles

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A line for every row that the table must hold: ``key_hash`` and ``row_hash`` as UUID (their 32 hex digits as they are; the
#: key's is NULL without a key), ``file`` (place in ``Replay.files``) and ``row`` (from 0) where its values lie,
#: ``deleted_by`` (place of the file of tombstones that marked it, else NULL), and ``marked``: it counts as deleted.
EXPECTED = "ingest_expected"

_EVENTS, _LATER = "ingest_events", "ingest_later"
# Under a name of our own: a column of the source may be called "marked".
_MARKED = "_ingest_marked"
_LINES = "key_hash UUID, row_hash UUID, file INTEGER, row BIGINT, deleted_by INTEGER, marked BOOLEAN"
_CURSOR = "ingest_cursor"
_ADDING = (WriteMode.APPEND, WriteMode.OVERWRITE)


class UnprovableError(TerminalError):
    """A chain from which nobody can tell what the table must hold. The message says which batch and why."""


@dataclass(frozen=True, slots=True)
class ReplayFile:
    """A raw file of a chain: its batch, its absolute path, the slice whose rows it holds, and whether these are
    tombstones."""

    link: Link
    path: str
    ordinal: int
    tombstones: bool


class Replay:
    """The batches of a chain put together in a DuckDB session. One of these for a session: its tables have fixed names."""

    def __init__(
        self,
        sql: "DuckDBPyConnection",
        table: TableSpec,
        schema: Schema | None,
        chain: Chain,
        near: NearFiles,
        skip: Collection[str] = (),
    ) -> None:
        """``schema`` is the table's (None: it is gone, or a directory); ``near`` lends the files that are not on a local
        disk, those of one batch at a time; files in ``skip`` (paths) are not read.

        Raises UnprovableError for a chain that does not say what the table must hold.
        """
        self._sql = sql
        self._table = table
        self._links = chain.links
        self.near = near
        self._skip = frozenset(skip)
        soft = table.deletes is Deletes.SOFT and any(link.raw.manifest.tombstones for link in chain.links)
        self._chain_columns = chain_columns(chain.links, schema, near, marks=soft, since=chain.since)
        self.files = tuple(_files(chain.links))
        self._places = {file.path: place for place, file in enumerate(self.files)}
        _refuse_kept(table, chain.links, self._chain_columns)

    @property
    def columns(self) -> pa.Schema:
        """The columns over which rows are hashed, in this order: those that hold a row's own values."""
        return self._chain_columns.data

    @property
    def schema(self) -> Schema:
        """All columns that the table has, or must get to hold the rows of the chain."""
        return self._chain_columns.schema

    @property
    def chain_columns(self) -> ChainColumns:
        """The columns as each batch has them."""
        return self._chain_columns

    def expect(self) -> None:
        """Make the table ``EXPECTED``. Reads every column of every file once.

        Raises UnprovableError for columns of a type that never lands, or that are called like DuckDB's own.
        """
        self._sql.execute(f"CREATE OR REPLACE TABLE {EXPECTED} ({_LINES})")
        try:
            if any(link.write in _ADDING for link in self._links):
                self._add_up()
            else:
                self._merge()
        except UnfitSnapshot as unfit:
            raise self._unprovable(unfit.reason) from unfit

    def _add_up(self) -> None:
        """Tables without a key: rows are added, or take the place of all rows of a span."""
        cursor = self._cursor_field()
        self._sql.execute(f"ALTER TABLE {EXPECTED} ADD COLUMN {_CURSOR} {duck_type(cursor.field_type)}")
        schema = Schema(NestedField(field_id=1, name=_CURSOR, field_type=cursor.field_type, required=False))
        for link in self._links:
            if link.write is WriteMode.OVERWRITE and not link.is_start:
                inside = CursorSpan(link.batch.plan.span, schema, _CURSOR).condition(DUCKDB)
                self._sql.execute(f"DELETE FROM {EXPECTED} WHERE {inside}")
            self._insert(EXPECTED, link, f"NULL, {_MARKED}, {quote(cursor.name)}")
        self._sql.execute(f"ALTER TABLE {EXPECTED} DROP COLUMN {_CURSOR}")

    def _merge(self) -> None:
        """Tables with a key, and those that are replaced whole."""
        if not self._links:
            return
        first, *later = self._links
        self._insert(EXPECTED, first, f"NULL, {_MARKED}")
        if not later:
            return
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_EVENTS} (key_hash UUID, row_hash UUID, file INTEGER, row BIGINT, "
            "batch INTEGER, gone BOOLEAN, hard BOOLEAN, marked BOOLEAN)"
        )
        for number, link in enumerate(later, start=1):
            self._insert(_EVENTS, link, f"{number}, false, false, {_MARKED}")
            self._insert_tombstones(link, number)
        # Most rows of most tables came with the first batch and were never met again: these are left where they are.
        self._sql.execute(f"CREATE OR REPLACE TABLE {_LATER} AS SELECT DISTINCT key_hash FROM {_EVENTS}")
        self._sql.execute(
            f"INSERT INTO {_EVENTS} SELECT key_hash, row_hash, file, row, 0, false, false, marked "
            f"FROM {EXPECTED} SEMI JOIN {_LATER} USING (key_hash)"
        )
        self._sql.execute(f"DELETE FROM {EXPECTED} WHERE key_hash IN (FROM {_LATER})")
        self._sql.execute(f"INSERT INTO {EXPECTED} {_outcome()}")
        self._sql.execute(f"DROP TABLE {_EVENTS}; DROP TABLE {_LATER}")

    def _insert(self, into: str, link: Link, rest: str) -> None:
        """Insert a batch's rows, of each key the newest."""
        files = self._readable(link, tombstones=False)
        # Only a table that is merged into keeps the newest row of each key, and has to see all rows of a batch for it;
        # elsewhere none repeats.
        merged = link.batch.mode == "scd1"
        sizes = {link.path(file): file.size for file in link.raw.manifest.files}
        for piece in [files] if merged and files else self.near.portions((path, sizes[path]) for path in files):
            with self.near.lend(piece) as here:
                self._insert_files(into, link, rest, piece, here, merged=merged)

    def _insert_files(
        self, into: str, link: Link, rest: str, files: Sequence[str], here: tuple[str, ...], *, merged: bool
    ) -> None:
        """Insert the rows of some files of a batch, which lie ``here``; ``merged``: of each key the newest."""
        schema = self._chain_columns.links[link.batch_id].schema
        names = [field.name for field in link.raw.manifest.fields]
        marks = [then.name for then, now in self._columns_of(link) if now.name == DELETED_AT and then.name in names]
        marked = f"{quote(marks[0])} IS NOT NULL" if marks else "false"
        payload = Payload(here, pa.schema([pa.field(name, pa.null()) for name in names]), link.raw.manifest.rows)
        staged = StagedRows(self._sql, payload, schema, self._table)
        counts = staged.count() if merged else Counts(0, 0, 0)
        self._sql.execute(
            f"INSERT INTO {into} SELECT {self._key(schema)}, CAST({self._row(link)} AS UUID), "
            f"{self._file(files)}, {STAGED_ROW}, {rest} "
            f"FROM (SELECT *, {marked} AS {_MARKED} FROM {staged.newest_staged(counts)})"
        )

    def _insert_tombstones(self, link: Link, number: int) -> None:
        files = self._readable(link, tombstones=True)
        if not files:
            return
        # Keys are never renamed; a batch of tombstones alone knows no other columns.
        keys = frozenset(self._table.primary_keys)
        kinds = {field.name: field.field_type for field in self.schema.fields}
        read = [f"{staged_value(name, kinds[name], keys)} AS {quote(name)}" for name in self._table.primary_keys]
        hard = "true" if self._removes(link) else "false"
        told = f"{self._key(self.schema)}, NULL, {self._file(files)}, {STAGED_ROW}, {number}, true, {hard}, false"
        with self.near.lend(files) as here:
            rows = f"SELECT {', '.join([*read, *staged_place()])} {staged_source(here)}"
            self._sql.execute(f"INSERT INTO {_EVENTS} SELECT DISTINCT ON (1) {told} FROM ({rows})")

    def _removes(self, link: Link) -> bool:
        """Whether a batch's tombstones removed rows; else they marked them."""
        told = link.raw.manifest.deletes or self._table.deletes.value
        return told == Deletes.HARD if told != Deletes.IGNORE else not self._chain_columns.marks

    def _key(self, schema: Schema) -> str:
        keys = self._table.primary_keys
        data = {field.name: field.type for field in self.columns}
        kinds = {then.name: data[now.name] for then, now in self._pairs(schema) if then.name in keys}
        return f"CAST({key_hash([(quote(name), kinds[name]) for name in keys])} AS UUID)" if keys else "CAST(NULL AS UUID)"

    def _row(self, link: Link) -> str:
        data = {field.name: field.type for field in self.columns}
        pairs = [(then.name, data.get(now.name)) for then, now in self._columns_of(link)]
        return row_hash([(quote(name), kind) for name, kind in pairs if kind is not None])

    def _columns_of(self, link: Link) -> list[tuple[NestedField, NestedField]]:
        """Each column as a batch has it, with that of the table by now."""
        return self._pairs(self._chain_columns.links[link.batch_id].schema)

    def _pairs(self, schema: Schema) -> list[tuple[NestedField, NestedField]]:
        return list(zip(schema.fields, self.schema.fields, strict=True))

    def _cursor_field(self) -> NestedField:
        name = self._table.incremental_column
        found = next((field for field in self.schema.fields if field.name == name), None)
        if found is None:
            raise self._unprovable(f"its batches have no column {name}, by which rows take each other's place")
        return found

    def _readable(self, link: Link, *, tombstones: bool) -> list[str]:
        files = link.raw.manifest.tombstones if tombstones else link.raw.manifest.files
        return [path for file in files if (path := link.path(file)) not in self._skip]

    def _file(self, files: Sequence[str]) -> str:
        """Return the place of a row's file in ``files`` of this replay; those of a batch follow each other."""
        places = [self._places[path] for path in files]
        if places == list(range(places[0], places[0] + len(places))):
            return f"{STAGED_FILE} + {places[0]}"
        return f"[{', '.join(map(str, places))}][CAST({STAGED_FILE} AS BIGINT) + 1]"

    def _unprovable(self, reason: str) -> UnprovableError:
        return _unprovable(self._table, reason)


def _outcome() -> str:
    """Return the query for what became of the keys that several batches met.

    A row stands as the first of its last run of equal versions brought it: the later ones changed nothing, and were not
    written. A tombstone ends a run.
    """
    return (
        "SELECT key_hash, row_hash, file, row, CASE WHEN buried > since THEN grave END, marked OR coalesce(buried > since, "
        "false) FROM (SELECT key_hash, max(batch) FILTER (WHERE begins) AS since, "
        "max(batch) FILTER (WHERE gone AND hard) AS removed, max(batch) FILTER (WHERE gone AND NOT hard) AS buried, "
        "arg_max(file, batch) FILTER (WHERE gone AND NOT hard) AS grave, "
        + "".join(f"arg_max({name}, batch) FILTER (WHERE begins) AS {name}, " for name in ("row_hash", "file", "row"))
        + "arg_max(marked, batch) FILTER (WHERE begins) AS marked FROM (SELECT *, NOT gone AND ("
        "lag(row_hash) OVER versions IS DISTINCT FROM row_hash OR coalesce(lag(marked) OVER versions, false)) AS begins "
        f"FROM {_EVENTS} WINDOW versions AS (PARTITION BY key_hash ORDER BY batch)) GROUP BY key_hash) "
        "WHERE since > coalesce(removed, -1)"
    )


def _files(links: Sequence[Link]) -> Iterator[ReplayFile]:
    for link in links:
        for file in link.raw.manifest.files:
            yield ReplayFile(link, link.path(file), slice_ordinal(file.path), tombstones=False)
        for file in link.raw.manifest.tombstones:
            yield ReplayFile(link, link.path(file), slice_ordinal(file.path), tombstones=True)


def _refuse_kept(table: TableSpec, links: Sequence[Link], columns: ChainColumns) -> None:
    for link in links:
        kept = columns.links[link.batch_id].kept
        if kept:
            raise _unprovable(
                table,
                f"batch {link.batch_id} did not bring the column{'s' if len(kept) > 1 else ''} {', '.join(kept)}, and the"
                " rows that it changed kept the values that they had (schema_policy dropped: ignore)",
            )


def _unprovable(table: TableSpec, reason: str) -> UnprovableError:
    return UnprovableError(
        f"{table.name}: raw alone does not say what the table must hold: {reason}.",
        remedy=f"Replace the table from the source with --reload {table.name}; raw says it from there on.",
        table=table.name,
    )
