"""The databases that the bench reads: started, filled and changed here, the same for everybody."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import data
from tests.servers.mariadb import MariaServer
from tests.servers.postgresql import USER, PostgresDatabase, PostgresServer

# Besides what the tests set: memory for the tables of the main workloads, and no checkpoint in the middle of a run.
POSTGRES = {
    "shared_buffers": "'1GB'",
    "max_wal_size": "'16GB'",
    "checkpoint_timeout": "'1h'",
    "maintenance_work_mem": "'512MB'",
    "autovacuum": "off",
    "max_connections": "100",
}
MARIADB = {"innodb-buffer-pool-size": "1G", "innodb-log-file-size": "512M", "local-infile": "1"}
MARIADB_TYPES = {"VARCHAR": "varchar(44)", "TIMESTAMP": "datetime(6)", "INTEGER": "int"}
# The blanks at the end of PostgreSQL's char(n) are data here: with what a char(n) of MariaDB ends depends on who reads it.
LINEITEM_TYPES = {"l_returnflag": "char(1)", "l_linestatus": "char(1)"}


@dataclass(frozen=True, slots=True)
class Address:
    """How a program reaches a database; for SQLite ``database`` is the path of the file."""

    dialect: str
    database: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a source: its key columns, its cursor, and the bounds of its first key column (for reads in partitions)."""

    name: str
    keys: tuple[str, ...]
    cursor: str
    low: int
    high: int

    def document(self) -> dict[str, object]:
        """The table as a job tells it."""
        return asdict(self)


def lineitem_table(rows: int, name: str = "lineitem") -> Table:
    """The large table of so many rows."""
    return Table(name, data.KEYS, data.CURSOR, 1, (rows + 3) // 4)


def small_tables(count: int) -> tuple[Table, ...]:
    """The many small tables."""
    numbers = range(1, count + 1)
    return tuple(
        Table(data.small_name(n), ("id",), "updated_at", n * 1_000_000 + 1, n * 1_000_000 + 10_000) for n in numbers
    )


class Postgres:
    """A PostgreSQL server of the bench's own, with one database for every state of the source."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def database(self, name: str) -> PostgresDatabase:
        """Return a connection to a database."""
        return self._server.connection(name)

    def address(self, name: str) -> Address:
        """Return where programs find it."""
        at = self.database(name)
        return Address("postgresql", name, at.host, at.port, at.user, at.password)

    def exists(self, name: str) -> bool:
        """Whether there is such a database."""
        return self._server.psql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "1"

    def with_lineitem(self, rows: int) -> str:
        """Return the database that holds ``lineitem`` with so many rows, as generated."""
        name = f"load_{rows}"
        if not self.exists(name):
            at = self._server.create_database(name)
            at.psql(data.create_lineitem("lineitem"))
            # In one go, in the order of the keys: the rows lie on the same pages every time.
            at.psql(data.lineitem("lineitem", 1, rows))
            at.psql(data.finish("lineitem", data.KEYS))
            self._server.psql("CHECKPOINT")
        return name

    def copy(self, name: str, copy: str) -> str:
        """Copy a database file by file; a former copy is dropped."""
        self._server.drop_database(copy)
        self._server.psql(f"CREATE DATABASE {copy} TEMPLATE {name} OWNER {USER} STRATEGY FILE_COPY")
        return copy

    def change(self, name: str, rows: int, changed: int) -> None:
        """Apply the changes of the merge."""
        self.database(name).psql(data.changes("lineitem", rows, changed))
        self._server.psql("CHECKPOINT")

    def with_small_tables(self, count: int) -> str:
        """Return the database that holds so many small tables."""
        name = f"small_{count}"
        if not self.exists(name):
            at = self._server.create_database(name)
            for number in range(1, count + 1):
                at.psql(data.small(data.small_name(number), number))
            at.psql("VACUUM (FREEZE, ANALYZE)")
            self._server.psql("CHECKPOINT")
        return name

    def drop(self, name: str) -> None:
        """Drop a database that is not needed any more."""
        self._server.drop_database(name)

    def export(self, name: str, table: str, target: Path) -> None:
        """Write a table as psql prints it: what everything that arrived is compared with."""
        at = self.database(name)
        with target.open("wb") as sink:
            subprocess.run(
                psql(at, f"COPY {table} TO STDOUT (FORMAT csv, NULL '\\N')"), stdout=sink, check=True, env=environment(at)
            )

    def warm(self, name: str, tables: Sequence[str]) -> None:
        """Read tables once, so that the first competitor does not read for the others."""
        at = self.database(name)
        for table in tables:
            command = psql(at, f"COPY {table} TO STDOUT (FORMAT binary)")
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment(at))


def psql(at: PostgresDatabase, sql: str) -> list[str]:
    """Return the command that runs one statement over TCP, as the ordinary role."""
    connection = ["-h", at.host, "-p", str(at.port), "-U", at.user, "-d", at.database]
    return [str(at.binaries / "psql"), "-X", "-q", *connection, "-c", sql]


def environment(at: PostgresDatabase) -> dict[str, str]:
    """Return the environment for ``psql``."""
    return {**os.environ, "PGPASSWORD": at.password, "PGCLIENTENCODING": "UTF8"}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start the server, and remove it afterwards."""
    with PostgresServer(POSTGRES) as server:
        yield Postgres(server)


@contextmanager
def mariadb(rows: Path) -> Iterator[Address]:
    """Start MariaDB with ``lineitem`` from an export of PostgreSQL's."""
    with MariaServer(MARIADB) as server:
        at = server.create_database("public")
        declared = ", ".join(f"{name} {_mariadb_type(name, kind)}" for name, kind in data.COLUMNS.items())
        at.client(f"CREATE TABLE lineitem ({declared}, PRIMARY KEY ({', '.join(data.KEYS)}));")
        fields = "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
        at.client(f"LOAD DATA LOCAL INFILE '{rows}' INTO TABLE lineitem {fields};", options=("--local-infile=1",))
        at.client("ANALYZE TABLE lineitem;")
        yield Address("mariadb", at.database, at.host, at.port, at.user, at.password)


def _mariadb_type(name: str, kind: str) -> str:
    nullable = "" if name == "l_comment" else " NOT NULL"
    return LINEITEM_TYPES.get(name, MARIADB_TYPES.get(kind, kind)) + nullable


def sqlite(rows: Path, file: Path) -> Address:
    """Write a SQLite file with ``lineitem`` from an export of PostgreSQL's."""
    file.unlink(missing_ok=True)
    declared = ", ".join(f"{name} {kind}" for name, kind in data.SQLITE_COLUMNS.items())
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE lineitem ({declared}, PRIMARY KEY ({', '.join(data.KEYS)}))")
        connection.commit()
    client = shutil.which("sqlite3") or "sqlite3"
    script = f".mode csv\n.import {rows} lineitem\nUPDATE lineitem SET l_comment = NULL WHERE l_comment = '\\N';\nANALYZE;\n"
    subprocess.run([client, str(file)], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    return Address("sqlite", str(file))
