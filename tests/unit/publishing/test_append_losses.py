"""Rows of a table without a key that would go when others take their place."""

from dataclasses import replace

import pyarrow as pa
import pytest

from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import RefusedBatchError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, TargetTable
from ingestion_runtime.publishing.shrink import ShrinkGuard
from tests.batches import make_batch, sound

LOG = TableSpec("web", "visits", "append", "source", incremental_column="at", incr_col_type=CursorType.INT)
TEN, TWENTY = (Watermark(CursorType.INT, text) for text in ("10", "20"))
BATCH = make_batch(LOG, 2, write=WriteMode.OVERWRITE, slices=(Slice(0, reread=ReRead(TEN, TWENTY, nulls=False)),))
ASKED = replace(BATCH, plan=replace(BATCH.plan, asked=Interval(TEN, TWENTY)))


class Untouched(TargetTable):
    """A target that nobody has to ask."""


def judge(batch: Batch, again: int, removed: int, most: float | None = None) -> None:
    payload = Payload(("part.parquet",), pa.schema([("at", pa.int64())]), rows=again, again=again)
    ShrinkGuard("web.visits", most).judge(batch, payload, sound(added=again, removed=removed), Untouched())


def test_rows_do_not_go_unless_a_person_asked() -> None:
    """Fewer rows than stand there: one of them was deleted, and another may have come late."""
    with pytest.raises(RefusedBatchError, match="2 of the 3 rows that were read again, from 10 on, are no longer") as caught:
        judge(BATCH, again=1, removed=3, most=1.0)
    assert "--start-date '10'" in caught.value.remedy
    assert "--allow-shrink web.visits" in caught.value.remedy
    judge(BATCH, again=3, removed=3)
    judge(BATCH, again=4, removed=3)


def test_a_window_loses_no_more_than_the_table_allows() -> None:
    """By the rows of the window: half of a day is half of it, however large the table is."""
    judge(ASKED, again=0, removed=10)
    judge(ASKED, again=5, removed=10, most=0.5)
    with pytest.raises(RefusedBatchError, match=r"4 rows would replace 10, which is 6 fewer \(60.00%"):
        judge(ASKED, again=4, removed=10, most=0.5)
