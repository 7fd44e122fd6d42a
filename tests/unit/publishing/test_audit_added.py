"""The audit of batches without a key: what was added stands there, and nothing else came or went."""

from typing import Any

import pyarrow as pa
import pytest

from ingestion_runtime.model.batch import WriteMode
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.publishing.audit import audit
from tests.batches import make_batch, sound

LOG = TableSpec("web", "visits", "append", "source", incremental_column="at", incr_col_type=CursorType.INT)
TEN, TWENTY, THIRTY = (Watermark(CursorType.INT, text) for text in ("10", "20", "30"))
AGAIN = Slice(0, reread=ReRead(TEN, TWENTY, nulls=False))
NEW = Slice(1, window=Interval(TWENTY, THIRTY))


def judge(write: WriteMode, again: int = 0, **changes: Any) -> None:
    batch = make_batch(LOG, 2, base="20260701_000001_0badcafe", write=write, slices=(AGAIN, NEW))
    payload = Payload(("part.parquet",), pa.schema([("at", pa.int64())]), rows=3, again=again)
    audit(batch, payload, sound(**{"before": 100, "total": 103, **changes}))


@pytest.mark.parametrize(
    ("write", "again", "changes"),
    [
        pytest.param(WriteMode.APPEND, 0, {}, id="rows are added"),
        pytest.param(WriteMode.APPEND, 0, {"before": 0, "total": 3}, id="to an empty table"),
        pytest.param(WriteMode.OVERWRITE, 2, {"removed": 2, "total": 101}, id="two gave way to themselves and one more"),
        pytest.param(WriteMode.OVERWRITE, 2, {"removed": 0}, id="rows where none stood"),
    ],
)
def test_what_was_staged_and_nothing_else_is_accepted(write: WriteMode, again: int, changes: dict[str, Any]) -> None:
    """The rows of the table are those that stood there, without those that gave way, and those that were staged."""
    judge(write, again, **changes)


@pytest.mark.parametrize(
    ("write", "changes", "finding"),
    [
        (WriteMode.APPEND, {"total": 102}, "the table would hold 102 rows, expected 103"),
        (WriteMode.APPEND, {"total": 106}, "the table would hold 106 rows, expected 103"),
        (WriteMode.APPEND, {"added": 6}, "6 rows were added, 3 were staged"),
        (WriteMode.APPEND, {"rows": 2, "found": 2, "added": 2, "total": 102}, "2 rows were written, the manifests promise"),
        (WriteMode.OVERWRITE, {"removed": 2}, "the table would hold 103 rows, expected 101"),
        (WriteMode.OVERWRITE, {"removed": 2, "total": 101, "found": 4}, "4 rows of the table lie where 3 were read"),
        (WriteMode.OVERWRITE, {"removed": 2, "total": 101, "found": 2}, "2 rows of the table lie where 3 were read"),
    ],
)
def test_anything_else_is_refused(write: WriteMode, changes: dict[str, Any], finding: str) -> None:
    """Lost rows, rows that came twice, rows that should have given way, and rows that the target does not place where the
    source did."""
    with pytest.raises(RefusedBatchError, match=finding):
        judge(write, again=2, **changes)
