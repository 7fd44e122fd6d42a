"""Pooled connections on real servers: few logins, and a session that the server ended is no table's failure."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.model.connection import ConnectionSpec, Tls
from tests.readings import Reference

THREADS = 4
SESSION = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT connection_id()"}
END = {"postgresql": "SELECT pg_terminate_backend({0}, 10000)", "mariadb": "KILL {0}"}
ALIVE = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE pid = {0}",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE id = {0}",
}


@pytest.fixture(params=["postgresql", "mariadb"])
def source(request: pytest.FixtureRequest) -> ConnectionSpec:
    server = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
    login = (server.database, server.host, server.port, server.user, Reference(server.password))
    return ConnectionSpec("source", request.param, *login, tls=Tls("disable"))


@pytest.fixture
def database(source: ConnectionSpec) -> Iterator[Database]:
    opened = Database(source, dialect_for(source.dialect))
    yield opened
    opened.close()


def session_of(database: Database) -> int:
    ((number,),) = database.rows(SESSION[database.spec.dialect])
    return int(number)


def end_session(source: ConnectionSpec, number: int) -> None:
    """End a session from another one, and return when the server has."""
    other = Database(source, dialect_for(source.dialect))
    with other.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(END[source.dialect].format(number))
        cursor.close()
    while other.rows(ALIVE[source.dialect].format(number)) != [(0,)]:
        pass
    other.close()


def test_many_questions_need_one_login_a_thread(database: Database) -> None:
    together = threading.Barrier(THREADS)

    def ask(_: int) -> list[int]:
        with database.connect():
            together.wait(30)  # so that each thread holds one
        return [session_of(database) for _ in range(50)]

    with ThreadPoolExecutor(THREADS) as threads:
        sessions = {number for numbers in threads.map(ask, range(THREADS)) for number in numbers}
    assert len(sessions) <= THREADS


def test_a_session_that_the_server_ended_is_replaced_in_silence(source: ConnectionSpec, database: Database) -> None:
    ended = session_of(database)
    assert session_of(database) == ended
    end_session(source, ended)
    assert session_of(database) != ended
