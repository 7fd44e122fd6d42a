"""Real reads through Spark: what lands in Parquet is what psql and sqlite3 print, value by value."""

import json
import math
import random
import shutil
import sqlite3
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.meter import ReadMeter
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.spark_progress import followed
from ingestion_runtime.endpoints.jdbc.spark_reader import SparkReader
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.errors import ConfigError, SpoiltBatchError, TerminalError, TransientError
from ingestion_runtime.model.spec import PartitionRead, TableSpec
from tests.readings import Reference
from tests.servers.postgresql import PostgresDatabase, PostgresServer

INGEST = IngestColumns("run-1", date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "shop", "0001")


def connection_of(server: PostgresDatabase | PostgresServer, **changes: Any) -> ConnectionSpec:
    spec = ConnectionSpec(
        name="shop",
        dialect="postgresql",
        database=server.database,
        host=server.host,
        port=server.port,
        user=server.user,
        password=Reference(server.password),
    )
    return replace(spec, **changes)


def table_of(name: str, **changes: Any) -> TableSpec:
    return replace(TableSpec("public", name, "full", "shop"), **changes)


@dataclass
class Reading:
    """A Spark session, as readers ask for it, and the directory for what they land."""

    spark: SparkSession
    root: Path
    count: int = 0

    def session(self) -> SparkSession:
        return self.spark

    def source(self, spec: ConnectionSpec, table: TableSpec) -> JdbcSource:
        return JdbcSource(table, Database(spec, dialect_for(spec.dialect)), SparkReader(self))

    def land(self, spec: ConnectionSpec, table: TableSpec, piece: Slice | None = None) -> pa.Table:
        source = self.source(spec, table)
        extract = source.read_full() if piece is None else source.read_slice(piece)
        self.count += 1
        directory = self.root / f"landed-{self.count}"
        extract.write_parquet(str(directory))
        landed = pq.read_table(directory)
        expected = extract.schema
        if "_ingest_cursor_rank" in landed.column_names:
            expected = expected.append(pa.field("_ingest_cursor_rank", pa.int64()))
        assert landed.schema.remove_metadata() == expected
        return landed


@pytest.fixture
def reading(spark: SparkSession, tmp_path: Path) -> Reading:
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    return Reading(session, tmp_path)


def sqlite_database(path: Path, script: str) -> ConnectionSpec:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    return ConnectionSpec(name="shop", dialect="sqlite", database=str(path))


# PostgreSQL

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so-so');
CREATE DOMAIN price AS numeric(12,2);
CREATE TABLE everything (
  id int8 PRIMARY KEY, b bool, i2 int2, i4 int4, f4 float4, f8 float8, n numeric(38,10), p price, u numeric,
  w numeric(50,10),
  t text, v varchar(20), c char(5), y bytea, d date, ts timestamp, tz timestamptz, g uuid, j json, jb jsonb, ip inet,
  iv interval, tm time, ttz timetz, m mood, a int[], r int4range, ci cidr, mo money, bits bit(3), neg numeric(5,-2));
SET timezone = 'UTC';
INSERT INTO everything (id) VALUES (0);
INSERT INTO everything VALUES
 (1, true, -32768, -2147483648, 1.1, 0.1, -9999999999999999999999999999.9999999999, -0.01, 1e30, 1e39, '', '', '', '',
  '0001-01-01', '0001-01-01', '0001-01-01 00:00+00', '00000000-0000-0000-0000-000000000000', '{"b":1,  "a":2}',
  '{"b":1,  "a":2}', '::1', '-1 day', '24:00', '00:00+14', 'sad', '{}', 'empty', '10.0.0.0/8', -1, B'101', 12345),
 (9223372036854775807, false, 32767, 2147483647, 'NaN', 'NaN', 9999999999999999999999999999.9999999999, 9999999999.99,
  'NaN', 0.0000000001, E'tab\\there ''quoted'' \\\\ 🚲 é', 'x', 'a', '\\x00ff', '9999-12-31', '9999-12-31 23:59:59.999999',
  '9999-12-31 23:59:59.999999+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'null', 'null', '10.0.0.1/24',
  '1 mon 2 days 03:04:05.6',
  '12:34:56.789', '12:34:56.789-05:30', 'so-so', '{1,NULL,3}', '[1,5)', '::/0', 1234.5, B'000', 0),
 (-9223372036854775808, null, 0, 0, 'Infinity', '-Infinity', 0, 0,
  123456789012345678901234567890.123456789012345678901234567890,
  -1, ' blanks ', ' ', '  a', '\\xdeadbeef', '1582-10-10', '1582-10-10 12:00:00.123456', '1582-10-10 12:00:00.123456+00',
  null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (7, null, null, null, 3.4028235e38, 5e-324, 0.0000000001, null, 0.1, null, null, null, null, null, '1969-12-31',
  '2024-03-31 02:30:00', '2024-10-27 00:30:00.000001+00', null, null, null, null, null, null, null, null, null, null, null,
  null, null, null);
"""


def as_printed(kind: pa.DataType) -> Callable[[str], Any]:
    """Return how a cell that psql printed is read, by nothing that the code under test uses."""
    if kind == pa.float32():
        return lambda text: struct.unpack("f", struct.pack("f", float(text)))[0]
    readers: dict[pa.DataType, Callable[[str], Any]] = {
        pa.bool_(): lambda text: text == "t",
        pa.float64(): float,
        pa.binary(): lambda text: bytes.fromhex(text.removeprefix("\\x")),
        pa.date32(): date.fromisoformat,
        pa.timestamp("us"): datetime.fromisoformat,
        pa.timestamp("us", tz="UTC"): datetime.fromisoformat,
        pa.string(): str,
    }
    return readers.get(kind, Decimal if pa.types.is_decimal(kind) else int)


def same(left: Any, right: Any) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or (type(left) is type(right) and left == right)


def test_postgresql_types_land_as_psql_prints_them(reading: Reading, postgres: PostgresDatabase) -> None:
    postgres.psql(TYPES)
    landed = reading.land(connection_of(postgres), table_of("everything")).sort_by("id")
    assert landed.num_rows == 5
    for field in landed.schema:
        # One JSON array a column: the only text that psql itself cannot split wrongly.
        # A cast would take the blanks off the one and add a mask to the other that psql does not print.
        cast = {"c": "::varchar || repeat(' ', 5 - length(c))", "ip": ""}.get(field.name, "::text")
        printed = json.loads(
            postgres.psql(
                f"SET timezone = 'UTC'; SELECT coalesce(json_agg(\"{field.name}\"{cast} ORDER BY id), '[]') FROM everything",
            )
        )
        if field.type == pa.bool_():
            printed = [cell and cell[0] for cell in printed]
        read = as_printed(field.type)
        expected = [None if cell is None else read(cell) for cell in printed]
        actual = landed.column(field.name).to_pylist()
        assert all(map(same, actual, expected)), (field.name, actual, expected)
    types = {field.name: str(field.type) for field in landed.schema}
    assert types["n"] == "decimal128(38, 10)"
    assert types["p"] == "decimal128(12, 2)"
    assert types["u"] == types["w"] == types["neg"] == types["g"] == types["jb"] == types["a"] == "string"
    assert types["ts"] == "timestamp[us]"
    assert types["tz"] == "timestamp[us, tz=UTC]"


def test_postgresql_values_that_cannot_land_are_refused_with_column_and_count(
    reading: Reading, postgres: PostgresDatabase
) -> None:
    postgres.psql("""CREATE TABLE bad (id int, n numeric(10,2), d date, ts timestamp, tz timestamptz, ok numeric);
        INSERT INTO bad VALUES (1, 'NaN', 'infinity', '-infinity', '0044-03-15 BC', 'NaN'),
        (2, 1, '10000-01-01', '2024-01-01', '2024-01-01', 1), (3, 'NaN', null, null, null, null)""")
    with pytest.raises(TerminalError) as caught:
        reading.land(connection_of(postgres), table_of("bad"))
    assert caught.value.values["columns"] == {"n": 2, "d": 2, "ts": 1, "tz": 1}
    assert "'n' (numeric(10,2)): 2 values are NaN" in str(caught.value)
    assert not (reading.root / "landed-1").exists()
    filtered = table_of("bad", source_filter="id = 2 AND d IS NULL OR false")
    assert reading.land(connection_of(postgres), filtered).num_rows == 0


HOSTILE_COLUMNS = ['a"b', "a b", "sélect", "select", "a.b", "a`b", "a'b", "?", "{}", "%s", ":x", "a;b(c)"]


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_hostile_names_are_read_by_any_name(
    reading: Reading, request: pytest.FixtureRequest, tmp_path: Path, dialect: str
) -> None:
    names = ['"' + name.replace('"', '""') + '"' for name in HOSTILE_COLUMNS]
    columns = ", ".join(f"{name} varchar(20)" for name in names)
    values = ", ".join(f"'{place}'" for place in range(len(names)))
    script = f'CREATE TABLE "o\'dd ""table""" ({columns}); INSERT INTO "o\'dd ""table""" VALUES ({values});'
    if dialect == "postgresql":
        server = request.getfixturevalue("postgres")
        server.psql(script)
        spec = connection_of(server)
    else:
        spec = sqlite_database(tmp_path / "odd ? name%.db", script)
    table = table_of('o\'dd "table"', incremental_column='a"b', incr_col_type=CursorType.TEXT)
    window = Interval(Watermark(CursorType.TEXT, ""), Watermark(CursorType.TEXT, "~"))
    landed = reading.land(spec, table, Slice(0, window=window))
    row = {**{name: str(place) for place, name in enumerate(HOSTILE_COLUMNS)}, "_ingest_cursor_rank": 1}
    assert landed.to_pylist() == [row]


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_hostile_text_cursors_select_their_rows_and_are_ranked_as_the_source_sorts(
    reading: Reading, request: pytest.FixtureRequest, tmp_path: Path, dialect: str
) -> None:
    values = ["", "'", "''; DROP TABLE t; --", "\\", "\\'", "?", "$1", "%s", "a", "a\nb", "é", "🚲", "{fn now()}"]
    listed = ", ".join("('" + value.replace("'", "''") + "')" for value in values)
    script = f"CREATE TABLE t (k varchar(40)); INSERT INTO t VALUES {listed}, (NULL);"
    if dialect == "postgresql":
        server = request.getfixturevalue("postgres")
        server.psql(script)
        spec = connection_of(server)
    else:
        spec = sqlite_database(tmp_path / "t.db", script)
    table = table_of("t", incremental_column="k", incr_col_type=CursorType.TEXT)
    ordered = sorted(values, key=lambda value: value.encode())  # C.UTF-8 and BINARY both compare bytes
    for low, high in pairwise(ordered):
        window = Interval(Watermark(CursorType.TEXT, low), Watermark(CursorType.TEXT, high))
        assert reading.source(spec, table).count_rows(window) == 1
    subject = ReRead(Watermark(CursorType.TEXT, ordered[0]), Watermark(CursorType.TEXT, ordered[-1]), nulls=True)
    landed = reading.land(spec, table, Slice(0, reread=subject)).sort_by("_ingest_cursor_rank")
    assert landed.column("k").to_pylist() == [None, *ordered]
    assert landed.column("_ingest_cursor_rank").to_pylist() == list(range(1, len(values) + 2))


def test_ingest_columns_and_missing_columns_are_added(reading: Reading, postgres: PostgresDatabase) -> None:
    postgres.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    extract = reading.source(connection_of(postgres), table_of("t")).read_full()
    missing = (pa.field("gone", pa.decimal128(9, 2)), pa.field("at", pa.timestamp("us", tz="UTC")))
    extract = extract.with_missing(missing).with_ingest_cols(INGEST)
    assert extract.schema.names == ["id", "gone", "at"]
    extract.write_parquet(str(reading.root / "out"))
    landed = pq.read_table(reading.root / "out")
    assert landed.to_pylist() == [
        {
            "id": 1,
            "gone": None,
            "at": None,
            "_ingest_run_id": "run-1",
            "_ingest_load_date": date(2026, 1, 2),
            "_ingest_loaded_at": INGEST.loaded_at,
            "_ingest_source": "shop",
            "_ingest_slice": "0001",
        }
    ]
    assert str(landed.schema.field("at").type) == "timestamp[us, tz=UTC]"
    with pytest.raises(TerminalError, match="already exists"):
        extract.write_parquet(str(reading.root / "out"))


@pytest.mark.parametrize(("alter", "value"), [("v TYPE numeric(12,4)", "1.2345"), ("n TYPE numeric(6,2) USING n", "1.75")])
def test_a_table_altered_before_its_rows_are_read_spoils_the_read(
    reading: Reading, postgres: PostgresDatabase, alter: str, value: str
) -> None:
    """Its rows would be rounded to the types that it had when it was described; a longer text changes nothing."""
    postgres.psql(
        "CREATE TABLE moving (id int, v numeric(10,2), n int, w varchar(5)); INSERT INTO moving VALUES (1, 1.25, 1)"
    )
    source = reading.source(connection_of(postgres), table_of("moving"))
    source.describe()
    postgres.psql("ALTER TABLE moving ALTER w TYPE varchar(9)")
    source.read_full().write_parquet(str(reading.root / "longer"))
    column = alter.split(maxsplit=1)[0]
    postgres.psql(f"ALTER TABLE moving ALTER {alter}; UPDATE moving SET {column} = {value}")

    with pytest.raises(SpoiltBatchError, match=f"public.moving was altered while it was read: {column}"):
        source.read_full().write_parquet(str(reading.root / "out"))


def test_query_with_question_marks_filter_and_comment(reading: Reading, postgres: PostgresDatabase) -> None:
    postgres.psql("""CREATE TABLE t (id int, j jsonb); INSERT INTO t VALUES (1, '{"a": "?"}'), (2, '{"b": 1}')""")
    query = "SELECT id, j ->> 'a' AS \"q?\", '100% :x ?' AS lit FROM t WHERE j ? 'a' -- why?"
    landed = reading.land(connection_of(postgres), table_of("t", query_sql=query, source_filter="id < 5 -- few"))
    assert landed.to_pylist() == [{"id": 1, "q?": "?", "lit": "100% :x ?"}]


def test_timestamp_slices_take_every_row_once(reading: Reading, postgres: PostgresDatabase) -> None:
    postgres.psql("""SET timezone = 'UTC'; CREATE TABLE t (id int, at timestamptz);
        INSERT INTO t SELECT g, timestamptz '2024-10-27 00:59:59.999999+00' + g * interval '1 microsecond'
        FROM generate_series(1, 6) g; INSERT INTO t VALUES (7, NULL)""")
    table = table_of("t", incremental_column="at", incr_col_type=CursorType.TIMESTAMP)
    marks = [Watermark(CursorType.TIMESTAMP, f"2024-10-27 01:00:00.{micros:06}") for micros in (0, 2, 5)]
    spec = connection_of(postgres)
    assert sorted(reading.land(spec, table, Slice(0)).column("id").to_pylist()) == [1, 2, 3, 4, 5, 6, 7]
    windows = [Slice(0, window=Interval(low, high)) for low, high in pairwise(marks)]
    assert [sorted(reading.land(spec, table, w).column("id").to_pylist()) for w in windows] == [[2, 3], [4, 5, 6]]
    ties = Slice(0, reread=ReRead(marks[0], marks[1], nulls=True))
    assert sorted(reading.land(spec, table, ties).column("id").to_pylist()) == [1, 2, 3, 7]


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [("id", "10", "50"), ("d", "2024-01-05", "2024-02-01"), ("ts", "2024-01-05 12:00:00", "2024-03-01"), ("f", "5", "9")],
)
def test_partitions_take_every_row_once(
    reading: Reading, postgres: PostgresDatabase, column: str, low: str, high: str
) -> None:
    postgres.psql("""CREATE TABLE t (id int, d date, ts timestamp, f numeric(10));
        INSERT INTO t SELECT g, date '2024-01-01' + g, timestamp '2024-01-01' + g * interval '1 day', g
        FROM generate_series(1, 100) g; INSERT INTO t VALUES (NULL, NULL, NULL, NULL)""")
    table = table_of("t", partition_read=PartitionRead(column, low, high, 3))
    landed = reading.land(connection_of(postgres), table)
    assert sorted(landed["id"].to_pylist(), key=lambda value: value or 0) == [None, *range(1, 101)]
    assert len(list((reading.root / "landed-1").glob("*.parquet"))) == 3


def test_errors_of_the_driver_become_ours_without_the_password(reading: Reading, postgres: PostgresDatabase) -> None:
    postgres.psql("CREATE TABLE t (id int); INSERT INTO t VALUES (0); CREATE TABLE other (id int)")
    spec = connection_of(postgres)
    with pytest.raises(TerminalError, match="division by zero") as caught:
        reading.land(spec, table_of("t", query_sql="SELECT 1 / id AS x FROM t"))
    assert postgres.password not in str(caught.value)
    assert len(str(caught.value)) < 600
    source = reading.source(spec, table_of("t"))
    source.describe()
    postgres.psql("DROP TABLE t")
    with pytest.raises(TerminalError, match=r'relation "public.t" does not exist'):
        source.read_full().write_parquet(str(reading.root / "gone"))
    source = reading.source(spec, table_of("other"))
    source.describe()
    postgres.psql(
        f"ALTER TABLE other RENAME TO o2; CREATE VIEW other AS SELECT id FROM o2; "
        f"REVOKE SELECT ON other FROM {postgres.user}"
    )
    with pytest.raises(TerminalError, match="permission denied for view other"):
        source.read_full().write_parquet(str(reading.root / "denied"))


def test_password_that_changes_before_the_read_is_a_configuration_error(
    reading: Reading, postgres: PostgresDatabase
) -> None:
    postgres.psql("CREATE TABLE t (id int)")
    answers = [postgres.password, "wrong-secret"]

    class Changing:
        def resolve(self) -> str:
            return answers[0] if len(answers) == 1 else answers.pop(0)

    source = reading.source(connection_of(postgres, password=Changing()), table_of("t"))
    with pytest.raises(ConfigError, match="password authentication failed") as caught:
        source.read_full().write_parquet(str(reading.root / "out"))
    assert "wrong-secret" not in str(caught.value)


def test_server_that_ends_the_session_is_worth_a_retry(reading: Reading, postgres: PostgresDatabase) -> None:
    query = "SELECT g, pg_sleep(0.01)::text AS s FROM generate_series(1, 2000) g"
    source = reading.source(connection_of(postgres), table_of("t", query_sql=query, fetch_size=10))
    source.describe()
    kill = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND query LIKE '%ingest_q%'"""
    timer = threading.Timer(2, lambda: postgres.psql(kill, superuser=True))
    timer.start()
    with pytest.raises(TransientError, match=r"terminat|closed|I/O"):
        source.read_full().write_parquet(str(reading.root / "out"))
    timer.join()


# SQLite

SQLITE_TYPES = """
CREATE TABLE everything (id INTEGER PRIMARY KEY, big BIGINT, r DOUBLE, n DECIMAL(12,2), w NUMERIC(30,0), t VARCHAR(20),
  b BLOB, ok BOOLEAN, d DATE, ts DATETIME, x, tm TIME, loose NUMERIC);
INSERT INTO everything (id) VALUES (0);
INSERT INTO everything VALUES (1, -9223372036854775808, 0.1, 19.99, 123456789012345, '', x'', 0, '0001-01-01',
  '0001-01-01 00:00:00', 0.1, '10:00', 0.1);
INSERT INTO everything VALUES (2, 9223372036854775807, 1e308, -9999999999.99, -1, 'é🚲 ''x''', x'00ff', 1, '9999-12-31',
  '9999-12-31T23:59:59.999999', 'text', '24:00', 12);
INSERT INTO everything VALUES (3, 0, -9e999, 7, 0, ' ', x'41', 1, '1582-10-10', '1582-10-10 12:00:00.5', 42, '', 'abc');
"""


def test_sqlite_types_land_as_sqlite3_prints_them(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(tmp_path / "s.db", SQLITE_TYPES)
    landed = reading.land(spec, table_of("everything")).sort_by("id")
    client = shutil.which("sqlite3")
    assert client, "the sqlite3 client is missing; run `make servers`"
    done = subprocess.run(
        [client, "-list", "-nullvalue", "NULL", spec.database, "SELECT id, big, n, w, t, d FROM everything ORDER BY id"],
        capture_output=True,
        text=True,
        check=True,
    )
    for row, line in zip(landed.to_pylist(), done.stdout.splitlines(), strict=True):
        cells = [None if cell == "NULL" else cell for cell in line.split("|")]
        read = (int, int, Decimal, Decimal, str, date.fromisoformat)
        printed = [None if cell is None else kind(cell) for kind, cell in zip(read, cells, strict=True)]
        assert [row[name] for name in ("id", "big", "n", "w", "t", "d")] == printed
    assert landed.column("big").to_pylist() == [None, -(2**63), 2**63 - 1, 0]
    assert landed.column("r").to_pylist() == [None, 0.1, 1e308, -math.inf]
    assert landed.column("n").to_pylist() == [None, Decimal("19.99"), Decimal("-9999999999.99"), Decimal("7.00")]
    assert landed.column("w").to_pylist() == [None, Decimal(123456789012345), Decimal(-1), Decimal(0)]
    assert landed.column("b").to_pylist() == [None, b"", b"\x00\xff", b"A"]
    assert landed.column("ok").to_pylist() == [None, False, True, True]
    assert landed.column("ts").to_pylist() == [
        None,
        datetime(1, 1, 1),  # noqa: DTZ001 - a clock without a zone
        datetime(9999, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
        datetime(1582, 10, 10, 12, 0, 0, 500000),  # noqa: DTZ001
    ]
    assert landed.column("x").to_pylist() == [None, "0.1", "text", "42"]
    assert landed.column("tm").to_pylist() == [None, "10:00", "24:00", ""]
    assert landed.column("loose").to_pylist() == [None, "0.1", "12", "abc"]


def test_sqlite_reals_without_a_declared_type_land_as_text_that_gives_them_back(reading: Reading, tmp_path: Path) -> None:
    randomly = random.Random(7)  # noqa: S311 - a sample, no secret
    values = [struct.unpack("d", randomly.randbytes(8))[0] for _ in range(2000)]
    values = [value for value in values if math.isfinite(value)] + [0.1 + 0.2, 5e-324, -0.0, 1e22, 2**53 + 2.0]
    spec = sqlite_database(tmp_path / "r.db", "CREATE TABLE t (id INTEGER, x)")
    with sqlite3.connect(spec.database) as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", enumerate(values))
    landed = reading.land(spec, table_of("t")).sort_by("id")
    assert [float(text) for text in landed.column("x").to_pylist()] == values


def test_sqlite_values_that_are_not_what_their_column_says_are_refused(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(
        tmp_path / "bad.db",
        """CREATE TABLE t (i INTEGER, r REAL, n DECIMAL(6,2), b BOOLEAN, d DATE, ts TIMESTAMP, s TEXT, y BLOB);
        INSERT INTO t VALUES ('abc', 'x', 0.125, 2, '2023-02-30', '2024-01-01', x'00', 'text');
        INSERT INTO t VALUES (1.5, 1, 12345, 'true', '2024-1-1', '2024-01-01 24:00:00', '', x'00');
        INSERT INTO t VALUES (x'31', 2.5, 1.01, 1, 20240101, '2024-01-01 10:00:00+02', 'ok', null);
        INSERT INTO t VALUES (1, 2.5, '1.005', 1, '0000-01-01', '2024-01-01 10:00:00.1234567', 'ok', null);
        INSERT INTO t VALUES (1, 2.5, 'NaN', 1, '2024-01-01', 1704067200, 'ok', null);""",
    )
    with pytest.raises(TerminalError) as caught:
        reading.land(spec, table_of("t"))
    assert caught.value.values["columns"] == {"i": 3, "r": 1, "n": 4, "b": 2, "d": 4, "ts": 5, "s": 1, "y": 1}


def test_sqlite_text_that_is_not_utf8_is_refused(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(tmp_path / "u.db", "CREATE TABLE t (s TEXT); INSERT INTO t VALUES (CAST(x'41ff' AS TEXT))")
    with pytest.raises(TerminalError, match=r"UTF-?8"):
        reading.land(spec, table_of("t"))


def test_sqlite_in_utf16_keeps_its_text(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(
        tmp_path / "u.db", "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (s TEXT, x); INSERT INTO t VALUES ('é🚲', 1.5)"
    )
    assert reading.land(spec, table_of("t")).to_pylist() == [{"s": "é🚲", "x": "1.5"}]


def test_sqlite_value_that_turns_bad_after_the_check_fails_the_read(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = sqlite_database(tmp_path / "late.db", "CREATE TABLE t (i INTEGER); INSERT INTO t VALUES ('abc')")
    extract = reading.source(spec, table_of("t")).read_full()
    original = type(extract).refuse_bad_values
    calls: list[object] = []

    def second_look_only(self: Any, snapshot: Any) -> None:
        calls.append(snapshot)
        if len(calls) > 1:
            original(self, snapshot)

    monkeypatch.setattr(type(extract), "refuse_bad_values", second_look_only)
    with pytest.raises(TerminalError, match="'i' \\(INTEGER\\): 1 values are no integers"):
        extract.write_parquet(str(reading.root / "out"))


def test_sqlite_is_read_by_one_connection_whatever_the_partitions(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(tmp_path / "p.db", "CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3), (NULL)")
    landed = reading.land(spec, table_of("t", partition_read=PartitionRead("id", "1", "3", 4)))
    assert landed.num_rows == 4
    assert len(list((reading.root / "landed-1").glob("*.parquet"))) == 1


def test_sqlite_query_lands_by_declared_type_or_affinity(reading: Reading, tmp_path: Path) -> None:
    spec = sqlite_database(
        tmp_path / "q.db",
        "CREATE TABLE t (id INTEGER, at DATETIME); INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (1, NULL)",
    )
    query = "SELECT id, max(at) AS at, CAST(count(*) AS INTEGER) AS n, 0.5 AS half FROM t GROUP BY id -- all"
    landed = reading.land(spec, table_of("t", query_sql=query))
    assert landed.to_pylist() == [{"id": 1, "at": "2024-01-01 00:00:00", "n": 2, "half": "0.5"}]


def test_the_rows_that_spark_has_read_are_those_that_its_metrics_count(reading: Reading, postgres: PostgresDatabase) -> None:
    """Of the jobs that were started since, and of this table's only: what was read before is nobody's progress."""
    postgres.psql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 7000)")
    context = reading.spark.sparkContext
    context.setJobGroup("run-1/public.t", "full public.t")
    try:
        reading.land(connection_of(postgres), table_of("t"))
        meter = ReadMeter()
        with followed(context, meter) as follower:
            extract = reading.source(connection_of(postgres), table_of("t", source_filter="id <= 4000")).read_full()
            extract.write_parquet(str(reading.root / "out"))
            follower.look()
            assert meter.taken == (4000, 0)
            assert extract.connections == 1
        follower.look()
        assert meter.taken == (4000, 0)
    finally:
        for name in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
            context.setLocalProperty(name, None)  # type: ignore[arg-type]  # None removes it
