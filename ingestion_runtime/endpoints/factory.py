"""Which source and which target a table gets: from its spec and its connection, and nowhere else."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.engine import EngineChoice, EngineFacts, EngineSwitch
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog, catalog_conf
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.endpoints.iceberg.partitions import splitter
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.catalogue import Catalogue
from ingestion_runtime.endpoints.jdbc.chosen import ChosenReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.endpoint import MetadataCapableEndpoint, SourceEndpoint
from ingestion_runtime.model.errors import ConfigError, TransientError
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.privacy import MaskMethod
from ingestion_runtime.model.spec import Configuration, Deletes, Engine, SinkFormat, TableSpec
from ingestion_runtime.model.target import TargetKeyReader, TargetTable
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import Files, is_hdfs
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings, Splitter
from ingestion_runtime.tools.spark import SparkTool, TableSession

if TYPE_CHECKING:
    from ingestion_runtime.endpoints.published import PublishedRows
    from ingestion_runtime.model.comparison import TargetRows
    from ingestion_runtime.model.upkeep import TargetUpkeep
    from ingestion_runtime.tools.nearby import NearFiles

# Below this DuckDB does little but write to disk.
_LEAST_SQL_MB = 64
_NO_POINTS = Failpoints({})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Both ends of one table, its place in raw between them, and what moves its rows. ``keys`` only where deletes are looked
    for."""

    source: SourceEndpoint
    target: TargetTable
    raw: RawZone
    keys: TargetKeyReader | None
    engine: EngineSwitch


class EndpointFactory:
    """Builds endpoints. Databases and the catalog are shared between tables; safe to use from several threads."""

    def __init__(self, configuration: Configuration, tool: SparkTool, files: Files, *, read_only: bool = False) -> None:
        """``read_only``: targets will be looked at, and not even a file of the catalog's database is touched."""
        self._configuration = configuration
        self._tool = tool
        self._files = files
        self._lock = threading.Lock()
        self._databases: dict[str, Database] = {}
        self._catalogues: dict[str, Catalogue] = {}
        catalog = configuration.runtime.catalog
        self._catalog = None if catalog is None else IcebergCatalog(catalog, tool.session, read_only=read_only)

    def database(self, name: str) -> Database:
        """Return the named connection as a database for probes."""
        with self._lock:
            if name not in self._databases:
                spec = self._configuration.connection(name)
                self._databases[name] = Database(spec, dialect_for(spec.dialect))
            return self._databases[name]

    def _catalogue(self, table: TableSpec) -> Catalogue:
        """Return what the database says of its tables; this one is described together with those asked for so far."""
        database = self.database(table.connection)
        with self._lock:
            catalogue = self._catalogues.setdefault(table.connection, Catalogue(database))
        if table.query_sql is None:
            catalogue.add(table)
        return catalogue

    def prepare_catalog(self) -> tuple[tuple[str, str], ...]:
        """Make sure of the catalog's own tables, and return the settings by which Spark opens it, if there is one."""
        catalog = self._configuration.runtime.catalog
        if self._catalog is None or catalog is None:
            return ()
        self._catalog.prepare()
        return catalog_conf(catalog)

    def connections_of(self, table: TableSpec) -> tuple[str, ...]:
        """Return the connections that the table needs: its source's, and that of a catalog in a database."""
        catalog = self._configuration.runtime.catalog
        spec = catalog.connection if catalog and table.sink is SinkFormat.ICEBERG else None
        return (table.connection,) if spec is None else (table.connection, spec.name)

    def build_endpoints(
        self, table: TableSpec, session: TableSession, tell: Callable[[str, EngineChoice], None] = lambda _, __: None
    ) -> Endpoints:
        """Return source, target and raw zone of a table; nothing is connected yet. ``tell`` hears which engine is chosen."""
        runtime = self._configuration.runtime
        switch = EngineSwitch(lambda: self._facts(table, source), tell)
        spark = SparkReader(session, runtime.compression)
        target = self.build_target(table, session, switch)
        arrow = ArrowReader(self.parquet_settings(), self._files, _splitting(table, target))
        reader = ChosenReader(switch, spark, arrow)
        source = JdbcSource(table, self.database(table.connection), reader, self._catalogue(table))
        raw = RawZone(runtime.raw_root, table, self._files)
        keys = self._build_keys(table, session, switch)
        return Endpoints(source, target, raw, keys, switch)

    def _facts(self, table: TableSpec, source: JdbcSource) -> EngineFacts:
        return engine_facts(self._configuration, table, source.described().estimated_bytes)

    def parquet_settings(self) -> ParquetSettings:
        """Return how files are written: each table that is read at the same time has its share of the memory."""
        runtime = self._configuration.runtime
        codec = runtime.compression
        share = runtime.memory_mb * 2**20 // max(1, runtime.max_parallel_tables)
        return ParquetSettings("none" if codec == "none" else codec, group_bytes=max(4 * 2**20, min(48 * 2**20, share // 4)))

    def local_sql(self) -> LocalSql:
        """Return SQL in this process, within a table's share of the memory."""
        runtime = self._configuration.runtime
        share = max(_LEAST_SQL_MB, runtime.memory_mb // max(1, runtime.max_parallel_tables))
        return LocalSql(share, self._scratch)

    @property
    def _scratch(self) -> str:
        """Where work in this process puts what does not fit into memory: staging, or beside the state where that is far."""
        runtime = self._configuration.runtime
        return str(Path(runtime.state_database).parent) if is_hdfs(runtime.staging.root) else runtime.staging.root

    def _local_tools(self) -> LocalTools:
        return LocalTools(self.parquet_settings(), self.local_sql(), self._files)

    def build_target(self, table: TableSpec, session: TableSession, switch: EngineSwitch) -> TargetTable:
        """Return where a table is published."""
        runtime = self._configuration.runtime
        if table.sink is SinkFormat.PARQUET:
            return ParquetTarget(runtime.final_root, table, self._files, self.local_sql())
        catalog = self._require_catalog(table)
        writer = BranchWriter(session, catalog.name, catalog.identifier(table), table)
        return IcebergTarget(catalog, table, writer, switch, self._local_tools())

    def build_upkeep(
        self,
        table: TableSpec,
        session: TableSession,
        failpoints: Failpoints = _NO_POINTS,
        clock: Callable[[], float] = time.time,
    ) -> "TargetUpkeep":
        """Return what keeps a table's target in shape; ``clock`` tells the seconds since the epoch by which things age."""
        runtime = self._configuration.runtime
        if table.sink is SinkFormat.PARQUET:
            from ingestion_runtime.endpoints.parquet_upkeep import ParquetUpkeep

            target = ParquetTarget(runtime.final_root, table, self._files, self.local_sql())
            return ParquetUpkeep(
                target, Path(runtime.final_root, table.schema, table.table), table.maintenance.small_file_mb
            )
        catalog = self._require_catalog(table)
        from ingestion_runtime.endpoints.iceberg.spark_upkeep import SparkUpkeep
        from ingestion_runtime.endpoints.iceberg.upkeep import IcebergUpkeep

        far = SparkUpkeep(catalog, table, session, self._files, failpoints, clock)
        local = IcebergUpkeep(catalog, table, self._local_tools(), far, failpoints, clock)
        return local if catalog.local else far

    def _build_keys(self, table: TableSpec, session: TableSession, switch: EngineSwitch) -> TargetKeyReader | None:
        if self._catalog is None or table.deletes is Deletes.IGNORE:
            return None
        from ingestion_runtime.endpoints.iceberg.chosen_keys import ChosenKeys
        from ingestion_runtime.endpoints.iceberg.keys import IcebergKeys
        from ingestion_runtime.endpoints.iceberg.local_keys import LocalKeys

        spark = IcebergKeys(session, self._catalog.name, self._catalog.identifier(table), table)
        return ChosenKeys(switch, spark, LocalKeys(self._catalog, table, self._local_tools()))

    def near_files(self) -> "NearFiles":
        """Return what lends files of HDFS to work that reads local ones; close it."""
        from ingestion_runtime.tools.nearby import NearFiles

        return NearFiles(self._files, self._scratch)

    def build_published(self, table: TableSpec, snapshot: str, near: "NearFiles") -> "PublishedRows":
        """Return what readers see, or saw, at a snapshot of a table's target (``TargetHead.snapshot``). ``near`` lends its
        files, for as long as it is used.

        Raises UnfitSnapshot, whose reason says why only Spark can read it, and TransientError where it is gone.
        """
        runtime = self._configuration.runtime
        if table.sink is SinkFormat.PARQUET:
            from ingestion_runtime.endpoints.published import PublishedDirectory

            return PublishedDirectory(Path(runtime.final_root, table.schema, f".{table.table}", snapshot))
        from ingestion_runtime.endpoints.iceberg.published import PublishedSnapshot

        catalog = self._require_catalog(table)
        found = catalog.load(catalog.identifier(table))
        if found is None:
            raise TransientError(f"{table.name}: the table is gone from the catalog.", remedy="Run the same command again.")
        return PublishedSnapshot(found, int(snapshot), self._files, near)

    def build_rows(self, table: TableSpec, session: TableSession, engine: Engine) -> "TargetRows":
        """Return the rows of a table's target, to be compared where they are: in this process, unless ``engine`` is Spark.

        A plain directory is always read in this process.
        """
        runtime = self._configuration.runtime
        if table.sink is SinkFormat.PARQUET:
            from ingestion_runtime.endpoints.parquet_comparing import ParquetRows

            sql = self.local_sql()
            return ParquetRows(runtime.final_root, table, ParquetTarget(runtime.final_root, table, self._files, sql), sql)
        catalog = self._require_catalog(table)
        if engine is Engine.SPARK:
            from ingestion_runtime.endpoints.iceberg.spark_comparing import SparkIcebergRows

            return SparkIcebergRows(catalog, table, session)
        from ingestion_runtime.endpoints.iceberg.comparing import LocalIcebergRows

        return LocalIcebergRows(catalog, table, self.local_sql())

    def _require_catalog(self, table: TableSpec) -> IcebergCatalog:
        if self._catalog is None:
            raise ConfigError(f"{table.name} goes to Iceberg, and there is no catalog.", remedy="Set runtime.intermediate.")
        return self._catalog

    def target_key(self, table: TableSpec) -> TableKey:
        """Return the name under which state and leases know the table's target."""
        return target_key(self._configuration.runtime, table)

    def metadata_endpoint(self, table: TableSpec) -> MetadataCapableEndpoint:
        """Return a source that is only asked to describe its table."""
        return self.build_endpoints(table, self._tool.table_session()).source

    def interrupt(self) -> None:
        """End the queries that run on the sources at this moment."""
        with self._lock:
            databases = tuple(self._databases.values())
        for database in databases:
            database.interrupt()

    def close(self) -> None:
        """Close all connections."""
        for database in self._databases.values():
            database.close()
        if self._catalog is not None:
            self._catalog.close()


def engine_facts(configuration: Configuration, table: TableSpec, estimated_bytes: int | None) -> EngineFacts:
    """Return what decides on the engine of a table; ``estimated_bytes`` None: the source was not asked."""
    runtime = configuration.runtime
    dialect = dialect_for(configuration.connection(table.connection).dialect)
    places = {"staging.root": runtime.staging.root, "raw_root": runtime.raw_root}
    if runtime.catalog is not None and table.sink is SinkFormat.ICEBERG:
        places["the warehouse"] = runtime.catalog.warehouse
    return EngineFacts(
        table=table.name,
        wanted=table.engine or runtime.engine,
        dialect=dialect.name,
        streams=dialect.streams,
        far=tuple(name for name, place in places.items() if is_hdfs(place)),
        master=runtime.spark.master,
        estimated_bytes=estimated_bytes,
        memory_mb=runtime.memory_mb,
        hashes=any(mask.method is MaskMethod.HASH for mask in table.privacy.masks),
    )


def _splitting(table: TableSpec, target: TargetTable) -> Callable[[pa.Schema], Splitter | None]:
    """Return what splits rows into the target's partitions where their files may become its own: not where they are merged,
    which splits them once more anyway."""

    def split(schema: pa.Schema) -> Splitter | None:
        whole = table.mode in ("full", "append") or target.location() is None
        return splitter(table.partition, schema) if whole and table.sink is SinkFormat.ICEBERG else None

    return split
