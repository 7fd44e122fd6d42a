"""What a database says of its tables, asked for many of them at once: three queries a database in place of three a table."""

import time
from collections.abc import Callable
from threading import Lock

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialect import RawTable
from ingestion_runtime.model.spec import TableSpec

#: Seconds for which a description counts as the present one. A column that is altered within them is noticed after the read
#: (the batch is given up then), so it may not be long; 200 tables are begun within it.
MOST_AGE = 30.0


class Catalogue:
    """Descriptions of the tables of one database. Safe for several threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = Lock()
        self._tables: dict[str, TableSpec] = {}
        self._known: dict[str, tuple[float, RawTable | None]] = {}

    def add(self, table: TableSpec) -> None:
        """Let the table be described together with the others."""
        with self._lock:
            self._tables[table.name] = table

    def describe(self, table: TableSpec) -> RawTable | None:
        """Return a description that is ``MOST_AGE`` seconds old at most; None when there is no such table.

        When it has to be asked for, all tables without a present one are described with it.
        """
        with self._lock:
            if not self._is_present(table.name):
                asked = [other for name, other in self._tables.items() if not self._is_present(name)]
                self._ask([table, *(other for other in asked if other.name != table.name)])
            return self._known[table.name][1]

    def look(self, table: TableSpec) -> RawTable | None:
        """Return the description of this very moment; None when there is no such table."""
        with self._database.connect() as connection:
            return self._database.dialect.describe_tables(connection, [table]).get(table.name)

    def _is_present(self, name: str) -> bool:
        return name in self._known and self._clock() - self._known[name][0] < MOST_AGE

    def _ask(self, tables: list[TableSpec]) -> None:
        begun = self._clock()
        with self._database.connect() as connection:
            found = self._database.dialect.describe_tables(connection, tables)
        self._known |= {table.name: (begun, found.get(table.name)) for table in tables}
