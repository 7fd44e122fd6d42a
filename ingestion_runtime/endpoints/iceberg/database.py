"""Where a SQL catalog keeps its two tables: an SQLite file or a PostgreSQL database, for both of its clients."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import IngestionError, TerminalError, TransientError
from ingestion_runtime.model.spec import CatalogSpec
from ingestion_runtime.state.sqlite import reading_engine, switch_to_wal

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

_BUSY_SECONDS = 30
_RACES = 2  # it has two tables: whoever lost both of them finds both
_NOT_ALLOWED = "42501"


class CatalogDatabase(Protocol):
    """The database of a SQL catalog."""

    def engine(self) -> Engine:
        """Return a new engine; the password, where there is one, is resolved by each connection."""
        ...

    def is_there(self) -> bool:
        """Whether looking would find a database, and not make one."""
        ...

    def prepare(self) -> None:
        """Make it ready for both clients, before the first of them connects to write."""
        ...

    def lacks_tables(self, error: DBAPIError) -> bool:
        """Whether an error says that no catalog was created here yet."""
        ...

    def translate(self, error: DBAPIError) -> IngestionError:
        """Return an error of our own, with what to do about it."""
        ...

    def jdbc(self) -> dict[str, str]:
        """Return the properties by which Iceberg's JdbcCatalog connects, the password included."""
        ...


class SqliteCatalog:
    """A catalog in an SQLite file."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only

    def engine(self) -> Engine:
        if self._read_only:
            return reading_engine(Path(self._path))
        return create_engine(URL.create("sqlite", database=self._path), connect_args={"timeout": _BUSY_SECONDS})

    def is_there(self) -> bool:
        return Path(self._path).exists()

    def prepare(self) -> None:
        if self._read_only:
            return
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        # Before Spark connects, on several threads at once: none of them would wait for another's switch.
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as connection:
            switch_to_wal(connection)

    def lacks_tables(self, error: DBAPIError) -> bool:
        return "no such table" in str(error.orig)

    def translate(self, error: DBAPIError) -> IngestionError:
        text = f"The Iceberg catalog {self._path} cannot be read: {error.orig}."
        if isinstance(error.orig, sqlite3.OperationalError):
            return TransientError(text, remedy="Run again when it can be reached.")
        return TerminalError(
            text, remedy="Let runtime.intermediate.database name the catalog's SQLite file, or one that does not exist yet."
        )

    def jdbc(self) -> dict[str, str]:
        return {"uri": f"jdbc:sqlite:{self._path}?busy_timeout={_BUSY_SECONDS * 1000}"}


class PostgresCatalog:
    """A catalog in a database that a connection of the configuration names."""

    def __init__(self, connection: ConnectionSpec, *, read_only: bool = False) -> None:
        self._spec = connection
        self._read_only = read_only
        self._dialect = dialect_for(connection.dialect)
        self._database = Database(connection, self._dialect)

    def engine(self) -> Engine:
        return create_engine("postgresql+psycopg://", creator=self._connect, pool_pre_ping=True)

    def is_there(self) -> bool:
        return True

    def prepare(self) -> None:
        """Nothing: a server is ready or it is not."""

    def lacks_tables(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) == "42P01"

    def translate(self, error: DBAPIError) -> IngestionError:
        if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED:
            said = str(error.orig).splitlines()[0]
            return TerminalError(
                f"The Iceberg catalog of connection {self._spec.name!r} cannot be used: {said}.",
                remedy="Let its user create tables in the database (GRANT CREATE ON SCHEMA public), or read and write"
                " iceberg_tables and iceberg_namespace_properties where they are.",
            )
        known = self._database.translate(error.orig) if error.orig else None
        return known or TransientError(str(error.orig), remedy="Run the same command again.")

    def jdbc(self) -> dict[str, str]:
        target = self._dialect.jdbc(self._spec)
        properties = {f"jdbc.{name}": value for name, value in target.options}
        if self._spec.user is not None:
            properties["jdbc.user"] = self._spec.user
        if self._spec.password is not None:
            properties["jdbc.password"] = self._spec.password.resolve()
        return {"uri": target.url, **properties}

    def _connect(self) -> Any:
        opened = self._dialect.connect(self._spec)
        opened.set_read_only(self._read_only)  # sources are only read; a catalog is there to be written
        return opened


def database_of(spec: CatalogSpec, *, read_only: bool = False) -> CatalogDatabase | None:
    """Return the catalog's database; None for a Hadoop catalog, which has none. ``read_only``: it will not be written."""
    if spec.connection is not None:
        return PostgresCatalog(spec.connection, read_only=read_only)
    return SqliteCatalog(spec.database, read_only=read_only) if spec.database is not None else None


def open_sql_catalog(spec: CatalogSpec, engine: Engine) -> "SqlCatalog":
    """Return pyiceberg's catalog on an engine of ours: its own would need the password in a URL, and keep it."""
    from pyiceberg.catalog.sql import SqlCatalog  # 1.2 s, paid only where it is needed

    class OnOurEngine(SqlCatalog):
        def _init_catalog(self) -> None:
            self.engine = engine
            super()._init_catalog()

    for _ in range(_RACES):
        try:
            return OnOurEngine(spec.name, uri=f"{engine.url.drivername}://", warehouse=spec.warehouse)
        except DBAPIError as error:
            if not _was_faster(error):
                raise
    return OnOurEngine(spec.name, uri=f"{engine.url.drivername}://", warehouse=spec.warehouse)


def _was_faster(error: Exception) -> bool:
    """Whether another process, or Spark, created the catalog's tables at the same moment: both look first, then create."""
    created = isinstance(error, ProgrammingError | OperationalError) and "already exists" in str(error.orig)
    return created or isinstance(error, IntegrityError)
