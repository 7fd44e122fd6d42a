"""Which source and which target a table gets: from its spec and its connection, and nowhere else."""

import threading
from dataclasses import dataclass

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.keys import IcebergKeys
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.extract import JdbcReader
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.endpoint import MetadataCapableEndpoint, SourceEndpoint
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration, Deletes, SinkFormat, TableSpec
from ingestion_runtime.model.target import TargetKeyReader, TargetTable
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.spark import SparkTool, TableSession


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Both ends of one table, and its place in raw between them. ``keys`` only where deletes are looked for."""

    source: SourceEndpoint
    target: TargetTable
    raw: RawZone
    keys: TargetKeyReader | None


class EndpointFactory:
    """Builds endpoints. Databases and the catalog are shared between tables; safe to use from several threads."""

    def __init__(self, configuration: Configuration, tool: SparkTool, files: Files) -> None:
        self._configuration = configuration
        self._tool = tool
        self._files = files
        self._lock = threading.Lock()
        self._databases: dict[str, Database] = {}
        catalog = configuration.runtime.catalog
        self._catalog = None if catalog is None else IcebergCatalog(catalog, tool.session)

    def database(self, name: str) -> Database:
        """Return the named connection as a database for probes."""
        with self._lock:
            if name not in self._databases:
                spec = self._configuration.connection(name)
                self._databases[name] = Database(spec, dialect_for(spec.dialect))
            return self._databases[name]

    def connections_of(self, table: TableSpec) -> tuple[str, ...]:
        """Return the connections that the table needs: its source's, and that of a catalog in a database."""
        catalog = self._configuration.runtime.catalog
        spec = catalog.connection if catalog and table.sink is SinkFormat.ICEBERG else None
        return (table.connection,) if spec is None else (table.connection, spec.name)

    def build_endpoints(self, table: TableSpec, session: TableSession) -> Endpoints:
        """Return source, target and raw zone of a table; nothing is connected yet."""
        reader = JdbcReader(session, self._configuration.runtime.compression)
        source = JdbcSource(table, self.database(table.connection), reader)
        raw = RawZone(self._configuration.runtime.raw_root, table, self._files)
        return Endpoints(source, self.build_target(table, session), raw, self._build_keys(table, session))

    def build_target(self, table: TableSpec, session: TableSession) -> TargetTable:
        """Return where a table is published."""
        runtime = self._configuration.runtime
        if table.sink is SinkFormat.PARQUET:
            return ParquetTarget(runtime.final_root, table, self._files)
        if self._catalog is None:
            raise ConfigError(f"{table.name} goes to Iceberg, and there is no catalog.", remedy="Set runtime.intermediate.")
        writer = BranchWriter(session, self._catalog.name, self._catalog.identifier(table), table)
        return IcebergTarget(self._catalog, table, writer, runtime.compression)

    def _build_keys(self, table: TableSpec, session: TableSession) -> TargetKeyReader | None:
        if self._catalog is None or table.deletes is Deletes.IGNORE:
            return None
        return IcebergKeys(session, self._catalog.name, self._catalog.identifier(table), table)

    def target_key(self, table: TableSpec) -> TableKey:
        """Return the name under which state and leases know the table's target."""
        return self.build_target(table, self._tool.table_session()).key

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
