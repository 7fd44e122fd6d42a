"""What every database lists of its tables: the same rules, each in its own catalog."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.listing import ListedTable, list_tables, read_listing
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from ingestion_runtime.model.errors import ConfigError, TransientError
from tests.readings import Reference
from tests.servers.mariadb import MariaDatabase
from tests.servers.ports import HOST, free_port
from tests.servers.postgresql import PostgresDatabase

HOSTILE = "[red]\"'`; DROP <b>ü,\\x"


def database_of(server: PostgresDatabase | MariaDatabase, user: str = "", password: str = "") -> Database:
    dialect = "postgresql" if isinstance(server, PostgresDatabase) else "mariadb"
    secret = Reference(password or server.password)
    login = (server.database, server.host, server.port, user or server.user, secret)
    return Database(ConnectionSpec("source", dialect, *login, tls=Tls("disable")), dialect_for(dialect))


def sqlite_of(path: Path, script: str) -> Database:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return Database(ConnectionSpec("source", "sqlite", str(path)), dialect_for("sqlite"))


def names(found: tuple[ListedTable, ...]) -> list[str]:
    return [f"{table.schema}.{table.table}" for table in found]


def test_postgresql_lists_tables_of_every_kind(postgres: PostgresDatabase) -> None:
    """Partitioned ones without their parts, foreign ones, materialised views as views; sorted, sequences left out."""
    postgres.psql(
        """CREATE SCHEMA sales; CREATE TABLE sales.b (id serial PRIMARY KEY); CREATE TABLE sales.a (id int);
        INSERT INTO sales.a SELECT generate_series(1, 900); ANALYZE sales.a;
        CREATE TABLE parted (id int, day date) PARTITION BY RANGE (day);
        CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE heir () INHERITS (sales.a);
        CREATE VIEW v AS SELECT 1 AS one; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one;
        CREATE TEMP TABLE passing (id int)"""
    )
    postgres.psql(
        """CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
        CREATE FOREIGN TABLE far_away (id int) SERVER far; GRANT SELECT ON far_away TO PUBLIC""",
        superuser=True,
    )
    database = database_of(postgres)
    found = list_tables(database)
    assert names(found) == ["public.far_away", "public.heir", "public.mv", "public.parted", "public.v", "sales.a", "sales.b"]
    assert [table.table for table in found if table.kind == "view"] == ["mv", "v"]
    assert {table.table: table.estimated_rows for table in found}["a"] == 900
    assert {table.table: table.estimated_rows for table in found}["b"] is None
    assert names(list_tables(database, "sales")) == ["sales.a", "sales.b"]
    assert list_tables(database, "SALES") == ()
    assert not read_listing(database).ignores_case
    database.close()


def test_postgresql_lists_what_the_reader_may_see(postgres: PostgresDatabase) -> None:
    """Of a table that he may read in part only he is told: an error is better than a table that nobody misses."""
    postgres.psql(
        """DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN PASSWORD 'looker'""",
        superuser=True,
    )
    postgres.psql(
        """CREATE SCHEMA hidden; CREATE TABLE hidden.t (id int); GRANT SELECT ON hidden.t TO looker;
        CREATE TABLE seen (id int); GRANT SELECT ON seen TO looker; CREATE TABLE unseen (id int);
        CREATE TABLE written (id int); GRANT INSERT ON written TO looker;
        CREATE TABLE half (id int, secret text); GRANT SELECT (id) ON half TO looker"""
    )
    database = database_of(postgres, "looker", "looker")
    assert names(list_tables(database)) == ["public.half", "public.seen"]
    database.close()
    postgres.psql("DROP OWNED BY looker; DROP ROLE looker", superuser=True)


def test_postgresql_leaves_out_what_an_extension_brought(postgres: PostgresDatabase) -> None:
    """Its tables and views are its own business."""
    postgres.psql("CREATE EXTENSION pg_buffercache; GRANT SELECT ON pg_buffercache TO PUBLIC", superuser=True)
    database = database_of(postgres)
    assert list_tables(database) == ()
    database.close()


def test_mariadb_lists_tables_and_views_of_all_its_databases(mariadb: MariaDatabase) -> None:
    """Without the server's own, without sequences; temporary tables belong to their session."""
    mariadb.client(
        """CREATE TABLE b (id int) ENGINE=MyISAM; INSERT INTO b VALUES (1), (2); CREATE TABLE A (id int);
        CREATE TABLE versioned (id int) WITH SYSTEM VERSIONING; CREATE VIEW v AS SELECT 1 AS one;
        CREATE SEQUENCE numbers"""
    )
    database = database_of(mariadb)
    found = list_tables(database)
    own = mariadb.database
    assert names(found) == [f"{own}.A", f"{own}.b", f"{own}.v", f"{own}.versioned"]
    assert [(table.kind, table.estimated_rows) for table in found] == [
        ("table", None),
        ("table", 2),
        ("view", None),
        ("table", None),
    ]
    assert list_tables(database, own) == found
    assert list_tables(database, own.upper()) == ()  # as this server was set up, letter case counts
    assert not read_listing(database).ignores_case
    database.close()


def test_sqlite_lists_its_file_under_the_name_that_is_asked_for(tmp_path: Path) -> None:
    """Without its own tables, and those that a virtual table is made of."""
    database = sqlite_of(
        tmp_path / "shop.db",
        """CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO b DEFAULT VALUES;
        CREATE TABLE Sqlited (id int); CREATE INDEX i ON Sqlited (id); INSERT INTO Sqlited VALUES (1), (2); ANALYZE;
        CREATE VIEW v AS SELECT 1 AS one; CREATE VIEW broken AS SELECT * FROM gone;
        CREATE VIRTUAL TABLE notes USING fts5(body)""",
    )
    found = list_tables(database)
    assert names(found) == ["main.Sqlited", "main.b", "main.broken", "main.notes", "main.v"]
    assert {table.table: (table.kind, table.estimated_rows) for table in found} == {
        "Sqlited": ("table", 2),
        "b": ("table", 1),
        "broken": ("view", None),
        "notes": ("table", None),
        "v": ("view", None),
    }
    assert {table.schema for table in list_tables(database, "shop")} == {"shop"}
    assert read_listing(database).ignores_case
    database.close()


def test_hostile_names_are_names(tmp_path: Path, postgres: PostgresDatabase, mariadb: MariaDatabase) -> None:
    """Quoted by whoever makes a statement of them."""
    literal = HOSTILE.replace('"', '""')
    ticked = HOSTILE.replace("`", "``")
    postgres.psql(f'CREATE SCHEMA "{literal}"; CREATE TABLE "{literal}"."{literal}" (id int)')
    mariadb.client(f"CREATE TABLE `{ticked}` (id int)")
    far, near = database_of(postgres), sqlite_of(tmp_path / "x.db", f'CREATE TABLE "{literal}" (id int)')
    maria = database_of(mariadb)
    assert [table.table for table in list_tables(far, HOSTILE)] == [HOSTILE]
    assert [table.table for table in list_tables(near)] == [HOSTILE]
    assert [table.table for table in list_tables(maria)] == [HOSTILE]
    assert list_tables(maria, HOSTILE) == ()
    for database in (far, near, maria):
        database.close()


def test_who_cannot_be_asked_is_told_as_elsewhere(postgres: PostgresDatabase) -> None:
    """Credentials are a mistake of the configuration, a server that is gone is worth a retry."""
    with pytest.raises(ConfigError):
        list_tables(database_of(postgres, password="wrong"))
    gone = ConnectionSpec("source", "postgresql", "x", HOST, free_port(), "x", Reference("x"))
    with pytest.raises(TransientError):
        list_tables(Database(gone, dialect_for("postgresql")))
