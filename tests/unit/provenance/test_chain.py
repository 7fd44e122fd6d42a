"""Which batches a table consists of, as raw and the table's receipt prove it."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ingestion_runtime.documents import dump_document
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import Batch, PublishedMark, RawManifest, WriteMode
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import Chain, LinkState, read_chain, slice_ordinal
from ingestion_runtime.provenance.wholeness import require_whole
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch, make_receipt

TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",))
REPLACE = WriteMode.REPLACE


class Raw:
    """The raw batches of one table, made by hand."""

    def __init__(self, root: Path) -> None:
        self.zone = RawZone(str(root), TABLE, LocalFiles())
        self.root = root / "shop/orders"

    def land(
        self, number: int, base: Batch | None = None, *, write: WriteMode = WriteMode.MERGE, mark: str = "_PUBLISHED"
    ) -> Batch:
        """Put an empty batch there, with a marker or none."""
        batch = make_batch(TABLE, number, base=base.id if base else None, write=write, day=date(2026, 7, number))
        directory = self.folder(batch)
        directory.mkdir(parents=True)
        (directory / "_MANIFEST.json").write_text(dump_document(RawManifest(batch, (), ())))
        if mark == "_PUBLISHED":
            (directory / mark).write_text(dump_document(PublishedMark(batch.id, number, batch.base, batch.load_date)))
        elif mark:
            (directory / mark).write_text(dump_document(batch))
        return batch

    def folder(self, batch: Batch) -> Path:
        return self.root / f"load_date={batch.load_date.isoformat()}/batch={batch.id}"

    def chain(self, last: Batch | None) -> Chain:
        return read_chain(self.zone, make_receipt(last) if last else None)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def ids(links: object) -> list[str]:
    return [link.batch_id for link in links]  # type: ignore[attr-defined]


def test_a_table_without_raw_has_no_batches(raw: Raw) -> None:
    """Nothing, and no gap."""
    chain = raw.chain(None)

    assert chain.last is None
    assert chain == Chain((), (), (), (), ())


def test_a_chain_begins_with_the_last_batch_that_replaced_the_table(raw: Raw) -> None:
    """What was published before it is not needed any more, and may be gone."""
    first = raw.land(1)
    second = raw.land(2, first, write=REPLACE)
    third = raw.land(3, second)

    chain = raw.chain(third)

    assert ids(chain.links) == [second.id, third.id]
    assert ids(chain.earlier) == [first.id]
    assert chain.gaps == ()


def test_a_batch_that_maintenance_removes_at_this_moment_is_not_one_that_cannot_be_read(raw: Raw) -> None:
    """It was listed and is gone: nobody needed it."""
    first = raw.land(1)
    second = raw.land(2, first, write=REPLACE)

    class Overtaken(LocalFiles):
        """Files of which some go as soon as they have been looked for."""

        def exists(self, path: str) -> bool:
            found = super().exists(path)
            if path.startswith(str(raw.folder(first))):
                shutil.rmtree(raw.folder(first), ignore_errors=True)
            return found

    raw.zone = RawZone(str(raw.root.parent.parent), TABLE, Overtaken())
    chain = raw.chain(second)

    assert (ids(chain.links), chain.earlier, chain.unreadable) == ([second.id], (), ())


def test_batches_that_were_not_published_are_loose(raw: Raw) -> None:
    """A run is at work on them, or died, or gave them up."""
    first = raw.land(1)
    opened = raw.land(2, first, mark="")
    given_up = raw.land(3, first, mark="_ABANDONED")

    chain = raw.chain(first)

    assert ids(chain.links) == [first.id]
    assert [(link.batch_id, link.state) for link in chain.loose] == [
        (opened.id, LinkState.OPEN),
        (given_up.id, LinkState.ABANDONED),
    ]


def test_a_batch_without_its_marker_is_proven_by_who_names_it(raw: Raw) -> None:
    """The run that published it died before it could leave the marker: receipt, or the batch that followed, says so."""
    first = raw.land(1, mark="")
    second = raw.land(2, first, mark="")

    chain = raw.chain(second)

    assert [(link.batch_id, link.state) for link in chain.links] == [
        (first.id, LinkState.NAMED),
        (second.id, LinkState.NAMED),
    ]
    assert chain.loose == ()


def test_a_missing_batch_is_named_with_what_proves_that_it_was_there(raw: Raw) -> None:
    """And what stood before it is still told, as far as it is known."""
    first = raw.land(1)
    second = make_batch(TABLE, 2, base=first.id)
    third = raw.land(3, second)

    chain = raw.chain(third)

    assert ids(chain.links) == [first.id, third.id]
    assert [str(gap) for gap in chain.gaps] == [f"batch {second.id} (named by batch {third.id})"]


def test_the_batch_of_the_receipt_may_be_the_missing_one(raw: Raw) -> None:
    """The receipt then says what stood before it."""
    first = raw.land(1)
    other = raw.land(2, first, mark="")
    missing = make_batch(TABLE, 3, base=first.id)

    chain = raw.chain(missing)

    assert ids(chain.links) == [first.id]
    assert [(gap.batch_id, gap.named_by) for gap in chain.gaps] == [(missing.id, "the table's receipt")]
    assert ids(chain.loose) == [other.id]


def test_nothing_before_a_missing_batch_that_replaced_the_table_is_taken_for_it(raw: Raw) -> None:
    """Its rows are not theirs."""
    first = raw.land(1)
    missing = make_batch(TABLE, 2, base=first.id, write=REPLACE)

    chain = raw.chain(missing)

    assert ids(chain.links) == []
    assert [gap.batch_id for gap in chain.gaps] == [missing.id]


def test_a_manifest_that_cannot_be_read_is_a_gap_with_a_reason(raw: Raw) -> None:
    """Cut, or gone; the others are read all the same."""
    first = raw.land(1)
    second = raw.land(2, first)
    third = raw.land(3, second)
    (raw.folder(second) / "_MANIFEST.json").write_text('{"batch": ')
    (raw.folder(first) / "_MANIFEST.json").unlink()

    chain = raw.chain(third)

    assert ids(chain.links) == [third.id]
    assert {spoilt.batch_id: spoilt.published for spoilt in chain.unreadable} == {first.id: True, second.id: True}
    assert "has no _MANIFEST.json" in str(next(s for s in chain.unreadable if s.batch_id == first.id))
    assert [gap.batch_id for gap in chain.gaps] == [second.id]
    with pytest.raises(TerminalError, match=f"raw lacks batch {second.id}.*holds no readable RawManifest"):
        require_whole(TABLE, chain)


def test_batches_that_followed_the_receipts_own_belong_to_the_table(raw: Raw) -> None:
    """The table was restored from a backup: raw knows more than it does."""
    first = raw.land(1)
    second = raw.land(2, first)
    third = raw.land(3, second)

    assert ids(raw.chain(first).links) == [first.id, second.id, third.id]


def test_a_batch_that_followed_is_found_over_a_gap(raw: Raw) -> None:
    """Whether it followed cannot be told, and so the gap is."""
    first = raw.land(1)
    third = raw.land(3, make_batch(TABLE, 2, base=first.id))

    chain = raw.chain(first)

    assert ids(chain.links) == [first.id, third.id]
    assert len(chain.gaps) == 1


def test_batches_of_a_former_table_of_that_name_are_not_the_tables(raw: Raw) -> None:
    """State and table were dropped, and numbers began anew: the receipt leads to its own batches only."""
    old = [raw.land(5)]
    old.append(raw.land(6, old[0]))
    first = raw.land(1)
    second = raw.land(2, first)

    chain = raw.chain(second)

    assert ids(chain.links) == [first.id, second.id]
    assert ids(chain.earlier) == [batch.id for batch in old]


def test_without_a_receipt_two_tables_of_one_name_cannot_be_told_apart(raw: Raw) -> None:
    """The higher number says one thing, the later date another: nobody guesses which of them was the table."""
    low = make_batch(TABLE, 1, day=date(2026, 7, 9))
    raw.land(5)
    assert raw.chain(None).rivals == ()
    directory = raw.folder(low)
    directory.mkdir(parents=True)
    (directory / "_MANIFEST.json").write_text(dump_document(RawManifest(low, (), ())))
    (directory / "_PUBLISHED").write_text(dump_document(PublishedMark(low.id, 1, None, low.load_date)))

    chain = raw.chain(None)

    assert ids(chain.rivals) == [low.id]
    with pytest.raises(TerminalError, match=f"batch {low.id} may be the last one as well"):
        require_whole(TABLE, chain)


def test_markers_that_name_each_other_end_the_walk(raw: Raw) -> None:
    """Somebody edited them; nobody runs in circles."""
    first = raw.land(1)
    second = raw.land(2, first)
    mark = PublishedMark(first.id, 1, second.id, first.load_date)
    (raw.folder(first) / "_PUBLISHED").write_text(dump_document(mark))

    assert ids(raw.chain(second).links) == [first.id, second.id]
    assert ids(raw.chain(replace(second, id="20260709_000009_0badcafe", base=None)).links) == []


@pytest.mark.parametrize(
    ("path", "ordinal"), [("slice-00003-00007.parquet", 3), ("/raw/_tombstones/slice-00012-00000.parquet", 12)]
)
def test_a_raw_file_names_its_slice(path: str, ordinal: int) -> None:
    """Wherever it lies."""
    assert slice_ordinal(path) == ordinal


def test_a_file_of_somebody_elses_names_no_slice() -> None:
    """It is not taken for one."""
    with pytest.raises(ValueError, match="no file of a slice"):
        slice_ordinal("part-00000.parquet")
