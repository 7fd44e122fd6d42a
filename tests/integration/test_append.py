"""Tables without a key: what is new is added once, and what has to be looked at again takes its own place."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg import snapshots
from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake
from tests.logbook import NAME, Logbook, Rows
from tests.servers.postgresql import PostgresDatabase, PostgresServer

DONE, UNCHANGED, FAILED = TableStatus.DONE, TableStatus.UNCHANGED, TableStatus.FAILED

FIRST = [("2026-06-01 10:00:00", "/", 1), ("2026-06-01 10:00:00", "/", 1), ("2026-06-01 10:00:05", "/a", 2)]
SECOND = [("2026-06-01 10:00:06", "/b", 3), ("2026-06-01 10:00:06", "/b", 3), ("2026-06-02 10:00:00", "/", 1)]
TIE = ("2026-06-02 10:00:00", "/late", 4)


@pytest.fixture
def log(tmp_path: Path) -> Logbook:
    """A log whose first rows have been read."""
    book = Logbook(tmp_path)
    book.write(*FIRST)
    assert book.run().status is DONE
    return book


def refusal(result: TableResult) -> str:
    assert result.status is FAILED
    assert result.failure is not None
    return result.failure.message


def test_equal_rows_are_kept_as_often_as_the_source_has_them(log: Logbook) -> None:
    """Nobody says that two equal visits are one."""
    assert log.target() == log.source()
    assert max(log.target().values()) == 2


def test_a_run_that_finds_nothing_new_reads_and_commits_nothing(log: Logbook) -> None:
    """The row at the watermark is there still, and its fingerprint says that it is the same."""
    location = log.lake.table(NAME).metadata_location

    idle = log.run()

    assert (idle.status, idle.rows_read, idle.watermark) == (UNCHANGED, 0, "2026-06-01 10:00:05.000000")
    assert log.lake.table(NAME).metadata_location == location


def test_only_rows_above_the_watermark_are_read_and_added(log: Logbook) -> None:
    """In a snapshot that only adds, for those who follow the table; and the files that stood there stay as they were."""
    files = {task.file.file_path for task in log.lake.table(NAME).scan().plan_files()}
    log.write(*SECOND)

    result = log.run()

    assert (result.rows_read, result.rows_written, result.rows_deleted) == (3, 3, 0)
    assert log.target() == log.source()
    assert log.operation == "append"
    assert files < {task.file.file_path for task in log.lake.table(NAME).scan().plan_files()}
    assert log.lake.receipt(NAME)["write"] == "append"


def test_a_row_that_ties_with_the_watermark_and_comes_late_is_found(log: Logbook) -> None:
    """Its equals, which were read before, give way to themselves: each row is there once more than it was, or as often."""
    log.write(*SECOND)
    log.run()
    log.write(TIE, TIE, ("2026-06-02 10:00:01", "/c", 5))

    result = log.run()

    assert (result.rows_read, result.rows_written, result.rows_deleted) == (4, 4, 0)
    assert log.target() == log.source()
    assert log.operation == "overwrite"
    assert log.run().status is UNCHANGED


def test_a_late_row_within_the_lag_is_found_and_one_below_it_is_not(log: Logbook) -> None:
    """As in every incremental table: the lag is how late a row may be."""
    log.settle(lag_seconds=10)
    log.run()
    log.write(("2026-06-01 10:00:04", "/late", 1), ("2026-06-01 09:59:54", "/too-late", 1))

    result = log.run()

    assert (result.rows_read, log.operation) == (4, "overwrite")
    assert log.target() == log.source("page <> '/too-late'")
    log.write(("2026-06-01 10:00:03", "/later", 1))
    assert log.run(lag=3600).rows_read == 6
    assert log.target() == log.source()


def test_rows_without_a_cursor_are_refused_unless_they_are_left_out(log: Logbook) -> None:
    """They would be read every night, or never: which of them are new nobody can tell."""
    log.write((None, "/", 1), *SECOND)
    before = log.target()

    assert "1 rows have no at" in refusal(log.run())
    assert log.target() == before

    log.settle(null_cursor="ignore")
    # Which rows are read has changed, and so has what the watermark means.
    assert "null_cursor" in refusal(log.run())
    assert log.run(reload=True).status is DONE
    assert log.target() == log.source("at IS NOT NULL")


def test_rows_that_went_from_what_is_read_again_stop_the_table(log: Logbook) -> None:
    """A deleted row would hide one that came late. A window that is asked for takes over what the source has."""
    log.settle(lag_seconds=60)
    log.run()
    log.change("DELETE FROM visits WHERE page = '/'")
    before = log.target()

    message = refusal(log.run())

    assert "2 of the 3 rows that were read again, from 2026-06-01 09:59:05.000000 on, are no longer at the source" in message
    assert log.target() == before
    assert log.run(window=["2026-06-01 09:59:05.000000"]).status is DONE
    assert log.target() == log.source()
    assert log.run().status is UNCHANGED


def test_a_source_that_is_emptied_takes_nothing_from_the_target(log: Logbook) -> None:
    """Logs are rotated: what was read stays, and what comes then is added."""
    log.change("DELETE FROM visits")
    before = log.target()
    assert log.run().status is UNCHANGED
    log.write(*SECOND)

    assert log.run().rows_written == 3

    assert log.target() == before + log.source()


def test_a_batch_that_failed_is_gone_on_with_and_added_once(log: Logbook) -> None:
    """Whether it failed before it was visible or after; meanwhile the source has moved on."""
    for point, row in (("after-stage", SECOND[0]), ("before-publish", SECOND[2]), ("after-publish", TIE)):
        log.write(row)
        assert log.run(failing=point).status is FAILED
        log.write((row[0], "/meanwhile", 9))
        assert log.run().failure is None
        assert log.target() == log.source(), point
    assert not list((log.root / "staging").rglob("*.parquet"))


def test_a_reload_and_a_first_load_replace_what_stands_there(log: Logbook) -> None:
    """Also what a full refresh has left: nothing is there twice because the mode was changed."""
    log.change("DELETE FROM visits WHERE page = '/a'")
    log.run(reload=True)
    assert log.target() == log.source()

    log.settle(mode="full", incremental_column=None, incr_col_type=None)
    log.lake.document["tables"][0] = {"schema": "web", "table": "visits", "mode": "full"}
    log.lake.save()
    assert log.run().status is DONE
    log.lake.document["tables"][0] = {
        "schema": "web",
        "table": "visits",
        "mode": "append",
        "incremental_column": "at",
        "incr_col_type": "timestamp",
    }
    log.lake.save()
    log.write(*SECOND)
    assert log.run().status is DONE
    assert log.target() == log.source()


def test_a_table_that_was_merged_is_not_added_to(log: Logbook) -> None:
    """Its rows were chosen by a key: the settings under which they were read have changed."""
    log.settle(mode="scd1", primary_keys=["page"])
    assert "primary_keys" in refusal(log.run())
    assert log.run(reload=True).status is DONE
    log.lake.document["tables"][0].pop("primary_keys")
    log.settle(mode="append")
    assert "primary_keys" in refusal(log.run())


def test_an_empty_source_makes_an_empty_table_and_then_grows(tmp_path: Path) -> None:
    """The first load of nothing is a load."""
    log = Logbook(tmp_path)
    assert log.run().status is DONE
    assert log.target() == Counter()
    log.write(*FIRST)
    assert log.run().rows_written == 3
    assert log.target() == log.source()


def test_rows_of_slices_and_partitions_are_added_whole(tmp_path: Path) -> None:
    """Each file of the table is of one partition, those that gave up rows included."""
    days = [{"column": "at", "transform": "day"}, {"column": "page", "transform": "bucket:3"}]
    log = Logbook(tmp_path, intermediate={"partition": days})
    log.configure(scd1_slicing={"max_count": 5, "target_rows_per_slice": 4, "max_partitions": 4})
    for part in range(3):
        rows = [(f"2026-06-0{1 + part}T".replace("T", f" {hour:02}:00:00"), f"/{hour % 4}", hour) for hour in range(24)]
        log.write(*rows, (f"2026-06-0{1 + part} 23:00:00", "/tie", 0))
        result = log.run()
        assert result.slices > 1
        log.write((f"2026-06-0{1 + part} 23:00:00", "/late", part))
        assert log.run().rows_read == 3
        assert log.target() == log.source()
    table = log.lake.table(NAME)
    for task in table.scan().plan_files():
        assert (task.file.partition[0], task.file.spec_id) != (None, None)
    found = table.scan(row_filter="at >= '2026-06-02T00:00:00' and at < '2026-06-03T00:00:00'").to_arrow()
    assert len(found) == sum(log.source("at LIKE '2026-06-02%'").values())


def test_columns_follow_the_policies_as_in_every_table(log: Logbook) -> None:
    """A new column is NULL in the rows of before, those of a rewritten file included; a dropped one stops the table."""
    log.change("ALTER TABLE visits ADD agent TEXT")
    log.write((*SECOND[0], "curl"), ("2026-06-01 10:00:05", "/tie", 2, "wget"))
    assert log.run().rows_read == 3
    assert log.target() == log.source()

    log.change("ALTER TABLE visits DROP bytes")
    log.write(("2026-06-03 00:00:00", "/", "curl"))
    assert "bytes" in refusal(log.run())


CURSORS: dict[str, tuple[str, str, Callable[[int], Any]]] = {
    "moments that are text": ("TEXT", "timestamp", lambda n: f"2026-06-{1 + n:02} 00:00:00.{n}"),
    "days": ("DATE", "date", lambda n: f"2026-06-{1 + n:02}"),
    "numbers": ("INTEGER", "int", lambda n: n * 10 - 40),
    "seconds": ("INTEGER", "epoch_seconds", lambda n: 1_780_000_000 + n),
    "milliseconds": ("INTEGER", "epoch_millis", lambda n: 1_780_000_000_000 + n),
}


@pytest.mark.parametrize("cursor", list(CURSORS))
def test_every_cursor_that_is_no_text_tells_rows_apart(cursor: str, tmp_path: Path) -> None:
    """Added above the watermark, replaced at it, and a window in its middle."""
    declared, kind, value = CURSORS[cursor]
    log = Logbook(tmp_path, create=f"CREATE TABLE visits (at {declared}, page TEXT, bytes INTEGER)", incr_col_type=kind)
    log.write(*((value(n), f"/{n}", n) for n in range(9) for _ in range(2)))
    log.run()
    log.write((value(8), "/tie", 0), (value(9), "/new", 0))
    assert log.run().rows_read == 4
    assert log.target() == log.source()

    log.change("UPDATE visits SET page = '/changed' WHERE bytes IN (3, 4, 5)")
    asked = {"epoch_seconds": "2026-05-28 20:26:43", "epoch_millis": "2026-05-28 20:26:40.003"}.get(kind, str(value(3)))
    end = {"epoch_seconds": "2026-05-28 20:26:45", "epoch_millis": "2026-05-28 20:26:40.005"}.get(kind, str(value(5)))
    result = log.run(window=[asked, end])
    assert (result.rows_read, result.remark) == (4, "4 rows of the window gave way to 4")
    assert {page for _, page, size in log.target() if size in "345"} == {"/changed", "/5"}
    assert sum(log.target().values()) == 20


@pytest.mark.parametrize("name", ["a.b", "[red]`x`", "Zeit, naïve 時"])
def test_the_cursor_may_be_called_anything(name: str, tmp_path: Path) -> None:
    """Rows are added, and taken out of a file, by the column and not by what its name looks like."""
    quoted = '"' + name + '"'
    log = Logbook(tmp_path, create=f"CREATE TABLE visits ({quoted} TIMESTAMP, page TEXT, bytes INTEGER)")
    log.settle(incremental_column=name, intermediate={"partition": [{"column": name, "transform": "month"}]})
    log.write(*FIRST)
    assert log.run().failure is None
    log.write(*SECOND, ("2026-06-01 10:00:05", "/tie", 2))
    assert log.run().rows_read == 5
    assert log.target() == log.source()


def test_manifests_are_joined_once_there_are_many(log: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is added to every few minutes stays quick to read; nothing of it is lost by that."""
    monkeypatch.setattr(snapshots, "_MANY", 4)
    for second in range(10, 20):
        log.write((f"2026-06-01 10:00:{second}", "/", second))
        assert log.run().rows_written == 1
        assert len(log.snapshot().manifests(log.lake.table(NAME).io)) <= 4
    assert log.target() == log.source()
    log.write(("2026-06-01 10:00:19", "/tie", 0))
    assert log.run().rows_read == 2
    assert log.target() == log.source()


def test_each_engine_goes_on_with_what_the_other_wrote(log: Logbook, spark: SparkSession) -> None:
    """Rows that Spark marked as deleted in a file stay deleted when this process takes others out of it."""
    log.settle(lag_seconds=3)
    log.write(*SECOND[:2])
    log.run()
    moves: list[tuple[str, tuple[Any, ...]]] = [
        ("spark", ("2026-06-01 10:00:06", "/tie", 1)),
        ("arrow", ("2026-06-01 10:00:05", "/late", 2)),
        ("spark", ("2026-06-01 10:00:07", "/new", 3)),
        ("arrow", ("2026-06-01 10:00:07", "/tie", 4)),
    ]
    for engine, row in moves:
        log.configure(engine=engine)
        log.write(row)
        result = log.run(spark)
        assert result.failure is None, result.failure
        assert log.target() == log.source(), engine
    assert set(log.lake.table(NAME).refs()) == {"main", "ingest_last"}


def test_rows_of_open_transactions_are_added_once_when_they_are_there(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A row whose transaction began before the run and ended after it lies above the bound. A day as the cursor brings its
    rows bit by bit, and those that were read before take their own place."""
    database = postgres_server.create_database()
    tables = [
        {"schema": "public", "table": name, "mode": "append", "incremental_column": "at", "incr_col_type": kind}
        for name, kind in (("moments", "timestamp"), ("days", "date"))
    ]
    tables[1]["cursor_timezone"] = "UTC"
    lake = Lake(tmp_path, database.configured(), tables)
    lake.document["runtime"]["engine"] = "arrow"
    lake.save()
    database.psql("CREATE TABLE moments (at timestamptz(0) DEFAULT now(), v int); CREATE TABLE days (at date, v int);")
    try:
        _follow_transactions(lake, database)
    finally:
        postgres_server.drop_database(database.database)


def _follow_transactions(lake: Lake, database: PostgresDatabase) -> None:
    def rows(name: str) -> Rows:
        return Counter((row["v"],) for row in lake.rows(f"public.{name}"))

    def written(name: str) -> Rows:
        return Counter((int(line),) for line in database.psql(f"SELECT v FROM {name}").split())

    database.psql("INSERT INTO moments SELECT now() - INTERVAL '1 hour', g FROM generate_series(1, 9) g")
    database.psql("INSERT INTO days SELECT (now() AT TIME ZONE 'UTC')::date - 1, g FROM generate_series(1, 9) g")
    assert lake.run(None).exit_code == 0
    login = {"host": database.host, "port": database.port, "user": database.user, "password": database.password}
    with psycopg.connect(dbname=database.database, **login) as waiting:
        waiting.execute("INSERT INTO moments (v) VALUES (10), (10)")
        database.psql("INSERT INTO moments (v) VALUES (11)")
        # It ties with the watermark, and is committed at once.
        database.psql("INSERT INTO days SELECT (now() AT TIME ZONE 'UTC')::date - 1, 10")
        assert lake.run(None).exit_code == 0
        assert (10,) not in rows("moments")
        waiting.commit()
    assert rows("days") == written("days")
    # The column keeps whole seconds, rounded up or down: by then they are all below the bound.
    database.psql("SELECT pg_sleep(1.7)")
    assert lake.run(None).exit_code == 0
    assert rows("moments") == written("moments")
    assert lake.run(None).tables[0].status is UNCHANGED
