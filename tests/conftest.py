"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.spec import RuntimeSpec, SparkSpec, StagingSpec
from ingestion_runtime.tools.class_data import class_data_options
from ingestion_runtime.tools.jars import JarCache, default_cache_directory
from ingestion_runtime.tools.java import require_java
from ingestion_runtime.tools.spark import SparkTool
from tests.lake import IMPATIENT, JVM
from tests.servers.hdfs import HdfsServer
from tests.servers.mariadb import MariaDatabase, MariaServer
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


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaServer]:
    """A real MariaDB server, started when the first test asks for it."""
    with MariaServer() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: MariaServer) -> Iterator[MariaDatabase]:
    """A fresh, empty database."""
    database = mariadb_server.create_database()
    yield database
    mariadb_server.drop_database(database.database)


@pytest.fixture(scope="session")
def hdfs_server() -> Iterator[HdfsServer]:
    """A real HDFS, started when the first test asks for it."""
    with HdfsServer() as server:
        yield server


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One Spark session for all tests that run tables inside this process; starting one costs seconds."""
    root = tmp_path_factory.mktemp("spark")
    runtime = RuntimeSpec(
        job_name="tests",
        raw_root=str(root / "raw"),
        final_root=str(root / "final"),
        timezone="UTC",
        catalog=None,
        staging=StagingSpec(str(root / "staging")),
        state_database=str(root / "state.db"),
        spark=SparkSpec("local[2]", "1g", (("spark.driver.defaultJavaOptions", JVM), IMPATIENT)),
    )
    jars = JarCache(default_cache_directory()).ensure
    archive = class_data_options(default_cache_directory(), os.environ)
    tool = SparkTool.from_config(runtime, require_java, jars, root / "spark.log", class_data=archive)
    yield tool.session()
    tool.stop()
