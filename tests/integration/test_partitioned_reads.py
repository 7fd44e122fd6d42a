"""Reads over several connections: parts follow the rows, and all of them see one moment of the source."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.dialects.postgresql import PostgreSQL
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.density import Cell
from ingestion_runtime.model.errors import TerminalError
from tests.lake import Lake
from tests.readings import Reading, reading_in, streaming_in, table_of
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

ACCOUNTS = 2_000
MONEY = ACCOUNTS * 100


@pytest.fixture
def reading(spark: SparkSession, tmp_path: Path) -> Reading:
    return reading_in(spark, tmp_path)


@pytest.fixture(params=["spark", "arrow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Reading:
    """Readings by either engine."""
    if request.param == "arrow":
        return streaming_in(tmp_path)
    return reading_in(request.getfixturevalue("spark"), tmp_path)


def rows_of(directory: Path) -> list[int]:
    """Rows of each file, that is of each connection."""
    return sorted(pq.read_metadata(path).num_rows for path in directory.glob("*.parquet"))


SKEWED = """
SET timezone = 'UTC';
CREATE TABLE skewed (id bigint, d date, ts timestamp, tz timestamptz, n numeric(12), small int);
INSERT INTO skewed
SELECT CASE WHEN g <= 900 THEN -500000 + g * 10 ELSE -1000000 + (g - 900) * 10000 END,
       CASE WHEN g <= 900 THEN date '2024-01-01' + g / 100 ELSE date '0001-01-01' + (g - 900) * 10 END,
       CASE WHEN g <= 900 THEN timestamp '2024-01-01' + g * interval '1 minute'
            ELSE timestamp '1990-01-01' + (g - 900) * interval '2 years' END,
       CASE WHEN g <= 900 THEN timestamptz '9999-12-31 00:00+00' + g * interval '1 second'
            ELSE timestamptz '2024-01-01 00:00+00' + (g - 900) * interval '1 day' END,
       CASE WHEN g <= 900 THEN 999999999999 - g ELSE (g - 900) * 10 END,
       g % 5
FROM generate_series(1, 1000) g;
"""


@pytest.fixture
def skewed(postgres: PostgresDatabase) -> PostgresDatabase:
    """1,000 rows, 900 of them in 1 % of the range of every column (but for the small one, which has five values)."""
    postgres.psql(SKEWED)
    return postgres


@pytest.mark.parametrize("column", ["id", "d", "ts", "tz", "n"])
def test_no_partition_holds_more_than_twice_its_share(either: Reading, skewed: PostgresDatabase, column: str) -> None:
    """Where 90 % of the rows lie in 1 % of the range: negative keys, dates from year 1, moments up to year 9999."""
    landed = either.land(either.source(skewed, table_of("skewed", column)))
    counts = rows_of(landed)
    assert sum(counts) == 1000
    assert len(counts) == 4
    assert max(counts) <= 2 * 1000 / 4
    expected = skewed.psql("SELECT id FROM skewed ORDER BY id").split()
    assert sorted(pq.read_table(landed)["id"].to_pylist()) == [int(key) for key in expected]


def test_null_is_a_value_among_others(either: Reading, skewed: PostgresDatabase) -> None:
    """1,200 rows without the key are one part, as nothing tells them apart; the others are shared out."""
    skewed.psql("INSERT INTO skewed (small) SELECT g FROM generate_series(1, 1200) g")
    landed = either.land(either.source(skewed, table_of("skewed", "id")))
    counts = rows_of(landed)
    assert (sum(counts), max(counts)) == (2200, 1200)
    assert counts[-2] <= 2 * 2200 / 4
    parts = [pq.read_table(path)["id"] for path in landed.glob("*.parquet")]
    assert sorted(part.null_count for part in parts) == [0, 0, 0, 1200]


@pytest.mark.parametrize(
    ("condition", "parts"), [("false", 0), ("small = 7", 0), ("id = -499990", 1), ("small = 3", 1), ("id IS NULL", 0)]
)
def test_where_nothing_can_be_cut_one_connection_reads(
    either: Reading, skewed: PostgresDatabase, condition: str, parts: int
) -> None:
    """An empty table, one row, one value: the same rows, and no error."""
    table = table_of("skewed", "small", source_filter=condition)
    landed = either.land(either.source(skewed, table))
    assert sum(rows_of(landed)) == int(skewed.psql(f"SELECT count(*) FROM skewed WHERE {condition}"))
    assert len(rows_of(landed)) == 1
    assert (sum(rows_of(landed)) > 0) == (parts > 0)


def test_a_slice_is_read_in_parts_that_follow_its_own_rows(either: Reading, skewed: PostgresDatabase) -> None:
    """The cuts come from the window, not from the table."""
    table = table_of("skewed", "id", mode="scd1", incremental_column="ts", incr_col_type=CursorType.TIMESTAMP)
    low, high = (Watermark(CursorType.TIMESTAMP, f"{day} 00:00:00.000000") for day in ("1980-01-01", "2023-12-31"))
    landed = either.land(either.source(skewed, table), Slice(0, window=Interval(low, high)))
    counts = rows_of(landed)
    assert sum(counts) == int(skewed.psql("SELECT count(*) FROM skewed WHERE ts > '1980-01-01' AND ts <= '2023-12-31'"))
    assert len(counts) == 4
    assert max(counts) <= 2 * sum(counts) / 4


def test_the_histogram_counts_as_psql_does(reading: Reading, skewed: PostgresDatabase) -> None:
    """One statement for many cells, of the cursor or of another column, within the table's filter."""
    table = table_of("skewed", None, incremental_column="id", incr_col_type=CursorType.INT, source_filter="small <> 2")
    source = reading.source(skewed, table)
    edges = [-600_000, -499_500, -495_000, -400_000, 20_000]
    expected = []
    for low, high in pairwise(edges):
        query = f"SELECT count(*), min(id), max(id) FROM skewed WHERE small <> 2 AND id > {low} AND id <= {high}"
        expected.append(Cell(low, high, *map(int, skewed.psql(query).split("\t"))))
    assert source.histogram(edges) == tuple(expected)
    days = source.histogram([19_722, 19_723, 19_725, 30_000], "d")
    assert [cell.rows for cell in days] == [
        int(skewed.psql(f"SELECT count(*) FROM skewed WHERE small <> 2 AND d {span}"))
        for span in ("= '2024-01-01'", "BETWEEN '2024-01-02' AND '2024-01-03'", "> '2024-01-03'")
    ]
    with pytest.raises(TerminalError, match="cannot split a read"):
        reading.source(skewed, table_of("skewed", None, query_sql="SELECT 'x' AS t")).histogram([1, 2], "t")


def test_the_driver_is_given_its_properties_by_their_own_names(reading: Reading, postgres: PostgresDatabase) -> None:
    """Spark alone would hand them on in lower case, in which the driver does not know them."""
    table = table_of("t", query_sql="SELECT 1 AS id, current_setting('application_name') AS name")
    landed = reading.land(reading.source(postgres, table, ApplicationName="night shift"))
    (name,) = pq.read_table(landed)["name"].to_pylist()
    assert name.startswith("night shift")


def test_mariadb_counts_cells_as_its_client_does(reading: Reading, mariadb: MariaDatabase) -> None:
    """Numbers, days and moments; and a partitioned read there is one read over one connection."""
    mariadb.client("""CREATE TABLE t (id bigint PRIMARY KEY, d date, ts datetime(6), tz timestamp(6) NULL);
        INSERT INTO t SELECT CAST(seq AS int) * 3 - 500, date'2024-01-01' + INTERVAL seq DAY,
        timestamp'2024-01-01 00:00:00' + INTERVAL seq HOUR, timestamp'2024-01-01 00:00:00' + INTERVAL seq MINUTE
        FROM seq_1_to_1000; INSERT INTO t (id) VALUES (99999);""")
    source = reading.source(mariadb, table_of("t", "id", schema=mariadb.database))
    spans = {
        "id": ([-500, -400, 0, 7, 2500], "'%s'"),
        "d": ([19_723, 19_730, 20_000, 25_000], "date'1970-01-01' + INTERVAL %s DAY"),
        "ts": ([1704067200 * 10**6, 1704243600 * 10**6, 1800000000 * 10**6], "FROM_UNIXTIME(%s / 1000000)"),
        "tz": ([1704067200 * 10**6, 1704085200 * 10**6, 1800000000 * 10**6], "FROM_UNIXTIME(%s / 1000000)"),
    }
    for column, (edges, spelled) in spans.items():
        cells = source.histogram(edges, column)
        assert [(cell.low, cell.high) for cell in cells] == list(pairwise(edges))
        for cell in cells:
            span = f"{column} > {spelled % cell.low} AND {column} <= {spelled % cell.high}"
            assert cell.rows == int(mariadb.client(f"SET time_zone = '+00:00'; SELECT count(*) FROM t WHERE {span}"))
    assert rows_of(reading.land(source)) == [1001]


TRANSFERS = textwrap.dedent("""
    import random, sys, psycopg
    chance = random.Random(7)
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        print("ready", flush=True)
        while True:
            one, other = chance.sample(range(1, int(sys.argv[2]) + 1), 2)
            try:
                connection.execute(
                    "UPDATE accounts SET balance = balance + CASE id WHEN %s THEN -7 ELSE 7 END WHERE id IN (%s, %s)",
                    (one, one, other),
                )
            except psycopg.errors.DeadlockDetected:
                pass  # the other writer wanted the same two accounts, in the other order: no money moved
""")


@contextmanager
def money_moves(server: PostgresDatabase) -> Iterator[None]:
    """Accounts, and two processes that move money between them until the block ends: the sum is always the same."""
    server.psql(f"""CREATE TABLE accounts (id int PRIMARY KEY, balance bigint);
        INSERT INTO accounts SELECT g, 100 FROM generate_series(1, {ACCOUNTS}) g""")
    place = f"host={server.host} port={server.port} dbname={server.database} user={server.user} password='{server.password}'"
    command = [sys.executable, "-c", TRANSFERS, place, str(ACCOUNTS)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        yield
        assert [writer.poll() for writer in writers] == [None, None]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def sum_of(directory: Path) -> int:
    total: int = pc.sum(pq.read_table(directory)["balance"]).as_py()
    return total


def test_the_sum_stays_exact_while_money_moves(either: Reading, postgres: PostgresDatabase) -> None:
    """Twenty full reads in a row, each over four connections, see the same money: no part is older than another."""
    table = table_of("accounts", "id", fetch_size=50)
    with money_moves(postgres):
        source = either.source(postgres, table)
        landed = [either.land(source) for _ in range(20)]
    assert [sum_of(directory) for directory in landed] == [MONEY] * 20
    assert all(len(rows_of(directory)) == 4 for directory in landed)
    balances = [pq.read_table(directory).sort_by("id")["balance"].to_pylist() for directory in (landed[0], landed[-1])]
    assert balances[0] != balances[1]  # money did move


def test_without_the_shared_snapshot_the_sum_is_torn(
    either: Reading, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same reads, each connection with a view of its own: what the test above proves is the snapshot's doing."""

    def hold_nothing(self: PostgreSQL, connection: Any) -> str:
        return "SELECT 1"

    monkeypatch.setattr(PostgreSQL, "hold_snapshot", hold_nothing)
    table = table_of("accounts", "id", fetch_size=50)
    with money_moves(postgres):
        source = either.source(postgres, table)
        sums = first_torn(either, source, tries=20)
    assert sums[-1] != MONEY


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Into how many ranges of its storage each read was cut, filled while the test runs."""
    found: list[int] = []
    scan_parts = PostgreSQL.scan_parts

    def told(self: PostgreSQL, *arguments: Any) -> tuple[str, ...]:
        ranges = scan_parts(self, *arguments)
        found.append(len(ranges))
        return ranges

    monkeypatch.setattr(PostgreSQL, "scan_parts", told)
    return found


LARGE = """
CREATE TABLE large (id int, filling text);
ALTER TABLE large ALTER filling SET STORAGE PLAIN;
INSERT INTO large SELECT g, repeat('x', 3900) FROM generate_series(1, 16500) g;
UPDATE large SET id = -id WHERE id % 7 = 0;
DELETE FROM large WHERE id % 11 = 0;
"""


def test_a_large_table_is_read_by_its_storage_without_being_told_how(either: Reading, postgres: PostgresDatabase) -> None:
    """Several connections, each with a part of the pages; rows that were moved or deleted arrive once, or not at all."""
    postgres.psql(LARGE)
    landed = either.land(either.source(postgres, table_of("large", source_filter="id <> 5")))
    counts = rows_of(landed)
    expected = [int(key) for key in postgres.psql("SELECT id FROM large WHERE id <> 5 ORDER BY id").split()]
    assert sorted(pq.read_table(landed)["id"].to_pylist()) == expected
    assert len(counts) == either.connections
    assert max(counts) < 2 * len(expected) / either.connections


def test_a_table_that_changes_while_it_is_read_by_its_storage_is_seen_at_one_moment(
    either: Reading, postgres: PostgresDatabase, parts: list[int]
) -> None:
    """New versions of rows lie on other pages; the shared snapshot sees the old ones where they were."""
    with money_moves(postgres):
        postgres.psql("""ALTER TABLE accounts ADD filling text DEFAULT repeat('x', 7000);
            ALTER TABLE accounts ALTER filling SET STORAGE PLAIN; UPDATE accounts SET filling = filling || '';
            INSERT INTO accounts SELECT g, 0, repeat('x', 7000) FROM generate_series(10000, 19000) g""")
        source = either.source(postgres, table_of("accounts", fetch_size=50))
        landed = [either.land(source) for _ in range(3)]
    assert [sum_of(directory) for directory in landed] == [MONEY] * 3
    # Not the files: a range of pages that holds dead versions only leaves none.
    assert parts == [either.connections] * 3


def test_files_carry_the_ids_of_their_columns(either: Reading, postgres: PostgresDatabase) -> None:
    """By them a table knows its columns, whatever they are called; a column without an id is written without."""
    postgres.psql("""CREATE TABLE odd (id int, "a.b`c" text, plain date, amount numeric(9,2))""")
    postgres.psql("INSERT INTO odd VALUES (1, 'x', '2024-01-01', 1.5)")
    extract = either.source(postgres, table_of("odd")).read_full().with_field_ids({"id": 7, "a.b`c": 1, "amount": 1000})
    extract.write_parquet(str(either.root / "ids"))
    (path,) = (either.root / "ids").glob("*.parquet")
    found = {field.name: (field.metadata or {}).get(b"PARQUET:field_id") for field in pq.read_schema(path)}
    assert found == {"id": b"7", "a.b`c": b"1", "plain": None, "amount": b"1000"}


def first_torn(reading: Reading, source: JdbcSource, tries: int) -> Sequence[int]:
    sums: list[int] = []
    while len(sums) < tries and (not sums or sums[-1] == MONEY):
        sums.append(sum_of(reading.land(source)))
    return sums


def test_slices_of_a_run_follow_the_rows(spark: SparkSession, tmp_path: Path, skewed: PostgresDatabase) -> None:
    """Four slices of 1,000 rows of which 900 lie in fifteen hours of two centuries; the rows arrive, each once."""
    table = {
        "schema": "public",
        "table": "skewed",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "ts",
        "incr_col_type": "timestamp",
        "cursor_timezone": "UTC",
    }
    lake = Lake(tmp_path, skewed.configured(), [table])
    lake.document["runtime"]["scd1_slicing"] = {"max_count": 100, "target_rows_per_slice": 250, "max_partitions": 4}
    lake.save()
    skewed.psql("DELETE FROM skewed WHERE ts > now()")
    known = [int(key) for key in skewed.psql("SELECT id FROM skewed ORDER BY id").split()]
    result = lake.run(spark)
    assert result.exit_code == 0, result
    staged = [event["rows"] for event in lake.events() if event["event"] == "slice_staged"]
    assert sum(staged) == len(known)
    assert len(staged) == 4
    assert max(staged) <= 2 * len(known) / 4
    assert sorted(row["id"] for row in lake.rows("public.skewed")) == known


def test_a_whole_run_publishes_one_moment_while_money_moves(
    spark: SparkSession, tmp_path: Path, postgres: PostgresDatabase
) -> None:
    """A full refresh over four partitions, from the configuration to the Iceberg table."""
    connection = postgres.configured()
    accounts = {
        "schema": "public",
        "table": "accounts",
        "mode": "full",
        "primary_keys": ["id"],
        "fetch_size": 50,
        "partition_read": {"partitionColumn": "id", "numPartitions": 4},
    }
    lake = Lake(tmp_path, connection, [accounts])
    with money_moves(postgres):
        result = lake.run(spark)
    assert result.exit_code == 0
    rows = lake.rows("public.accounts")
    assert sorted(row["id"] for row in rows) == list(range(1, ACCOUNTS + 1))
    assert sum(row["balance"] for row in rows) == MONEY
    assert len({row["balance"] for row in rows}) > 1
