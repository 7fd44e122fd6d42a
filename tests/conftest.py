"""Fixtures that every test may use."""

from collections.abc import Iterator

import pytest

from tests.servers.postgresql import PostgresDatabase, PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server, started when the first test asks for it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    """A fresh, empty database."""
    database = postgres_server.create_database()
    yield database
    postgres_server.drop_database(database.database)
