"""The Spark side of an Iceberg table: batches onto branches. Nothing here moves main."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.model.batch import Batch
from ingestion_runtime.model.columns import (
    CURSOR_RANK,
    DELETED_AT,
    LOAD_DATE_COLUMN,
    LOADED_AT_COLUMN,
    NEXT_PREFIX,
    RUN_COLUMN,
    SLICE_COLUMN,
    SOURCE_COLUMN,
    is_ingest_column,
)
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Buried, Payload
from ingestion_runtime.tools.spark import TableSession

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

_STAGED = "ingest_staged"
_WINNERS = "ingest_winners"
_TOMBSTONES = "ingest_tombstones"
_MERGED = "ingest_merged"
_GONE = "ingest_gone"


@dataclass(frozen=True, slots=True)
class Added:
    """Rows that were added; and, where they took the place of others, of the ``before`` rows those ``removed``, and on the
    branch those ``found`` in their place, and all of them."""

    rows: int
    before: int
    removed: int
    found: int
    total: int


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
            if payload.deleted:
                self._add_tombstones(spark, payload)
            spark.sql(self._merge_sql(target, columns, self._kept(payload, columns), buries=bool(payload.deleted)))
        else:
            from pyspark.sql import functions

            source = _WINNERS if batch.mode == "scd1" else _STAGED
            rows: DataFrame = spark.table(source).selectExpr(*(_placed(column, columns) for column in columns))
            rows.writeTo(target).overwrite(functions.lit(True))
        return counts

    def add(self, branch: str, payload: Payload, columns: tuple[str, ...], inside: str | None) -> Added:
        """Add the payload, in place of the rows that meet the condition ``inside``, if there is one; return its counts."""
        spark = self._tables.session()
        self._read(spark, payload, columns)
        target = f"{self._name}.{quote(f'branch_{branch}')}"
        before = removed = 0
        if inside is not None:
            stood = spark.table(self._name)
            before, removed = stood.count(), stood.where(inside).count()
            if removed:
                spark.sql(f"DELETE FROM {target} WHERE {inside}")
        rows = spark.table(_STAGED).count()
        spark.table(_STAGED).selectExpr(*map(quote, columns)).writeTo(target).append()
        if inside is None:
            return Added(rows, before, removed, rows, 0)
        stands = spark.table(target)
        return Added(rows, before, removed, stands.where(inside).count(), stands.count())

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
        # Tombstones may be all there is.
        staged = spark.read.parquet(*payload.files) if payload.files else spark.table(self._name).limit(0)
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

    def _add_tombstones(self, spark: "SparkSession", payload: Payload) -> None:
        """Show winners and tombstones as one source: one MERGE makes one snapshot. No key is in both."""
        gone = spark.read.parquet(*payload.tombstones)
        gone.createOrReplaceTempView(_TOMBSTONES)
        winners = spark.sql(f"SELECT *, false AS {_GONE} FROM {_WINNERS}")
        merged = winners.unionByName(gone.selectExpr("*", f"true AS {_GONE}"), allowMissingColumns=True)
        merged.createOrReplaceTempView(_MERGED)

    def count_buried(self, branch: str, payload: Payload) -> Buried:
        """Measure a branch with tombstones against main, by scans of the key columns."""
        spark = self._tables.session()
        keys = ", ".join(map(quote, self._table.primary_keys))
        mark = quote(DELETED_AT)
        soft = self._table.deletes is Deletes.SOFT
        branched = f"{self._name}.{quote(f'branch_{branch}')}"
        stood = spark.table(self._name)
        marked = soft and DELETED_AT in stood.columns  # not before the first batch with soft deletes
        (stood.where(f"{mark} IS NULL") if marked else stood).createOrReplaceTempView("ingest_stood")
        live = f"SELECT {keys} FROM {branched}" + (f" WHERE {mark} IS NULL" if soft else "")
        gone, staged = f"SELECT DISTINCT {keys} FROM {_TOMBSTONES}", f"SELECT DISTINCT {keys} FROM {_STAGED}"
        met = "SELECT count(*), count(ingest_met) FROM {} LEFT JOIN (SELECT *, true AS ingest_met FROM ({})) USING ({})"
        tombstones, brought = (_only(spark.sql(f"SELECT count(*) FROM ({those})"))[0] for those in (gone, staged))
        now, alive = _only(spark.sql(met.format(f"({live})", gone, keys)))
        before, known = _only(spark.sql(met.format("ingest_stood", staged, keys)))
        return Buried(tombstones, alive, now, before + brought - known - payload.deleted)

    def _kept(self, payload: Payload, columns: tuple[str, ...]) -> frozenset[str]:
        """Return the columns that a merge leaves as they are: gone at the source, and the policy says to ignore that."""
        if self._table.policy.dropped is not OnChange.IGNORE:
            return frozenset()
        return frozenset(c for c in columns if c not in payload.schema.names and not is_ingest_column(c))

    def _merge_sql(self, target: str, columns: tuple[str, ...], kept: frozenset[str], *, buries: bool) -> str:
        keys = self._table.primary_keys
        on = [f"t.{quote(key)} = s.{quote(key)}" for key in keys]
        if self._table.merge_filter and not buries:
            # A filter picks partitions by the batch's own rows; a deleted row may be anywhere.
            on.append(f"({qualify(self._table.merge_filter, 't')})")
        data = [column for column in columns if column not in keys and column not in kept and not is_ingest_column(column)]
        equal = [f"t.{quote(column)} <=> s.{quote(column)}" for column in data]
        if DELETED_AT in columns:
            equal.append(f"t.{quote(DELETED_AT)} IS NULL")  # a row that came back is live again, even if it is the same
        same = " AND ".join(equal) or "true"
        assign = ", ".join(f"t.{quote(column)} = s.{quote(column)}" for column in columns if column not in {*keys, *kept})
        return (
            f"MERGE INTO {target} t USING {_MERGED if buries else _WINNERS} s ON {' AND '.join(on)} "
            f"{self._bury_sql() if buries else ''}"
            f"WHEN MATCHED AND NOT ({same}) THEN UPDATE SET {assign} "
            f"WHEN NOT MATCHED {f'AND NOT s.{_GONE} ' if buries else ''}THEN INSERT ({', '.join(map(quote, columns))}) "
            f"VALUES ({', '.join(f's.{quote(column)}' for column in columns)})"
        )

    def _bury_sql(self) -> str:
        if self._table.deletes is Deletes.HARD:
            return f"WHEN MATCHED AND s.{_GONE} THEN DELETE "
        told = (RUN_COLUMN, LOAD_DATE_COLUMN, LOADED_AT_COLUMN, SOURCE_COLUMN, SLICE_COLUMN)
        assign = ", ".join(f"t.{quote(column)} = s.{quote(column)}" for column in told)
        return f"WHEN MATCHED AND s.{_GONE} THEN UPDATE SET {assign}, t.{quote(DELETED_AT)} = s.{quote(LOADED_AT_COLUMN)} "


def _placed(column: str, columns: Sequence[str]) -> str:
    """Return a column of the staged rows as it is written: one that gets another type goes to its sister."""
    if column.startswith(NEXT_PREFIX):
        return f"{quote(column.removeprefix(NEXT_PREFIX))} AS {quote(column)}"
    return f"NULL AS {quote(column)}" if NEXT_PREFIX + column in columns else quote(column)


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
