"""Reads in this process, for real: what cuts a stream short, what is wide, what is no plain table."""

import json
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings
from tests.lake import PROJECT
from tests.readings import Streaming, streaming_in, table_of
from tests.servers.mariadb import MariaDatabase
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


def test_a_vacuumed_table_with_a_key_is_cut_as_well(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Its rows could be counted in the index of the key alone; they are read where they lie."""
    postgres.psql(f"{PARTED} ALTER TABLE parted ADD PRIMARY KEY (id)")
    postgres.psql("CHECKPOINT", superuser=True)  # what is not on disk yet cannot be told to be visible to all
    postgres.psql("VACUUM ANALYZE parted")
    assert len(cuts_of(reading, postgres, "parted")) == 2


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
    from ingestion_runtime.model.connection import ConnectionSpec
    from ingestion_runtime.model.spec import TableSpec
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


def test_a_table_that_was_not_held_to_the_end_of_its_read_is_not_read(
    reading: Streaming, postgres: PostgresDatabase
) -> None:
    """Once its holder is gone the table can be emptied, and an older view then finds nothing, without an error."""
    postgres.psql("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)")
    source = reading.source(postgres, table_of("t"))
    extract, database = source.read_full(), source._database
    end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'EXPLAIN SELECT id FROM t%'"

    def read_unheld() -> None:
        with database.snapshot("SELECT id FROM t") as snapshot:
            assert postgres.psql(end) == "t"
            postgres.psql("TRUNCATE t")
            extract.reader.read(extract, snapshot, None, str(reading.root / "out"))

    with pytest.raises(TransientError, match="terminating connection"):
        read_unheld()
    assert ids_in(reading.root / "out") == []  # what would have been published


def test_a_view_whose_holder_is_gone_is_worth_a_retry(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Its name then says nothing to the server, which does not know why."""
    database = reading.source(postgres, table_of("t"))._database
    with database.snapshot("SELECT 1") as snapshot:
        join = snapshot.join
    with pytest.raises(TransientError, match="snapshot"), database.stream(join):
        pass


def test_no_timeout_of_idle_transactions_ends_a_read(reading: Streaming, postgres: PostgresDatabase) -> None:
    """What a connection has sent to its end is still being written; the other one is still being read."""
    role = f"ALTER ROLE {postgres.user} IN DATABASE {postgres.database}"
    postgres.psql(f"{role} SET idle_in_transaction_session_timeout = '1min'")
    setting = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
    (landed,) = reading.land(reading.source(postgres, table_of("q", query_sql=setting))).glob("*.parquet")
    assert pq.read_table(landed)["setting"].to_pylist() == ["0"]


def test_rows_that_a_policy_hides_are_not_passed_over_in_silence(reading: Streaming, postgres: PostgresDatabase) -> None:
    """They would be missing, and with ``deletes`` they would be deleted in the target; the owner's view shows all."""
    postgres.psql(
        f"""CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10); CREATE VIEW seen AS SELECT * FROM t;
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (id < 4);
        GRANT SELECT ON t, seen TO {postgres.user}""",
        superuser=True,
    )
    with pytest.raises(TerminalError, match=r"row-level security policy.*BYPASSRLS"):
        reading.land(reading.source(postgres, table_of("t")))
    assert ids_in(reading.land(reading.source(postgres, table_of("seen")))) == list(range(1, 11))


def test_ranks_are_those_of_the_cursor_whatever_its_name(reading: Streaming, mariadb: MariaDatabase) -> None:
    """MariaDB would order by the column that the statement calls c0, which is another one."""
    mariadb.client("CREATE TABLE t (c1 int, c0 varchar(9)); INSERT INTO t VALUES (1, 'z'), (2, 'm'), (3, 'a')")
    for table in (TableSpec(mariadb.database, "t", "full", "shop"), table_of("q", query_sql="SELECT * FROM t")):
        ranked = replace(table, incremental_column="c0", incr_col_type=CursorType.TEXT)
        window = Interval(Watermark(CursorType.TEXT, ""), Watermark(CursorType.TEXT, "zz"))
        landed = pq.read_table(reading.land(reading.source(mariadb, ranked), Slice(0, window=window)))
        ranks = dict(zip(landed["c0"].to_pylist(), landed["_ingest_cursor_rank"].to_pylist(), strict=True))
        assert ranks == {"a": 1, "m": 2, "z": 3}


def test_a_file_that_was_replaced_is_read_anew(reading: Streaming, tmp_path: Path) -> None:
    """Connections from before still have the old file: a probe of the new one would move the watermark past its rows."""
    path, table = tmp_path / "shop %41 ?.db", table_of("t", incremental_column="id", incr_col_type=CursorType.INT)

    def put(rows: int) -> None:
        with closing(sqlite3.connect(tmp_path / "new.db")) as made, made:
            made.execute("CREATE TABLE t (id INTEGER)")
            made.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(1, rows + 1)])
        (tmp_path / "new.db").replace(path)

    put(3)
    database = Database(ConnectionSpec("shop", "sqlite", str(path)), dialect_for("sqlite"))
    source = JdbcSource(table, database, reading.reader())
    assert ids_in(reading.land(source)) == [1, 2, 3]
    put(5)
    bounds = source.probe_bounds(Watermark(CursorType.INT, "0"))
    assert bounds.high == Watermark(CursorType.INT, "5")
    assert ids_in(reading.land(source)) == [1, 2, 3, 4, 5]
    database.close()


def test_a_foreign_table_is_read_over_one_connection(reading: Streaming, postgres: PostgresDatabase) -> None:
    """Each connection would open a transaction of its own on the other server: money on its way was lost 10 times of 10."""
    postgres.psql(
        f"""CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
        OPTIONS (host '{postgres.host}', port '{postgres.port}', dbname '{postgres.database}');
        CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'postgres', password_required 'false');
        CREATE TABLE near AS SELECT generate_series(1, 100) AS id;
        CREATE FOREIGN TABLE distant (id int) SERVER far OPTIONS (table_name 'near');
        CREATE VIEW seen AS SELECT id FROM distant UNION ALL SELECT id + 100 FROM near;
        GRANT SELECT ON near, distant, seen TO {postgres.user}""",
        superuser=True,
    )
    for name, rows, connections in (("distant", 100, 1), ("seen", 200, 1), ("near", 100, 2)):
        source = reading.source(postgres, table_of(name, "id", 2))
        landed = reading.land(source)
        assert ids_in(landed) == list(range(1, rows + 1))
        assert len(list(landed.glob("*.parquet"))) == connections, name
        source._database.close()
