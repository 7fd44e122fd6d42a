"""The same configuration on a standalone cluster: paths on HDFS, executors in other processes and in another time zone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.faults.shop import ORDERS, STOCK
from tests.integration.test_hdfs import CHANGES, by_id, make_hdfs
from tests.lake import JVM
from tests.servers.hdfs import HdfsServer
from tests.servers.spark_cluster import SparkCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    """A master with two workers."""
    with SparkCluster() as running:
        yield running


@pytest.mark.timeout(600)
def test_a_cluster_gives_the_rows_of_the_source(
    spark: SparkSession, hdfs_server: HdfsServer, cluster: SparkCluster, tmp_path: Path
) -> None:
    """Full and incremental, and a second run with changes: nothing but spark.master differs from a local run."""
    there, shop = make_hdfs(tmp_path / "there", hdfs_server, spark, "hadoop", ORDERS, STOCK)
    settings = there.lake.document["runtime"]["spark"]
    settings["master"] = cluster.master
    settings["conf"].update({"spark.executor.memory": "512m", "spark.executor.defaultJavaOptions": JVM})
    there.lake.save()

    first = there.lake.call("--output", "json")
    assert first.code == 0, first.stdout + first.stderr
    shop.change(*CHANGES)
    second = there.lake.call("--output", "json")
    assert second.code == 0, second.stdout + second.stderr

    for name in ("shop.orders", "shop.stock"):
        assert by_id(there.rows(name)) == by_id(shop.due(name))
    commands = [line for line in cluster.executor_output().splitlines() if "CoarseGrainedExecutorBackend" in line]
    assert commands
    # The workers stand in another zone; what the configuration asks of executors reaches them.
    assert all('"-Duser.timezone=UTC"' in line and '"-Xmx512M"' in line for line in commands if "-cp" in line)
