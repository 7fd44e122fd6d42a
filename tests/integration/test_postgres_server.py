"""The tests' own PostgreSQL does what the other tests rely on."""

import psycopg
import pytest

from tests.servers.postgresql import PostgresDatabase, PostgresServer


def connect(database: PostgresDatabase, **changes: str) -> psycopg.Connection:
    fields = {"user": database.user, "password": database.password, "dbname": database.database} | changes
    return psycopg.connect(host=database.host, port=database.port, connect_timeout=5, **fields)


def test_rows_made_by_psql_are_read_by_the_role_with_the_password(postgres: PostgresDatabase) -> None:
    postgres.psql("CREATE TABLE t AS SELECT g AS id, 'n' || g AS name FROM generate_series(1, 100000) g")
    assert postgres.psql("SELECT id, name FROM t WHERE id <= 2 ORDER BY id") == "1\tn1\n2\tn2"
    with connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100000,)


def test_every_test_has_a_database_of_its_own(postgres: PostgresDatabase) -> None:
    assert postgres.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"


def test_a_wrong_password_is_refused(postgres: PostgresDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(postgres, password="guess")


def test_a_failing_statement_raises_with_the_servers_words(postgres: PostgresDatabase) -> None:
    with pytest.raises(RuntimeError, match='relation "absent" does not exist'):
        postgres.psql("SELECT * FROM absent")


def test_a_server_can_be_stopped_and_started_again() -> None:
    with PostgresServer() as server:
        database = server.create_database("kept")
        database.psql("CREATE TABLE t (id int)")
        server.stop("fast")
        with pytest.raises(RuntimeError, match="Connection refused"):
            database.psql("SELECT 1")
        server.start()
        assert database.psql("SELECT count(*) FROM t") == "0"


def test_a_server_that_does_not_start_fails_with_its_log_and_leaves_nothing() -> None:
    server = PostgresServer({"shared_buffers": "'nonsense'"})
    with pytest.raises(RuntimeError, match="invalid value for parameter"), server:
        pass
    assert not server._base.exists()
