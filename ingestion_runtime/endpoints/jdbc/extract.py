"""Rows of a relational source on their way to Parquet files, read by Spark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import (
    RawColumn,
    SourceColumn,
    arrow_schema,
    find_column,
    spark_type,
)
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, cut_conditions, partition_line
from ingestion_runtime.endpoints.jdbc.database import Database, Snapshot
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.divided import Divisible, read_divided
from ingestion_runtime.endpoints.jdbc.faults import translate_java
from ingestion_runtime.endpoints.jdbc.profile import fit
from ingestion_runtime.endpoints.jdbc.sql import PARTITION_ALIAS, RANK_ALIAS, Cursor, bad_values, extraction
from ingestion_runtime.model.columns import (
    CURSOR_RANK,
    LOAD_DATE_COLUMN,
    LOADED_AT_COLUMN,
    RUN_COLUMN,
    SLICE_COLUMN,
    SOURCE_COLUMN,
)
from ingestion_runtime.model.endpoint import IngestColumns, OnSplit, Shape
from ingestion_runtime.model.errors import IngestionError, OversizedReadError, TerminalError
from ingestion_runtime.model.spec import TableSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: tuple[str, ...] = ("1 = 1",)


class SessionProvider(Protocol):
    """Gives the Spark session of the table that is being read; starts Spark when it is first asked."""

    def session(self) -> "SparkSession": ...


@dataclass(frozen=True, slots=True)
class JdbcReader:
    """How extracts are read and written: the session they run in and the compression of their files."""

    sessions: SessionProvider
    compression: str = "zstd"


@dataclass(frozen=True, slots=True)
class JdbcExtract:
    """The rows of one slice. Nothing is read before ``write_parquet``.

    With ``ranked`` (a text cursor) the files carry one more column, ``_ingest_cursor_rank``: the row's place in the
    source's own order of cursor values, for no one else can tell which of two texts is newer.

    A read that fails for its size is cut in two along ``divided_by`` and tried again; without that column it fails.
    ``confirm`` is called after the last row: it raises where the rows were not read as they stood.
    """

    table: TableSpec
    columns: tuple[SourceColumn, ...]
    condition: str | None
    database: Database
    reader: JdbcReader
    ranked: Cursor | None = None
    missing: tuple[pa.Field, ...] = ()
    ingest: IngestColumns | None = None
    divided_by: Cursor | None = None
    on_split: OnSplit | None = None
    raw: Mapping[str, RawColumn] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    confirm: Callable[[], None] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns as they will land, without the housekeeping columns. Needs neither a JVM nor the source."""
        schema = arrow_schema(self.columns)
        for added in self.missing:
            schema = schema.append(pa.field(added.name, added.type))
        return schema

    def with_missing(self, fields: tuple[pa.Field, ...]) -> "JdbcExtract":
        """Return the same rows with these columns added as NULL."""
        return replace(self, missing=self.missing + fields)

    def shaped(self, shape: Shape) -> "JdbcExtract":
        """Return the same rows in another shape; raises TerminalError for a type in which a column cannot land."""
        landing = {item.name: item.type for item in shape.landing}
        dialect, name = self.database.dialect, self.table.name
        columns = tuple(
            fit(dialect, self.raw[column.name], landing[column.name], name) if column.name in landing else column
            for column in self.columns
            if column.name not in shape.skipped
        )
        return replace(self, columns=columns, missing=self.missing + shape.missing, renamed=dict(shape.renamed))

    def with_ingest_cols(self, columns: IngestColumns) -> "JdbcExtract":
        """Return the same rows with the housekeeping columns added."""
        return replace(self, ingest=columns)

    def write_parquet(self, directory: str) -> None:
        """Read the rows and write them as Parquet files into ``directory``, which must not exist yet.

        All parts of it read one view of the source where the engine can share one. Raises TerminalError, before anything
        is written, when a value at the source cannot land exactly, and OversizedReadError for too many rows.
        """
        session = self.reader.sessions.session()  # before the snapshot: a JVM takes seconds to start
        with self.database.snapshot() as snapshot:
            self._refuse_bad_values(snapshot)
            steps = Divisible(
                read=lambda condition, place: self._write(session, snapshot, condition, place),
                halve=lambda condition: self._halve(snapshot, condition),
                discard=lambda place: _discard(session, place),
                on_split=self.on_split,
            )
            read_divided(steps, self.condition, directory)
        if self.confirm is not None:
            self.confirm()

    def _write(self, session: "SparkSession", snapshot: Snapshot, condition: str | None, directory: str) -> None:
        try:
            frame = self._frame(session, snapshot, condition)
            frame.write.mode("errorifexists").option("compression", self.reader.compression).parquet(directory)
        except IngestionError:
            raise
        except Exception as error:
            ours = translate_java(error, self.database)
            if snapshot.join is None and not isinstance(ours, OversizedReadError):
                self._refuse_bad_values(snapshot)  # one may have come after the check: name it
            if ours is None:
                raise
            raise ours from None

    def _halve(self, snapshot: Snapshot, condition: str | None) -> tuple[str, str] | str:
        """Return the conditions of two halves, or why there are none."""
        line = self.divided_by
        if line is None:
            return "there is no column along which it could be"
        rows = ColumnRows(snapshot.connection, self.database.dialect, self.table, line, condition)
        try:
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

    def _refuse_bad_values(self, snapshot: Snapshot) -> None:
        judged = [column for column in self.columns if column.bad_when]
        if not judged:
            return
        (counts,) = fetch(snapshot.connection, bad_values(self.database.dialect, self.table, judged, self.condition))
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

    def _frame(self, session: "SparkSession", snapshot: Snapshot, condition: str | None) -> "DataFrame":
        from pyspark.sql import functions as F  # noqa: N812 - its usual name; probing runs without Spark

        dialect, split = self.database.dialect, self.table.partition_read
        column: SourceColumn | None = None
        conditions = _EVERYTHING
        # Without a snapshot to share, several connections would read several states: one reads all.
        if split is not None and dialect.shares_snapshots:
            column = find_column(self.columns, split.column, "partition_read", self.table.name)
            rows = ColumnRows(snapshot.connection, dialect, self.table, partition_line(column, split), condition)
            conditions = cut_conditions(rows, split.partitions, PARTITION_ALIAS)
        query = extraction(dialect, self.table, self.columns, condition, ranked=self.ranked, partitioned=column)
        target = dialect.jdbc(self.database.spec)
        frame = session.read.options(**self._options(snapshot.join)).jdbc(
            target.url, f"({dialect.jdbc_text(query)}) ingest_q", predicates=list(map(dialect.jdbc_text, conditions))
        )
        landed = [F.expr(c.convert.format(f"c{place}")).alias(c.name) for place, c in enumerate(self.columns)]
        landed += [F.lit(None).cast(spark_type(f.type)).alias(f.name) for f in self.missing]
        landed += [F.col(RANK_ALIAS).alias(CURSOR_RANK)] if self.ranked else []
        frame = frame.select(*landed)
        return with_ingest_cols(frame, self.ingest) if self.ingest else frame

    def _options(self, join: str | None) -> Mapping[str, str]:
        spec = self.database.spec
        target = self.database.dialect.jdbc(spec)
        read_as = [f"c{place} {column.read_as}" for place, column in enumerate(self.columns)]
        read_as += [f"{RANK_ALIAS} BIGINT"] if self.ranked else []
        options: dict[str, str] = {
            **dict(target.options),
            "driver": target.driver,
            "fetchsize": str(self.table.fetch_size),
            "customSchema": ", ".join(read_as),
        }
        if spec.user is not None:
            options["user"] = spec.user
        if spec.password is not None:
            options["password"] = spec.password.resolve()
        if join is not None:
            options["sessionInitStatement"] = join
        return options


def _discard(session: "SparkSession", directory: str) -> None:
    """Remove a directory wherever Spark would have written it."""
    jvm: Any = session.sparkContext._jvm
    path = jvm.org.apache.hadoop.fs.Path(directory)
    path.getFileSystem(session.sparkContext._jsc.hadoopConfiguration()).delete(path, True)


def with_ingest_cols(frame: "DataFrame", columns: IngestColumns) -> "DataFrame":
    """Return ``frame`` with run id, load date, load timestamp, source and slice added to every row."""
    from pyspark.sql import functions as F  # noqa: N812 - as above

    micros = (columns.loaded_at - _EPOCH) // timedelta(microseconds=1)
    added: dict[str, Any] = {
        RUN_COLUMN: F.lit(columns.run_id),
        LOAD_DATE_COLUMN: F.lit(columns.load_date.isoformat()).cast("date"),
        LOADED_AT_COLUMN: F.timestamp_micros(F.lit(micros)),
        SOURCE_COLUMN: F.lit(columns.source),
        SLICE_COLUMN: F.lit(columns.slice),
    }
    return frame.withColumns(added)
