"""Proof and rebuild of tables whose raw, staging and warehouse lie on HDFS: nothing of them is on this machine."""

from datetime import date, timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import Mode, TableReport
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.maintenance.running import run as maintain
from ingestion_runtime.provenance.findings import Kind, ProofStatus, TableProof
from ingestion_runtime.provenance.verifying import Wishes, verify
from ingestion_runtime.tools.nearby import NearFiles
from tests.faults.shop import ORDERS
from tests.hdfs_lake import make_hdfs
from tests.provenance import classify
from tests.servers.hdfs import HdfsServer

NAME = "shop.orders"
TABLE = {
    **ORDERS,
    "deletes": "soft",
    "max_delete_fraction": 1,
    "intermediate": {"partition": [{"column": "id", "transform": "bucket:2"}]},
}
CHANGES = (
    "UPDATE orders SET amount = -1, updated_at = '2026-06-02 08:00:00' WHERE id IN (3, 7)",
    "INSERT INTO orders VALUES (30, 'neu ü🚲', NULL, '2026-06-02 09:00:00')",
    "DELETE FROM orders WHERE id IN (2, 11)",
)


class Store:
    """An order book on HDFS after its first night."""

    def __init__(self, root: Path, server: HdfsServer, spark: SparkSession) -> None:
        self.place, self.shop = make_hdfs(root, server, spark, "hadoop", TABLE)
        self._server = server
        self.spark = spark
        self._day = date(2026, 7, 1)
        self.night()

    def night(self, *changes: str) -> None:
        """Change the source, and run."""
        self.shop.change(*changes)
        assert self.place.lake.run(self.spark, day=self._day).exit_code == 0
        self._day += timedelta(days=1)

    def proof(self) -> TableProof:
        configuration = open_configuration(self.place.lake.path)
        (proof,) = verify(configuration, configuration.tables, Wishes(), classify, self.spark)
        assert not self.left()
        return proof

    def rebuild(self) -> TableReport:
        configuration = open_configuration(self.place.lake.path)
        request = MaintenanceRequest(configuration, configuration.tables, Mode.REBUILD)
        (report,) = maintain(request, {}, session=self.spark).tables
        assert not self.left()
        return report

    def left(self) -> list[Path]:
        """What was put on this machine for a while and is still there."""
        return [*self.place.lake.root.glob("_near-*"), *self.place.lake.root.glob("_sql-*")]

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as readers see them, housekeeping included."""
        return sorted(tuple(row) for row in self.place.table(NAME).collect())

    def files(self, place: str) -> list[str]:
        """The Parquet files below raw, staging or the warehouse."""
        return [name for name in self._server.files(f"{self.place.root}/{place}") if name.endswith(".parquet")]


def test_what_was_done_behind_its_back_is_named_and_rebuilt(
    spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch, slice and file on HDFS, after a night that added, changed and deleted rows. The rebuilt table is the one
    that the runs had made, marks of deleted rows included, and runs and proofs go on from it. Nothing is left here."""
    store = Store(tmp_path / "store", hdfs_server, spark)
    store.night(*CHANGES)
    proof = store.proof()
    assert (proof.status, proof.findings, proof.unseen, proof.rows) == (ProofStatus.PROVEN, (), (), 20)
    before = store.rows()

    store.place.sql(f"DELETE FROM lake.{NAME} WHERE id = 5")
    store.place.sql(f"UPDATE lake.{NAME} SET note = 'forged' WHERE id = 9")
    # A file at a time: what it comes to does not depend on how much is copied at once.
    with monkeypatch.context() as patch:
        patch.setattr(NearFiles, "__init__", partialmethod(NearFiles.__init__, portion_bytes=1))
        found = store.proof()

    assert found.status is ProofStatus.BROKEN
    told = {finding.kind: finding for finding in found.findings}
    keys = {kind: [row.key for row in finding.examples] for kind, finding in told.items()}
    assert keys == {
        Kind.TABLE_DAMAGED: [],
        Kind.ROWS_LOST: [{"id": "5"}],
        Kind.ROWS_CHANGED: [{"id": "9"}],
    }
    lost, file = told[Kind.ROWS_LOST], store.files("raw")[0]
    assert (f"batch={lost.batch}/" in file, lost.slice, lost.file) == (True, 0, file)

    report = store.rebuild()

    assert report.error is None, report.error
    assert report.rebuild is not None
    assert (report.rebuild["differences"], report.rebuild["marked"]) == (
        {"equal": 18, "only_in_raw": 1, "only_in_table": 0, "changed": 1},
        2,
    )
    assert (store.rows(), store.place.refs(NAME)) == (before, {"main", "ingest_last"})
    store.night("UPDATE orders SET amount = 5, updated_at = '2026-06-03 08:00:00' WHERE id = 4")
    proof = store.proof()
    assert (proof.status, proof.batches, proof.rows) == (ProofStatus.PROVEN, 4, 20)


def test_a_rebuild_that_is_killed_leaves_the_table_and_nothing_else(
    spark: SparkSession, hdfs_server: HdfsServer, tmp_path: Path
) -> None:
    """Killed when its rows are staged: readers have what they had. The next rebuild publishes the rows of the batches, and
    removes what is left of this one, here and on HDFS."""
    store = Store(tmp_path / "store", hdfs_server, spark)
    before = store.rows()
    store.place.sql(f"DELETE FROM lake.{NAME} WHERE id = 5")
    spoilt = store.rows()

    killed = store.place.lake.call("--maintenance-mode", "rebuild-from-raw", failpoints=f"after-stage@{NAME}=kill")

    assert (killed.code, bool(store.left()), bool(store.files("staging")), store.rows()) == (-9, True, True, spoilt)
    report = store.rebuild()
    assert report.error is None, report.error
    assert (store.rows(), store.place.refs(NAME), store.files("staging")) == (before, {"main", "ingest_last"}, [])
    assert len(store.files("raw")) == 2
