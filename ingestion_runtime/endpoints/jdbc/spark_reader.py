"""Spark as a reader: rows come over JDBC, and executors write the files."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn, find_column, spark_type
from ingestion_runtime.endpoints.jdbc.cuts import ColumnRows, cut_conditions, partition_line
from ingestion_runtime.endpoints.jdbc.database import Snapshot
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.faults import translate_java
from ingestion_runtime.endpoints.jdbc.masking import spark_masked
from ingestion_runtime.endpoints.jdbc.spark_progress import followed
from ingestion_runtime.endpoints.jdbc.sql import PARTITION_ALIAS, RANK_ALIAS, extraction
from ingestion_runtime.model.columns import (
    CURSOR_RANK,
    LOAD_DATE_COLUMN,
    LOADED_AT_COLUMN,
    RUN_COLUMN,
    SLICE_COLUMN,
    SOURCE_COLUMN,
)
from ingestion_runtime.model.endpoint import IngestColumns, Reading
from ingestion_runtime.model.errors import IngestionError, OversizedReadError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FIELD_ID = "parquet.field.id"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: tuple[str, ...] = ("1 = 1",)
# More than two cores can use: the last part that is read does not keep one of them waiting for long.
_CONNECTIONS = 4
_FILES = {
    # As the in-process engine writes them: statistics that tell apart what a merge touches, and the fastest level.
    "parquet.block.row.count.limit": "262144",
    "parquet.compression.codec.zstd.level": "1",
}


class SessionProvider(Protocol):
    """Gives the Spark session of the table that is being read; starts Spark when it is first asked."""

    def session(self) -> "SparkSession": ...


@dataclass(frozen=True, slots=True)
class SparkReader:
    """Reads extracts with Spark. Implements ``Reader``."""

    sessions: SessionProvider
    compression: str = "zstd"
    testifies: ClassVar[bool] = False  # its connections are its own
    judges: ClassVar[bool] = False  # a driver reads 'abc' as 0, and Spark casts

    def prepare(self) -> None:
        """Start Spark: a JVM takes seconds, which no snapshot of the source has to wait for."""
        self.sessions.session()

    def read(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None, directory: str) -> None:
        """Write the rows of a condition into a directory; see ``Reader.read``."""
        try:
            queries = _queries(extract, snapshot, condition)
            at_once = snapshot.readers(_count(queries))
            with snapshot.read_elsewhere(at_once):
                frame = self._frame(extract, snapshot, queries, at_once)
                written = frame.write.mode("errorifexists").options(**_FILES, compression=self.compression)
                with followed(self.sessions.session().sparkContext, extract.meter):
                    written.parquet(directory)
        except IngestionError:
            raise
        except Exception as error:
            ours = translate_java(error, extract.database)
            if not snapshot.shared and not isinstance(ours, OversizedReadError):
                extract.refuse_bad_values(snapshot)  # one may have come after the check: name it
            if ours is None:
                raise
            raise ours from None

    def foresee(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None) -> Reading:
        """Return the statements of a read, as Spark puts them together; it runs as many at once as it has cores."""
        text = extract.database.dialect.jdbc_text
        cut = [(query, part) for query, parts in _queries(extract, snapshot, condition) for part in parts]
        statements = tuple(f"SELECT * FROM ({text(query)}) ingest_q WHERE {text(part)}" for query, part in cut)
        return Reading(statements, len(statements))

    def discard(self, directory: str) -> None:
        """Remove a directory wherever Spark would have written it."""
        session = self.sessions.session()
        jvm: Any = session.sparkContext._jvm
        path = jvm.org.apache.hadoop.fs.Path(directory)
        path.getFileSystem(session.sparkContext._jsc.hadoopConfiguration()).delete(path, True)

    def _frame(self, extract: JdbcExtract, snapshot: Snapshot, queries: "_Queries", at_once: int) -> "DataFrame":
        from pyspark.sql import functions as F  # noqa: N812 - its usual name; probing runs without Spark

        dialect = extract.database.dialect
        url = dialect.jdbc(extract.database.spec).url
        session = self.sessions.session()
        extract.meter.opened(min(at_once, session.sparkContext.defaultParallelism))
        reader = session.read.options(**_options(extract, snapshot.join or dialect.lone_session))
        frames = [
            reader.jdbc(url, f"({dialect.jdbc_text(query)}) ingest_q", predicates=list(map(dialect.jdbc_text, conditions)))
            for query, conditions in queries
        ]
        frame = reduce(lambda above, below: above.unionAll(below), frames)
        if at_once < _count(queries):
            frame = frame.coalesce(at_once)  # each task then reads several parts, one after the other
        landed = [F.expr(_converted(extract, c, f"c{place}")).alias(c.name) for place, c in enumerate(extract.columns)]
        landed += [F.lit(None).cast(spark_type(f.type)).alias(f.name) for f in extract.missing]
        landed += [F.col(RANK_ALIAS).alias(CURSOR_RANK)] if extract.ranked else []
        frame = frame.select(*landed)
        frame = with_ingest_cols(frame, extract.ingest) if extract.ingest else frame
        return with_field_ids(frame, extract.field_ids) if extract.field_ids else frame


def _converted(extract: JdbcExtract, column: SourceColumn, name: str) -> str:
    """Return what a column is written as, by its name in the query."""
    mask, landed = extract.masks.get(column.name), column.convert.format(name)
    return landed if mask is None else spark_masked(mask, landed)


_Queries = list[tuple[str, tuple[str, ...]]]


def _count(queries: _Queries) -> int:
    """Return how many connections would read at once, had Spark a core for each."""
    return sum(len(conditions) for _, conditions in queries)


def _queries(extract: JdbcExtract, snapshot: Snapshot, condition: str | None) -> _Queries:
    """Return the queries that together give every row once, and the conditions over each: a connection for every one."""
    dialect, table, split = extract.database.dialect, extract.table, extract.table.partition_read
    column: SourceColumn | None = None
    conditions, parts = _EVERYTHING, [condition]
    # Without a snapshot to share, several connections would read several states: one reads all.
    if snapshot.shared and split is not None:
        column = find_column(extract.columns, split.column, "partition_read", table.name)
        rows = ColumnRows(snapshot.connection, dialect, table, partition_line(column, split), condition)
        conditions = cut_conditions(rows, split.partitions, PARTITION_ALIAS)
    elif snapshot.shared and not extract.ranked:  # a rank is that among all rows
        cuts = dialect.scan_parts(snapshot.connection, table, condition, _CONNECTIONS)
        parts = [f"({condition}) AND ({cut})" if condition else cut for cut in cuts] or parts
    made = [extraction(dialect, table, extract.columns, part, ranked=extract.ranked, partitioned=column) for part in parts]
    return [(query, conditions) for query in made]


def _options(extract: JdbcExtract, join: str | None) -> Mapping[str, str]:
    spec = extract.database.spec
    target = extract.database.dialect.jdbc(spec)
    read_as = [f"c{place} {column.read_as}" for place, column in enumerate(extract.columns)]
    read_as += [f"{RANK_ALIAS} BIGINT"] if extract.ranked else []
    options: dict[str, str] = {
        **dict(target.options),
        "driver": target.driver,
        "fetchsize": str(extract.table.fetch_size),
        "customSchema": ", ".join(read_as),
    }
    if spec.user is not None:
        options["user"] = spec.user
    if spec.password is not None:
        options["password"] = spec.password.resolve()
    if join is not None:
        options["sessionInitStatement"] = join
    return options


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


def with_field_ids(frame: "DataFrame", ids: Mapping[str, int]) -> "DataFrame":
    """Return ``frame`` with the ids that its columns carry in Parquet files; a column without one is left as it is."""
    from pyspark.sql import functions as F  # noqa: N812 - as above

    named = [(name, F.col(f"`{name.replace('`', '``')}`")) for name in frame.columns]
    return frame.select(
        *(column.alias(name, metadata={_FIELD_ID: ids[name]}) if name in ids else column for name, column in named)
    )
