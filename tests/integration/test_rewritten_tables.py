"""PostgreSQL tables that are emptied or rewritten while a read begins: an older view would find no rows."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import postgresql
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.model.errors import SpoiltBatchError, TransientError
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import TableSpec
from tests.readings import Reading, reading_in, streaming_in, table_of
from tests.servers.postgresql import PostgresDatabase

TABLES = """CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'a' FROM generate_series(1, 1000) g;
CREATE VIEW seen AS SELECT s.id FROM (SELECT id FROM t) s; CREATE MATERIALIZED VIEW kept AS SELECT id FROM t;"""
TRUNCATE = "TRUNCATE t; INSERT INTO t SELECT g, 'b' FROM generate_series(1, 1000) g"
REWRITE = "ALTER TABLE t ADD COLUMN r float8 DEFAULT random()"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'"


@pytest.fixture(params=["spark", "arrow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Reading:
    """Readings by either engine."""
    if request.param == "arrow":
        return streaming_in(tmp_path)
    return reading_in(request.getfixturevalue("spark"), tmp_path)


class Read(threading.Thread):
    """A read that runs beside the test."""

    def __init__(self, extract: JdbcExtract, place: Path) -> None:
        super().__init__()
        self.extract, self.place, self.error = extract, place, None
        self.start()

    error: Exception | None

    def run(self) -> None:
        try:
            self.extract.write_parquet(str(self.place))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def ids(self) -> list[int]:
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return sorted(key for path in self.place.glob("*.parquet") for key in pq.read_table(path)["id"].to_pylist())


@contextmanager
def writer_of(server: PostgresDatabase) -> Iterator[psycopg.Connection]:
    login = {"user": server.user, "password": server.password, "dbname": server.database}
    with psycopg.connect(host=server.host, port=server.port, **login) as opened:
        yield opened


def until_it_waits(server: PostgresDatabase, thread: threading.Thread) -> None:
    while server.psql(WAITING) == "0":
        assert thread.is_alive()


def read_during(reading: Reading, server: PostgresDatabase, table: TableSpec, change: str) -> list[int]:
    """The keys that a read finds which begins while a change is open and goes on when that is committed."""
    server.psql(TABLES)
    source = reading.source(server, table)
    source.describe()
    with writer_of(server) as writer:
        writer.execute(change)
        read = Read(source.read_full(), reading.root / "out")
        until_it_waits(server, read)
        writer.commit()
    return read.ids()


EVERY = list(range(1, 1001))


@pytest.mark.parametrize("name", ["t", "seen"])
def test_a_table_that_is_emptied_and_filled_is_read_when_it_is_filled(
    either: Reading, postgres: PostgresDatabase, name: str
) -> None:
    """The read waits for the commit and takes its view of the database after it."""
    assert read_during(either, postgres, table_of(name), TRUNCATE) == EVERY


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (table_of("query", query_sql="SELECT id FROM t -- all"), TRUNCATE),
        (table_of("t", source_filter="id IN (SELECT id FROM seen)"), TRUNCATE),
        (table_of("kept"), "REFRESH MATERIALIZED VIEW kept"),
        (table_of("seen"), REWRITE),
        (table_of("query", query_sql="SELECT id FROM t"), REWRITE),
        (table_of("t", policy=SchemaPolicy(added=OnChange.IGNORE)), REWRITE),
    ],
    ids=["query", "filter", "materialised", "rewritten-view", "rewritten-query", "rewritten-ignored"],
)
def test_whatever_reads_a_table_that_is_replaced_finds_all_its_rows(
    tmp_path: Path, postgres: PostgresDatabase, table: TableSpec, change: str
) -> None:
    assert read_during(streaming_in(tmp_path), postgres, table, change) == EVERY


def test_a_table_that_gets_a_column_as_it_is_read_is_read_anew(either: Reading, postgres: PostgresDatabase) -> None:
    """Its rows are all there, and the new column's values are not: a watermark must not pass them."""
    with pytest.raises(SpoiltBatchError, match=r"public\.t was altered while it was read: r"):
        read_during(either, postgres, table_of("t"), REWRITE)


def test_keys_wait_for_a_table_that_is_filled_too(tmp_path: Path, postgres: PostgresDatabase) -> None:
    """Rows that an older view does not find would be deleted in the target."""
    postgres.psql(TABLES)
    source = streaming_in(tmp_path).source(postgres, table_of("t", primary_keys=("id",)))
    buckets = list(source.key_buckets())
    with writer_of(postgres) as writer:
        writer.execute(TRUNCATE)
        read = Read(source.read_keys(buckets), tmp_path / "keys")
        until_it_waits(postgres, read)
        writer.commit()
    assert read.ids() == EVERY


def test_a_read_that_waits_can_be_interrupted(tmp_path: Path, postgres: PostgresDatabase) -> None:
    postgres.psql(TABLES)
    source = streaming_in(tmp_path).source(postgres, table_of("t"))
    source.describe()
    with writer_of(postgres) as writer:
        writer.execute(TRUNCATE)
        read = Read(source.read_full(), tmp_path / "out")
        until_it_waits(postgres, read)
        source._database.interrupt()
        with pytest.raises(TransientError, match="user request"):
            read.ids()


def refuse_behind_a_writer(server: PostgresDatabase, extract: JdbcExtract, database: Database, to: Path) -> None:
    """Read while a TRUNCATE waits for our first connection: the read gives up, and the TRUNCATE goes on."""
    writer = threading.Thread(target=server.psql, args=("TRUNCATE t",))

    def read_behind_the_writer() -> None:
        with database.snapshot("SELECT id FROM t") as snapshot:
            writer.start()
            until_it_waits(server, writer)
            extract.reader.read(extract, snapshot, None, str(to / "out"))

    with pytest.raises(TransientError, match="lock timeout"):
        read_behind_the_writer()
    writer.join(30)
    assert not writer.is_alive()


def test_a_read_and_who_waits_for_it_do_not_wait_for_each_other(
    tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New readers queue up behind a TRUNCATE that waits for the first of our connections: they give up, and it goes on."""
    monkeypatch.setattr(postgresql, "_LOCK_WAIT", "SET LOCAL lock_timeout = '200ms'")
    postgres.psql(TABLES)
    source = streaming_in(tmp_path).source(postgres, table_of("t"))
    extract = source.read_full()
    assert isinstance(extract.reader, ArrowReader)
    refuse_behind_a_writer(postgres, extract, source._database, tmp_path)
    assert postgres.psql("SELECT count(*) FROM t") == "0"


def test_sparks_question_for_the_columns_does_not_wait_for_who_waits_for_us(
    spark: SparkSession, tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked before the transaction that has a bound of its own, and would wait for ever."""
    monkeypatch.setattr(postgresql, "_JDBC_LOCK_WAIT", "-c lock_timeout=200ms")
    postgres.psql(TABLES)
    source = reading_in(spark, tmp_path).source(postgres, table_of("q", query_sql="SELECT id FROM t"))
    extract = source.read_full()
    refuse_behind_a_writer(postgres, extract, source._database, tmp_path)


CHANGES = {
    "later": "ALTER TABLE t ADD later int",
    "v": "ALTER TABLE t DROP v; ALTER TABLE t ADD v text",
}


@pytest.mark.parametrize("column", CHANGES)
def test_columns_that_came_after_the_description_spoil_the_read(
    tmp_path: Path, postgres: PostgresDatabase, column: str
) -> None:
    """The description may be older than the read; what it does not know is not read, and would be passed for good."""
    postgres.psql(TABLES)
    reading = streaming_in(tmp_path)
    source = reading.source(postgres, table_of("t"))
    source.describe()
    postgres.psql(CHANGES[column])
    with pytest.raises(SpoiltBatchError, match=f"altered while it was read: {column}"):
        reading.land(source)
