"""The Iceberg catalog without a JVM: a look-up in SQL, and pyiceberg where metadata is read or committed."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.model.spec import CatalogSpec, TableSpec
from ingestion_runtime.state.sqlite import switch_to_wal

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

_LOCATION = text(
    "SELECT metadata_location FROM iceberg_tables "
    "WHERE catalog_name = :catalog AND table_namespace = :namespace AND table_name = :name"
)
_BUSY_SECONDS = 30


class IcebergCatalog:
    """A catalog in a SQLite file, shared with Spark's JdbcCatalog (schema V1). Safe to use from several threads."""

    def __init__(self, spec: CatalogSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._catalog: SqlCatalog | None = None

    @property
    def name(self) -> str:
        """The catalog's name, the same for Spark and for pyiceberg."""
        return self._spec.name

    def identifier(self, table: TableSpec) -> tuple[str, ...]:
        """Return namespace and name of a table, by the configured pattern."""
        # Split before the names go in: they may hold dots of their own.
        parts = self._spec.name_pattern.split(".")
        return tuple(part.format(schema=table.schema, table=table.table) for part in parts)

    def location(self, identifier: tuple[str, ...]) -> str | None:
        """Return the table's metadata location by one query (2 ms), None when there is no such table.

        pyiceberg would answer too, but importing it takes longer than a whole idle run may.
        """
        if not Path(self._spec.database).exists():
            return None
        values = {"catalog": self._spec.name, "namespace": ".".join(identifier[:-1]), "name": identifier[-1]}
        try:
            with self._sql().connect() as connection:
                found = connection.execute(_LOCATION, values).scalar_one_or_none()
        except OperationalError as error:
            if "no such table" in str(error.orig):
                return None
            raise TransientError(
                f"The Iceberg catalog {self._spec.database} cannot be read: {error.orig}.",
                remedy="Run again when it can be reached.",
            ) from error
        except DatabaseError as error:
            raise TerminalError(
                f"The Iceberg catalog {self._spec.database} cannot be read: {error.orig}.",
                remedy="Let runtime.intermediate.database name the catalog's SQLite file, or one that does not exist yet.",
            ) from error
        return None if found is None else str(found)

    def pyiceberg(self) -> "SqlCatalog":
        """Return the pyiceberg catalog, creating the database when it is missing."""
        with self._lock:
            if self._catalog is None:
                from pyiceberg.catalog.sql import SqlCatalog  # 1.2 s, paid only where it is needed

                Path(self._spec.database).parent.mkdir(parents=True, exist_ok=True)
                self._catalog = SqlCatalog(
                    self._spec.name,
                    uri=f"sqlite:///{self._spec.database}?timeout={_BUSY_SECONDS}",
                    warehouse=self._spec.warehouse,
                )
                # Before Spark connects, on several threads at once: none of them would wait for another's switch.
                with closing(sqlite3.connect(self._spec.database, timeout=_BUSY_SECONDS)) as connection:
                    switch_to_wal(connection)
            return self._catalog

    def create_namespace(self, identifier: tuple[str, ...]) -> None:
        """Create the table's namespace unless it is there; several tables and processes may want it at once."""
        catalog = self.pyiceberg()
        with self._lock:
            try:
                catalog.create_namespace_if_not_exists(identifier[:-1])
            except IntegrityError:
                # Another process was faster: its row is the one we wanted.
                return

    def close(self) -> None:
        """Close connections."""
        if self._engine is not None:
            self._engine.dispose()
        if self._catalog is not None:
            self._catalog.engine.dispose()

    def _sql(self) -> Engine:
        with self._lock:
            if self._engine is None:
                url = URL.create("sqlite", database=self._spec.database)
                self._engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
            return self._engine
