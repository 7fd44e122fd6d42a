"""The audit: what a branch must hold before anyone may see it."""

from typing import Any

import pyarrow as pa
import pytest

from ingestion_runtime.model.batch import WriteMode
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Buried, Payload
from ingestion_runtime.publishing.audit import audit
from tests.batches import make_batch, sound

PAYLOAD = Payload(("part.parquet",), pa.schema([("id", pa.int64())]), rows=3)


def judge(mode: str, write: WriteMode, **changes: Any) -> None:
    batch = make_batch(TableSpec("shop", "orders", mode, "source", primary_keys=("id",)), 1, write=write)
    audit(batch, PAYLOAD, sound(**changes))


@pytest.mark.parametrize(
    ("mode", "write", "changes"),
    [
        pytest.param("scd1", WriteMode.MERGE, {}, id="a merge"),
        pytest.param("scd1", WriteMode.MERGE, {"total": 1_000}, id="a merge into a larger table"),
        pytest.param("scd1", WriteMode.MERGE, {"keys": 2, "found": 2}, id="a merge of repeated keys"),
        pytest.param("scd1", WriteMode.MERGE, {"added": 0, "changed": False}, id="a merge of nothing new"),
        pytest.param("full", WriteMode.REPLACE, {}, id="a replacement"),
        pytest.param("scd1", WriteMode.REPLACE, {"keys": 2, "found": 2, "total": 2}, id="a reload of repeated keys"),
    ],
)
def test_a_branch_that_holds_what_was_staged_is_accepted(mode: str, write: WriteMode, changes: dict[str, Any]) -> None:
    """Incremental tables keep each key's newest row, so repeated keys are no fault there."""
    judge(mode, write, **changes)


@pytest.mark.parametrize(
    ("mode", "write", "changes", "finding"),
    [
        ("scd1", WriteMode.MERGE, {"rows": 2}, "2 rows were written, the manifests promise 3"),
        ("full", WriteMode.REPLACE, {"rows": 4, "keys": 4, "total": 4}, "4 rows were written, the manifests promise 3"),
        ("scd1", WriteMode.MERGE, {"null_keys": 1}, "1 rows have a NULL in the primary key"),
        ("full", WriteMode.REPLACE, {"null_keys": 2}, "2 rows have a NULL in the primary key"),
        ("scd1", WriteMode.MERGE, {"found": 4}, "3 keys were merged, the table holds 4 rows"),
        ("scd1", WriteMode.MERGE, {"found": 2}, "3 keys were merged, the table holds 2 rows"),
        ("full", WriteMode.REPLACE, {"keys": 2}, "1 rows repeat a primary key"),
        ("full", WriteMode.REPLACE, {"total": 5}, "the table would hold 5 rows, expected 3"),
        ("scd1", WriteMode.REPLACE, {"keys": 2, "found": 2}, "the table would hold 3 rows, expected 2"),
    ],
)
def test_a_branch_that_holds_anything_else_is_refused(
    mode: str, write: WriteMode, changes: dict[str, Any], finding: str
) -> None:
    """Lost rows, foreign rows, repeated and missing keys: each is named with its numbers."""
    with pytest.raises(RefusedBatchError, match=finding):
        judge(mode, write, **changes)


def test_all_findings_are_told_at_once() -> None:
    """Nobody has to correct one fault to hear of the next; the hint names the usual cause."""
    with pytest.raises(RefusedBatchError) as refused:
        judge("scd1", WriteMode.MERGE, rows=2, null_keys=1, found=4)

    findings = refused.value.values["findings"]
    assert isinstance(findings, tuple)
    assert len(findings) == 3
    assert "merge_filter" in refused.value.remedy
    assert "lake:shop.orders" in refused.value.message


BURIED = Payload(("part.parquet",), pa.schema([("id", pa.int64())]), rows=3, tombstones=("gone.parquet",), deleted=2)


def test_a_branch_that_buries_exactly_the_tombstones_is_accepted() -> None:
    """Both are gone, and the table shows as many rows as it then must."""
    batch = make_batch(TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",)), 1)

    audit(batch, BURIED, sound(buried=Buried(tombstones=2, alive=0, live=10, expected=10)))


@pytest.mark.parametrize(
    ("buried", "finding"),
    [
        (Buried(tombstones=1, alive=0, live=10, expected=10), "1 tombstones were applied, the manifests promise 2"),
        (Buried(tombstones=2, alive=1, live=10, expected=10), "1 keys that the source no longer has would still be there"),
        (Buried(tombstones=2, alive=0, live=9, expected=10), "would show 9 rows after the deletes, expected 10"),
    ],
)
def test_a_branch_that_buries_anything_else_is_refused(buried: Buried, finding: str) -> None:
    """A tombstone that was lost, one that did not work, and one that took a neighbour along."""
    batch = make_batch(TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",)), 1)

    with pytest.raises(RefusedBatchError, match=finding):
        audit(batch, BURIED, sound(buried=buried))
