"""Compared rows in this process: DuckDB over Parquet files, within the memory of one table."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingestion_runtime.endpoints import spelling
from ingestion_runtime.endpoints.compared_rows import LEFT_OUT_HASH, NAME, Item, Spelling, SqlRows
from ingestion_runtime.model.comparison import Basis
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.tools.local_sql import LocalSql, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CLEAN, _TOUCHED, _GONE, _LEFT_OUT, _NAMED = (f"ingest_{name}" for name in ("clean", "touched", "gone", "left_out", "named"))
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class DuckSource:
    """Rows in DuckDB's SQL, each a query: those of files from which nothing was deleted; and those of the others, with the
    columns ``place`` that ``gone`` has too, by which the deleted ones are told."""

    clean: str
    touched: str | None = None
    gone: str | None = None
    place: tuple[str, ...] = ()


@contextmanager
def duck_rows(
    tool: LocalSql, source: DuckSource, basis: Basis, left_out: Iterator[pa.RecordBatch] | None
) -> Iterator[SqlRows]:
    """Lend the rows of a source in a session of their own, without those whose key's hash is left out.

    Raises, from whatever is asked within it, OutgrownError and TransientError as ``LocalSql`` does, and TerminalError for
    files that cannot be read.
    """
    with tool.session() as sql:
        yield SqlRows(_DuckEngine(sql, source, left_out), basis)


class _DuckEngine:
    """Implements ``RowEngine``. What it makes are views and tables of the database and not of the connection, so that every
    answer can be a stream of its own."""

    def __init__(self, sql: "DuckDBPyConnection", source: DuckSource, left_out: Iterator[pa.RecordBatch] | None) -> None:
        self._sql = sql
        self._touched = source.touched is not None
        self._place = ", ".join(source.place)
        with _named():
            sql.execute(f"CREATE VIEW {_CLEAN} AS {source.clean}")
            if self._touched:
                sql.execute(f"CREATE VIEW {_TOUCHED} AS {source.touched}")
                sql.execute(f"CREATE TABLE {_GONE} AS {source.gone}")
        self._left_out = self._leave_out(left_out)

    @property
    def spelling(self) -> Spelling:
        return spelling

    def quote(self, name: str) -> str:
        return quote(name)

    def living(self, items: Sequence[Item], condition: str | None) -> str:
        listed = ", ".join(f"{expression} AS {name}" for name, expression in items)
        where = f" WHERE {condition}" if condition else ""
        clean = f"SELECT {listed} FROM {_CLEAN}{where}"
        if not self._touched:
            return clean
        names = ", ".join(name for name, _ in items)
        touched = f"SELECT {listed}, {self._place} FROM {_TOUCHED}{where}"
        return f"{clean} UNION ALL SELECT {names} FROM ({touched}) AS touched ANTI JOIN {_GONE} USING ({self._place})"

    def left_out(self) -> str | None:
        return _LEFT_OUT if self._left_out else None

    def name(self, names: Collection[str]) -> str:
        self._sql.execute(f"CREATE OR REPLACE TABLE {_NAMED} AS SELECT unnest($1) AS {NAME}", [sorted(names)])
        return f"SELECT {NAME} FROM {_NAMED}"

    def run(self, query: str) -> Iterator[tuple[Any, ...]]:
        with self._sql.cursor() as cursor, _named():
            for batch in cursor.sql(query).to_arrow_reader(_BATCH_ROWS):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _leave_out(self, batches: Iterator[pa.RecordBatch] | None) -> bool:
        """Put hashes into a table, on this thread, to which a source's cursor may belong. False: there are none."""
        if batches is None:
            return False
        self._sql.execute(f"CREATE TABLE {_LEFT_OUT} ({LEFT_OUT_HASH} VARCHAR)")
        for batch in batches:
            self._sql.register("ingest_batch", pa.Table.from_batches([batch]))
            self._sql.execute(f"INSERT INTO {_LEFT_OUT} SELECT key_hash FROM ingest_batch")
            self._sql.unregister("ingest_batch")
        ((rows,),) = self._sql.execute(f"SELECT count(*) FROM {_LEFT_OUT}").fetchall()
        return bool(rows)


@contextmanager
def _named() -> Iterator[None]:
    """Name what DuckDB says of files; that it ran out of memory is for the session to name."""
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise TerminalError(
            f"Files of the table cannot be read: {str(error).partition(chr(10))[0].rstrip('.')}.",
            remedy="Restore them, or load the table anew with --reload.",
        ) from error
