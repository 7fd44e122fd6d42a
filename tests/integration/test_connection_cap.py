"""How many connections a run has open to its source at a time, as the server counts them."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.model.errors import TransientError
from tests.lake import Lake
from tests.readings import streaming_in, table_of
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

TABLES = 5
CHANGES = {
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "at",
    "incr_col_type": "timestamp",
    "deletes": "hard",
}
# Two parts of 16 MiB at the least: several connections read it where they may.
LARGE = """CREATE TABLE large (id int PRIMARY KEY, filling text); ALTER TABLE large ALTER filling SET STORAGE PLAIN;
INSERT INTO large SELECT g, repeat('x', 3900) FROM generate_series(1, 9000) g; ANALYZE large;"""


class Watch:
    """Counts the sessions of a server while a block runs: those whose client still holds its end. A session lives for a
    moment longer than its connection."""

    def __init__(self, port: int, look: Callable[[], set[int]]) -> None:
        """``look`` asks the server for the ports of its clients."""
        self._port = port
        self._look = look
        self.most = 0
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator["Watch"]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            clients = self._look()  # first: whoever is in both was there all the time between
            self.most = max(self.most, len(clients & clients_of(self._port)))


def clients_of(port: int) -> set[int]:
    """The local ports of all established connections to a port of this machine."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            if state == "01" and int(remote.rpartition(":")[2], 16) == port:
                found.add(int(local.rpartition(":")[2], 16))
    return found


@pytest.fixture
def source(postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    monkeypatch.setenv("SOURCE_PASSWORD", postgres.password)
    for number in range(TABLES):
        postgres.psql(f"""CREATE TABLE t{number} (id int PRIMARY KEY, at timestamptz);
            INSERT INTO t{number} SELECT g, now() - g * interval '1 min' FROM generate_series(1, 500) g""")
    return postgres


@contextmanager
def sessions_of(server: PostgresDatabase) -> Iterator[Watch]:
    address = {"host": server.host, "port": server.port, "dbname": server.database, "user": "postgres"}
    with psycopg.connect(**address, autocommit=True) as other:  # type: ignore[arg-type]
        asked = "SELECT client_port FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        with Watch(server.port, lambda: {port for (port,) in other.execute(asked, [server.user])}).watching() as watch:
            yield watch


def lake_on(root: Path, server: Any, dialect: str, cap: int | None, *further: Mapping[str, Any]) -> Lake:
    schema = "public" if dialect == "postgresql" else server.database
    tables = [{"schema": schema, "table": f"t{n}", **({"mode": "full"} if n % 2 else CHANGES)} for n in range(TABLES)]
    address = {"host": server.host, "port": server.port, "database": server.database, "user": server.user}
    connection = {"dialect": dialect, **address, "password": "${env:SOURCE_PASSWORD}", "tls": {"mode": "disable"}}
    lake = Lake(root, connection | ({} if cap is None else {"max_connections": cap}), [*tables, *further])
    lake.document["runtime"] |= {"max_parallel_tables": 4, "engine": "arrow"}
    lake.save()
    return lake


def assert_loaded(lake: Lake, schema: str, **rows: int) -> None:
    assert {n: len(lake.rows(f"{schema}.t{n}")) for n in range(TABLES)} == dict.fromkeys(range(TABLES), 500)
    assert {name: len(lake.rows(f"{schema}.{name}")) for name in rows} == rows


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_postgresql_has_no_more_sessions_than_it_may(tmp_path: Path, source: PostgresDatabase, cap: int) -> None:
    """Four tables at a time, probes, snapshots, reads and deletes; and all rows arrive, twice."""
    lake = lake_on(tmp_path, source, "postgresql", cap)
    with sessions_of(source) as watch:
        assert lake.run(None).exit_code == 0
        source.psql("DELETE FROM t0 WHERE id = 7; INSERT INTO t0 SELECT 501, now() - interval '1 s'", superuser=True)
        assert lake.run(None).exit_code == 0
    assert_loaded(lake, "public")
    assert {row["id"] for row in lake.rows("public.t0")} == {*range(1, 502)} - {7}
    assert 0 < watch.most <= cap


@pytest.mark.parametrize("cap", [4, None])
def test_a_large_table_is_read_over_what_is_left(tmp_path: Path, source: PostgresDatabase, cap: int | None) -> None:
    """Several connections for one read, while other tables wait or have their own; without a cap nobody waits."""
    source.psql(LARGE)
    lake = lake_on(tmp_path, source, "postgresql", cap, {"schema": "public", "table": "large", "mode": "full"})
    with sessions_of(source) as watch:
        assert lake.run(None).exit_code == 0
    assert_loaded(lake, "public", large=9000)
    assert watch.most > 4 if cap is None else watch.most == cap


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_mariadb_has_no_more_sessions_than_it_may(
    tmp_path: Path, mariadb: MariaDatabase, monkeypatch: pytest.MonkeyPatch, cap: int
) -> None:
    """The same; there is no view to share, so a read needs one connection."""
    monkeypatch.setenv("SOURCE_PASSWORD", mariadb.password)
    for number in range(TABLES):
        mariadb.client(f"""CREATE TABLE t{number} (id int PRIMARY KEY, at timestamp(6) NOT NULL);
            INSERT INTO t{number} SELECT seq, now(6) - INTERVAL seq MINUTE FROM seq_1_to_500""")
    lake = lake_on(tmp_path, mariadb, "mariadb", cap)
    with closing(pymysql.connect(user="root", unix_socket=mariadb.socket, autocommit=True)) as other:

        def look() -> set[int]:
            with other.cursor() as cursor:
                cursor.execute("SELECT host FROM information_schema.processlist WHERE user = %s", [mariadb.user])
                return {int(host.rpartition(":")[2]) for (host,) in cursor.fetchall() if ":" in host}

        with Watch(mariadb.port, look).watching() as watch:
            assert lake.run(None).exit_code == 0
            assert lake.run(None).exit_code == 0
    assert_loaded(lake, mariadb.database)
    assert 0 < watch.most <= cap


@pytest.mark.parametrize("cap", [1, 3])
def test_spark_has_no_more_sessions_than_it_may(
    tmp_path: Path, source: PostgresDatabase, spark: SparkSession, cap: int
) -> None:
    """Its tasks count: eight parts are read by as few of them at a time as are left, or as one."""
    lake = lake_on(tmp_path, source, "postgresql", cap)
    lake.document["runtime"]["engine"] = "spark"
    lake.document["tables"] = [
        {**table, "partition_read": {"partitionColumn": "id", "numPartitions": 8}} for table in lake.document["tables"][:2]
    ]
    lake.save()
    with sessions_of(source) as watch:
        assert lake.run(spark).exit_code == 0
    assert 0 < watch.most <= cap
    assert [len(lake.rows(f"public.t{n}")) for n in range(2)] == [500, 500]


def test_a_server_that_refuses_one_more_has_nothing_to_refuse(tmp_path: Path, source: PostgresDatabase) -> None:
    """A limit of the database's own, as administrators set it for a reader."""
    source.psql(f'ALTER DATABASE "{source.database}" CONNECTION LIMIT 2', superuser=True)
    lake = lake_on(tmp_path, source, "postgresql", 2)
    result = lake.run(None)
    assert [table.failure.message for table in result.tables if table.failure] == []
    assert_loaded(lake, "public")


@pytest.mark.parametrize("most", [1, None])
def test_a_session_that_still_counts_at_the_server_is_waited_for(source: PostgresDatabase, most: int | None) -> None:
    """Only where the number is limited and one of ours was closed just now: else a refusal is told at once."""
    database = Database(replace(source.as_connection("source"), max_connections=most), dialect_for("postgresql"))
    address = {"host": source.host, "port": source.port, "dbname": source.database}
    limit = f'ALTER DATABASE "{source.database}" CONNECTION LIMIT'
    with psycopg.connect(**address, user="postgres", autocommit=True) as administrator:  # type: ignore[arg-type]
        dying = psycopg.connect(**address, user=source.user, password=source.password)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError), database.stream(None):
            raise ZeroDivisionError  # whatever happens in a read, its connection is closed
        administrator.execute(f"{limit} 2")  # that of the administrator counts
        if most is None:
            with pytest.raises(TransientError, match="max_connections"):
                database.check()
        else:
            threading.Timer(0.3, dying.close).start()
            database.check()
            assert dying.closed
        dying.close()
    database.close()


def test_a_read_over_one_connection_misses_nothing_of_a_table_that_is_filled_anew(
    tmp_path: Path, postgres: PostgresDatabase
) -> None:
    """A view that was taken before the wait for a TRUNCATE would find it empty, without an error: one of a part, which is
    locked only when the statement is planned."""
    postgres.psql("""CREATE TABLE t (id int) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF t DEFAULT; INSERT INTO t SELECT generate_series(1, 10)""")
    reading = streaming_in(tmp_path)
    spec = replace(postgres.as_connection("source"), max_connections=1)
    extract = reading.source(postgres, table_of("t")).read_full()
    database = Database(spec, dialect_for("postgresql"))
    alone = replace(extract, database=database, confirm=None)
    failed: list[BaseException] = []

    def read() -> None:
        try:
            alone.write_parquet(str(tmp_path / "out"))
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    address = {"host": postgres.host, "port": postgres.port, "dbname": postgres.database, "user": "postgres"}
    with psycopg.connect(**address) as writer:  # type: ignore[arg-type]
        writer.execute("TRUNCATE part")
        writer.execute("INSERT INTO t SELECT generate_series(1, 700)")
        thread = threading.Thread(target=read)
        thread.start()
        deadline = time.monotonic() + 60
        while postgres.psql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0":
            assert thread.is_alive()
            assert time.monotonic() < deadline
        writer.commit()
    thread.join(60)
    database.close()
    assert failed == []
    import pyarrow.parquet as pq

    assert sum(pq.read_metadata(path).num_rows for path in (tmp_path / "out").glob("*.parquet")) == 700
