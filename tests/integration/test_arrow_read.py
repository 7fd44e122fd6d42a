"""Reads in this process, for real: what cuts a stream short, what is wide, what is no plain table."""

import json
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.spec import ConnectionSpec, TableSpec
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from tests.lake import PROJECT
from tests.readings import Streaming, streaming_in, table_of
from tests.servers.postgresql import PostgresDatabase

# Two parts of 16 MiB at the least: several connections read it.
PARTED = """CREATE TABLE parted (id int, filling text); ALTER TABLE parted ALTER filling SET STORAGE PLAIN;
INSERT INTO parted SELECT g, repeat('x', 3900) FROM generate_series(1, 9000) g;"""
STREAMS = (
    "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user AND query LIKE 'COPY%'"
)


@pytest.fixture
def reading(tmp_path: Path) -> Streaming:
    return streaming_in(tmp_path)


def ids_in(directory: Path) -> list[int]:
    return sorted(key for path in directory.glob("*.parquet") for key in pq.read_table(path)["id"].to_pylist())


def failure_of(source: JdbcSource, place: Path) -> IngestionError:
    """Why a read failed, which it must have, within the seconds that its connections take to be cancelled."""
    with pytest.raises(IngestionError) as caught:
        source.read_full().write_parquet(str(place))
    assert [thread for thread in threading.enumerate() if "_run" in thread.name] == []
    return caught.value


@pytest.mark.parametrize("parts", [1, 2])
def test_a_connection_that_the_server_ends_never_looks_like_the_end_of_the_rows(
    reading: Streaming, postgres: PostgresDatabase, parts: int
) -> None:
    """A row in the midst of them ends its own session; the other connections are ended too, and the next read is whole."""
    postgres.psql(PARTED)
    spoil = "CASE WHEN id = 8000 THEN pg_terminate_backend(pg_backend_pid()) ELSE true END"
    table = table_of("parted", source_filter=spoil)
    if parts == 1:
        table = table_of("one", query_sql=f"SELECT * FROM parted WHERE {spoil}")
    source = reading.source(postgres, table)
    failure = failure_of(source, reading.root / "spoilt")
    assert isinstance(failure, TransientError)
    assert "terminating connection" in failure.message
    assert postgres.psql(STREAMS) == "0"
    whole = reading.source(postgres, table_of("parted"))
    assert ids_in(reading.land(whole)) == list(range(1, 9001))


def test_an_idle_connection_that_the_server_has_ended_is_replaced(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Connections wait for the next table; what happens to them meanwhile costs nobody a run."""
    postgres.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    source = reading.source(postgres, table_of("t"))
    assert ids_in(reading.land(source)) == [1]
    idle = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = current_user AND state = 'idle'"
    )
    assert int(postgres.psql(idle)) >= 2
    assert ids_in(reading.land(source)) == [1]


def test_a_run_that_is_interrupted_ends_its_streams(reading: Streaming, postgres: PostgresDatabase) -> None:
    """An endless read over several connections is over as soon as it is asked to stop."""
    postgres.psql(PARTED)
    source = reading.source(postgres, table_of("parted", source_filter="pg_sleep(0.05) IS NOT NULL"))
    failures: list[IngestionError] = []
    reader = threading.Thread(target=lambda: failures.append(failure_of(source, reading.root / "slow")))
    reader.start()
    while int(postgres.psql(STREAMS)) < reading.connections:
        assert reader.is_alive()
    source._database.interrupt()
    reader.join(30)
    assert not reader.is_alive()
    assert isinstance(failures[0], TransientError)
    assert postgres.psql(STREAMS) == "0"


def test_one_part_that_fails_ends_the_others(reading: Streaming, postgres: PostgresDatabase) -> None:
    """The other part would take minutes; the error that is told is the first one's."""
    postgres.psql(PARTED)
    slow = "CASE WHEN id = 9000 THEN 1 / (id - 9000) = 0 WHEN id < 4000 THEN pg_sleep(0.1) IS NOT NULL ELSE true END"
    failure = failure_of(reading.source(postgres, table_of("parted", source_filter=slow)), reading.root / "half")
    assert "division by zero" in failure.message
    assert postgres.psql(STREAMS) == "0"


def cuts_of(reading: Streaming, server: PostgresDatabase, name: str, condition: str | None = None) -> tuple[str, ...]:
    table = table_of(name)
    database = reading.source(server, table)._database
    with database.snapshot(f"SELECT 1 FROM {name}") as snapshot:
        return database.dialect.scan_parts(snapshot.connection, table, condition, 4)


def test_a_read_is_cut_only_where_that_pays(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Not a table of 10,000 rows, not what an index leads to, not what is stored in several files or in none."""
    postgres.psql(f"""{PARTED} CREATE INDEX ON parted (id); ANALYZE parted;
        CREATE TABLE small AS SELECT g AS id FROM generate_series(1, 10000) g;
        CREATE VIEW seen AS SELECT * FROM parted;
        CREATE TABLE parent (LIKE parted); CREATE TABLE heir () INHERITS (parent);
        INSERT INTO parent SELECT * FROM parted""")
    whole = cuts_of(reading, postgres, "parted")
    assert len(whole) == 2
    assert whole == cuts_of(reading, postgres, "parted", "filling <> 'y'")
    assert [cuts_of(reading, postgres, name) for name in ("small", "seen", "parent")] == [(), (), ()]
    assert cuts_of(reading, postgres, "parted", "id BETWEEN 5 AND 9") == ()


def test_no_row_changes_its_place_between_the_cut_and_the_reads(reading: Streaming, postgres: PostgresDatabase) -> None:
    """A rewrite of the table would move rows from one part to another: it has to wait until they are read."""
    postgres.psql(PARTED)
    table = table_of("parted")
    database = reading.source(postgres, table)._database
    with database.snapshot("SELECT 1 FROM parted") as snapshot:
        cuts = database.dialect.scan_parts(snapshot.connection, table, None, 2)
        with pytest.raises(RuntimeError, match="lock timeout"):
            postgres.psql("SET lock_timeout = '50ms'; VACUUM FULL parted")
        counts = [int(postgres.psql(f"SELECT count(*) FROM parted WHERE {cut}")) for cut in cuts]
    assert len(counts) == 2
    assert sum(counts) == 9000
    postgres.psql("SET lock_timeout = '5s'; VACUUM FULL parted")


SHAPES = """
CREATE TABLE plain (id int, at timestamptz, amount numeric(9,2));
INSERT INTO plain SELECT g, now(), g / 7.0 FROM generate_series(1, 50) g;
CREATE TABLE nothing (id int, amount numeric(9,2), at date);
CREATE VIEW seen AS SELECT * FROM plain WHERE id > 10;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
CREATE TABLE cut (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE cut_old PARTITION OF cut FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE cut_new PARTITION OF cut FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
INSERT INTO cut SELECT g, date '2023-12-01' + g FROM generate_series(1, 90) g;
CREATE TABLE heir () INHERITS (plain); INSERT INTO heir SELECT g, now(), 1 FROM generate_series(101, 120) g;
"""


def test_what_is_no_plain_table_is_read_whole(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Views, materialised ones, partitioned and inherited tables, queries, and nothing at all, with its columns."""
    postgres.psql(SHAPES)
    asked = {name: table_of(name) for name in ("plain", "nothing", "seen", "kept", "cut")}
    asked["query"] = table_of("query", query_sql="SELECT id FROM plain -- all of them")
    for name, table in asked.items():
        landed = reading.land(reading.source(postgres, table))
        relation = "plain" if name == "query" else name
        assert ids_in(landed) == [int(key) for key in postgres.psql(f"SELECT id FROM {relation} ORDER BY id").split()], name
    empty = pq.read_table(reading.root / "landed-2")
    assert [str(field.type) for field in empty.schema] == ["int32", "decimal128(9, 2)", "date32[day]"]


def test_spark_reads_the_files_as_this_process_wrote_them(
    reading: Streaming, postgres: PostgresDatabase, spark: SparkSession
) -> None:
    """Decimals of every width, dictionaries, NULLs, moments, bytes, and the housekeeping columns behind them."""
    postgres.psql("""CREATE TABLE kinds (id int, small numeric(9,2), middle numeric(18,4), large numeric(38,10), word text,
            bytes bytea, day date, at timestamp, zoned timestamptz, real real, yes boolean, tiny smallint);
        INSERT INTO kinds SELECT g, g / 7.0, -g * 12345678.9, g * 1e24, CASE WHEN g % 3 > 0 THEN 'w' || g % 5 END, '\\xff00',
            date '0001-01-01' + g, timestamp '9999-12-31 23:59:59.999999' - g * interval '1 us', now(), 'NaN', g % 2 = 0, g
        FROM generate_series(1, 2000) g""")
    columns = IngestColumns("run", date(2026, 7, 1), datetime(2026, 7, 1, 12, tzinfo=UTC), "shop", "b/0")
    reading.source(postgres, table_of("kinds")).read_full().with_ingest_cols(columns).write_parquet(
        str(reading.root / "out")
    )
    frame = spark.read.parquet(str(reading.root / "out"))
    assert [kind for _, kind in frame.dtypes] == [
        *("int", "decimal(9,2)", "decimal(18,4)", "decimal(38,10)", "string", "binary", "date", "timestamp_ntz"),
        *("timestamp", "float", "boolean", "smallint", "string", "date", "timestamp", "string", "string"),
    ]
    seen = frame.selectExpr("id", "small", "middle", "large", "word", "day", "cast(at as string)", "yes").collect()
    printed = [
        line.split("\t")
        for line in postgres.psql(
            "SELECT id, small, middle, large, coalesce(word, 'None'), day, at, yes FROM kinds ORDER BY id"
        ).splitlines()
    ]
    assert [[str(value) for value in row[:-1]] + ["ft"[row[-1]]] for row in sorted(seen)] == printed
    kept = frame.selectExpr(
        "_ingest_run_id", "_ingest_load_date", "unix_micros(_ingest_loaded_at)", "_ingest_slice"
    ).distinct()
    assert [tuple(row) for row in kept.collect()] == [("run", date(2026, 7, 1), 1782907200 * 10**6, "b/0")]
    assert frame.where("small = 142.71 AND _ingest_source = 'shop'").count() == 1


def test_an_error_tells_what_to_do_and_no_password(reading: Streaming, postgres: PostgresDatabase, tmp_path: Path) -> None:
    """A login that fails where rows are streamed reads as one where they are probed."""
    spec = ConnectionSpec("shop", "postgresql", postgres.database, postgres.host, postgres.port, postgres.user, Wrong())
    with pytest.raises(ConfigError) as caught, Database(spec, dialect_for("postgresql")).stream(None):
        pass
    assert "password authentication failed" in caught.value.message
    assert Wrong.VALUE not in str(caught.value)
    source = reading.source(postgres, table_of("t", query_sql="SELECT 1 AS id, 1 / (random() > 2)::int AS never"))
    failure = failure_of(source, tmp_path / "out")
    assert isinstance(failure, TerminalError)
    assert "division by zero" in failure.message
    assert "SELECT" not in str(failure)


class Wrong:
    """A password that nobody has."""

    VALUE = "hunter2 or 'not'"

    def resolve(self) -> str:
        return self.VALUE


MEASURED = textwrap.dedent("""
    import json, resource, sys
    from pathlib import Path
    from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
    from ingestion_runtime.endpoints.jdbc.database import Database
    from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
    from ingestion_runtime.endpoints.jdbc.source import JdbcSource
    from ingestion_runtime.model.spec import ConnectionSpec, TableSpec
    from ingestion_runtime.tools.files import LocalFiles
    from ingestion_runtime.tools.parquet_writer import ParquetSettings
    from tests.readings import Reference
    job = json.loads(sys.argv[1])
    spec = ConnectionSpec("shop", password=Reference(job.pop("password")), **job.pop("connection"))
    reader = ArrowReader(ParquetSettings(group_bytes=16 * 2**20), LocalFiles())
    source = JdbcSource(TableSpec("public", "wide", "full", "shop"), Database(spec, dialect_for(spec.dialect)), reader)
    source.describe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source.read_full().write_parquet(job["place"])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
""")


def fill_postgres(server: PostgresDatabase, tmp_path: Path) -> dict[str, object]:
    server.psql("""CREATE TABLE wide (id int, filling text);
        INSERT INTO wide SELECT g, repeat(md5(g::text), 65536) FROM generate_series(1, 120) g""")
    address = {"database": server.database, "host": server.host, "port": server.port, "user": server.user}
    return {"dialect": "postgresql", **address}


def fill_sqlite(server: PostgresDatabase, tmp_path: Path) -> dict[str, object]:
    path = tmp_path / "wide.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE wide (id INTEGER, filling TEXT)")
        connection.executemany("INSERT INTO wide VALUES (?, ?)", ((n, f"{n:032}" * 65536) for n in range(1, 121)))
    connection.close()
    return {"dialect": "sqlite", "database": str(path)}


@pytest.mark.parametrize("fill", [fill_postgres, fill_sqlite])
def test_wide_rows_need_no_more_memory_than_narrow_ones(
    postgres: PostgresDatabase, tmp_path: Path, fill: Callable[[PostgresDatabase, Path], dict[str, object]]
) -> None:
    """240 MiB in rows of 2 MiB, through a reader that may hold 16 MiB: what it adds to the process is counted."""
    job = {"connection": fill(postgres, tmp_path), "password": postgres.password, "place": str(tmp_path / "out")}
    command = [sys.executable, "-c", MEASURED, json.dumps(job)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 150
    assert ids_in(tmp_path / "out") == list(range(1, 121))
    files = list((tmp_path / "out").glob("*.parquet"))
    assert sum(pq.read_metadata(path).num_row_groups for path in files) >= 12


def test_a_value_that_turned_bad_is_named_by_what_reads_it(tmp_path: Path) -> None:
    """SQLite has no snapshot to share: the reader itself looks at each value, and refuses with all counts and columns."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, day DATE, price DECIMAL(6,2), ok BOOLEAN)")
        rows = [(n, "2024-01-31", 1.25, 1) for n in range(1, 3000)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [*rows, (3000, "2024-02-30", 0.125, 2)])
    connection.close()
    spec = ConnectionSpec("shop", "sqlite", str(path))
    reader = ArrowReader(ParquetSettings(), LocalFiles())
    source = JdbcSource(TableSpec("main", "t", "full", "shop"), Database(spec, dialect_for("sqlite")), reader)
    failure = failure_of(source, tmp_path / "out")
    assert isinstance(failure, TerminalError)
    for words in (
        "column 'day' (DATE): 1 values are not days",
        "column 'price'",
        "column 'ok' (BOOLEAN): 1 values are neither",
    ):
        assert words in failure.message
