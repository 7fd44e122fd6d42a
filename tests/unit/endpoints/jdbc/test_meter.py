"""How a read is followed: what is counted, how often it is told, and what it costs."""

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.jdbc.arrow_reader import ArrowReader
from ingestion_runtime.endpoints.jdbc.database import Database, Snapshot
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.meter import TELL_SECONDS, ReadMeter
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.errors import OversizedReadError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.parquet_writer import ParquetSettings

Told = list[tuple[int, int]]
ROWS = 30


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def metered() -> tuple[ReadMeter, Told, Clock]:
    told: Told = []
    clock = Clock()
    return ReadMeter(lambda rows, size: told.append((rows, size)), clock=clock), told, clock


def test_it_tells_no_more_often_than_its_interval() -> None:
    """Whatever comes between is in the next telling; a read of less than the interval is not told of."""
    meter, told, clock = metered()
    for _ in range(10):
        clock.now += TELL_SECONDS / 4
        meter.add(100, 8)
    assert told == [(400, 32), (800, 64)]
    assert meter.taken == (1000, 80)


def test_threads_that_read_at_once_lose_no_row() -> None:
    """The sum is that of all connections; nobody is told less than before."""
    told: Told = []
    meter = ReadMeter(lambda rows, size: told.append((rows, size)), interval=0)

    def work() -> None:
        for _ in range(2_000):
            meter.add(3, 7)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.taken == (24_000, 56_000)
    assert len(told) == 8_000
    assert max(told) == (24_000, 56_000)


def test_one_who_listens_slowly_keeps_no_other_thread_waiting() -> None:
    """Who is told is told outside of the lock: a log on a slow disk stops one connection for a moment, and not all."""
    entered, release = threading.Event(), threading.Event()

    def tell(_rows: int, _size: int) -> None:
        entered.set()
        assert release.wait(30)

    clock = Clock()
    meter = ReadMeter(tell, clock=clock)
    clock.now += TELL_SECONDS
    slow = threading.Thread(target=meter.add, args=(1, 1))
    slow.start()
    assert entered.wait(30)
    meter.add(1, 1)
    assert meter.taken == (2, 2)
    release.set()
    slow.join()


def test_counting_costs_nothing_that_a_reader_would_notice() -> None:
    """A batch of 16,384 rows takes milliseconds: a hundred thousand of them are counted in less than two seconds."""
    meter, _, _ = metered()
    begun = time.perf_counter()
    for _ in range(100_000):
        meter.add(16_384, 8_000_000)
    assert time.perf_counter() - begun < 2


class Divided:
    """Reads with the engine of this process, and fails for the size of the first read when it has taken all its rows."""

    judges = True

    def __init__(self) -> None:
        self._reader = ArrowReader(ParquetSettings(), LocalFiles())
        self.seen: list[tuple[int, int]] = []

    def prepare(self) -> None:
        self._reader.prepare()

    def read(self, extract: JdbcExtract, snapshot: Snapshot, condition: str | None, directory: str) -> None:
        self._reader.read(extract, snapshot, condition, directory)
        self.seen.append(extract.meter.taken)
        if len(self.seen) == 1:
            raise OversizedReadError("too large", remedy="Read less.")

    def discard(self, directory: str) -> None:
        self._reader.discard(directory)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(number, number) for number in range(1, ROWS + 1)])
        connection.commit()
    return Database(ConnectionSpec("shop", "sqlite", str(path)), dialect_for("sqlite"))


def test_rows_of_a_read_in_this_process_are_told_with_their_bytes(database: Database, tmp_path: Path) -> None:
    """Up to the last one; and over how many connections they came."""
    reader = ArrowReader(ParquetSettings(), LocalFiles())
    source = JdbcSource(TableSpec("shop", "t", "full", "shop"), database, reader)
    told: Told = []
    extract = replace(source.read_full(), meter=ReadMeter(lambda rows, size: told.append((rows, size)), interval=0))
    assert extract.connections == 0
    extract.write_parquet(str(tmp_path / "out"))
    rows, size = told[-1]
    assert rows == ROWS
    assert size >= pa.array(range(ROWS)).nbytes
    assert extract.connections == 1


def test_a_read_that_failed_for_its_size_takes_its_rows_back(database: Database, tmp_path: Path) -> None:
    """It is read again in halves: in the end every row has been counted once."""
    reader = Divided()
    table = TableSpec("shop", "t", "scd1", "shop", incremental_column="at", incr_col_type=CursorType.INT)
    window = Interval(Watermark(CursorType.INT, "0"), Watermark(CursorType.INT, str(ROWS)))
    extract = JdbcSource(table, database, reader).read_slice(Slice(0, window=window))
    extract.write_parquet(str(tmp_path / "out"))
    assert [rows for rows, _ in reader.seen] == [ROWS, ROWS // 2, ROWS]
    assert extract.meter.taken[0] == ROWS
