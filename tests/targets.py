"""Both kinds of target on a real disk, and what their readers and their enemies see and do without the code under test."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.engine import EngineFacts, EngineSwitch
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog, catalog_conf
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import CatalogSpec, Engine, RuntimeSpec, StagingSpec, TableSpec
from ingestion_runtime.model.target import TargetTable
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from ingestion_runtime.tools.spark import SparkTool
from tests.batches import data_of


class Place(Protocol):
    """Where tables of one kind live. ``holds_back``: what is written and not published is held by its writer, and no head
    lists it."""

    @property
    def holds_back(self) -> bool: ...

    def open(self, table: TableSpec) -> TargetTable:
        """Return a target with clients of its own, as another process has them."""
        ...

    def read(self, table: TableSpec) -> list[dict[str, Any]]:
        """Return the rows that a reader sees, without ingest columns, ordered by the first column."""
        ...

    def rewrite(self, table: TableSpec, rows: pa.Table) -> None:
        """Move what readers see and leave the receipt as it is, as a foreign writer does."""
        ...

    def make_foreign(self, table: TableSpec, rows: pa.Table) -> None:
        """Make a table that this runtime has never seen."""
        ...

    def spoil_receipt(self, table: TableSpec) -> None:
        """Make the receipt unreadable."""
        ...


class IcebergPlace:
    """Tables in one SQL catalog, the warehouse on the local disk. Readers and enemies come through pyiceberg.

    Without a Spark session, or with ``engine`` arrow, every batch is written in this process.
    """

    def __init__(
        self,
        root: Path,
        spark: SparkSession | None,
        connection: ConnectionSpec | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.root = root
        self.engine = engine or (Engine.ARROW if spark is None else Engine.SPARK)
        database = None if connection else str(root / "catalog.db")
        self.spec = CatalogSpec("lake", database, str(root / "warehouse"), connection=connection)
        self.tool = tool_of(self.spec, root, spark)
        self.session = self.tool.table_session()
        self._opened: list[IcebergCatalog] = []
        self._client: SqlCatalog | None = None

    @property
    def holds_back(self) -> bool:
        return self.engine is Engine.ARROW

    @property
    def spark(self) -> SparkSession:
        """The session in which the catalog is known."""
        return self.session.session()

    def open(
        self,
        table: TableSpec,
        *,
        allow_missing: bool = False,
        switch: EngineSwitch | None = None,
        most_rewritten: int = 4 * 2**30,
        sql_mb: int = 128,
    ) -> IcebergTarget:
        self.close()  # idle connections of earlier clients: a server has only so many
        catalog = IcebergCatalog(self.spec, self.tool.session)
        self._opened.append(catalog)
        if allow_missing:
            table = replace(table, policy=SchemaPolicy(dropped=OnChange.EVOLVE))
        writer = BranchWriter(self.session, catalog.name, catalog.identifier(table), table)
        switch = switch or switch_to(self.engine, table)
        return IcebergTarget(catalog, table, writer, switch, local_tools(self.root, sql_mb), most_rewritten)

    def catalog(self) -> SqlCatalog:
        """A client of our own."""
        if self._client is None:
            self._client = SqlCatalog("lake", uri=self._uri(), warehouse=str(self.root / "warehouse"))
        return self._client

    def load(self, table: TableSpec) -> Table:
        """The table as the catalog has it."""
        return self.catalog().load_table((table.schema, table.table))

    def read(self, table: TableSpec) -> list[dict[str, Any]]:
        catalog = self.catalog()
        name = (table.schema, table.table)
        return data_of(catalog.load_table(name).scan().to_arrow()) if catalog.table_exists(name) else []

    def rewrite(self, table: TableSpec, rows: pa.Table) -> None:
        self.load(table).append(rows)

    def make_foreign(self, table: TableSpec, rows: pa.Table) -> None:
        catalog = self.catalog()
        catalog.create_namespace_if_not_exists((table.schema,))
        catalog.create_table((table.schema, table.table), rows.schema).append(rows)

    def spoil_receipt(self, table: TableSpec) -> None:
        with self.load(table).transaction() as transaction:
            transaction.set_properties({"ingest.receipt": '{"batch_id": "x"'})

    def close(self) -> None:
        for catalog in self._opened:
            catalog.close()

    def _uri(self) -> str:
        there = self.spec.connection
        if there is None:
            return f"sqlite:///{self.root / 'catalog.db'}?timeout=30"
        password = quote(there.password.resolve()) if there.password else ""
        return f"postgresql+psycopg://{there.user}:{password}@{there.host}:{there.port}/{there.database}"


class HdfsPlace:
    """Tables of one catalog whose warehouse is on HDFS. Readers and enemies come through Spark SQL."""

    def __init__(self, root: Path, spark: SparkSession, warehouse: str, database: str | None) -> None:
        self.root = root
        self.spec = CatalogSpec("lake", database, warehouse)
        self.tool = tool_of(self.spec, root, spark)
        self.session = self.tool.table_session()
        self._opened: list[IcebergCatalog] = []

    @property
    def holds_back(self) -> bool:
        return False

    @property
    def spark(self) -> SparkSession:
        """The session in which the catalog is known."""
        return self.session.session()

    def open(self, table: TableSpec, *, allow_missing: bool = False) -> IcebergTarget:
        catalog = IcebergCatalog(self.spec, self.tool.session)
        self._opened.append(catalog)
        if allow_missing:
            table = replace(table, policy=SchemaPolicy(dropped=OnChange.EVOLVE))
        writer = BranchWriter(self.session, catalog.name, catalog.identifier(table), table)
        return IcebergTarget(catalog, table, writer, switch_to(Engine.SPARK, table), local_tools(self.root))

    def read(self, table: TableSpec) -> list[dict[str, Any]]:
        name = self._name(table)
        return data_of(self.spark.table(name).toArrow()) if self.spark.catalog.tableExists(name) else []

    def rewrite(self, table: TableSpec, rows: pa.Table) -> None:
        columns = ", ".join(rows.column_names)
        self.spark.sql(f"INSERT INTO {self._name(table)} ({columns}) {_values(rows)}")

    def make_foreign(self, table: TableSpec, rows: pa.Table) -> None:
        self.spark.sql(f"CREATE NAMESPACE IF NOT EXISTS lake.{table.schema}")
        self.spark.sql(f"CREATE TABLE {self._name(table)} USING iceberg AS {_values(rows)}")

    def spoil_receipt(self, table: TableSpec) -> None:
        spoilt = """'{"batch_id": "x"'"""
        self.spark.sql(f"ALTER TABLE {self._name(table)} SET TBLPROPERTIES ('ingest.receipt' = {spoilt})")

    def close(self) -> None:
        for catalog in self._opened:
            catalog.close()

    def _name(self, table: TableSpec) -> str:
        return f"lake.{table.schema}.{table.table}"


def switch_to(engine: Engine, table: TableSpec) -> EngineSwitch:
    """Return the switch of a table whose engine is set."""
    return EngineSwitch(
        lambda: EngineFacts(
            table=table.name,
            wanted=engine,
            dialect="sqlite",
            streams=True,
            far=(),
            master="local[2]",
            estimated_bytes=None,
            memory_mb=512,
        ),
        lambda _, __: None,
    )


def local_tools(root: Path, sql_mb: int = 128) -> LocalTools:
    """Return what a target needs to write in this process."""
    return LocalTools(ParquetSettings(), LocalSql(sql_mb, str(root / "spill")), LocalFiles())


def tool_of(spec: CatalogSpec, root: Path, spark: SparkSession | None) -> SparkTool:
    """Return a tool on a session that is up, with sessions that know the catalog; without one Spark never starts."""
    runtime = RuntimeSpec("tests", "", "", "UTC", spec, StagingSpec(""), "")
    conf = lambda: catalog_conf(spec)  # noqa: E731
    log = root / "spark.log"
    return SparkTool.from_config(runtime, lambda: Path("java"), lambda: (), log, catalog=conf, adopted=spark)


def _values(rows: pa.Table) -> str:
    listed = ", ".join(
        "(" + ", ".join(f"{value}L" if isinstance(value, int) else f"'{value}'" for value in row.values()) + ")"
        for row in rows.to_pylist()
    )
    return f"SELECT * FROM VALUES {listed} AS t({', '.join(rows.column_names)})"


class ParquetPlace:
    """Directories under one root. Readers come through pyarrow."""

    holds_back = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, table: TableSpec) -> ParquetTarget:
        return ParquetTarget(str(self.root), table, LocalFiles(), local_tools(self.root).sql)

    def link(self, table: TableSpec) -> Path:
        """What readers open."""
        return self.root / table.schema / table.table

    def read(self, table: TableSpec) -> list[dict[str, Any]]:
        link = self.link(table)
        return data_of(ds.dataset(link, format="parquet").to_table()) if link.exists() else []

    def rewrite(self, table: TableSpec, rows: pa.Table) -> None:
        current = self.link(table).resolve()
        copy = current.with_name(f"{current.name}_copy")
        copy.mkdir()
        shutil.copy(current / "_RECEIPT.json", copy)
        pa.parquet.write_table(rows, copy / "part.parquet")
        self._point(table, copy)

    def make_foreign(self, table: TableSpec, rows: pa.Table) -> None:
        folder = self.root / table.schema / f"{table.table}-made-by-hand"
        folder.mkdir(parents=True)
        pa.parquet.write_table(rows, folder / "part.parquet")
        self._point(table, folder)

    def spoil_receipt(self, table: TableSpec) -> None:
        (self.link(table) / "_RECEIPT.json").write_text('{"batch_id": "x"')

    def _point(self, table: TableSpec, folder: Path) -> None:
        link = self.link(table)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(folder, link.parent))
