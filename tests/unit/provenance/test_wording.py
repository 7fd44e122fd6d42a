"""What a slice covers, for people."""

import pytest

from ingestion_runtime.model.cursor import CursorType, Interval, KeyRange, ReRead, Slice, Watermark
from ingestion_runtime.provenance.wording import spell_slice

FIVE, NINE = Watermark(CursorType.INT, "5"), Watermark(CursorType.INT, "9")


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (Slice(0), "the whole table"),
        (Slice(0, window=Interval(FIVE, NINE)), "above 5 up to 9"),
        (Slice(0, reread=ReRead(FIVE, NINE, nulls=False)), "again: from 5 to 9"),
        (Slice(0, reread=ReRead(None, NINE, nulls=True)), "again: up to 9 and rows without a cursor"),
        (Slice(0, reread=ReRead(None, None, nulls=True)), "again: rows without a cursor"),
        (Slice(0, reread=ReRead(None, None, nulls=False)), "again: no rows"),
        (Slice(0, window=Interval(FIVE, NINE), keys=KeyRange("id", None, NINE)), "above 5 up to 9, id up to 9"),
        (Slice(1, reread=ReRead(None, NINE, nulls=False), keys=KeyRange("id", FIVE, None)), "again: up to 9, id above 5"),
        (Slice(2, keys=KeyRange("id", None, None)), "the whole table, every id"),
        (Slice(3, tombstones=True), "keys that the source no longer had"),
    ],
)
def test_every_kind_of_slice_has_its_words(piece: Slice, words: str) -> None:
    """By its window, its re-read set or its range of keys."""
    assert spell_slice(piece) == words
