"""Opening a configuration with all its tables: what its patterns match is asked of the sources."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.schema import Listing
from ingestion_runtime.model.spec import Configuration, TableSpec

if TYPE_CHECKING:
    from ingestion_runtime.config.patterns import TableShape
    from ingestion_runtime.endpoints.jdbc.database import Database


def open_configuration(path: Path) -> Configuration:
    """Return the configuration in a file, with all its tables.

    No source is connected for a configuration without patterns. Raises ConfigError, with every problem of the file or of
    what the patterns match, and TransientError for a source that cannot be reached; nothing has been touched then.
    """
    return resolve(load_configuration(path))


def resolve(configuration: Configuration) -> Configuration:
    """Return the configuration with the tables of its patterns; errors as for ``open_configuration``."""
    if not any(pattern.matched is None for pattern in configuration.patterns):
        return configuration
    from ingestion_runtime.config.patterns import resolve_patterns

    with ExitStack() as stack:
        return resolve_patterns(configuration, _Databases(configuration, stack))


class _Databases:
    """The catalogs of the configured databases, each connected when it is asked. Implements ``SourceCatalog``."""

    def __init__(self, configuration: Configuration, stack: ExitStack) -> None:
        self._configuration = configuration
        self._stack = stack
        self._opened: dict[str, Database] = {}

    def listing(self, connection: str, schema: str | None) -> Listing:
        """Return the tables of a connection by one query."""
        from ingestion_runtime.endpoints.jdbc.listing import read_listing

        return read_listing(self._database(connection), schema)

    def shapes(self, connection: str, tables: Sequence[TableSpec]) -> "Mapping[str, TableShape]":
        """Return the shapes of tables as the catalog has them."""
        from ingestion_runtime.config.patterns import TableShape

        database = self._database(connection)
        with database.connect() as opened:
            found = database.dialect.describe_tables(opened, tables)
        return {
            name: TableShape(frozenset(column.name for column in raw.columns), raw.primary_keys)
            for name, raw in found.items()
        }

    def _database(self, name: str) -> "Database":
        from ingestion_runtime.endpoints.jdbc.database import Database
        from ingestion_runtime.endpoints.jdbc.dialects import dialect_for

        if name not in self._opened:
            spec = self._configuration.connection(name)
            self._opened[name] = Database(spec, dialect_for(spec.dialect))
            self._stack.callback(self._opened[name].close)
        return self._opened[name]
