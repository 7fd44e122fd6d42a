"""Which tables a database has, for those who do not name them one by one."""

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.model.schema import ListedTable, Listing

__all__ = ["ListedTable", "list_tables", "read_listing"]


def list_tables(database: Database, schema: str | None = None) -> tuple[ListedTable, ...]:
    """Return the tables and views that the reader may see, sorted by schema and name, by one query.

    ``schema``: only those of this schema. Not listed are the database's own schemas and tables, parts of partitioned
    tables, and what an extension brought. An SQLite file knows no schemas: its tables are listed under the name given,
    else under ``main``. Raises ConfigError for credentials and TransientError for a database that cannot be reached.
    """
    return read_listing(database, schema).tables


def read_listing(database: Database, schema: str | None = None) -> Listing:
    """Return the same with the rule by which this database tells names apart."""
    with database.connect() as connection:
        found = database.dialect.list_tables(connection, schema)
    return Listing(tuple(sorted(found.tables, key=lambda table: (table.schema, table.table))), found.ignores_case)
