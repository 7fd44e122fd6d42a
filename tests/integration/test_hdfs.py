"""Raw, staging and warehouse on a real HDFS: the rows of a local run, an outage, a kill between stage and publish."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.spark_comparing import SparkIcebergRows
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.comparison import Basis, ComparedColumn
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.findings import ProofStatus, TableProof
from ingestion_runtime.provenance.verifying import Wishes, verify
from tests.faults.gaps import Hold, meddling
from tests.faults.shop import ORDERS, STOCK, make_lake
from tests.hdfs_lake import make_hdfs
from tests.lake import Lake
from tests.provenance import classify
from tests.servers.hdfs import HdfsServer
from tests.targets import HdfsPlace
from tests.values.hashing import row_hash

CHANGES = (
    "UPDATE orders SET amount = -1, updated_at = '2026-06-02 08:00:00' WHERE id IN (3, 7)",
    "INSERT INTO orders VALUES (30, 'neu ü🚲', NULL, '2026-06-02 09:00:00')",
)


def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row.get("id", row.get("sku"))))


def prove(lake: Lake, spark: SparkSession) -> tuple[TableProof, ...]:
    configuration = open_configuration(lake.path)
    return verify(configuration, configuration.tables, Wishes(), classify, spark)


@pytest.mark.parametrize("kind", ["sql", "hadoop"])
def test_hdfs_gives_the_rows_of_the_source_and_of_a_local_disk(
    spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path, kind: str
) -> None:
    """Full and incremental, a second run with changes and a third without; raw and warehouse lie on HDFS alone."""
    there, shop = make_hdfs(tmp_path / "there", hdfs_server, spark, kind, ORDERS, STOCK)
    here, _ = make_lake(tmp_path, ORDERS, STOCK)
    here.document["connections"] = there.lake.document["connections"]
    here.save()

    for lake in (there.lake, here):
        assert lake.run(spark).exit_code == 0
    shop.change(*CHANGES)
    for lake in (there.lake, here):
        assert lake.run(spark).exit_code == 0
    idle = there.lake.run(spark)

    for name in ("shop.orders", "shop.stock"):
        assert by_id(there.rows(name)) == by_id(here.rows(name)) == by_id(shop.due(name))
    assert [table.status for table in idle.tables] == [TableStatus.UNCHANGED, TableStatus.SKIPPED]
    assert not any((there.lake.root / place).exists() for place in ("raw", "staging", "warehouse"))
    files = hdfs_server.files(there.root)
    published = [name for name in files if name.startswith(f"{there.root}/raw/") and name.endswith("/_PUBLISHED")]
    assert len(published) == 3
    assert not any("/staging/" in name for name in files)
    proofs = prove(there.lake, spark)
    assert [(proof.status, proof.findings, proof.rows, proof.unseen) for proof in proofs] == [
        (ProofStatus.PROVEN, (), len(there.rows(name)), ()) for name in ("shop.orders", "shop.stock")
    ]
    # What was copied to this machine for it is gone, whatever it was.
    assert not list(there.lake.root.rglob("_near-*")) + list(there.lake.root.rglob("_sql-*"))


def test_rows_on_hdfs_are_compared_by_spark(spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path) -> None:
    """At the snapshot that was looked at, whatever is written meanwhile."""
    place, table = HdfsPlace(tmp_path, spark, hdfs_server.new_root(), None), TableSpec("shop", "compared", "full", "s")
    place.make_foreign(table, pa.table({"id": [1, 2], "v": ["one", "zwei"]}))
    catalog = IcebergCatalog(place.spec, place.tool.session)
    rows = SparkIcebergRows(catalog, table, place.session)
    stand = rows.stand()
    assert stand is not None
    key, value = (ComparedColumn(field.name, field.name, field.type) for field in stand.columns)

    with rows.view(stand, Basis((key,), (key, value))) as view:
        place.rewrite(table, pa.table({"id": [3], "v": ["drei"]}))
        found = sorted((row.key, row.row_hash) for row in view.hashes([f"{digit:x}" for digit in range(16)]))

    kinds = [pa.int64(), pa.string()]
    assert found == [(("1",), row_hash([1, "one"], kinds)), (("2",), row_hash([2, "zwei"], kinds))]
    catalog.close()
    place.close()


def test_rows_with_a_null_key_are_set_aside_on_hdfs(spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path) -> None:
    """They lie beside raw, whole; the table, here on a local disk, holds the others, and nothing is lost between the two."""
    loose = {"schema": "shop", "table": "loose", "mode": "full", "primary_keys": ["id"], "null_keys": "quarantine"}
    there, shop = make_hdfs(tmp_path / "there", hdfs_server, spark, "local", loose)
    shop.change(
        "CREATE TABLE loose (id INTEGER, note TEXT)",
        "INSERT INTO loose VALUES (1, 'one'), (NULL, 'nobody'), (2, 'two'), (NULL, NULL)",
    )

    result = there.lake.run(spark)

    assert (result.exit_code, result.tables[0].quarantined) == (0, 2)
    assert by_id(there.rows("shop.loose")) == [{"id": 1, "note": "one"}, {"id": 2, "note": "two"}]
    aside = [
        name for name in hdfs_server.files(f"{there.root}/raw") if "/_quarantine/" in name and name.endswith(".parquet")
    ]
    local = tmp_path / "aside.parquet"
    found = []
    for name in aside:
        local.write_bytes(hdfs_server.read(name))
        found += pq.read_table(local, columns=["id", "note"]).to_pylist()
    assert sorted(found, key=str) == [{"id": None, "note": "nobody"}, {"id": None, "note": None}]


def test_a_datanode_that_stops_in_the_middle_of_a_run_costs_a_rerun_and_nothing_else(
    spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path
) -> None:
    """Exit code 3 with what to do; readers keep what they had; once the node is back the same command succeeds."""
    there, shop = make_hdfs(tmp_path / "there", hdfs_server, spark, "hadoop", ORDERS)
    assert there.lake.run(spark).exit_code == 0
    before = by_id(there.rows("shop.orders"))
    shop.change(*CHANGES)
    try:
        with meddling([Hold(tmp_path, "after-stage", "shop.orders")], hdfs_server.stop_datanode) as environment:
            result = there.lake.run(spark, environment=environment)
    finally:
        hdfs_server.start_datanode()

    failure = result.tables[0].failure
    assert failure is not None
    assert (result.exit_code, failure.exit_code) == (3, 3)
    assert failure.message.startswith("HDFS could not serve the run: ")
    assert "Check that NameNode and DataNodes are up" in failure.message
    assert by_id(there.rows("shop.orders")) == before
    assert there.lake.run(spark).exit_code == 0
    assert by_id(there.rows("shop.orders")) == by_id(shop.due("shop.orders"))


@pytest.mark.timeout(240)
def test_a_kill_between_stage_and_publish_on_hdfs_is_made_good_by_the_next_run(
    spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path
) -> None:
    """Whatever the killed process left on HDFS, the rerun goes on with its batch and the rows are those of the source."""
    there, shop = make_hdfs(tmp_path / "there", hdfs_server, spark, "hadoop", ORDERS)
    assert there.lake.run(spark).exit_code == 0
    shop.change(*CHANGES)
    before = by_id(there.rows("shop.orders"))

    killed = there.lake.call(failpoints="before-publish=kill")

    assert killed.code == -9
    assert by_id(there.rows("shop.orders")) == before
    result = there.lake.run(spark)
    assert result.exit_code == 0
    assert by_id(there.rows("shop.orders")) == by_id(shop.due("shop.orders"))
    assert "batch_recovered" in {event["event"] for event in there.lake.events()}
