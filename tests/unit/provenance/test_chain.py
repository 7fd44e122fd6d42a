"""Which batches a table consists of, as raw and the table's receipt prove it."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ingestion_runtime.documents import dump_document
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import Batch, PublishedMark, RawManifest, Receipt, WriteMode
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
        self.digests = True

    def land(
        self, number: int, base: Batch | None = None, *, write: WriteMode = WriteMode.MERGE, mark: str = "_PUBLISHED"
    ) -> Batch:
        """Put an empty batch there, with a marker or none."""
        batch = make_batch(TABLE, number, base=base.id if base else None, write=write, day=date(2026, 7, number))
        batch = replace(batch, base_manifest=self.digest(base) if base and self.digests else None)
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
        return read_chain(self.zone, self.receipt(last) if last else None)

    def receipt(self, last: Batch) -> Receipt:
        return replace(make_receipt(last), manifest=self.digest(last) if self.digests else None)

    def digest(self, batch: Batch) -> str | None:
        directory = self.folder(batch)
        return self.zone.read(str(directory)).digest if (directory / "_MANIFEST.json").exists() else None

    def edit(self, batch: Batch, **changes: object) -> None:
        """Change what a manifest says of its batch."""
        path = self.folder(batch) / "_MANIFEST.json"
        path.write_text(dump_document(RawManifest(replace(batch, **changes), (), ())))  # type: ignore[arg-type]


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def ids(links: object) -> list[str]:
    return [link.batch_id for link in links]  # type: ignore[attr-defined]


@pytest.mark.parametrize("day", ["2026-06-01", "2026-07-02", "2026-08-01"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_copy_of_a_batch_is_none_of_the_table_and_told(raw: Raw, day: str, *, marked: bool) -> None:
    """Wherever it is listed, before or behind the one that landed, and whatever it is called."""
    first = raw.land(1, write=REPLACE)
    last = raw.land(2, first)
    copy = raw.root / f"load_date={day}/batch=20260702_000002_{'c' * 8}"
    shutil.copytree(raw.folder(last), copy)
    if not marked:
        (copy / "_PUBLISHED").unlink()

    chain = raw.chain(last)

    assert ids(chain.links) == [first.id, last.id]
    assert [link.raw.directory for link in chain.links] == [str(raw.folder(first)), str(raw.folder(last))]
    assert [(found.directory, found.batch_id) for found in chain.misplaced] == [(str(copy), last.id)]
    assert (chain.earlier, chain.loose, chain.gaps) == ((), (), ())
    assert require_whole(TABLE, chain).batch_id == last.id


def test_a_batch_that_was_moved_is_missing_where_it_landed(raw: Raw) -> None:
    """And a rebuild says where it lies now."""
    first = raw.land(1, write=REPLACE)
    last = raw.land(2, first)
    moved = raw.root / "load_date=2026-09-01" / raw.folder(first).name
    moved.parent.mkdir()
    raw.folder(first).rename(moved)

    chain = raw.chain(last)

    assert [gap.batch_id for gap in chain.gaps] == [first.id]
    with pytest.raises(TerminalError, match=str(moved)):
        require_whole(TABLE, chain)


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


def told(chain: Chain) -> list[tuple[str, str]]:
    """The batches whose manifests are others than those that were published, and who says so."""
    return [(altered.link.batch_id, altered.named_by) for altered in chain.altered]


def test_every_manifest_is_proven_from_the_receipt_on(raw: Raw) -> None:
    """Each by the one after it, the last one by the table: also those before the last that replaced it."""
    batches = [raw.land(1)]
    for number in (2, 3, 4):
        batches.append(raw.land(number, batches[-1], write=REPLACE if number == 3 else WriteMode.MERGE))
    first, second, third, fourth = batches
    receipt = raw.receipt(fourth)
    assert (told(raw.chain(fourth)), raw.chain(fourth).unproven) == ([], ())
    for batch, named_by in ((fourth, "the table's receipt"), (third, f"batch {fourth.id}"), (first, f"batch {second.id}")):
        raw.edit(batch, run_id="another")
        chain = read_chain(raw.zone, receipt)
        assert told(chain) == [(batch.id, named_by)]
        raw.edit(batch)
    raw.edit(fourth, run_id="another")
    raw.edit(first, run_id="another")

    chain = read_chain(raw.zone, receipt)

    assert told(chain) == [(first.id, f"batch {second.id}"), (fourth.id, "the table's receipt")]
    with pytest.raises(TerminalError, match=f"manifest of batch {fourth.id} is not the one") as refused:
        require_whole(TABLE, chain)
    assert first.id not in refused.value.message, "a rebuild does not need it"
    assert told(read_chain(raw.zone, None)) == [(first.id, f"batch {second.id}")], "nobody knows the last one any more"


def test_what_came_before_is_said_by_the_manifest_that_a_digest_proves(raw: Raw) -> None:
    """A marker that names another batch leads nobody past one."""
    first = raw.land(1)
    second = raw.land(2, first)
    third = raw.land(3, second)
    mark = PublishedMark(third.id, 3, first.id, third.load_date)
    (raw.folder(third) / "_PUBLISHED").write_text(dump_document(mark))

    assert ids(raw.chain(third).links) == [first.id, second.id, third.id]


def test_batches_from_before_digests_were_taken_are_believed(raw: Raw) -> None:
    """None of them is called altered, and they are told apart from those that are proven."""
    raw.digests = False
    first = raw.land(1)
    second = raw.land(2, first)
    chain = raw.chain(second)
    assert (told(chain), ids(chain.unproven)) == ([], [first.id, second.id])
    third = raw.land(3, second)
    raw.digests = True
    fourth = raw.land(4, third)

    chain = raw.chain(fourth)

    assert (told(chain), ids(chain.unproven)) == ([], [first.id, second.id])
    assert require_whole(TABLE, chain).batch_id == fourth.id
    raw.edit(second, base_manifest="00" * 32)
    chain = read_chain(raw.zone, raw.receipt(fourth))
    assert ids(chain.unproven) == [first.id, second.id], "what an unproven manifest says of others proves nothing"


def test_removed_batches_leave_the_others_proven(raw: Raw) -> None:
    """Retention took what a rebuild does not need."""
    first = raw.land(1)
    second = raw.land(2, first, write=REPLACE)
    shutil.rmtree(raw.folder(first))

    chain = raw.chain(second)

    assert (told(chain), chain.unproven, ids(chain.links)) == ([], (), [second.id])
