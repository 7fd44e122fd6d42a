"""Windows that are read again because a person asks for it: what is brought, what stays, and what is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake
from tests.logbook import NAME, Logbook

DONE, UNCHANGED, SKIPPED, FAILED = TableStatus.DONE, TableStatus.UNCHANGED, TableStatus.SKIPPED, TableStatus.FAILED
MARCH = ["2026-03-01", "2026-04-01"]

# Two rows a day from February to April; the watermark of the first load is 2026-04-28.
DAYS = """
CREATE TABLE {table} (id INTEGER PRIMARY KEY, at TIMESTAMP, v TEXT);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 167)
INSERT INTO {table} SELECT i, printf('2026-%02d-%02d %02d:00:00', 2 + i / 56, 1 + i / 2 % 28, 12 * (i % 2)), 'old' FROM n;
"""


@pytest.fixture
def log(tmp_path: Path) -> Logbook:
    """A log of which every third day was read."""
    book = Logbook(tmp_path)
    book.write(*((f"2026-{month:02}-{day:02} 12:00:00", f"/{day}", month) for month in (2, 3, 4) for day in range(1, 28, 3)))
    assert book.run().status is DONE
    return book


# ---------------------------------------------------------------- append


def test_the_rows_of_a_window_take_the_place_of_those_that_stand_there(log: Logbook) -> None:
    """In one snapshot: late, changed and deleted rows alike; rows outside, watermark and fingerprint stay."""
    log.write(
        ("2026-03-02 00:00:00", "/late", 0), ("2026-02-02 00:00:00", "/outside", 0), ("2026-04-01 00:00:00", "/outside", 0)
    )
    log.change("UPDATE visits SET page = '/changed' WHERE at LIKE '2026-03-1%'", "DELETE FROM visits WHERE page = '/25'")
    before, receipt, snapshot = log.target(), log.lake.receipt(NAME), log.snapshot().snapshot_id
    outside = {row: count for row, count in before.items() if not row[0].startswith("2026-03")}

    result = log.run(window=MARCH)

    assert result.status is DONE
    assert result.remark == "9 rows of the window gave way to 9"
    assert (result.rows_read, result.rows_written, result.rows_deleted) == (9, 9, 0)
    assert log.target() == {**outside, **log.source("at LIKE '2026-03%'")}
    assert log.snapshot().parent_snapshot_id == snapshot
    now = log.lake.receipt(NAME)
    assert (now["watermark"], now["fingerprint"], now["write"]) == (
        receipt["watermark"],
        receipt["fingerprint"],
        "overwrite",
    )
    assert log.run().status is UNCHANGED


def test_a_window_without_rows_at_the_source_loses_them_in_the_target_and_says_so(log: Logbook) -> None:
    """That is what was asked for; the numbers stand beside it."""
    log.change("DELETE FROM visits WHERE at LIKE '2026-03%'")
    result = log.run(window=MARCH)
    assert (result.status, result.rows_read, result.rows_deleted) == (DONE, 0, 9)
    assert result.remark == "9 rows of the window gave way to 0"
    assert log.target() == log.source()


def test_a_window_that_would_lose_too_much_stops_where_a_limit_is_set(log: Logbook) -> None:
    """A source that keeps only so many days must not take the others from the target by mistake."""
    log.settle(max_shrink_fraction=0.5)
    log.change("DELETE FROM visits WHERE at LIKE '2026-03-2%'")
    assert log.run(window=MARCH).status is DONE  # 7 of 9 are left
    log.change("DELETE FROM visits WHERE at < '2026-03-20'")
    before = log.target()

    refused = log.run(window=MARCH)

    assert refused.failure is not None
    assert "0 rows would replace 7" in refused.failure.message
    assert log.target() == before
    assert log.run(window=MARCH, allow_shrink=True).rows_deleted == 7
    assert sum(log.target().values()) == 18


def test_nothing_above_the_watermark_is_read(log: Logbook) -> None:
    """The bounds that keep rows of open transactions out hold for windows too; what lies above comes with the next run."""
    log.write(("2026-04-25 13:00:00", "/new", 0))
    result = log.run(window=["2026-04-20", "2026-06-01"])
    counts, clipped = result.remark.split("; ", 1)
    assert counts == "2 rows of the window gave way to 2"
    assert clipped == "read up to the watermark 2026-04-25 12:00:00.000000; the rest is for ordinary runs"
    assert ("2026-04-25 13:00:00", "/new", "0") not in log.target()

    beyond = log.run(window=["2026-05-01"])
    assert (beyond.status, beyond.rows_read) == (UNCHANGED, 0)
    assert "begins above the watermark" in beyond.remark
    assert log.run().rows_written == 1
    assert log.target() == log.source()


def test_a_window_that_reaches_the_watermark_leaves_nothing_unseen(log: Logbook) -> None:
    """Rows that tie with it and come, or go, after the window was read are seen by the next run."""
    tie = ("2026-04-25 12:00:00", "/tie", 0)
    log.write(tie)
    log.run(window=["2026-04-25"])
    assert log.target() == log.source()
    # The source is again as it was when the last fingerprint was taken: the target is not.
    log.change("DELETE FROM visits WHERE page = '/tie'")
    assert log.run().status is FAILED
    log.write(tie, tie)
    assert log.run().rows_read == 3
    assert log.target() == log.source()


def test_a_window_within_the_lag_leaves_nothing_unseen(log: Logbook) -> None:
    """It holds a part of what is looked at again: by the fingerprint of before, rows that change back would be missed."""
    log.settle(lag_seconds=10 * 86_400)
    log.write(("2026-04-26 00:00:00", "/new", 0))
    log.run()
    log.change("UPDATE visits SET page = '/there' WHERE at LIKE '2026-04-22%'")
    log.run(window=["2026-04-20", "2026-04-24"])
    assert log.target() == log.source()
    log.change("UPDATE visits SET page = '/22' WHERE at LIKE '2026-04-22%'")
    log.run()
    assert log.target() == log.source()


def test_a_window_below_the_first_watermark_is_filled(tmp_path: Path) -> None:
    """History that a first load left out on purpose."""
    log = Logbook(tmp_path, initial_watermark="2026-03-01")
    log.write(("2026-02-10 00:00:00", "/old", 1), ("2026-03-10 00:00:00", "/new", 1))
    log.run()
    assert sum(log.target().values()) == 1
    assert log.run(window=["2026-02-01", "2026-03-01"]).remark == "0 rows of the window gave way to 1"
    assert log.target() == log.source()


@pytest.mark.parametrize("point", ["after-stage", "before-publish", "after-publish"])
def test_a_window_that_failed_is_finished_by_whatever_runs_next(log: Logbook, point: str) -> None:
    """By an ordinary run, which then takes what is new; or by the same command, which does it once."""
    log.change("UPDATE visits SET page = '/changed' WHERE at LIKE '2026-03%'")
    assert log.run(window=MARCH, failing=point).status is FAILED
    log.write(("2026-05-01 00:00:00", "/new", 1))
    again = log.run(window=MARCH) if point == "after-stage" else log.run()
    assert again.failure is None
    if point == "after-stage":
        assert (again.rows_read, again.remark) == (9, "9 rows of the window gave way to 9")
        log.run()
    assert log.target() == log.source()
    sequence = log.lake.receipt(NAME)["sequence"]
    assert sequence == 3


# ---------------------------------------------------------------- scd1


class Days:
    """Tables of the same rows, read in this process."""

    def __init__(self, root: Path, **tables: dict[str, Any]) -> None:
        self._file = root / "days.db"
        self.change("".join(DAYS.format(table=table) for table in tables))
        cursor = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "at", "incr_col_type": "timestamp"}
        listed = [{"schema": "s", "table": table, **cursor, **spec} for table, spec in tables.items()]
        for spec in listed:
            if spec["mode"] == "full":
                del spec["incremental_column"], spec["incr_col_type"]
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self._file)}, listed)
        self.lake.document["runtime"] |= {"engine": "arrow", "scd1_slicing": {"max_count": 20, "target_rows_per_slice": 20}}
        self.lake.save()

    def change(self, script: str) -> None:
        with closing(sqlite3.connect(self._file)) as connection:
            connection.executescript(script)

    def run(self, *window: str) -> dict[str, TableResult]:
        result = self.lake.run(None, window=AskedWindow(*window) if window else None)
        return {table.table: table for table in result.tables}

    def values(self, table: str) -> dict[int, str]:
        return {row["id"]: row["v"] for row in self.lake.rows(f"s.{table}")}


@pytest.fixture
def days(tmp_path: Path) -> Days:
    """One merged table, loaded."""
    days = Days(tmp_path, merged={})
    days.run()
    return days


def test_rows_of_a_window_are_merged_and_all_else_stays(days: Days) -> None:
    """Values that changed without their cursor arrive where they lie in the window; rows that went stay, as in any merge."""
    days.change("UPDATE merged SET v = 'new'; DELETE FROM merged WHERE id IN (60, 61)")
    receipt = days.lake.receipt("s.merged")

    result = days.run(*MARCH)["s.merged"]

    assert (result.status, result.rows_read, result.rows_written, result.rows_deleted) == (DONE, 54, 54, 0)
    assert result.slices > 1
    assert result.remark == ""
    assert days.values("merged") == {i: "new" if 56 <= i < 112 and i not in (60, 61) else "old" for i in range(168)}
    now = days.lake.receipt("s.merged")
    assert (now["watermark"], now["fingerprint"]) == (receipt["watermark"], receipt["fingerprint"])
    again = days.run(*MARCH)["s.merged"]
    assert (again.status, again.rows_written) == (UNCHANGED, 0)
    (plan,) = [e for e in days.lake.events() if e["event"] == "plan" and e["run_id"] == days.lake.events()[-1]["run_id"]]
    assert plan["reason"].startswith("back-fill of a window: ")


def test_a_window_above_the_watermark_reads_nothing(days: Days) -> None:
    """And one that begins below it ends there."""
    days.change("INSERT INTO merged VALUES (500, '2026-04-28 18:00:00', 'new')")
    assert days.run("2026-05-01")["s.merged"].status is UNCHANGED
    assert days.run("2026-04-28", "2026-05-01")["s.merged"].rows_read == 2
    assert 500 not in days.values("merged")
    assert days.run()["s.merged"].status is DONE
    assert days.values("merged")[500] == "new"


def test_an_older_row_of_a_key_never_replaces_a_newer_one(tmp_path: Path) -> None:
    """Where the source does not declare the key it may have several rows for one: all up to the watermark are read."""
    days = Days(tmp_path, versions={"query_sql": "SELECT id % 50 AS id, at, v || id AS v FROM versions"})
    days.run()
    before = days.values("versions")

    result = days.run(*MARCH)["s.versions"]

    assert result.rows_read == 168 - 56
    assert "the source declares no such key" in result.remark
    assert days.values("versions") == before


def test_tables_without_windows_are_passed_over(tmp_path: Path) -> None:
    """Of all tables those that have a cursor are read; the others stay as they are and say why."""
    days = Days(tmp_path, merged={}, whole={"mode": "full"}, named={"incremental_column": "v", "incr_col_type": "text"})
    days.run()
    days.change("UPDATE merged SET v = 'new'; UPDATE whole SET v = 'new'")

    results = days.run(*MARCH)

    assert [results[f"s.{name}"].status for name in ("merged", "whole", "named")] == [DONE, SKIPPED, SKIPPED]
    assert "it is loaded whole" in results["s.whole"].remark
    assert "text cursor" in results["s.named"].remark
    assert set(days.values("whole").values()) == {"old"}


def test_a_table_that_was_never_loaded_has_no_window(tmp_path: Path) -> None:
    """Its first load reads everything."""
    failure = Days(tmp_path, merged={}).run(*MARCH)["s.merged"].failure
    assert failure is not None
    assert "has never been loaded" in failure.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--end-date", "2026-01-01"], "--end-date needs --start-date"),
        (["--start-date", "2026-01-01", "--reload", "*"], "--reload reads everything anew"),
        (["--start-date", "soon"], "--start-date 'soon' is no value of a cursor of type timestamp"),
        (["--start-date", "2026-01-02", "--end-date", "2026-01-01"], "no value lies from '2026-01-02'"),
        (["--start-date", "2026-01-01", "--only-tables", "s.whole"], "s.whole has no window that could be read again"),
        (["--start-date", "soon", "--only-tables", "s.whole,s.merged"], "does not fit 2 tables"),
    ],
)
def test_what_is_no_window_is_refused_before_anything_is_touched(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Exit code 2, and one message with what to do."""
    days = Days(tmp_path, merged={}, whole={"mode": "full"})
    ended = days.lake.call(*arguments)
    assert (ended.code, words in ended.stderr) == (2, True), ended.stderr
    assert not (tmp_path / "state.db").exists()


def test_a_window_is_asked_for_on_the_command_line(tmp_path: Path) -> None:
    """As a run: with its table of results, its exit code, and what was left out beside it."""
    days = Days(tmp_path, merged={}, whole={"mode": "full"})
    assert days.lake.call().code == 0
    days.change("UPDATE merged SET v = 'new'")

    ended = days.lake.call("--start-date", "2026-03-01", "--end-date", "2026-03-02", "--output", "json")

    assert ended.code == 0, ended.stderr
    told = {table["table"]: table for table in ended.document["tables"]}
    assert (told["s.merged"]["rows_written"], told["s.whole"]["status"]) == (2, "skipped")
    assert sorted(days.values("merged").values()).count("new") == 2
