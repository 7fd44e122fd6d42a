"""Rare ways to fail, and to come back: whatever was published stays, raw says what it was, and a run tells how it ended."""

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from ingestion_runtime.results import result_document
from tests.faults.gaps import Hold, Process, meddling
from tests.faults.shop import (
    ORDERS,
    PRICES,
    STOCK,
    Row,
    Shop,
    events_named,
    make_lake,
    open_batches,
    published_receipt,
    published_rows,
    query_state,
    require_equal,
    standing,
)
from tests.lake import Lake

FIRST, SECOND, THIRD, FOURTH, FIFTH = (date(2026, 7, day) for day in range(1, 6))
DONE, FAILED, SKIPPED, UNCHANGED = TableStatus.DONE, TableStatus.FAILED, TableStatus.SKIPPED, TableStatus.UNCHANGED
PLAIN_STOCK: Mapping[str, Any] = {**STOCK, "sink": "parquet"}


def failing(point: str) -> dict[str, str]:
    return {"INGESTION_FAILPOINTS": f"{point}=fail"}


# ---------------------------------------------------------------- a directory as a target


def test_a_target_behind_a_symbolic_link_survives_recovery(spark: SparkSession, tmp_path: Path) -> None:
    """A batch fails, the next run clears up after it: the folder that readers are at is not taken for a leftover."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "final").symlink_to("disk")
    lake, shop = make_lake(tmp_path, PRICES)
    require_done(lake.run(spark))
    before = standing(lake, "shop.prices")
    shop.change("UPDATE prices SET cents = 999 WHERE sku = 'a1'")
    assert lake.run(spark, day=SECOND, environment=failing("before-publish")).exit_code == 3
    assert standing(lake, "shop.prices") == before
    seen = []

    with meddling(
        [Hold(tmp_path, "before-publish", "shop.prices")], lambda: seen.append(standing(lake, "shop.prices"))
    ) as environment:
        rerun = lake.run(spark, day=SECOND, environment=environment)

    assert seen == [before]
    require_done(rerun)
    require_equal(lake, shop, "shop.prices")


def test_a_published_folder_that_is_gone_is_noticed(spark: SparkSession, tmp_path: Path) -> None:
    """The link alone is no table: the load date that was done is not skipped, and a reload brings the rows back."""
    lake, shop = make_lake(tmp_path, PRICES)
    require_done(lake.run(spark))
    shutil.rmtree((tmp_path / "final/shop/prices").resolve())

    (stopped,) = lake.run(spark).tables

    assert "It was dropped" in refusal(stopped)
    assert "--reload shop.prices" in refusal(stopped)
    require_done(lake.run(spark, reload=["shop.prices"]))
    require_equal(lake, shop, "shop.prices")
    assert statuses(lake.run(spark)) == {"shop.prices": SKIPPED}


def test_a_vanished_column_is_refused_without_a_metadata_cache(spark: SparkSession, tmp_path: Path) -> None:
    """The published files know their columns, too: without a word of consent they are not replaced by fewer."""
    lake, shop = make_lake(tmp_path, PRICES)
    require_done(lake.run(spark))
    before = standing(lake, "shop.prices")
    shop.change("ALTER TABLE prices DROP COLUMN cents")
    shutil.rmtree(tmp_path / "metadata")

    (refused,) = lake.run(spark, day=SECOND).tables

    assert "no longer has the columns cents" in refusal(refused)
    assert "allow_missing_columns" in refusal(refused)
    assert standing(lake, "shop.prices") == before
    lake.document["metadata"]["schema_policy"] = {"allow_missing_columns": True}
    lake.save()
    require_done(lake.run(spark, day=SECOND))


def test_a_commit_that_comes_late_is_refused_before_its_files_go(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run ends without an answer to its commit and gives its lease back; the commit reaches the catalog when the next run
    has removed what it names."""
    lake, shop = make_lake(tmp_path, STOCK)
    lake.document["runtime"]["engine"] = "arrow"
    lake.save()
    require_done(lake.run(spark))
    shop.change("UPDATE stock SET quantity = 7")
    late: list[tuple[Any, ...]] = []

    def send(*commit: Any) -> None:
        late.append(commit)
        raise ConnectionResetError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(SqlCatalog, "commit_table", send)
        assert lake.run(spark, day=SECOND).exit_code == 3
    (_, table, *changes) = late[-1]
    refused = []

    def arrive() -> None:
        with pytest.raises(CommitFailedException) as refusal:
            lake.catalog.commit_table(table, *changes)
        refused.append(refusal.value)

    with meddling([Hold(tmp_path, "after-branch", "shop.stock")], arrive) as environment:
        require_done(lake.run(spark, day=SECOND, environment=environment))

    assert len(refused) == 1
    require_equal(lake, shop, "shop.stock")


# ---------------------------------------------------------------- what raw and refs keep


@dataclass
class ReadAgain:
    """An order book whose second batch landed, lost its staging, met a run that had finished it, and was read again."""

    lake: Lake
    shop: Shop
    batch: str
    refs: Mapping[str, int]
    met: TableResult
    raw_before: list[Row]
    raw_met: list[Row]


@pytest.fixture(scope="module")
def read_again(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> ReadAgain:
    lake, shop = make_lake(tmp_path_factory.mktemp("again"), ORDERS)
    require_done(lake.run(spark))
    table = lake.table("shop.orders")
    snapshot = table.metadata.current_snapshot_id
    assert snapshot is not None
    with table.manage_snapshots() as snapshots:
        snapshots.create_tag(snapshot, "ingest_before_audit").create_branch(snapshot, "ingest_before_year_end")
    shop.change(
        "UPDATE orders SET amount = 777, updated_at = '2026-06-02 08:00:00' WHERE id IN (3, 4)",
        "INSERT INTO orders VALUES (30, 'newest', 2, '2026-06-02 09:00:00')",
    )
    assert lake.run(spark, day=SECOND, environment=failing("before-publish")).exit_code == 3
    batch = open_batches(lake)["shop.orders"]
    raw_before = raw_rows(lake, batch)
    shutil.rmtree(lake.root / "staging")
    shop.change(
        "UPDATE orders SET amount = 778 WHERE id = 3",
        "DELETE FROM orders WHERE id = 4",
        "INSERT INTO orders VALUES (31, 'late', 3, '2026-06-02 08:59:00')",
    )
    marker = lake.root / f"raw/shop/orders/load_date={SECOND}/batch={batch}/_PUBLISHED"
    marker.write_text("{}")  # as another run would, had it finished the batch meanwhile
    (met,) = lake.run(spark, day=SECOND).tables
    raw_met = raw_rows(lake, batch)
    marker.unlink()
    require_done(lake.run(spark, day=SECOND))
    refs = {"ingest_before_audit": snapshot, "ingest_before_year_end": snapshot}
    return ReadAgain(lake, shop, batch, refs, met, raw_before, raw_met)


def test_raw_holds_the_rows_that_were_published(read_again: ReadAgain) -> None:
    """What had landed before the crash made room for what was read after it: a rebuild from raw gets the same table."""
    assert read_again.lake.receipt("shop.orders")["batch_id"] == read_again.batch
    raw = {row["id"]: row for row in raw_rows(read_again.lake, read_again.batch)}
    published = {row["id"]: row for row in read_again.lake.rows("shop.orders")}
    source = {row["id"]: row for row in read_again.shop.due("shop.orders")}

    assert raw.keys() >= {3, 30, 31}
    assert 4 not in raw
    assert raw == {key: published[key] for key in raw} == {key: source[key] for key in raw}


def test_a_batch_that_another_run_published_is_not_replaced_in_raw(read_again: ReadAgain) -> None:
    """The run that comes late ends as one that may be repeated, and raw is what the other run published."""
    failure = read_again.met.failure
    assert failure is not None
    assert failure.exit_code == 3
    assert "was published by another run" in failure.message
    assert {row["amount"] for row in read_again.raw_before if row["id"] in (3, 4)} == {777}
    assert read_again.raw_met == read_again.raw_before


def test_refs_of_other_people_survive_recovery(read_again: ReadAgain) -> None:
    """A tag and a branch whose names begin as ours do: only the branches of attempts are cleared away."""
    refs = read_again.lake.table("shop.orders").refs()

    assert {name: refs[name].snapshot_id for name in read_again.refs} == read_again.refs
    assert set(refs) - read_again.refs.keys() == {"main", "ingest_last"}


def test_a_state_from_a_backup_does_not_abandon_published_batches(spark: SparkSession, tmp_path: Path) -> None:
    """It has a batch as open that was published since, and others after it: all stay published in raw, no row is lost."""
    names = ("shop.orders", "shop.prices")
    lake, shop = make_lake(tmp_path, ORDERS, PRICES)
    require_done(lake.run(spark))
    shop.change("UPDATE orders SET amount = 2, updated_at = '2026-06-02 08:00:00' WHERE id = 2")
    assert lake.run(spark, day=SECOND, environment=failing("before-publish")).exit_code == 3
    opened = open_batches(lake)
    (tmp_path / "backup").mkdir()
    for path in tmp_path.glob("state.db*"):
        shutil.copy(path, tmp_path / "backup")
    shop.change("UPDATE orders SET amount = 3, updated_at = '2026-06-03 08:00:00' WHERE id = 3")
    for day in (SECOND, THIRD, FOURTH):
        require_done(lake.run(spark, day=day))
    # The order book's next batch names the open one as its predecessor; the price list is two batches further.
    assert lake.receipt("shop.orders")["previous"] == opened["shop.orders"]
    receipts = {name: published_receipt(lake, name) for name in names}
    published = raw_batches(lake, "_PUBLISHED")
    assert set(opened.values()) < published

    for path in tmp_path.glob("state.db*"):
        path.unlink()
    for path in (tmp_path / "backup").iterdir():
        shutil.copy(path, tmp_path)
    shop.change(
        "UPDATE orders SET amount = 4, updated_at = '2026-06-04 08:00:00' WHERE id = 4",
        "UPDATE prices SET cents = 4 WHERE sku = 'a4'",
    )
    require_done(lake.run(spark, day=FIFTH))

    assert raw_batches(lake, "_ABANDONED") == set()
    assert raw_batches(lake, "_PUBLISHED") == published | {published_receipt(lake, name)["batch_id"] for name in names}
    for name in names:
        assert published_receipt(lake, name)["previous"] == receipts[name]["batch_id"]
    require_equal(lake, shop, *names)
    assert not open_batches(lake)


def test_a_publish_that_nobody_recorded_is_marked_in_raw(spark: SparkSession, tmp_path: Path) -> None:
    """The run died right after it and the state is lost as well: the receipt is enough to know, and nothing is read."""
    names = ("shop.orders", "shop.prices")
    lake, _ = make_lake(tmp_path, ORDERS, PRICES)
    assert lake.run(spark, environment=failing("after-publish")).exit_code == 3
    receipts = {name: published_receipt(lake, name) for name in names}
    assert raw_batches(lake, "_PUBLISHED") == set()
    for path in tmp_path.glob("state.db*"):
        path.unlink()

    rerun = lake.run(spark)

    require_done(rerun)
    assert [table.rows_read for table in rerun.tables] == [0, 0]
    for name, receipt in receipts.items():
        assert published_receipt(lake, name) == receipt
        folder = tmp_path / "raw" / name.replace(".", "/") / f"load_date={FIRST}" / f"batch={receipt['batch_id']}"
        mark = json.loads((folder / "_PUBLISHED").read_text())
        assert (mark["batch_id"], mark["sequence"], mark["previous"]) == (receipt["batch_id"], receipt["sequence"], None)


def test_raw_alone_completes_a_day_after_a_crash(spark: SparkSession, tmp_path: Path) -> None:
    """Nothing is finalized: the batch that landed before the crash is the day's only one, and the third run skips."""
    lake, _ = make_lake(tmp_path, PRICES)
    lake.document["runtime"]["finalize_full_refresh"] = False
    lake.save()

    runs = [lake.run(spark, environment=failing("after-raw")), lake.run(spark), lake.run(spark)]

    assert [run.exit_code for run in runs] == [3, 0, 0]
    assert [run.tables[0].status for run in runs] == [FAILED, DONE, SKIPPED]
    assert len(raw_batches(lake, "_PUBLISHED")) == len(raw_batches(lake, "_MANIFEST.json")) == 1
    assert raw_batches(lake, "_ABANDONED") == set()


def test_a_refused_batch_in_raw_does_not_count_as_done(spark: SparkSession, tmp_path: Path) -> None:
    """It landed, and the audit refused it: where raw alone is asked for, that load date is still to be done."""
    lake, shop = make_lake(tmp_path, PLAIN_STOCK)
    shop.change(
        "ALTER TABLE stock RENAME TO articles",
        "CREATE VIEW stock AS SELECT * FROM articles UNION ALL SELECT * FROM articles WHERE sku = 'a1'",
    )
    (refused,) = lake.run(spark).tables
    assert "1 rows repeat a primary key" in refusal(refused)
    abandoned = raw_batches(lake, "_ABANDONED")
    assert len(abandoned) == 1
    shop.change("DROP VIEW stock", "CREATE VIEW stock AS SELECT * FROM articles")
    lake.document["runtime"]["finalize_full_refresh"] = False
    lake.save()

    assert statuses(lake.run(spark)) == {"shop.stock": DONE}

    (done,) = raw_batches(lake, "_PUBLISHED")
    assert done not in abandoned
    (folder,) = (tmp_path / "raw/shop/stock").glob(f"load_date=*/batch={done}")
    found = ds.dataset(folder, format="parquet").to_table(columns=["sku", "quantity"]).to_pylist()
    assert sorted(found, key=lambda row: str(row["sku"])) == shop.rows("shop.stock")
    assert statuses(lake.run(spark)) == {"shop.stock": SKIPPED}


# ---------------------------------------------------------------- a batch that changed nothing


def test_a_batch_without_news_hides_neither_a_foreign_commit_nor_its_quarantine(spark: SparkSession, tmp_path: Path) -> None:
    """Someone writes to one table while its batch is found to change nothing: the next run notices, as ever.

    Of the other table a row without a key was all the news there was: it lies beside raw, and is reported.
    """
    holes = {**ORDERS, "table": "holes", "null_keys": "quarantine"}
    lake, shop = make_lake(tmp_path, ORDERS, holes)
    shop.change(
        "INSERT INTO orders VALUES (21, 'tie', 1, '2026-06-01 10:00:19')",
        "CREATE TABLE holes (id INTEGER, note TEXT, amount INTEGER, updated_at TIMESTAMP)",
        "INSERT INTO holes VALUES (1, 'kept', 1, '2026-06-01 10:00:19')",
    )
    require_done(lake.run(spark))
    shop.change(
        "DELETE FROM orders WHERE id = 21",  # the ties at the watermark are read once more: no row differs
        "INSERT INTO holes VALUES (NULL, 'no key', 7, '2026-06-01 10:00:19')",
    )
    rows = lake.table("shop.orders").scan().to_arrow()

    with meddling(
        [Hold(tmp_path, "after-branch", "shop.orders")], lambda: lake.table("shop.orders").append(rows.slice(0, 1))
    ) as environment:
        without_news = lake.run(spark, day=SECOND, environment=environment)

    assert statuses(without_news) == {"shop.orders": UNCHANGED, "shop.holes": UNCHANGED}
    noticed = {table.table: table for table in lake.run(spark, day=SECOND).tables}
    assert "someone else wrote to it" in refusal(noticed["shop.orders"])
    assert "--reload shop.orders" in refusal(noticed["shop.orders"])

    aside = next(table for table in without_news.tables if table.table == "shop.holes")
    assert (aside.rows_read, aside.rows_written, aside.quarantined) == (2, 0, 1)
    (told,) = events_named(lake, "rows_quarantined", without_news.run_id)
    assert told["rows"] == 1
    folder = Path(told["location"])
    assert folder.parent == tmp_path / f"raw/shop/holes/_quarantine/load_date={SECOND}"
    assert [row["note"] for row in ds.dataset(folder, format="parquet").to_table().to_pylist()] == ["no key"]
    assert published_rows(lake, "shop.holes") == [row for row in shop.rows("shop.holes") if row["id"] is not None]


# ---------------------------------------------------------------- whose table, and whose failure


def test_a_misdirected_copy_that_crashed_does_not_fence_the_owner_out(spark: SparkSession, tmp_path: Path) -> None:
    """Another job with a state of its own finds a lease that its dead run left: the tables are not its to guard."""
    names = ("shop.orders", "shop.prices")
    lake, shop = make_lake(tmp_path, ORDERS, PRICES)
    require_done(lake.run(spark))
    (tmp_path / "copy").mkdir()
    copy = Lake(tmp_path / "copy", lake.document["connections"]["source"], lake.document["tables"])
    copy.document["runtime"] |= {
        "job_name": "copy",
        "final_root": lake.document["runtime"]["final_root"],
        "intermediate": lake.document["runtime"]["intermediate"],
    }
    copy.save()
    assert copy.run(spark).exit_code == 1
    with closing(sqlite3.connect(copy.root / "state.db")) as state:
        # As a run leaves them that was killed: its process is not there, or is another one by now.
        state.execute("UPDATE ingestion_leases SET released = 0, started = 1.0, token = token + 5")
        state.commit()
    before = fences(lake)

    crashed = copy.run(spark, day=SECOND)

    for table in crashed.tables:
        assert "is published by the configuration 'test'" in refusal(table)
    assert query_state(copy, "SELECT count(*) FROM ingestion_leases WHERE token > 5") == [(len(names),)]
    assert fences(lake) == before
    shop.change("UPDATE orders SET amount = 2, updated_at = '2026-06-02 08:00:00' WHERE id = 2")
    require_done(lake.run(spark, day=SECOND))
    require_equal(lake, shop, *names)


def test_a_damaged_source_fails_only_its_own_tables(spark: SparkSession, tmp_path: Path) -> None:
    """A database file that was cut off: final for the tables of that connection, and no matter to the others."""
    lake, shop = make_lake(tmp_path, PRICES)
    broken = tmp_path / "broken.db"
    shutil.copy(shop.path, broken)
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size // 2)
    lake.document["connections"]["broken"] = {"dialect": "sqlite", "database": str(broken)}
    ledger = {"schema": "shop", "mode": "full", "sink": "parquet", "connection": "broken"}
    lake.document["tables"] = [
        {**ledger, "table": "stock"},
        {**PRICES, "connection": "source"},
        {**ledger, "table": "ledger"},
    ]
    lake.save()

    run = lake.run(spark)

    assert run.exit_code == 1
    assert statuses(run) == {"shop.stock": FAILED, "shop.prices": DONE, "shop.ledger": FAILED}
    for table in run.tables[::2]:
        assert table.failure is not None
        assert (table.failure.type, table.failure.exit_code) == ("TerminalError", 1)
        assert str(broken) in table.failure.message
    require_equal(lake, shop, "shop.prices")


def test_clean_up_never_changes_how_a_run_ended(spark: SparkSession, tmp_path: Path) -> None:
    """Neither staged slices that say nothing readable, nor an open batch that cannot be read: the result is told.

    The unreadable slices are left to people, and keep nobody from removing the expired one beside them.
    """
    lake, shop = make_lake(tmp_path, PRICES, PLAIN_STOCK)
    assert lake.run(spark, environment=failing("before-publish@shop.prices")).exit_code == 3
    (described,) = (tmp_path / "staging/shop/prices/inc=-/slices").glob("*/_RANGE.json")
    slices = described.parent.parent
    old = {"expired": described.read_bytes().replace(open_batches(lake)["shop.prices"].encode(), b"another")}
    for name, content in {**old, "cut": b'{"batch_id": ', "empty": b"", "binary": b"\xff\xfe\x00"}.items():
        (slices / name).mkdir()
        (slices / name / "_RANGE.json").write_bytes(content)
        os.utime(slices / name / "_RANGE.json", (0, 0))

    require_done(lake.run(spark))

    assert {path.name for path in slices.iterdir()} == {"cut", "empty", "binary"}
    assert lake.run(spark, day=SECOND, environment=failing("before-publish@shop.prices")).exit_code == 3
    with closing(sqlite3.connect(tmp_path / "state.db")) as state:
        state.execute("UPDATE ingestion_batches SET document = '{' WHERE outcome = 'open'")
        state.commit()
    shop.change("UPDATE stock SET quantity = 7")

    document = result_document(lake.run(spark, day=THIRD))

    assert document["exit_code"] == 1
    assert {table["table"]: table["status"] for table in document["tables"]} == {
        "shop.prices": "failed",
        "shop.stock": "done",
    }
    require_equal(lake, shop, "shop.stock")


def test_a_jvm_that_dies_in_the_middle_ends_its_tables_and_not_the_program(spark: SparkSession, tmp_path: Path) -> None:
    """Exit 3 and a result for every table; nothing of the batch that Spark was to merge shows, and one rerun
    completes it. What is staged and becomes the whole table needs no JVM any more."""
    names = ("shop.orders", "shop.stock")
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    lake.document["runtime"]["engine"] = "spark"
    lake.save()
    require_done(lake.run(spark, day=FIRST))
    shop.change("UPDATE orders SET amount = 5, updated_at = '2026-06-05 10:00:00' WHERE id = 1", "DELETE FROM stock")
    before = standing(lake, "shop.orders")
    holds = [Hold(tmp_path, "after-stage", name) for name in names]
    with Process(lake.command("--load-date", str(SECOND), "--output", "json"), holds) as process:
        process.wait_until_held()
        children = psutil.Process(process.pid).children(recursive=True)
        (java,) = [child for child in children if child.name() == "java"]
        java.kill()
        for hold in holds:
            hold.let_go()
        ended = process.end()

    assert ended.code == 3, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout
    assert ended.document["exit_code"] == 3
    failures = {table["table"]: table["failure"] for table in ended.document["tables"]}
    assert failures["shop.stock"] is None
    assert failures["shop.orders"]["exit_code"] == 3
    assert standing(lake, "shop.orders") == before
    batches = open_batches(lake)
    assert batches.keys() == {"shop.orders"}
    require_done(lake.run(spark, day=SECOND))
    require_equal(lake, shop, *names)
    assert lake.receipt("shop.orders")["batch_id"] == batches["shop.orders"]


# ---------------------------------------------------------------- what is looked at


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]


def refusal(result: TableResult) -> str:
    """The message of a table that ended with exit code 1."""
    assert result.status is FAILED
    assert result.failure is not None
    assert result.failure.exit_code == 1
    return result.failure.message


def statuses(result: RunResult) -> dict[str, TableStatus]:
    return {table.table: table.status for table in result.tables}


def raw_batches(lake: Lake, file: str) -> set[str]:
    """The ids of the raw batches that hold a certain file."""
    return {path.parent.name.removeprefix("batch=") for path in (lake.root / "raw").glob(f"*/*/load_date=*/batch=*/{file}")}


def raw_rows(lake: Lake, batch: str) -> list[Row]:
    """The data columns of a raw batch, in the order of their keys."""
    (folder,) = (lake.root / "raw").glob(f"*/*/load_date=*/batch={batch}")
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path, partitioning=None).to_pylist()]
    data = [{name: value for name, value in row.items() if not name.startswith("_ingest_")} for row in rows]
    return sorted(data, key=lambda row: int(row["id"]))


def fences(lake: Lake) -> list[str]:
    """Where the fences of an Iceberg and of a Parquet table stand, and that nothing was committed."""
    table = lake.table("shop.orders")
    return [table.properties["ingest.fence"], table.metadata_location, (lake.root / "final/shop/.prices/_FENCE").read_text()]
