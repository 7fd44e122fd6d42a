"""Upkeep of tables that Spark has written, and what Spark reads afterwards; and tables on HDFS, which Spark looks after."""

import time
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.commits import read_head
from ingestion_runtime.model.result import TableStatus
from tests.faults.shop import ORDERS, Shop, differences, lake_session, make_lake
from tests.integration.test_hdfs import by_id, make_hdfs
from tests.lake import Lake
from tests.servers.hdfs import HdfsServer
from tests.upkeep import keeping, lost, needed, on_disk

NAME = "shop.orders"
EAGER: dict[str, Any] = {"min_small_files": 2, "expire_days": 0, "keep_snapshots": 1, "orphan_hours": 1}
NOTES = ('/it\'s "here"', "ü/🚲 %41", "[red] a,b", "", "a=b", "x" * 300, "*?[")


def ingest(lake: Lake, spark: SparkSession, day: int) -> None:
    (result,) = lake.run(spark, day=date(2026, 7, day)).tables
    assert result.status is TableStatus.DONE, result.failure


def seen_by_spark(spark: SparkSession, lake: Lake) -> list[Any]:
    rows = lake_session(spark, lake).sql("SELECT id, note, amount, updated_at FROM lake.shop.orders").collect()
    return sorted(tuple(row) for row in rows)


def test_what_spark_deleted_by_position_is_left_behind_and_spark_reads_and_writes_what_came_of_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Whatever the folders of partitions are called: no delete file stays, no row that it hid comes back, nothing that is
    needed goes; and after each other partition names and ids of partition fields stand for one thing each."""
    lake, shop = merge_by_spark(spark, tmp_path)
    rows = seen_by_spark(spark, lake)
    with keeping(lake, NAME) as upkeep:
        survey = upkeep.survey()
        assert survey is not None
        assert (survey.orphans, survey.unclear, survey.unfit, survey.damage) == ((), None, None, None)
        assert survey.dead_rows == query(spark, lake, "SELECT count(*) FROM {}.position_deletes")[0][0] > 0
        done = upkeep.rewrite()
        assert done is not None
        assert done.dead_rows == survey.dead_rows
        after = upkeep.survey()
    assert after is not None
    assert (after.deletes.files, after.dead_rows, after.wants_rewrite) == (0, 0, False)
    assert seen_by_spark(spark, lake) == rows
    summary = query(spark, lake, "SELECT summary FROM {}.snapshots ORDER BY committed_at DESC LIMIT 1")[0][0]
    assert (summary["total-position-deletes"], summary["total-delete-files"]) == ("0", "0")

    for transform, column in (("bucket:4", "id"), ("bucket:8", "id"), ("day", "updated_at")):
        lake.document["tables"][0]["intermediate"] = {"partition": [{"column": column, "transform": transform}]}
        lake.save()
        with keeping(lake, NAME, clock=lambda: 4_000_000_000.0) as upkeep:
            done = upkeep.rewrite()
            assert done is not None
            assert done.repartitioned
            fence = read_head(lake.table(NAME)).fence
            assert upkeep.expire(fence).kept is None
            assert upkeep.remove_orphans(fence).kept is None
        assert seen_by_spark(spark, lake) == rows
        assert lost(lake.table(NAME)) == set()
        assert on_disk(lake.table(NAME)) == needed(lake.table(NAME))
    for shown in ("files", "all_files", "partitions"):
        assert query(spark, lake, f"SELECT partition FROM {{}}.{shown}")
    shop.change("UPDATE orders SET amount = -1, updated_at = '2026-06-09 08:00:00' WHERE id % 2 = 0")
    shop.change("DELETE FROM orders WHERE id = 5")
    ingest(lake, spark, 9)
    assert differences(NAME, shop.due(NAME), lake.rows(NAME)) == []


def merge_by_spark(spark: SparkSession, root: Path) -> tuple[Lake, Shop]:
    """Return a table into which Spark has merged, row by row."""
    lake, shop = make_lake(root, {**ORDERS, "deletes": "hard", "maintenance": EAGER})
    lake.document["tables"][0]["intermediate"] = {"partition": [{"column": "note", "transform": "truncate:4"}]}
    lake.document["runtime"]["engine"] = "spark"
    lake.save()
    for number, note in enumerate(NOTES):
        text = note.replace("'", "''")
        shop.change(f"UPDATE orders SET note = '{text}' WHERE id % {len(NOTES)} = {number}")
    ingest(lake, spark, 1)
    shop.change(
        "UPDATE orders SET amount = amount + 1, updated_at = '2026-06-02 08:00:00' WHERE id % 3 = 1",
        "DELETE FROM orders WHERE id = 2",
        "INSERT INTO orders VALUES (42, 'new', 1, '2026-06-02 09:00:00')",
    )
    ingest(lake, spark, 2)
    return lake, shop


def query(spark: SparkSession, lake: Lake, statement: str) -> list[Any]:
    return lake_session(spark, lake).sql(statement.format("lake.shop.orders")).collect()


def test_a_table_on_hdfs_is_looked_after_by_spark(spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path) -> None:
    """Small files and deletes, another partition, snapshots and what nothing names; every row stays, and runs go on."""
    there, shop = make_hdfs(tmp_path, hdfs_server, spark, "hadoop", {**ORDERS, "maintenance": EAGER})
    lake = there.lake
    for day in (1, 2):
        shop.change(f"UPDATE orders SET amount = {day}, updated_at = '2026-06-0{day + 1} 08:00:00' WHERE id = {day}")
        ingest(lake, spark, day)
    rows = by_id(there.rows(NAME))
    with keeping(lake, NAME, spark=spark) as upkeep:
        survey = upkeep.survey()
        assert survey is not None
        assert (survey.damage, survey.unclear) == (None, None)
        assert survey.wants_rewrite
        done = upkeep.rewrite()
        assert done is not None
        assert by_id(there.rows(NAME)) == rows
        assert upkeep.rewrite() is None
        assert upkeep.expire(1000).snapshots > 0
        stray = leave_old(spark, f"{there.root}/warehouse/shop/orders")
        survey = upkeep.survey()
        assert survey is not None
        assert [(orphan.path, orphan.size) for orphan in survey.orphans] == [(stray, 4)]
        assert survey.removable.files == 1
        assert (removed := upkeep.remove_orphans(1000)).kept is None
        assert (removed.removed.files, removed.removed.size) == (1, 4)
        assert (found := upkeep.survey()) is not None
        assert (found.orphans, by_id(there.rows(NAME))) == ((), rows)
    lake.document["tables"][0]["intermediate"] = {"partition": [{"column": "updated_at", "transform": "day"}]}
    lake.save()
    with keeping(lake, NAME, spark=spark) as upkeep:
        done = upkeep.rewrite()
        assert done is not None
        assert done.repartitioned
        survey = upkeep.survey()
        assert survey is not None
        assert (survey.damage, survey.partition, survey.former.files) == (None, None, 0)
    assert by_id(there.rows(NAME)) == rows
    shop.change("UPDATE orders SET amount = -1, updated_at = '2026-06-09 08:00:00' WHERE id = 5")
    ingest(lake, spark, 9)
    assert differences(NAME, shop.due(NAME), there.rows(NAME)) == []


def leave_old(spark: SparkSession, table: str) -> str:
    """Leave what a dead attempt leaves, and let all files of the table be three days old; return the one that is left."""
    jvm: Any = spark._jvm
    hadoop = jvm.org.apache.hadoop.fs
    stray = f"{table}/data/left.parquet"
    system = hadoop.Path(table).getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # type: ignore[union-attr]
    with_text = system.create(hadoop.Path(stray))
    with_text.writeBytes("left")
    with_text.close()
    files = system.listFiles(hadoop.Path(table), True)
    while files.hasNext():
        system.setTimes(files.next().getPath(), int((time.time() - 3 * 86_400) * 1000), -1)
    return stray
