"""Primary keys in an Iceberg table, through Spark: fingerprints of hash buckets, and the keys that a source has no more.

Keys are spelled and hashed as ``endpoints/spelling.py`` says. Nothing here changes the table.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.iceberg.spark_spelling import high, key_hash
from ingestion_runtime.endpoints.iceberg.writer import quote
from ingestion_runtime.endpoints.jdbc.spark_reader import with_ingest_cols
from ingestion_runtime.endpoints.spelling import bucket
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.keys import KeyBucket, KeyBuckets, KeysMissed, TargetKeys
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.tools.spark import TableSession

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BASE, _STAGED, _MOVED, _BUCKETS = "ingest_base_keys", "ingest_staged_keys", "ingest_moved_keys", "ingest_key_buckets"
_EXAMPLES = 3


class IcebergKeys:
    """The keys of one table. Implements ``TargetKeyReader``."""

    def __init__(self, session: TableSession, catalog: str, identifier: tuple[str, ...], table: TableSpec) -> None:
        self._tables = session
        self._name = ".".join(map(quote, (catalog, *identifier)))
        self._table = table
        self._listed = ", ".join(map(quote, table.primary_keys))

    def compare(self, snapshot: str | None, staged: Sequence[str]) -> TargetKeys:
        """Return the keys at a snapshot united with those of staged files, by bucket; see ``TargetKeyReader``."""
        spark = self._tables.session()
        base, brought = self._base(spark, snapshot), self._files(spark, staged)
        if base is None:
            # A first load is not searched for keys that it holds twice: their buckets would differ, and be looked into.
            brought.createOrReplaceTempView(_STAGED)
            return TargetKeys(0, self._buckets(spark, f"FROM {_STAGED}"))
        brought.distinct().createOrReplaceTempView(_STAGED)
        base.createOrReplaceTempView(_BASE)
        united = f"FROM {_BASE}"
        if staged:
            # The staged keys are the few: they are sent to the table's, which stay where they are.
            rest = f"SELECT {self._listed} FROM {_BASE} LEFT ANTI JOIN {_STAGED} USING ({self._listed})"
            united = f"FROM ({rest} UNION ALL SELECT {self._listed} FROM {_STAGED})"
        return TargetKeys(base.count(), self._buckets(spark, united))

    def write_missing(
        self,
        snapshot: str | None,
        staged: Sequence[str],
        moved: str,
        buckets: Collection[str],
        columns: IngestColumns,
        to: str,
    ) -> KeysMissed:
        """Write the keys that are not among the moved ones as tombstones; see ``TargetKeyReader``."""
        from pyspark.sql import functions

        spark = self._tables.session()
        base, brought = self._base(spark, snapshot), self._files(spark, staged)
        arrived = spark.read.parquet(moved) if buckets else brought.limit(0)
        arrived.createOrReplaceTempView(_MOVED)
        # As one text: rows from Python would need processes of Python's beside the JVM, at some seconds a run.
        listed = {"names": ",".join(sorted(buckets))}
        named = spark.sql("SELECT explode(split(:names, ',')) AS ingest_bucket", listed)
        # Spark does not know how few they are, and would sort the table's keys to meet them.
        functions.broadcast(named).createOrReplaceTempView(_BUCKETS)
        brought.distinct().createOrReplaceTempView(_STAGED)
        (brought.limit(0) if base is None else base).createOrReplaceTempView(_BASE)
        gone = spark.sql(
            f"{self._unseen(spark, _BASE)} LEFT ANTI JOIN {_STAGED} USING ({self._listed})"
            if buckets
            else f"SELECT {self._listed} FROM {_BASE} WHERE false"
        )
        with_ingest_cols(gone, columns).write.mode("errorifexists").parquet(to)
        written = spark.read.parquet(to)
        deleted = written.count()
        examples = written.select(*map(quote, self._table.primary_keys)).limit(_EXAMPLES).collect() if deleted else []
        return KeysMissed(
            deleted=deleted,
            examples=tuple(", ".join(map(str, row)) for row in examples),
            gone_again=spark.sql(self._unseen(spark, _STAGED)).count() if buckets and staged else 0,
            moved=self._buckets(spark, f"FROM {_MOVED}") if buckets else {},
        )

    def _unseen(self, spark: "SparkSession", view: str) -> str:
        """Return the query for the keys of a view that fall into the buckets and are not among the moved ones."""
        inside = f"SELECT * FROM {view} LEFT SEMI JOIN {_BUCKETS} ON {bucket(self._hash(spark, view), 4)} = ingest_bucket"
        return f"SELECT {self._listed} FROM ({inside}) LEFT ANTI JOIN {_MOVED} USING ({self._listed})"

    def _base(self, spark: "SparkSession", snapshot: str | None) -> "DataFrame | None":
        if snapshot is None:
            return None
        # Not VERSION AS OF: that reads by the snapshot's own schema, in which a key that was replaced by one of another
        # type is still NULL. Should main move meanwhile, the publish is refused.
        frame = spark.table(self._name)
        if self._table.deletes is Deletes.SOFT and DELETED_AT in frame.columns:
            frame = frame.where(f"{quote(DELETED_AT)} IS NULL")
        return frame.select(*map(quote, self._table.primary_keys))

    def _files(self, spark: "SparkSession", staged: Sequence[str]) -> "DataFrame":
        frame = spark.read.parquet(*staged) if staged else spark.sql(f"SELECT * FROM {self._name} WHERE false")
        return frame.select(*map(quote, self._table.primary_keys))

    def _buckets(self, spark: "SparkSession", source: str) -> KeyBuckets:
        spark.sql(f"SELECT {self._listed} {source}").createOrReplaceTempView("ingest_hashed_keys")
        hashed = f"SELECT {self._hash(spark, 'ingest_hashed_keys')} AS hash FROM ingest_hashed_keys"
        rows = spark.sql(f"SELECT {bucket('hash', 4)}, count(*), sum({high('hash')}) FROM ({hashed}) GROUP BY 1").toArrow()
        names, counts, totals = (column.to_pylist() for column in rows.columns)
        return {name: KeyBucket(count, int(total)) for name, count, total in zip(names, counts, totals, strict=True)}

    def _hash(self, spark: "SparkSession", view: str) -> str:
        from pyspark.sql.pandas.types import to_arrow_type

        kinds = {field.name: to_arrow_type(field.dataType) for field in spark.table(view).schema.fields}
        return key_hash([(f"{view}.{quote(key)}", kinds[key]) for key in self._table.primary_keys])
