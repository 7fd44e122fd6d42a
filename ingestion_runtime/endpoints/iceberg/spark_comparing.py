"""The rows of an Iceberg table at one snapshot, compared by Spark: wherever the table lies, and whoever wrote it."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingestion_runtime.endpoints.compared_rows import LEFT_OUT_HASH, NAME, Item, Spelling, SqlRows
from ingestion_runtime.endpoints.iceberg import spark_spelling
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.comparing import IcebergStands, without
from ingestion_runtime.endpoints.iceberg.writer import quote
from ingestion_runtime.model.columns import DELETED_AT
from ingestion_runtime.model.comparison import Basis, ComparedRows, Stand
from ingestion_runtime.model.cursor import ReRead
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.hdfs import storage_fault
from ingestion_runtime.tools.spark import TableSession

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

_LIVING, _LEFT_OUT, _NAMED = "ingest_compared", "ingest_left_out", "ingest_named"
_READABLE = 300


class SparkIcebergRows:
    """The rows of one table. Implements ``TargetRows``. One view at a time.

    The hashes of left-out keys pass through this process: 40 bytes each.
    """

    def __init__(self, catalog: IcebergCatalog, table: TableSpec, session: TableSession) -> None:
        self._catalog = catalog
        self._table = table
        self._tables = session
        self._stands = IcebergStands(catalog, table)

    def stand(self) -> Stand | None:
        """Return where the table stands; see ``TargetRows``. Starts Spark where the table lies on HDFS."""
        return self._stands.stand()

    @contextmanager
    def view(
        self,
        stand: Stand,
        basis: Basis,
        left_out: Iterator[pa.RecordBatch] | None = None,
        apart: Sequence[ReRead] = (),
    ) -> Iterator[ComparedRows]:
        """Open the living rows of that snapshot; see ``TargetRows``."""
        from ingestion_runtime.endpoints.iceberg.cursor_span import SPARK
        from ingestion_runtime.endpoints.iceberg.growth import has_marks

        table = self._stands.at(stand)
        spark = self._tables.session()
        name = ".".join(map(quote, (self._catalog.name, *self._stands.identifier)))
        rows = _rows(table, name, stand)
        conditions = without(apart, table.schema(), self._table.incremental_column, SPARK)
        if has_marks(table):
            conditions.append(f"{quote(DELETED_AT)} IS NULL")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        spark.sql(f"SELECT * FROM ({rows}){where}").createOrReplaceTempView(_LIVING)
        with self._stands.watched(stand):
            yield SqlRows(_SparkEngine(spark, left_out, self._table.name), basis)


def _rows(table: "Table", name: str, stand: Stand) -> str:
    """Return the query for the rows of the stand's snapshot, in the columns and types of the table's present schema.

    ``VERSION AS OF`` shows them by the snapshot's own schema, in which a column may be missing, or have another name or
    type: it is told by its id.
    """
    from pyiceberg.types import DecimalType

    snapshot = table.snapshot_by_id(int(stand.snapshot)) if stand.snapshot else None
    schema = table.schema()
    stood = schema if snapshot is None or snapshot.schema_id is None else table.schemas()[snapshot.schema_id]
    former = {field.field_id: field for field in stood.fields}
    items = []
    for field in schema.fields:
        if field.name not in stand.columns.names and field.name != DELETED_AT:
            continue
        there, kind = former.get(field.field_id), _SPARK_TYPES.get(str(field.field_type))
        if isinstance(field.field_type, DecimalType):
            kind = f"DECIMAL({field.field_type.precision}, {field.field_type.scale})"
        value = "NULL" if there is None else quote(there.name)
        items.append(f"CAST({value} AS {kind}) AS {quote(field.name)}")
    source = f"{name} VERSION AS OF {snapshot.snapshot_id}" if snapshot is not None else f"{name} WHERE false"
    return f"SELECT {', '.join(items)} FROM {source}"


_SPARK_TYPES = {
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "binary": "BINARY",
    "date": "DATE",
    "timestamp": "TIMESTAMP_NTZ",
    "timestamptz": "TIMESTAMP",
}


class _SparkEngine:
    """Implements ``RowEngine``."""

    def __init__(self, spark: "SparkSession", left_out: Iterator[pa.RecordBatch] | None, table: str) -> None:
        self._spark = spark
        self._table = table
        hashes = None if left_out is None else pa.Table.from_batches(left_out, pa.schema([("key_hash", pa.string())]))
        self._left_out = hashes is not None and len(hashes) > 0
        if hashes is not None and self._left_out:
            self._show(hashes.rename_columns([LEFT_OUT_HASH]), _LEFT_OUT)

    @property
    def spelling(self) -> Spelling:
        return spark_spelling

    def quote(self, name: str) -> str:
        return quote(name)

    def living(self, items: Sequence[Item], condition: str | None) -> str:
        listed = ", ".join(f"{expression} AS {name}" for name, expression in items)
        return f"SELECT {listed} FROM {_LIVING}{f' WHERE {condition}' if condition else ''}"

    def left_out(self) -> str | None:
        return _LEFT_OUT if self._left_out else None

    def name(self, names: Collection[str]) -> str:
        self._show(pa.table({NAME: sorted(names)}), _NAMED)
        return f"SELECT {NAME} FROM {_NAMED}"

    def run(self, query: str) -> Iterator[tuple[Any, ...]]:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            yield from map(tuple, self._spark.sql(query).toLocalIterator())
        except (Py4JError, PySparkException) as error:
            raise storage_fault(error) or TerminalError(
                f"{self._table}: Spark could not read the table ({_first_cause(error)}).",
                remedy="Restore what is missing, or load the table anew with --reload.",
                table=self._table,
            ) from error

    def _show(self, column: pa.Table, view: str) -> None:
        """Show texts as a view: few of many, and so they are sent to the rows. Arrow's, for rows from Python would need
        processes of Python's beside the JVM."""
        from pyspark.sql.functions import broadcast

        broadcast(self._spark.createDataFrame(column)).createOrReplaceTempView(view)


def _first_cause(error: Exception) -> str:
    """Return what Java said first, in one line; without a Java exception, what Python says."""
    found: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while found is not None and found.getCause() is not None:
        found = found.getCause()
    lines = str(error if found is None else found.toString()).strip().splitlines() or ["no message"]
    return lines[0][:_READABLE].rstrip(".")
