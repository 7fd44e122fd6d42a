"""What of raw may go, decided from manifests, markers and the table's receipt."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ingestion_runtime.documents import dump_document
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.maintenance.retention import RawWork, find_raw_work
from ingestion_runtime.model.batch import Batch, PublishedMark, RawManifest, Receipt, StagedFile, WriteMode
from ingestion_runtime.model.maintenance import TableMaintenance
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import read_chain
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch, make_receipt

NOW, DAY = 1_800_000_000.0, 86_400.0
TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",))
SETTINGS = TableMaintenance(raw_days=30, orphan_hours=72)


class Raw:
    """The raw zone of one table, with batches of a hundred bytes that landed some days ago."""

    def __init__(self, root: Path) -> None:
        self.base = root / "shop" / "orders"
        self.zone = RawZone(str(root), TABLE, LocalFiles())

    def land(self, batch: Batch, days: float, marker: str = "_PUBLISHED", place: str = "") -> Path:
        folder = self.base / place / f"load_date={batch.load_date}" / f"batch={batch.id}"
        folder.mkdir(parents=True)
        (folder / "slice-00000-00000.parquet").write_bytes(b"x" * 100)
        manifest = RawManifest(batch, (StagedFile("slice-00000-00000.parquet", 100, "0", 1),), ())
        (folder / "_MANIFEST.json").write_text(dump_document(manifest))
        mark = PublishedMark(batch.id, batch.sequence, batch.base, batch.load_date)
        if marker:
            (folder / marker).write_text(dump_document(mark if marker == "_PUBLISHED" else batch))
        self.touch(folder, days)
        return folder

    def touch(self, folder: Path, days: float) -> None:
        for path in (*folder.iterdir(), folder):
            os.utime(path, (NOW - days * DAY, NOW - days * DAY))

    def work(self, receipt: Receipt | None, *, opened: str | None = None, settings: TableMaintenance = SETTINGS) -> RawWork:
        return find_raw_work(self.zone, read_chain(self.zone, receipt), receipt, opened, settings, NOW)


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


def history(*writes: WriteMode) -> list[Batch]:
    """Batches that follow each other, each based on the one before."""
    batches: list[Batch] = []
    for number, write in enumerate(writes, start=1):
        batches.append(make_batch(TABLE, number, base=batches[-1].id if batches else None, write=write))
    return batches


REPLACE, MERGE = WriteMode.REPLACE, WriteMode.MERGE


def names(directories: tuple[str, ...]) -> list[str]:
    return [directory.rpartition("=")[2] for directory in directories]


def test_what_lies_before_the_last_replacement_goes_by_age(raw: Raw) -> None:
    """The chain since then stays, however old."""
    batches = history(REPLACE, MERGE, MERGE, REPLACE, MERGE)
    for batch, days in zip(batches, (90, 60, 20, 10_000, 10_000), strict=True):
        raw.land(batch, days)
    work = raw.work(make_receipt(batches[-1]))
    assert names(work.old.directories) == [batches[0].id, batches[1].id]
    assert (work.old.bytes, work.kept) == (200, None)
    assert raw.work(make_receipt(batches[-1]), settings=TableMaintenance()).old.directories == ()


def test_with_zero_days_it_goes_at_once(raw: Raw) -> None:
    """As soon as no rebuild needs it."""
    batches = history(REPLACE, REPLACE)
    for batch in batches:
        raw.land(batch, 0)
    work = raw.work(make_receipt(batches[-1]), settings=replace(SETTINGS, raw_days=0))
    assert names(work.old.directories) == [batches[0].id]


def test_without_certainty_nothing_published_goes(raw: Raw) -> None:
    """No receipt, a gap, something unreadable, or a batch beyond the receipt: each is named."""
    batches = history(REPLACE, REPLACE, MERGE, MERGE)
    folders = [raw.land(batch, 90) for batch in batches]
    receipt = make_receipt(batches[-1])
    assert raw.work(receipt).kept is None

    def kept(receipt: Receipt | None) -> str:
        work = raw.work(receipt)
        assert (work.old.directories, work.old.bytes) == ((), 0)
        return work.kept or ""

    assert "has no receipt" in kept(None)
    assert "follows" in kept(make_receipt(batches[2]))
    (folders[2] / "_MANIFEST.json").write_text("{")
    assert "raw is not whole" in kept(receipt)
    raw.touch(folders[2], 90)
    stranger = make_batch(TABLE, 9)
    (raw.land(stranger, 90) / "_MANIFEST.json").unlink()
    assert "raw" in kept(receipt)


def test_batches_that_the_receipt_does_not_lead_to_stay(raw: Raw) -> None:
    """They may be another configuration's: only what this table consisted of once goes."""
    batches = history(REPLACE, MERGE, REPLACE)
    for batch in batches:
        raw.land(batch, 90)
    others = [replace(batch, id=f"{batch.id[:-8]}aaaaaaaa", base=None) for batch in batches[:2]]
    for other in others:
        raw.land(other, 80)
    work = raw.work(make_receipt(batches[-1]))
    assert names(work.old.directories) == [batches[0].id, batches[1].id]
    assert work.kept is not None
    assert f"2 that this table's receipt does not lead back to, such as {raw.base}" in work.kept


def test_a_table_that_ends_in_raw_needs_its_last_batch(raw: Raw) -> None:
    """Full refreshes without finalize have no receipt, and none is expected."""
    batches = history(REPLACE, REPLACE)
    for batch in batches:
        raw.land(batch, 90)
    chain = read_chain(raw.zone, None)
    work = find_raw_work(raw.zone, chain, None, None, SETTINGS, NOW, published=False)
    assert names(work.old.directories) == [batches[0].id]


def test_what_was_given_up_goes_after_hours_and_what_nobody_gave_up_stays(raw: Raw) -> None:
    """Only a marker says that a batch is over; and never while the state has it open."""
    (batch,) = history(REPLACE)
    raw.land(batch, 90)
    given_up = replace(make_batch(TABLE, 2), id="20260701_000002_aaaaaaaa")
    young = replace(given_up, id="20260701_000002_bbbbbbbb")
    unknown = replace(given_up, id="20260701_000002_cccccccc")
    raw.land(given_up, 3.1, "_ABANDONED")
    raw.land(young, 2.9, "_ABANDONED")
    raw.land(unknown, 900, "")
    receipt = make_receipt(batch)
    assert names(raw.work(receipt).abandoned.directories) == [given_up.id]
    assert raw.work(receipt, opened=given_up.id).abandoned.directories == ()
    assert raw.work(receipt, settings=replace(SETTINGS, orphan_hours=None)).abandoned.directories == ()


def test_half_landed_directories_and_rows_set_aside_go_by_age(raw: Raw) -> None:
    """Those of rows set aside, too; rows set aside themselves by the days of raw."""
    (batch,) = history(REPLACE)
    folder = raw.land(batch, 90)
    aside = raw.land(batch, 31, "", "_quarantine")
    for parent in (folder.parent, aside.parent):
        for name, days in ((f"_landing-batch={batch.id}-11111111", 4.0), ("_landing-batch=x-22222222", 1.0)):
            (parent / name).mkdir()
            raw.touch(parent / name, days)
    work = raw.work(make_receipt(batch))
    assert [Path(directory).name for directory in work.landings.directories] == [f"_landing-batch={batch.id}-11111111"] * 2
    assert work.quarantine.directories == (str(aside),)
    assert raw.work(make_receipt(batch), opened=batch.id).landings.directories == ()


def test_nothing_published_goes_where_a_manifest_was_changed(raw: Raw) -> None:
    """One that was made to say that it replaced the table would let go of all that came before it."""
    first, second = history(MERGE, MERGE)
    raw.land(first, 90)
    folder = raw.land(second, 80)
    receipt = replace(make_receipt(second), manifest=raw.zone.read(str(folder)).digest)
    forged = RawManifest(replace(second, write=REPLACE), (), ())
    (folder / "_MANIFEST.json").write_text(dump_document(forged))

    work = raw.work(receipt)

    assert work.old.directories == ()
    assert work.kept is not None
    assert f"the manifest of batch {second.id} is not the one that the table's receipt names" in work.kept


def test_markers_that_are_missing_are_known_from_the_receipt(raw: Raw) -> None:
    """And from batches that followed; without a receipt nothing is marked."""
    batches = history(REPLACE, MERGE, MERGE)
    raw.land(batches[0], 1, "")
    raw.land(batches[1], 1)
    raw.land(batches[2], 1, "")
    marks = raw.work(make_receipt(batches[2])).marks
    assert {mark.batch_id for mark in marks} == {batches[0].id, batches[2].id}
    assert next(mark for mark in marks if mark.batch_id == batches[2].id).previous == batches[1].id
    assert raw.work(None).marks == ()


def test_removing_takes_the_batch_at_once_and_the_empty_day_with_it(raw: Raw) -> None:
    """Who lists raw never sees half a batch; the other batches of the day stay."""
    first, second = history(REPLACE, REPLACE)
    folders = raw.land(first, 1), raw.land(second, 1)
    raw.zone.remove(str(folders[0]))
    assert (folders[0].exists(), folders[1].exists()) == (False, True)
    raw.zone.remove(str(folders[1]))
    assert list(raw.base.iterdir()) == []
