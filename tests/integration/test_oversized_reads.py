"""Reads that fail for their size, for real: a server's time limit and a heap that is too small."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.endpoint import ReadSplit
from ingestion_runtime.model.errors import OversizedReadError, TransientError
from tests.lake import Lake
from tests.readings import Reading, reading_in, streaming_in, table_of
from tests.servers.mariadb import MariaDatabase
from tests.servers.postgresql import PostgresDatabase

ROWS = 400
# 5 ms a row at the least: 400 rows never come within the limit, a hundred do unless the machine stands still.
SLOW = f"""
CREATE FUNCTION slow(value bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE
    AS 'BEGIN PERFORM pg_sleep(0.005); RETURN value; END';
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint, at timestamptz);
INSERT INTO accounts SELECT g, 100, CASE WHEN g <= 380 THEN timestamptz '2024-05-05 12:00+00' + g * interval '1 second'
    ELSE timestamptz '2024-01-01 00:00+00' + (g - 380) * interval '1 day' END FROM generate_series(1, {ROWS}) g;
CREATE VIEW slow_accounts AS SELECT id, slow(balance) AS balance, at FROM accounts;
CREATE VIEW tied AS SELECT id, slow(balance) AS balance, timestamptz '2024-05-05 12:00+00' AS at FROM accounts;
"""


@pytest.fixture
def reading(spark: SparkSession, tmp_path: Path) -> Reading:
    return reading_in(spark, tmp_path)


@pytest.fixture(params=["spark", "arrow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Reading:
    """Readings by either engine."""
    return streaming_in(tmp_path) if request.param == "arrow" else reading_in(request.getfixturevalue("spark"), tmp_path)


@pytest.fixture
def limited(postgres: PostgresDatabase) -> PostgresDatabase:
    """A database in which no statement may take longer than 1.2 s, and views that take 2 s."""
    postgres.psql(SLOW)
    limit = f"ALTER ROLE {postgres.user} IN DATABASE {postgres.database} SET statement_timeout = '1200ms'"
    postgres.psql(limit, superuser=True)
    return postgres


def test_a_window_that_times_out_is_read_in_smaller_parts(
    spark: SparkSession, tmp_path: Path, limited: PostgresDatabase
) -> None:
    """The plan keeps its one slice, the run says what it did, and the rows arrive, each once."""
    table = {
        "schema": "public",
        "table": "slow_accounts",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "at",
        "incr_col_type": "timestamp",
    }
    lake = Lake(tmp_path, limited.configured(), [table])
    assert lake.run(spark).exit_code == 0
    assert sorted(row["id"] for row in lake.rows("public.slow_accounts")) == list(range(1, ROWS + 1))
    events = lake.events()
    splits = [event for event in events if event["event"] == "slice_split"]
    assert splits[0]["depth"] == 1
    assert "statement timeout" in splits[0]["reason"]
    assert {event["ordinal"] for event in splits} == {0}
    assert [event["rows"] for event in events if event["event"] == "slice_staged"] == [ROWS]
    assert lake.run(spark).tables[0].rows_read == 0  # and the next run finds nothing left


def test_the_halves_of_a_window_hold_about_as_many_rows(either: Reading, limited: PostgresDatabase) -> None:
    """19 of 20 rows lie in six minutes of four months: the middle is that of the rows."""
    table = table_of("slow_accounts", mode="scd1", incremental_column="at", incr_col_type=CursorType.TIMESTAMP)
    window = Interval(*(Watermark(CursorType.TIMESTAMP, f"{day} 00:00:00.000000") for day in ("2023-01-01", "2025-01-01")))
    told: list[ReadSplit] = []
    extract = either.source(limited, table).read_slice(Slice(0, window=window), told.append)
    extract.write_parquet(str(either.root / "out"))
    parts = {path.name: pq.read_table(path).num_rows for path in (either.root / "out").iterdir()}
    assert sum(parts.values()) == ROWS
    assert sum(rows for name, rows in parts.items() if name.startswith("read=0")) in range(150, 251)
    assert len(told) == len(parts) - 1
    assert not list((either.root / "out").glob("*.parquet"))


def test_the_parts_of_a_whole_table_see_one_moment(either: Reading, limited: PostgresDatabase) -> None:
    """A full refresh is divided by its key under the snapshot it began with, while money moves between accounts."""
    source = either.source(limited, table_of("slow_accounts", primary_keys=("id",)))
    told: list[ReadSplit] = []

    def move(split: ReadSplit) -> None:
        told.append(split)
        limited.psql(f"""UPDATE accounts SET balance = balance + CASE WHEN id <= 200 THEN -50 ELSE 50 END;
            DELETE FROM accounts WHERE id = {len(told)}""")

    source.read_full(move).write_parquet(str(either.root / "out"))
    landed = pq.read_table(either.root / "out")
    assert told
    assert sorted(landed["id"].to_pylist()) == list(range(1, ROWS + 1))
    assert pc.sum(landed["balance"]).as_py() == ROWS * 100


def test_a_driver_that_waits_too_long_for_an_answer_asks_for_less(reading: Reading, postgres: PostgresDatabase) -> None:
    """A socket timeout of a second, and an answer that takes two and is too short for the server to send a part of it."""
    postgres.psql(SLOW)
    told: list[ReadSplit] = []
    table = table_of("slow_accounts", primary_keys=("id",), query_sql="SELECT id, balance FROM slow_accounts")
    source = reading.source(postgres, table, socketTimeout="1")
    source.read_full(told.append).write_parquet(str(reading.root / "out"))
    assert "Read timed out" in told[0].reason
    assert sorted(pq.read_table(reading.root / "out")["id"].to_pylist()) == list(range(1, ROWS + 1))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (table_of("tied", incremental_column="at", incr_col_type=CursorType.TIMESTAMP), "the same value of 'at'"),
        (table_of("slow_accounts"), "no column along which it could be"),
    ],
)
def test_what_cannot_be_divided_says_why_and_what_to_do(
    either: Reading, limited: PostgresDatabase, table: Any, reason: str
) -> None:
    """Ties, and a table without a key that could be cut."""
    source = either.source(limited, table)
    low, high = (Watermark(CursorType.TIMESTAMP, f"{year}-01-01 00:00:00.000000") for year in (2023, 2025))
    piece = Slice(0, window=Interval(low, high))
    extract = source.read_slice(piece) if table.incremental_column else source.read_full()
    with pytest.raises(OversizedReadError, match=reason) as caught:
        extract.write_parquet(str(either.root / "out"))
    assert "statement_timeout" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_a_person_who_cancels_is_no_time_limit(reading: Reading, limited: PostgresDatabase) -> None:
    """Both have SQLSTATE 57014; only the limit is a matter of size."""
    database = reading.source(limited, table_of("accounts"))._database
    with pytest.raises(OversizedReadError, match="statement timeout"):
        database.rows("SELECT pg_sleep(5)")
    limited.psql(f"ALTER ROLE {limited.user} IN DATABASE {limited.database} RESET statement_timeout", superuser=True)
    database.close()
    cancelled = threading.Event()

    def cancel() -> None:
        query = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
        while not cancelled.is_set() and limited.psql(query, superuser=True) == "0":
            pass

    person = threading.Thread(target=cancel)
    person.start()
    with pytest.raises(TransientError, match="user request") as caught:
        database.rows("SELECT pg_sleep(60)")
    cancelled.set()
    person.join()
    assert not isinstance(caught.value, OversizedReadError)


@pytest.fixture
def hurried(mariadb: MariaDatabase) -> Iterator[MariaDatabase]:
    """A MariaDB on which no statement may take longer than 1.2 s, and a view that takes 2 s."""
    mariadb.client(f"""CREATE TABLE accounts (id int PRIMARY KEY, at datetime(6));
        INSERT INTO accounts SELECT seq, timestamp'2024-05-05 12:00:00' + INTERVAL seq SECOND FROM seq_1_to_{ROWS};
        CREATE VIEW slow_accounts AS SELECT id, at, SLEEP(0.005) AS slept FROM accounts;""")
    mariadb.client("SET GLOBAL max_statement_time = 1.2", superuser=True)
    yield mariadb
    mariadb.client("SET GLOBAL max_statement_time = 0", superuser=True)


def test_mariadb_divides_a_window_and_never_a_whole_table(reading: Reading, hurried: MariaDatabase) -> None:
    """Parts of a window are as slices are; parts of a whole table would be of several moments."""
    told: list[ReadSplit] = []
    place = {"schema": hurried.database, "primary_keys": ("id",)}
    table = table_of("slow_accounts", incremental_column="at", incr_col_type=CursorType.TIMESTAMP, **place)
    window = Interval(*(Watermark(CursorType.TIMESTAMP, f"{day} 00:00:00.000000") for day in ("2023-01-01", "2025-01-01")))
    extract = reading.source(hurried, table).read_slice(Slice(0, window=window), told.append)
    extract.write_parquet(str(reading.root / "out"))
    assert told
    assert sorted(pq.read_table(reading.root / "out")["id"].to_pylist()) == list(range(1, ROWS + 1))
    whole = reading.source(hurried, table_of("slow_accounts", "id", **place)).read_full()
    with pytest.raises(OversizedReadError, match=r"no column along which it could be"):
        whole.write_parquet(str(reading.root / "whole"))


def test_memory_that_runs_out_costs_a_halving_and_not_the_run(tmp_path: Path, postgres: PostgresDatabase) -> None:
    """600 MB of rows in one round trip, read by a process with a heap of 512 MB; the table is landed, and that is all."""
    postgres.psql("""CREATE TABLE keys (id int PRIMARY KEY); INSERT INTO keys SELECT generate_series(1, 75);
        CREATE VIEW wide AS SELECT id, repeat(md5(id::text), 250000) AS pad FROM keys""")
    table = {"schema": "public", "table": "wide", "mode": "full", "primary_keys": ["id"]}
    lake = Lake(tmp_path, postgres.configured(), [table])
    lake.document["runtime"]["spark"]["driver_memory"] = "512m"
    lake.document["runtime"]["engine"] = "spark"
    lake.document["runtime"]["finalize_full_refresh"] = False
    lake.save()
    ended = lake.call("--output", "json")
    assert ended.code == 0, ended.stderr[-3000:]
    splits = [event for event in lake.events() if event["event"] == "slice_split"]
    assert splits
    assert "OutOfMemoryError" in splits[0]["reason"]
    (raw,) = (tmp_path / "raw" / "public" / "wide").glob("load_date=*/batch=*")
    rows = [row for path in raw.glob("*.parquet") for row in pq.read_table(path).select(["id", "pad"]).to_pylist()]
    assert len(rows) == 75
    printed = (line.split("\t") for line in postgres.psql("SELECT id, md5(id::text) FROM keys").splitlines())
    assert {row["id"]: row["pad"] for row in rows} == {int(key): digest * 250_000 for key, digest in printed}
