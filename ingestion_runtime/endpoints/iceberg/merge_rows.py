"""Which rows of a snapshot a batch meets, as SQL in this process: keys against keys, and nothing else is read.

Whole rows never pass through SQL: of wide rows it holds too many at a time for a small memory. The tables made here are
narrow, spill to disk, and are seen by the session's cursors. Imported only when rows are merged in this process: pyiceberg
costs 1.2 s.
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
from ingestion_runtime.endpoints.iceberg.staged_rows import (
    STAGED_FILE,
    STAGED_ROW,
    StagedRows,
    staged_place,
    staged_source,
    staged_value,
)
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Buried, Payload
from ingestion_runtime.tools.local_sql import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A row's place in the snapshot as one number: that of its file, shifted, and its own in the file.
FILE_BITS = 40

_FILES, _KEYS, _MET, _FATES, _DEAD = (f"ingest_{name}" for name in ("files", "keys", "met", "fates", "dead"))
_STAGED_PLACE = f"{STAGED_FILE}, {STAGED_ROW}"
_FETCHED_ROWS = 65_536


class MergeRows:
    """The keys of a batch, and the rows of a snapshot that carry them.

    Files are known by their place in ``files``, staged rows by file and row as in ``StagedRows``, those of tombstones behind
    the others. A NULL in a key meets nothing; NaN meets NaN and -0.0 meets 0.0, as in Spark.
    """

    def __init__(
        self, sql: "DuckDBPyConnection", spec: TableSpec, schema: Schema, payload: Payload, files: Sequence[SnapshotFile]
    ) -> None:
        self._sql = sql
        self._spec = spec
        self._schema = schema
        self._payload = payload
        self._files = files
        self._staged = StagedRows(sql, payload, schema, spec)
        self.counts = self._staged.count()
        names = [field.name for field in schema.fields]
        # Under short names: a column may have any.
        self._keys = [names.index(key) for key in spec.primary_keys]
        self._using = ", ".join(f"c{place}" for place in self._keys)
        # Rows that are marked as deleted stand there, and nobody sees them.
        self._marked = spec.deletes is Deletes.SOFT and DELETED_AT in names
        self._live = f"{quote(DELETED_AT)} IS NULL" if self._marked else "true"

    def meet(self) -> tuple[int, ...]:
        """Find the rows that carry a key of the batch; return the files that hold some, in order."""
        self._add_keys()
        add_files(self._sql, _FILES, self._schema, self._keys, self._files)
        candidates = [self._files[number] for number in files_in_bounds(self._sql, _FILES, _KEYS, self._keys)]
        stood = self._stood(candidates, [self._schema.fields[place].name for place in self._keys])
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_MET} AS SELECT number, (number::BIGINT << {FILE_BITS}) | place AS code, live, gone, "
            f"{_STAGED_PLACE} FROM ({stood}) JOIN {_KEYS} USING ({self._using}) JOIN {_FILES} USING (path)"
        )
        return tuple(number for (number,) in self._rows(f"SELECT DISTINCT number FROM {_MET} ORDER BY 1"))

    def arrange(self) -> None:
        """Put what becomes of the staged rows in their order; ``fates`` and ``dead`` need it."""
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_FATES} AS SELECT {_STAGED_PLACE}, gone, code FROM ("
            f"SELECT {_STAGED_PLACE}, gone, code FROM {_MET} UNION ALL "
            f"SELECT {_STAGED_PLACE}, gone, NULL FROM {_KEYS} ANTI JOIN {_MET} USING ({_STAGED_PLACE}) WHERE NOT gone"
            f") ORDER BY {_STAGED_PLACE}"
        )
        files = [number for (number,) in self._rows(f"SELECT DISTINCT number FROM {_MET}")]
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_DEAD} AS SELECT (number::BIGINT << {FILE_BITS}) | place AS code "
            f"FROM ({self._dead_places(files)}) ORDER BY 1"
        )

    def codes(self) -> Iterator[pa.Array]:
        """The places of all rows that are met, in ascending order."""
        query = f"SELECT code FROM {_MET} ORDER BY code"
        for batch in self._sql.sql(query).to_arrow_reader(_FETCHED_ROWS):
            yield batch.column(0)

    def cursor(self) -> "MergeCursor":
        """Return what reads the arranged rows; each thread needs one of its own."""
        return MergeCursor(self._sql.cursor())

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
        return self._number(f"SELECT count(*) FROM ({self._dead_places(files)})")

    def _dead_places(self, files: Collection[int]) -> str:
        deletes = sorted({path for number in files for path in self._files[number].deletes})
        if not deletes:
            return "SELECT 0 AS number, 0 AS place WHERE false"
        return (
            f"SELECT DISTINCT number, {PLACE_COLUMN} AS place FROM ({deleted_places(deletes)}) "
            f"JOIN {_FILES} ON path = {FILE_COLUMN} WHERE number IN ({', '.join(map(str, files))})"
        )

    def _add_keys(self) -> None:
        fields = [(place, self._schema.fields[place]) for place in self._keys]
        named = ", ".join(f"{quote(field.name)} AS c{place}" for place, field in fields)
        whole = " AND ".join(f"c{place} IS NOT NULL" for place in self._keys)
        # Rows with a NULL in the key are refused in the end; until then they meet nothing, and are inserts.
        query = f"SELECT {named}, {_STAGED_PLACE}, false AS gone FROM {self._staged.newest_staged(self.counts)}"
        tombstones = self._payload.tombstones
        if tombstones:
            present = frozenset(self._spec.primary_keys)
            read = [f"{staged_value(field.name, field.field_type, present)} AS c{place}" for place, field in fields]
            listed = ", ".join([*read, *staged_place(len(self._payload.files)), "true AS gone"])
            query += f" UNION ALL SELECT DISTINCT ON ({self._using}) * FROM (SELECT {listed} {staged_source(tombstones)})"
        self._sql.execute(f"CREATE OR REPLACE TABLE {_KEYS} AS {query}")
        if tombstones:
            both = f"SELECT 1 FROM {_KEYS} WHERE {whole} GROUP BY {self._using} HAVING count(*) > 1"
            self._refuse_both(self._number(f"SELECT count(*) FROM ({both})"))

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

    def __init__(self, sql: "DuckDBPyConnection") -> None:
        self._sql = sql
        self._any_dead = bool(sql.execute(f"SELECT 1 FROM {_DEAD} LIMIT 1").fetchall())

    def fates(self, file: int, start: int, stop: int) -> pa.Table:
        """Return what becomes of the staged rows ``start`` up to ``stop`` (not included) of a file, in their order: ``row``,
        ``gone``, and in ``code`` the place of the row that each meets, NULL where there is none. Rows that others of their
        key are newer than are left out."""
        found: pa.Table = self._sql.sql(
            f"SELECT {STAGED_ROW} AS row, gone, code FROM {_FATES} "
            f"WHERE {STAGED_FILE} = {file} AND {STAGED_ROW} >= {start} AND {STAGED_ROW} < {stop} ORDER BY {STAGED_ROW}"
        ).to_arrow_table()
        return found

    def dead(self, number: int, start: int, stop: int) -> pa.Array:
        """Return the places among these rows of a file that position deletes name, counted from ``start``, ascending."""
        if not self._any_dead:
            return pa.array([], pa.int64())
        first, last = (number << FILE_BITS) | start, (number << FILE_BITS) | stop
        query = f"SELECT code - {first} AS place FROM {_DEAD} WHERE code >= {first} AND code < {last} ORDER BY 1"
        found: pa.Table = self._sql.sql(query).to_arrow_table()
        return found["place"].combine_chunks()


def _not_in(numbers: Collection[int]) -> str:
    return f" AND number NOT IN ({', '.join(map(str, numbers))})" if numbers else ""
