"""Which rows of a snapshot a batch meets, as SQL in this process: keys against keys, and nothing else is read.

The tables made here are the session's: they spill to disk beyond its memory, and its cursors see them. Imported only when
rows are merged in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.schema import Schema

from ingestion_runtime.endpoints.iceberg.key_bounds import add_files, files_in_bounds
from ingestion_runtime.endpoints.iceberg.snapshot_files import (
    FILE_COLUMN,
    PLACE_COLUMN,
    SnapshotFile,
    deleted_places,
    relation,
)
from ingestion_runtime.endpoints.iceberg.staged_rows import StagedRows, staged_source, staged_value
from ingestion_runtime.model.columns import DELETED_AT, LOADED_AT_COLUMN
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Buried, Payload
from ingestion_runtime.tools.local_sql import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH, _FILES, _KEYS, _MET, _UPDATES, _DEAD = (
    f"ingest_{name}" for name in ("batch", "files", "keys", "met", "updates", "dead")
)
_FETCHED_ROWS = 65_536


class MergeRows:
    """A batch and the rows of a snapshot that carry its keys.

    Files are known by their place in ``files``, rows by their place in the file, and the table's columns as ``c0``, ``c1``
    and so on, for a column may have any name. A NULL in a key meets nothing; NaN meets NaN and -0.0 meets 0.0, as in Spark.
    """

    def __init__(
        self, sql: "DuckDBPyConnection", spec: TableSpec, schema: Schema, payload: Payload, files: Sequence[SnapshotFile]
    ) -> None:
        # Joins are written with the smaller side last, which is held in memory and prunes the other. Left to itself DuckDB
        # takes a snapshot's files for small, and holds 3 million keys instead of 300,000.
        sql.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        self._sql = sql
        self._spec = spec
        self._schema = schema
        self._payload = payload
        self._files = files
        staged = StagedRows(sql, payload, schema, spec)
        self.counts = staged.count()
        self._newest = staged.newest(self.counts)
        names = [field.name for field in schema.fields]
        self._keys = [names.index(key) for key in spec.primary_keys]
        self._using = ", ".join(f"c{place}" for place in self._keys)
        # Rows that are marked as deleted stand there, and nobody sees them.
        self._marked = spec.deletes is Deletes.SOFT and DELETED_AT in names
        self._live = f"{quote(DELETED_AT)} IS NULL" if self._marked else "true"
        self._dead: list[str] = []

    def meet(self) -> tuple[int, ...]:
        """Find the rows that carry a key of the batch; return the files that hold some, in order."""
        self._add_batch()
        keys = [self._schema.fields[place] for place in self._keys]
        add_files(self._sql, _FILES, self._schema, self._keys, self._files)
        candidates = [self._files[number] for number in files_in_bounds(self._sql, _FILES, _KEYS, self._keys)]
        stood = self._stood(candidates, [key.name for key in keys])
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_MET} AS SELECT number, place, live, gone, {self._using} "
            f"FROM ({stood}) JOIN {_KEYS} USING ({self._using}) JOIN {_FILES} USING (path)"
        )
        return tuple(number for (number,) in self._rows(f"SELECT DISTINCT number FROM {_MET} ORDER BY 1"))

    def arrange(self, columns: Sequence[int]) -> None:
        """Put the batch's values of these columns next to the rows that they meet; ``updates`` and ``dead`` need it."""
        brought = "".join(f", c{place}" for place in columns)
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_UPDATES} AS SELECT number, place, gone{brought} "
            f"FROM {_BATCH} JOIN {_MET} USING ({self._using}, gone) ORDER BY number, place"
        )
        files = [number for (number,) in self._rows(f"SELECT DISTINCT number FROM {_MET}")]
        self._dead = sorted({path for number in files for path in self._files[number].deletes})
        if self._dead:
            self._sql.execute(
                f"CREATE OR REPLACE TABLE {_DEAD} AS SELECT DISTINCT number, {PLACE_COLUMN} AS place "
                f"FROM ({deleted_places(self._dead)}) JOIN {_FILES} ON path = {FILE_COLUMN} ORDER BY ALL"
            )

    def cursor(self) -> "MergeCursor":
        """Return what reads the arranged rows; each thread needs one of its own."""
        return MergeCursor(self._sql.cursor(), dead=bool(self._dead))

    def inserts(self) -> Iterator[pa.RecordBatch]:
        """The batch's newest rows that meet no row, in the table's columns under their short names."""
        columns = ", ".join(f"c{place}" for place in range(len(self._schema.fields)))
        query = f"SELECT {columns} FROM (FROM {_BATCH} WHERE NOT gone) ANTI JOIN {_MET} USING ({self._using})"
        found: pa.RecordBatchReader = self._sql.cursor().sql(query).to_arrow_reader(_FETCHED_ROWS)
        yield from found

    def found(self, removed: Collection[int], added: Sequence[str]) -> int:
        """Count the rows that carry a staged key: in the added files by reading them, in others as they were met."""
        kept = self._number(f"SELECT count(*) FROM {_MET} WHERE NOT gone{_not_in(removed)}")
        read = f"SELECT count(*) FROM ({self._written(added)}) SEMI JOIN (FROM {_KEYS} WHERE NOT gone) USING ({self._using})"
        return kept + self._number(read)

    def buried(self, removed: Collection[int], added: Sequence[str], before: int, after: int) -> Buried:
        """Measure what became of the tombstones; ``before`` and ``after`` are the rows of both snapshots."""
        written = self._written(added)
        alive = self._number(f"SELECT count(*) FROM {_MET} WHERE gone AND live{_not_in(removed)}")
        alive += self._number(
            f"SELECT count(*) FROM (FROM ({written}) WHERE live) SEMI JOIN (FROM {_KEYS} WHERE gone) USING ({self._using})"
        )
        if self._marked:
            stood = f"({self._stood(self._files, [])}) JOIN {_FILES} USING (path) WHERE NOT live"
            before -= self._number(f"SELECT count(*) FROM {stood}")
            after -= self._number(f"SELECT count(*) FROM {stood}{_not_in(removed)}")
            after -= self._number(f"SELECT count(*) FROM ({written}) WHERE NOT live")
        known = self._number(f"SELECT count(*) FROM {_MET} WHERE NOT gone AND live")
        tombstones = self._number(f"SELECT count(*) FROM {_KEYS} WHERE gone")
        return Buried(tombstones, alive, after, before + self.counts.keys - known - self._payload.deleted)

    def dead_rows(self, files: Collection[int]) -> int:
        """Count the rows of these files that are named by position deletes."""
        deletes = sorted({path for number in files for path in self._files[number].deletes})
        if not deletes:
            return 0
        places = (
            f"SELECT DISTINCT number, {PLACE_COLUMN} FROM ({deleted_places(deletes)}) JOIN {_FILES} ON path = {FILE_COLUMN}"
        )
        return self._number(f"SELECT count(*) FROM ({places}) WHERE number IN ({', '.join(map(str, files))})")

    def _add_batch(self) -> None:
        fields = self._schema.fields
        newest = ", ".join(f"{quote(field.name)} AS c{place}" for place, field in enumerate(fields))
        query = f"SELECT {newest}, false AS gone FROM {self._newest}"
        if self._payload.tombstones:
            query += f" UNION ALL SELECT DISTINCT ON ({self._using}) *, true FROM ({self._tombstones()})"
        self._sql.execute(f"CREATE OR REPLACE VIEW {_BATCH} AS {query}")
        whole = " AND ".join(f"c{place} IS NOT NULL" for place in self._keys)
        self._sql.execute(f"CREATE OR REPLACE TABLE {_KEYS} AS SELECT {self._using}, gone FROM {_BATCH} WHERE {whole}")
        if self._payload.tombstones:
            both = f"SELECT 1 FROM {_KEYS} GROUP BY {self._using} HAVING count(*) > 1"
            self._refuse_both(self._number(f"SELECT count(*) FROM ({both})"))

    def _tombstones(self) -> str:
        present = frozenset({*self._spec.primary_keys, *INGEST_TYPES})
        columns = []
        for place, field in enumerate(self._schema.fields):
            # A row that is marked tells in its mark when the batch was read that no longer had it.
            name = LOADED_AT_COLUMN if field.name == DELETED_AT else field.name
            columns.append(f"{staged_value(name, field.field_type, present)} AS c{place}")
        return f"SELECT {', '.join(columns)} {staged_source(self._payload.tombstones)}"

    def _refuse_both(self, keys: int) -> None:
        if keys:
            raise RefusedBatchError(
                f"{self._spec.name}: {keys} keys of the batch are read and deleted at the same time.",
                remedy="Nothing was published; run again.",
                table=self._spec.name,
            )

    def _stood(self, files: Sequence[SnapshotFile], columns: Sequence[str]) -> str:
        """Return a query for living rows of the snapshot: path, place, live, and the named columns by their short names."""
        names = [field.name for field in self._schema.fields]
        read = dict.fromkeys([*columns, *([DELETED_AT] if self._marked else [])])
        named = "".join(f", {quote(name)} AS c{names.index(name)}" for name in columns)
        stood = relation(self._schema, files, list(read))
        return f"SELECT {FILE_COLUMN} AS path, {PLACE_COLUMN} AS place, {self._live} AS live{named} FROM {stood}"

    def _written(self, files: Sequence[str]) -> str:
        """Return a query for the rows of files that this merge has written: live, and the key by its short names."""
        present = frozenset(field.name for field in self._schema.fields) if files else frozenset()
        live = self._live if files else "true"
        fields = [(place, self._schema.fields[place]) for place in self._keys]
        named = ", ".join(f"{staged_value(field.name, field.field_type, present)} AS c{place}" for place, field in fields)
        return f"SELECT {live} AS live, {named} {staged_source(files)}"

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._sql.execute(query).fetchall()

    def _number(self, query: str) -> int:
        return int(self._rows(query)[0][0])


class MergeCursor:
    """Reads what was arranged, a stretch of a file at a time. For one thread."""

    def __init__(self, sql: "DuckDBPyConnection", *, dead: bool) -> None:
        self._sql = sql
        self._dead = dead

    def meets(self, number: int, start: int, stop: int) -> bool:
        """Whether the batch brings something for the rows ``start`` up to ``stop`` (not included) of a file."""
        return bool(self._sql.execute(f"SELECT 1 {_within(_UPDATES, number, start, stop)} LIMIT 1").fetchall())

    def updates(self, number: int, start: int, stop: int) -> pa.Table:
        """Return what the batch brings for these rows: ``place``, ``gone`` and the arranged columns, ordered by place."""
        return self._sql.sql(f"SELECT * {_within(_UPDATES, number, start, stop)} ORDER BY place").to_arrow_table()

    def dead(self, number: int, start: int, stop: int) -> pa.Array:
        """Return the places of these rows that position deletes name, in ascending order."""
        if not self._dead:
            return pa.array([], pa.int64())
        query = f"SELECT place {_within(_DEAD, number, start, stop)} ORDER BY place"
        found: pa.Table = self._sql.sql(query).to_arrow_table()
        return found["place"].combine_chunks()


def _within(table: str, number: int, start: int, stop: int) -> str:
    return f"FROM {table} WHERE number = {number} AND place >= {start} AND place < {stop}"


def _not_in(numbers: Collection[int]) -> str:
    return f" AND number NOT IN ({', '.join(map(str, numbers))})" if numbers else ""
