"""The Iceberg catalog: a look-up without a JVM where that is possible, and the client that reads and commits metadata."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from ingestion_runtime.endpoints.iceberg.database import database_of, open_sql_catalog
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.naming import iceberg_identifier
from ingestion_runtime.model.spec import CatalogSpec, TableSpec
from ingestion_runtime.tools.files import is_hdfs

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyspark.sql import SparkSession

    from ingestion_runtime.endpoints.iceberg.jvm import JvmCatalog

_LOCATION = text(
    "SELECT metadata_location FROM iceberg_tables "
    "WHERE catalog_name = :catalog AND table_namespace = :namespace AND table_name = :name"
)
_LOCATIONS = text("SELECT catalog_name, table_namespace, table_name, metadata_location FROM iceberg_tables")
_TABLES = text("SELECT 1 FROM iceberg_tables CROSS JOIN iceberg_namespace_properties LIMIT 1")


def catalog_properties(spec: CatalogSpec) -> dict[str, str]:
    """Return the properties by which Iceberg's Java library opens the catalog; with a password: keep them nowhere."""
    database = database_of(spec)
    if database is None:
        return {"type": "hadoop", "warehouse": spec.warehouse}
    return {"type": "jdbc", "warehouse": spec.warehouse, "jdbc.schema-version": "V1", **database.jdbc()}


def catalog_conf(spec: CatalogSpec) -> tuple[tuple[str, str], ...]:
    """Return the Spark settings of the catalog, for a session; with a password: keep them nowhere.

    The catalog cache is off, because it would show a table as it was before another client committed.
    """
    prefix = f"spark.sql.catalog.{spec.name}"
    properties = {**catalog_properties(spec), "cache-enabled": "false"}
    listed = tuple((f"{prefix}.{name}", value) for name, value in properties.items())
    return ((prefix, "org.apache.iceberg.spark.SparkCatalog"), *listed)


def _no_session() -> "SparkSession":
    raise TerminalError("This catalog needs Spark's JVM.", remedy="Open it with a session.")


class IcebergCatalog:
    """One catalog, shared with Spark's client of it. Safe to use from several threads.

    Where the warehouse is on HDFS metadata is read and committed through the JVM (``session``), else by pyiceberg.
    """

    def __init__(
        self, spec: CatalogSpec, session: Callable[[], "SparkSession"] = _no_session, *, read_only: bool = False
    ) -> None:
        """``read_only``: the catalog is looked at, and not even a file of its database is touched."""
        self._spec = spec
        self._session = session
        self._database = database_of(spec, read_only=read_only)
        self._lock = threading.Lock()
        self._folders: dict[tuple[str, ...], str | None] = {}
        self._engine: Engine | None = None
        self._sql_client: Catalog | None = None
        self._jvm_client: JvmCatalog | None = None

    @property
    def name(self) -> str:
        """The catalog's name, the same for Spark and for pyiceberg."""
        return self._spec.name

    @property
    def local(self) -> bool:
        """Whether this process can write tables by itself: a SQL catalog, and the warehouse on a local disk."""
        return self._database is not None and not is_hdfs(self._spec.warehouse)

    def identifier(self, table: TableSpec) -> tuple[str, ...]:
        """Return namespace and name of a table, by the configured pattern."""
        return iceberg_identifier(self._spec, table)

    def location(self, identifier: tuple[str, ...]) -> str | None:
        """Return the table's metadata location, None when there is no such table.

        A SQL catalog answers by one query (2 ms); pyiceberg would answer too, but importing it takes longer than a whole
        idle run may. A Hadoop catalog has to be looked at through the JVM.
        """
        if self._database is None:
            return self._jvm().location(identifier)
        if not self._database.is_there():
            return None
        values = {"catalog": self._spec.name, "namespace": ".".join(identifier[:-1]), "name": identifier[-1]}
        try:
            with self._sql().connect() as connection:
                found = connection.execute(_LOCATION, values).scalar_one_or_none()
        except DBAPIError as error:
            if self._database.lacks_tables(error):
                return None
            raise self._database.translate(error) from error
        return None if found is None else str(found)

    def load(self, identifier: tuple[str, ...]) -> "Table | None":
        """Return the table as it is now, None when there is none; errors as for ``commits.load``."""
        if self.location(identifier) is None:
            return None
        from ingestion_runtime.endpoints.iceberg.commits import load

        return load(self.pyiceberg(), identifier)

    def metadata_of_others(self, identifier: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Return name and metadata location of all tables in the catalog's database but this one; none where it has none."""
        if self._database is None or not self._database.is_there():
            return ()
        own = (self._spec.name, ".".join(identifier[:-1]), identifier[-1])
        try:
            with self._sql().connect() as connection:
                rows = connection.execute(_LOCATIONS).all()
        except DBAPIError as error:
            raise self._database.translate(error) from error
        return tuple((".".join(row[1:3]), str(row[3])) for row in rows if tuple(row[:3]) != own)

    def pyiceberg(self) -> "Catalog":
        """Return the client that reads and commits metadata, creating the catalog's tables when they are missing."""
        if self._database is None or is_hdfs(self._spec.warehouse):
            return self._jvm()
        with self._lock:
            if self._sql_client is None:
                self._database.prepare()
                try:
                    self._sql_client = open_sql_catalog(self._spec, self._engine_locked())
                except DBAPIError as error:
                    raise self._database.translate(error) from error
            return self._sql_client

    def prepare(self) -> None:
        """Create the catalog's tables when they are missing, before Spark's client of it is there.

        That one creates them too, as soon as its session is used: at the same moment one of the two fails.
        """
        if self.local and not self._has_tables():
            self.pyiceberg()

    def _has_tables(self) -> bool:
        assert self._database is not None  # noqa: S101 - a local catalog has one
        if not self._database.is_there():
            return False
        try:
            with self._sql().connect() as connection:
                connection.execute(_TABLES)
        except DBAPIError as error:
            if self._database.lacks_tables(error):
                return False
            raise self._database.translate(error) from error
        return True

    def create_namespace(self, identifier: tuple[str, ...]) -> str | None:
        """Create the table's namespace unless it is there, and return where the table would lie (None: the catalog decides).

        Several tables and processes may want the namespace at once.
        """
        namespace, catalog = identifier[:-1], self.pyiceberg()
        with self._lock:
            if namespace not in self._folders:
                try:
                    # Another process may be faster: then its row is the one we wanted.
                    with suppress(IntegrityError):
                        catalog.create_namespace_if_not_exists(namespace)
                    self._folders[namespace] = self._folder(catalog, namespace)
                except DBAPIError as error:
                    if self._database is None:
                        raise
                    raise self._database.translate(error) from error
            folder = self._folders[namespace]
        return None if folder is None else f"{folder}/{identifier[-1]}"

    def _folder(self, catalog: "Catalog", namespace: tuple[str, ...]) -> str | None:
        """Return where tables of a namespace lie; pyiceberg would ask for each of them anew, by two queries."""
        if not self.local:
            return None
        told = catalog.load_namespace_properties(namespace).get("location")
        return (told or f"{self._spec.warehouse.rstrip('/')}/{'.'.join(namespace)}").rstrip("/")

    def close(self) -> None:
        """Close connections."""
        if self._jvm_client is not None:
            self._jvm_client.close()
        if self._engine is not None:
            self._engine.dispose()

    def _jvm(self) -> "JvmCatalog":
        from ingestion_runtime.endpoints.iceberg.jvm import JvmCatalog

        with self._lock:
            if self._jvm_client is None:
                if self._database is not None:
                    self._database.prepare()
                self._jvm_client = JvmCatalog(self._spec.name, lambda: catalog_properties(self._spec), self._session)
            return self._jvm_client

    def _sql(self) -> Engine:
        with self._lock:
            return self._engine_locked()

    def _engine_locked(self) -> Engine:
        if self._engine is None:
            assert self._database is not None  # noqa: S101 - a catalog without one is never asked by SQL
            self._engine = self._database.engine()
        return self._engine
