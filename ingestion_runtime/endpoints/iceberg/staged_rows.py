"""The staged rows of a batch as SQL in this process: counted, and each key's newest.

Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, FloatType, IcebergType

from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot, duck_type
from ingestion_runtime.model.columns import CURSOR_RANK, NEXT_PREFIX, SLICE_COLUMN, is_ingest_column
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.tools.local_sql import file_list, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STAGED, _NEWEST, _BEST, _WINNERS = (f"ingest_{name}" for name in ("staged", "newest", "best", "winners"))
#: Where a row was staged: the place of its file in the payload, and its own in the file. No source has such columns.
STAGED_FILE, STAGED_ROW = "_ingest_file", "_ingest_row"
_PLACE = f"{STAGED_FILE}, {STAGED_ROW}"
# DuckDB's names for these.
_RESERVED = frozenset({"file_index", "file_row_number"})


class StagedRows:
    """The rows of a payload's files in a DuckDB session, in the columns and types of the table.

    ``schema`` is the table's, after it has grown to hold the payload. A column that the files lack arrives as NULL; one that
    gets another type goes to its sister (see ``NEXT_PREFIX``). One of these for a session: its views have fixed names.

    Raises UnfitSnapshot for columns of a type that never lands, or that are called like DuckDB's own.
    """

    def __init__(self, sql: "DuckDBPyConnection", payload: Payload, schema: Schema, table: TableSpec) -> None:
        self._sql = sql
        self._present = frozenset(payload.schema.names if payload.files else ())
        taken = sorted(name for name in self._present if name.lower() in _RESERVED)
        if taken:
            raise UnfitSnapshot(f"a column is called {taken[0]}")
        self._kinds: dict[str, IcebergType] = {field.name: field.field_type for field in schema.fields}
        self._table = table
        sql.execute(f"CREATE OR REPLACE VIEW {_STAGED} AS {self._read(payload.files)}")

    def count(self) -> Counts:
        """Count rows, distinct keys, and rows with a NULL in the key. Reads the key columns."""
        keys = self._table.primary_keys
        if not keys:
            rows = self._number(f"SELECT count(*) FROM {_STAGED}")
            return Counts(rows=rows, keys=rows, null_keys=0)
        listed = ", ".join(map(quote, keys))
        whole = " AND ".join(f"{quote(key)} IS NOT NULL" for key in keys)
        rows, complete = self._row(f"SELECT count(*), count(*) FILTER (WHERE {whole}) FROM {_STAGED}")
        distinct = self._number(f"SELECT count(*) FROM (SELECT DISTINCT {listed} FROM {_STAGED} WHERE {whole})")
        return Counts(rows=rows, keys=distinct, null_keys=rows - complete)

    def newest(self, counts: Counts) -> str:
        """Return the name of a view with each key's newest row, in the table's columns.

        The newest is that of the latest slice, then of the largest cursor, then the largest row: NULL is the smallest value
        and NaN the largest, and text and bytes are ordered by their bytes, as Spark orders them. Without a primary key, and
        where no key repeats, these are all rows.
        """
        placed = ", ".join(self._placed(column) for column in self._kinds)
        self._sql.execute(f"CREATE OR REPLACE VIEW {_NEWEST} AS SELECT {placed} FROM {self.newest_staged(counts)}")
        return _NEWEST

    def newest_staged(self, counts: Counts) -> str:
        """Return what may stand after FROM: the rows of ``newest`` as they were staged, and where."""
        if counts.rows == counts.keys or not self._table.primary_keys:
            return _STAGED
        self._find_winners()
        return f"(FROM {_STAGED} SEMI JOIN {_WINNERS} USING ({_PLACE}))"

    def _find_winners(self) -> None:
        """Sort only rows whose key repeats, by slice and cursor; by whole rows only where these are equal as well, for many
        whole rows do not fit into a small memory."""
        keys = ", ".join(map(quote, self._table.primary_keys))
        cursor = CURSOR_RANK if CURSOR_RANK in self._present else self._table.incremental_column
        # Columns one by one and not as a row: in a row DuckDB takes NULL for the largest value, Spark for the smallest.
        latest = _descending([SLICE_COLUMN, *([cursor] if cursor else [])])
        largest = _descending([column for column in self._kinds if not is_ingest_column(column)])
        repeated = f"(SELECT {keys} FROM {_STAGED} GROUP BY {keys} HAVING count(*) > 1)"
        self._sql.execute(
            f"CREATE OR REPLACE TABLE {_BEST} AS SELECT {_PLACE}, count(*) OVER (PARTITION BY {keys}) AS ties FROM ("
            f"SELECT {keys}, {_PLACE} FROM {_STAGED} SEMI JOIN {repeated} USING ({keys}) "
            f"QUALIFY rank() OVER (PARTITION BY {keys} ORDER BY {latest}) = 1)"
        )
        winners = (
            f"SELECT {_PLACE} FROM {_STAGED} ANTI JOIN {repeated} USING ({keys}) "
            f"UNION ALL SELECT {_PLACE} FROM {_BEST} WHERE ties = 1"
        )
        if self._number(f"SELECT count(*) FROM {_BEST} WHERE ties > 1"):
            winners += (
                f" UNION ALL SELECT {_PLACE} FROM {_STAGED} SEMI JOIN (FROM {_BEST} WHERE ties > 1) USING ({_PLACE}) "
                f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {largest}) = 1"
            )
        self._sql.execute(f"CREATE OR REPLACE TABLE {_WINNERS} AS {winners}")

    def _read(self, files: Sequence[str]) -> str:
        kinds = dict(self._kinds)
        for column, kind in self._kinds.items():
            if column.startswith(NEXT_PREFIX):
                kinds[column.removeprefix(NEXT_PREFIX)] = kind
        named = [
            f"{staged_value(column, kind, self._present)} AS {quote(column)}"
            for column, kind in kinds.items()
            if not column.startswith(NEXT_PREFIX)
        ]
        if CURSOR_RANK in self._present:
            named.append(quote(CURSOR_RANK))
        named += staged_place() if files else [f"CAST(NULL AS BIGINT) AS {name}" for name in (STAGED_FILE, STAGED_ROW)]
        return f"SELECT {', '.join(named)} {staged_source(files)}"

    def _placed(self, column: str) -> str:
        if column.startswith(NEXT_PREFIX):
            return f"{quote(column.removeprefix(NEXT_PREFIX))} AS {quote(column)}"
        if NEXT_PREFIX + column in self._kinds:
            return f"CAST(NULL AS {duck_type(self._kinds[column])}) AS {quote(column)}"
        return quote(column)

    def _row(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._sql.execute(query).fetchall()[0]
        return row

    def _number(self, query: str) -> int:
        return int(self._row(query)[0])


def staged_value(column: str, kind: IcebergType, present: frozenset[str]) -> str:
    """Return a column of staged files as an expression of the table's type: NULL where the files do not have it."""
    wanted = duck_type(kind)
    if column not in present:
        return f"CAST(NULL AS {wanted})"
    value = f"CAST({quote(column)} AS {wanted})"
    if isinstance(kind, FloatType | DoubleType):
        # Parquet's statistics leave NaN out, and DuckDB skips row groups by them all the same: a row whose key is NaN
        # would not be found. It cannot see through this.
        return f"CASE WHEN isnan({value}) THEN CAST('nan' AS {wanted}) ELSE {value} END"
    return value


def staged_place(first: int = 0) -> list[str]:
    """Return ``STAGED_FILE``, counted from ``first``, and ``STAGED_ROW`` as expressions over ``staged_source``."""
    return [f"file_index + {first} AS {STAGED_FILE}", f"file_row_number AS {STAGED_ROW}"]


def staged_source(files: Sequence[str]) -> str:
    """Return the FROM clause that reads staged files; no row where there are no files."""
    if not files:
        return "WHERE false"
    # hive_partitioning: a read that was divided leaves its files in directories called read=0, read=1.
    return f"FROM read_parquet({file_list(files)}, hive_partitioning = false)"


def _descending(columns: Sequence[str]) -> str:
    return ", ".join(f"{quote(column)} DESC NULLS LAST" for column in columns)
