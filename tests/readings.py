"""Reads of a source through Spark or in this process, without a configuration around them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.extract import Reader
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.spec import PartitionRead, TableSpec
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Reference:
    """A password that is known only when it is asked for."""

    value: str

    def resolve(self) -> str:
        return self.value


@dataclass
class Reading:
    """A Spark session, as readers ask for it, and the directory for what they land."""

    spark: SparkSession
    root: Path
    count: int = 0

    @property
    def connections(self) -> int:
        """Over how many connections a large table is read."""
        return 4

    def session(self) -> SparkSession:
        return self.spark

    def reader(self) -> Reader:
        return SparkReader(self)

    def source(self, server: PostgresDatabase | MariaDatabase, table: TableSpec, **properties: str) -> JdbcSource:
        """Return one table of a database, read by a JDBC driver with these properties."""
        spec = ConnectionSpec(
            name="shop",
            dialect="mariadb" if isinstance(server, MariaDatabase) else "postgresql",
            database=server.database,
            host=server.host,
            port=server.port,
            user=server.user,
            password=Reference(server.password),
            jdbc_properties=tuple(properties.items()),
        )
        return JdbcSource(table, Database(spec, dialect_for(spec.dialect)), self.reader())

    def land(self, source: JdbcSource, piece: Slice | None = None) -> Path:
        """Read a slice, or the whole table, and return where its files lie."""
        self.count += 1
        directory = self.root / f"landed-{self.count}"
        extract = source.read_full() if piece is None else source.read_slice(piece)
        extract.write_parquet(str(directory))
        return directory


@dataclass
class Streaming(Reading):
    """The same in this process; the session is that of nobody."""

    group_bytes: int = 16 * 2**20

    @property
    def connections(self) -> int:
        return min(os.cpu_count() or 1, 4)

    def reader(self) -> Reader:
        return ArrowReader(ParquetSettings(group_bytes=self.group_bytes), LocalFiles())


def streaming_in(root: Path) -> Streaming:
    """Return readings that need no Spark."""
    nobody: Any = None
    return Streaming(nobody, root)


def reading_in(spark: SparkSession, root: Path) -> Reading:
    """Return readings of a session of their own, set as the runtime sets a table's."""
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    return Reading(session, root)


def table_of(name: str, split: str | None = None, partitions: int = 4, **changes: Any) -> TableSpec:
    """Return a table of the schema public, its read split along a column if one is named."""
    read = PartitionRead(split, None, None, partitions) if split else None
    return replace(TableSpec("public", name, "full", "shop", partition_read=read), **changes)
