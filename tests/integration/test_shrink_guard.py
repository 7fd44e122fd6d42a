"""The shrink guard: a refresh that would lose more rows than it may is not published, and leaves no trace of success."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from ingestion_runtime.cli import cli
from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake

DAYS = [date(2026, 7, day) for day in range(1, 10)]
DONE, FAILED, SKIPPED = TableStatus.DONE, TableStatus.FAILED, TableStatus.SKIPPED
FULL = {"mode": "full", "max_shrink_fraction": 0.29}
SCD1 = {
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "at",
    "incr_col_type": "timestamp",
    "max_shrink_fraction": 0.29,
}
FILL = """DELETE FROM t; WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {0})
INSERT INTO t SELECT g, '2024-01-01 00:00:00' FROM n WHERE {0}"""


class Source:
    """A table ``shop.t`` with a number of rows, and the lake it goes to."""

    def __init__(
        self, root: Path, table: dict[str, Any], engine: str = "arrow", session: SparkSession | None = None
    ) -> None:
        self.root = root
        self._session = session
        self._change("CREATE TABLE t (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        self.lake = Lake(root, {"dialect": "sqlite", "database": "shop.db"}, [{"schema": "shop", "table": "t", **table}])
        self.lake.document["runtime"]["engine"] = engine
        self.lake.save()

    def _change(self, script: str) -> None:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection:
            connection.executescript(script)

    def hold(self, rows: int) -> None:
        self._change(FILL.format(rows))

    def night(self, day: date, **options: Any) -> TableResult:
        (result,) = self.lake.run(self._session, day=day, **options).tables
        return result

    def published(self) -> int:
        return len(self.lake.rows("shop.t"))

    def in_final(self) -> int:
        return int(ds.dataset(self.root / "final/shop/t", format="parquet").count_rows())

    def batches(self) -> dict[str, int]:
        """How the batches of the state ended."""
        with closing(sqlite3.connect(self.root / "state.db")) as state:
            query = "SELECT outcome, count(*) FROM ingestion_batches GROUP BY outcome"
            return {str(outcome): int(rows) for outcome, rows in state.execute(query)}


def message_of(result: TableResult) -> str:
    assert result.status is FAILED
    assert result.failure is not None
    assert result.failure.exit_code == 1
    return result.failure.message


@pytest.mark.parametrize("sink", ["iceberg", "parquet"])
def test_a_full_refresh_that_loses_too_much_is_not_published(tmp_path: Path, sink: str) -> None:
    """Twenty-nine of a hundred may go, thirty not; the batch is given up, and the next run reads again."""
    source = Source(tmp_path, FULL | {"sink": sink})
    published = source.in_final if sink == "parquet" else source.published
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source.hold(71)
    assert source.night(DAYS[1]).status is DONE
    source.hold(100)
    assert source.night(DAYS[2]).status is DONE
    source.hold(70)
    said = message_of(source.night(DAYS[3]))
    assert "shop.t: 70 rows would replace 100, which is 30 fewer (30.00%, max_shrink_fraction is 29.00%)" in said
    assert "--allow-shrink shop.t" in said
    assert (published(), source.batches()) == (100, {"published": 3, "abandoned": 1})
    # Nothing says that the day is done: the next run of it reads again, and what it finds is judged again.
    assert "70 rows" in message_of(source.night(DAYS[3]))
    source.hold(99)
    assert source.night(DAYS[3]).status is DONE
    assert (published(), source.night(DAYS[3]).status) == (99, SKIPPED)


def test_a_reload_does_not_lift_the_guard_and_the_option_does(tmp_path: Path) -> None:
    """For the tables that it names, in one run: the next one is guarded again, by what stands then."""
    source = Source(tmp_path, FULL)
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source.hold(10)
    assert "10 rows" in message_of(source.night(DAYS[0], reload=["shop.t"]))
    assert "10 rows" in message_of(source.night(DAYS[1], allow_shrink=["shop.other"]))
    assert source.night(DAYS[1], allow_shrink=["shop.t"]).status is DONE
    assert source.published() == 10
    source.hold(7)
    assert "7 rows would replace 10" in message_of(source.night(DAYS[2]))
    source.hold(0)
    assert "0 rows would replace 10" in message_of(source.night(DAYS[3]))
    assert source.night(DAYS[4], reload=["shop.t"], allow_shrink=["shop.t"]).status is DONE
    assert source.published() == 0
    source.hold(3)
    assert source.night(DAYS[5]).status is DONE  # nothing can be lost of nothing


def test_a_reload_of_an_incremental_table_is_guarded(tmp_path: Path) -> None:
    """By all its live rows, though its last batch brought only a few; merging is not, for it takes no row's place."""
    source = Source(tmp_path, SCD1)
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source._change("INSERT INTO t VALUES (1000, '2024-02-01 00:00:00')")
    assert source.night(DAYS[1]).status is DONE
    source._change("DELETE FROM t WHERE id <= 50; INSERT INTO t VALUES (1001, '2024-02-02 00:00:00')")
    assert source.night(DAYS[2]).status is DONE
    assert source.published() == 102
    assert "52 rows would replace 102" in message_of(source.night(DAYS[3], reload=["shop.t"]))
    assert (source.published(), source.batches()["abandoned"]) == (102, 1)
    assert source.night(DAYS[3], reload=["shop.t"], allow_shrink=["shop.t"]).status is DONE
    assert source.published() == 52


def test_an_append_table_is_guarded_where_it_is_read_anew(tmp_path: Path) -> None:
    """What is added takes no row's place, also where rows are read again for their lag."""
    append = {"mode": "append", "incremental_column": "at", "incr_col_type": "timestamp", "lag_seconds": 86_400}
    source = Source(tmp_path, append | {"max_shrink_fraction": 0})
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source._change("INSERT INTO t VALUES (1000, '2024-01-01 00:00:01')")
    assert source.night(DAYS[1]).status is DONE
    assert source.night(DAYS[2]).status is TableStatus.UNCHANGED
    source.hold(90)
    assert "90 rows would replace 101" in message_of(source.night(DAYS[3], reload=["shop.t"]))
    assert source.published() == 101


def test_rows_that_are_marked_as_deleted_are_not_live(tmp_path: Path) -> None:
    """They go with a reload, and nobody misses them."""
    source = Source(tmp_path, SCD1 | {"deletes": "soft", "max_delete_fraction": 1, "max_shrink_fraction": 0})
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source.hold(40)
    result = source.night(DAYS[1])
    assert (result.status, result.rows_deleted) == (DONE, 60)
    assert source.night(DAYS[2], reload=["shop.t"]).status is DONE
    source.hold(39)
    assert "39 rows would replace 40" in message_of(source.night(DAYS[3], reload=["shop.t"]))


def test_a_run_that_was_killed_before_it_published_is_judged_when_it_goes_on(tmp_path: Path) -> None:
    """What was read is there already; whether it may be published is asked again, and may be answered otherwise."""
    source = Source(tmp_path, FULL)
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source.hold(20)
    killed = source.lake.call("--load-date", str(DAYS[1]), failpoints="after-raw=kill")
    assert killed.code != 0
    assert "20 rows would replace 100" in message_of(source.night(DAYS[1]))
    source.hold(30)
    again = source.lake.call("--load-date", str(DAYS[1]), failpoints="after-raw=kill")
    assert again.code != 0
    assert source.lake.call("--load-date", str(DAYS[1]), "--allow-shrink", "*").code == 0
    assert source.published() == 30
    wrong = CliRunner().invoke(cli, ["--config", str(source.lake.path), "--allow-shrink", "shop.x"])
    assert (wrong.exit_code, "--allow-shrink names shop.x" in wrong.stderr) == (2, True)


def test_the_guard_holds_where_spark_writes(tmp_path: Path, spark: SparkSession) -> None:
    """Its branch is dropped, so that nothing is left of the attempt."""
    source = Source(tmp_path, FULL, "spark", spark)
    source.hold(100)
    assert source.night(DAYS[0]).status is DONE
    source.hold(50)
    assert "50 rows would replace 100" in message_of(source.night(DAYS[1]))
    assert source.published() == 100
    assert set(source.lake.table("shop.t").metadata.refs) == {"main", "ingest_last"}
