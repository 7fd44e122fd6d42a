"""The Spark side of an Iceberg table: batches onto branches. Nothing here moves main."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingestion_runtime.model.batch import Batch
from ingestion_runtime.model.columns import CURSOR_RANK, SLICE_COLUMN, is_ingest_column
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.tools.spark import TableSession

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_STAGED = "ingest_staged"
_WINNERS = "ingest_winners"


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows in the staged files, distinct keys among them, and rows with a NULL key."""

    rows: int
    keys: int
    null_keys: int


class BranchWriter:
    """Writes batches of one table on branches, and counts what came of it."""

    def __init__(self, session: TableSession, catalog: str, identifier: tuple[str, ...], table: TableSpec) -> None:
        self._tables = session
        self._name = ".".join(map(quote, (catalog, *identifier)))
        self._table = table

    def create_branch(self, branch: str, base: str | None) -> None:
        """Create a branch at ``base``, or with an empty first snapshot where the table has none."""
        # By name and explicitly: reading a missing branch reads main, and spark.wap.branch may land on main.
        manage = self._java_table().manageSnapshots()
        (manage.createBranch(branch, int(base)) if base else manage.createBranch(branch)).commit()

    def write(self, batch: Batch, branch: str, payload: Payload, columns: tuple[str, ...], *, merge: bool) -> Counts:
        """Write the payload and return its counts: each key's newest row is merged, or all of it replaces the rows."""
        spark = self._tables.session()
        self._read(spark, payload, columns)
        counts = self._count_staged()
        # Choosing the newest rows sorts every row whole; counting keys moves only keys, and mostly finds nothing to do.
        unique = counts.rows == counts.keys or not self._table.primary_keys
        newest = f"SELECT * FROM {_STAGED}" if unique else self._winners_sql(columns, payload)
        spark.sql(newest).createOrReplaceTempView(_WINNERS)
        target = f"{self._name}.{quote(f'branch_{branch}')}"
        if merge:
            spark.sql(self._merge_sql(target, columns))
        else:
            from pyspark.sql import functions

            source = _WINNERS if batch.mode == "scd1" else _STAGED
            rows: DataFrame = spark.table(source).select(*map(quote, columns))
            rows.writeTo(target).overwrite(functions.lit(True))
        return counts

    def _count_staged(self) -> Counts:
        spark = self._tables.session()
        keys = self._table.primary_keys
        if not keys:
            rows = spark.table(_STAGED).count()
            return Counts(rows=rows, keys=rows, null_keys=0)
        listed = ", ".join(map(quote, keys))
        missing = " OR ".join(f"{quote(key)} IS NULL" for key in keys)
        row = _only(spark.sql(f"SELECT count(*), count(DISTINCT {listed}), count_if({missing}) FROM {_STAGED}"))
        return Counts(rows=int(row[0]), keys=int(row[1]), null_keys=int(row[2]))

    def count_touched(self, branch: str) -> int:
        """Count the branch's rows that carry a staged key, without the merge filter.

        A filter that misses the matching row makes MERGE insert a second one; only a count without it shows that.
        """
        spark = self._tables.session()
        keys = ", ".join(map(quote, self._table.primary_keys))
        branched = f"{self._name}.{quote(f'branch_{branch}')}"
        touched = f"SELECT count(*) FROM {branched} JOIN (SELECT DISTINCT {keys} FROM {_STAGED}) USING ({keys})"
        return int(_only(spark.sql(touched))[0])

    def _java_table(self) -> Any:
        spark = self._tables.session()
        jvm: Any = spark._jvm
        return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, self._name)

    def _read(self, spark: "SparkSession", payload: Payload, columns: tuple[str, ...]) -> None:
        staged = spark.read.parquet(*payload.files)
        present = set(staged.columns)
        for column in columns:
            if column not in present:
                # Allowed to be missing (the policy has judged that): it arrives as NULL.
                staged = staged.selectExpr("*", f"NULL AS {quote(column)}")
        staged.createOrReplaceTempView(_STAGED)

    def _winners_sql(self, columns: tuple[str, ...], payload: Payload) -> str:
        """Each key's newest row: the latest slice, then the largest cursor, then the largest row as a tie-break.

        A text cursor is ordered by the rank that the source gave it, because only the source knows its collation.
        """
        cursor = CURSOR_RANK if CURSOR_RANK in payload.schema.names else self._table.incremental_column
        data = [quote(column) for column in columns if not is_ingest_column(column)]
        order = [f"{quote(SLICE_COLUMN)} DESC"]
        if cursor:
            order.append(f"{quote(cursor)} DESC NULLS LAST")
        order.append(f"struct({', '.join(data)}) DESC")
        keys = ", ".join(map(quote, self._table.primary_keys))
        return (
            f"SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {', '.join(order)}) AS ingest_place "
            f"FROM {_STAGED}) WHERE ingest_place = 1"
        )

    def _merge_sql(self, target: str, columns: tuple[str, ...]) -> str:
        keys = self._table.primary_keys
        on = [f"t.{quote(key)} = s.{quote(key)}" for key in keys]
        if self._table.merge_filter:
            on.append(f"({qualify(self._table.merge_filter, 't')})")
        data = [column for column in columns if column not in keys and not is_ingest_column(column)]
        same = " AND ".join(f"t.{quote(column)} <=> s.{quote(column)}" for column in data) or "true"
        assign = ", ".join(f"t.{quote(column)} = s.{quote(column)}" for column in columns if column not in keys)
        return (
            f"MERGE INTO {target} t USING {_WINNERS} s ON {' AND '.join(on)} "
            f"WHEN MATCHED AND NOT ({same}) THEN UPDATE SET {assign} "
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(map(quote, columns))}) "
            f"VALUES ({', '.join(f's.{quote(column)}' for column in columns)})"
        )


def _only(frame: "DataFrame") -> "Row":
    return frame.collect()[0]


def quote(name: str) -> str:
    """Return an identifier as Spark SQL quotes it."""
    return "`" + name.replace("`", "``") + "`"


def qualify(condition: str, alias: str) -> str:
    """Return a Spark SQL condition in which every column belongs to ``alias``."""
    import sqlglot  # 0.4 s, which an idle run need not pay
    from sqlglot import exp

    parsed = sqlglot.parse_one(condition, read="spark")
    for column in parsed.find_all(exp.Column):
        column.set("table", exp.to_identifier(alias))
    return parsed.sql(dialect="spark")
