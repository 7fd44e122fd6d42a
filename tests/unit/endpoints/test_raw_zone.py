"""The raw zone: a batch lands whole, once, and can be told from one that was changed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.model.batch import PublishedMark, StagedSlice
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.errors import SpoiltBatchError, TerminalError, TransientError
from ingestion_runtime.model.spec import NullKeys, StagingSpec, TableSpec
from ingestion_runtime.staging import Staging
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch
from tests.extracts import extract_of

TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",), null_keys=NullKeys.QUARANTINE)


def number(value: int) -> Watermark:
    return Watermark(CursorType.INT, str(value))


SLICES = tuple(Slice(i, Interval(number(i * 10), number(i * 10 + 10))) for i in range(2))
BATCH = make_batch(TABLE, 7, base="before", slices=SLICES)
MARK = PublishedMark(BATCH.id, 7, "before", BATCH.load_date)
PARTS = (pa.table({"id": [1, 2], "v": ["a", "b"]}), pa.table({"id": [11], "v": ["k"]}))
ALL_IDS = [1, 2, 11]


class RecordingFiles(LocalFiles):
    """A local file system that remembers its renames and may lose power before one."""

    def __init__(self) -> None:
        self.renames: list[tuple[str, str]] = []
        self.power = True

    def rename(self, source: str, target: str) -> None:
        if not self.power:
            raise OSError("the power went")
        self.renames.append((source, target))
        super().rename(source, target)


class Zone:
    """Raw and staging of one table, with a staged batch."""

    def __init__(self, root: Path, parts: tuple[pa.Table, ...] = PARTS) -> None:
        self.files = RecordingFiles()
        self.raw = RawZone(str(root / "raw"), TABLE, self.files)
        self.staging = Staging(StagingSpec(str(root / "staging")), self.files)
        self.staged: tuple[StagedSlice, ...] = tuple(
            self.staging.stage(TABLE, BATCH, piece, extract_of(part)) for piece, part in zip(SLICES, parts, strict=True)
        )
        self.home = root / "raw/shop/orders"
        self.directory = self.home / f"load_date=2026-07-01/batch={BATCH.id}"

    def ids(self) -> list[int]:
        """What a tool that opens the batch's directory reads."""
        return sorted(ds.dataset(self.directory, format="parquet").to_table()["id"].to_pylist())


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


def test_a_batch_lands_where_the_specification_says(zone: Zone) -> None:
    """raw_root/schema/table/load_date=D/batch=B/, readable by any Parquet tool, with a manifest of the batch itself."""
    landed = zone.raw.land(BATCH, zone.staged)

    assert landed.directory == str(zone.directory)
    assert zone.ids() == ALL_IDS
    document = json.loads((zone.directory / "_MANIFEST.json").read_text())
    assert document["batch"]["id"] == BATCH.id
    assert document["batch"]["base"] == "before"
    assert document["batch"]["sequence"] == 7
    assert [file["rows"] for file in document["files"]] == [2, 1]
    assert document["fields"] == [
        {"name": "id", "type": "int64", "former": None},
        {"name": "v", "type": "string", "former": None},
    ]
    assert (landed.manifest.rows, landed.manifest.quarantined) == (3, 0)


def test_a_batch_lands_by_one_rename(zone: Zone) -> None:
    """Until then nothing stands under its name; a reader of the table's raw folder sees all of it or nothing."""
    zone.raw.land(BATCH, zone.staged)

    ((source, target),) = zone.files.renames
    assert Path(source).parent == zone.directory.parent
    assert Path(source).name.startswith(f"_landing-batch={BATCH.id}")
    assert target == str(zone.directory)


def test_a_landed_batch_is_found_and_verified(zone: Zone) -> None:
    """By its day and its id, and not under another day or number."""
    assert zone.raw.find(BATCH) is None
    landed = zone.raw.land(BATCH, zone.staged)

    assert zone.raw.find(BATCH) == landed
    zone.raw.verify(landed)
    assert zone.raw.find(make_batch(TABLE, 8)) is None
    assert zone.raw.find(replace(BATCH, load_date=date(2026, 7, 2))) is None


def test_a_landed_batch_is_known_by_its_manifest(tmp_path: Path) -> None:
    """By the hash of the file as it lies there, whatever stands in it; found again it is the same, and changed another."""
    zone = Zone(tmp_path)
    batch = replace(BATCH, run_id='n\u00e4chtlich "\u2603"\r\n\u2028', base_manifest="5f" * 32)

    landed = zone.raw.land(batch, zone.staged)

    path = zone.directory / "_MANIFEST.json"
    content = path.read_bytes()
    found = zone.raw.find(batch)
    assert landed.digest == hashlib.sha256(content).hexdigest()
    assert found == landed
    assert landed.manifest.batch.base_manifest == "5f" * 32
    for changed in (content + b"\r", content + b"\n", b" " + content, content.replace(b'"rows":2', b'"rows":3')):
        path.write_bytes(changed)
        assert zone.raw.read(str(zone.directory)).digest != landed.digest


def test_landing_twice_is_landing_once(zone: Zone) -> None:
    """A publish that is tried again lands again: the files that stand are kept, and nothing is added."""
    landed = zone.raw.land(BATCH, zone.staged)

    assert zone.raw.land(BATCH, zone.staged) == landed
    assert len(zone.files.renames) == 1
    assert zone.ids() == ALL_IDS


def test_a_batch_that_was_read_again_replaces_what_it_had_landed(zone: Zone) -> None:
    """Slices that were lost after the landing are staged anew, perhaps with other rows: raw holds what is published."""
    zone.raw.land(BATCH, zone.staged)
    read_again = zone.staging.stage(TABLE, BATCH, SLICES[1], extract_of(pa.table({"id": [12, 13], "v": ["l", "m"]})))

    landed = zone.raw.land(BATCH, (zone.staged[0], read_again))

    zone.raw.verify(landed)
    assert zone.ids() == [1, 2, 12, 13]
    assert [path.name for path in zone.directory.parent.iterdir()] == [zone.directory.name]


def test_a_published_batch_in_raw_is_never_replaced(zone: Zone) -> None:
    """Another run finished it: its rows are what the table was made of."""
    zone.raw.land(BATCH, zone.staged)
    zone.raw.mark_published(MARK)
    read_again = zone.staging.stage(TABLE, BATCH, SLICES[1], extract_of(pa.table({"id": [12], "v": ["l"]})))

    with pytest.raises(TransientError, match="published by another run"):
        zone.raw.land(BATCH, (zone.staged[0], read_again))

    assert zone.ids() == ALL_IDS


def test_a_crash_while_landing_is_harmless(zone: Zone) -> None:
    """What it left behind starts with an underscore: no batch, no rows of the table, and not in the way of a landing."""
    zone.files.power = False
    with pytest.raises(OSError, match="power"):
        zone.raw.land(BATCH, zone.staged)
    assert zone.raw.find(BATCH) is None
    (left,) = zone.directory.parent.iterdir()
    assert left.name.startswith("_landing-")
    (left / "half-written.parquet").write_bytes(b"PAR1")

    zone.files.power = True
    zone.raw.verify(zone.raw.land(BATCH, zone.staged))

    assert zone.ids() == ALL_IDS
    visible = ds.dataset(zone.home, format="parquet", partitioning="hive").to_table()
    assert sorted(visible["id"].to_pylist()) == ALL_IDS


def test_raw_keeps_its_files_when_staging_is_removed(zone: Zone) -> None:
    """Staging is gone as soon as a batch is over; raw stays whole."""
    landed = zone.raw.land(BATCH, zone.staged)

    zone.staging.remove(TABLE, BATCH)

    assert not any(Path(piece.directory).exists() for piece in zone.staged)
    zone.raw.verify(landed)
    assert zone.ids() == ALL_IDS


def flip_a_byte(directory: Path) -> None:
    path = min(directory.glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose_a_file(directory: Path) -> None:
    max(directory.glob("*.parquet")).unlink()


@pytest.mark.parametrize("harm", [flip_a_byte, lose_a_file])
def test_a_file_that_changed_after_landing_is_noticed(zone: Zone, harm: Callable[[Path], None]) -> None:
    """Verification names the file and what to do; a rebuild must never use it silently."""
    landed = zone.raw.land(BATCH, zone.staged)

    harm(zone.directory)

    with pytest.raises(SpoiltBatchError, match="missing or was changed") as refused:
        zone.raw.verify(landed)
    assert str(refused.value.values["path"]).startswith(str(zone.directory))


def test_an_unreadable_manifest_is_an_error_and_no_absence(zone: Zone) -> None:
    """Taking it for "not landed" would land a second time over what stands there."""
    zone.raw.land(BATCH, zone.staged)
    (zone.directory / "_MANIFEST.json").write_text("{")

    with pytest.raises(TerminalError, match="RawManifest"):
        zone.raw.find(BATCH)


@pytest.mark.parametrize("crashed_between", [False, True])
def test_rows_without_a_key_land_beside_raw(tmp_path: Path, crashed_between: bool) -> None:
    """They keep whole rows in a folder that readers of raw do not see, once, also if the run died after landing them."""
    broken = pa.table({"id": [None, 12, None], "v": ["x", "l", None]})
    zone = Zone(tmp_path, (PARTS[0], broken))
    if crashed_between:
        zone.raw.set_aside(BATCH, zone.staged)

    landed = zone.raw.land(BATCH, zone.staged)

    aside = zone.home / f"_quarantine/load_date=2026-07-01/batch={BATCH.id}"
    rows = ds.dataset(aside, format="parquet").to_table()
    assert rows.to_pylist() == [{"id": None, "v": "x"}, {"id": None, "v": None}]
    assert zone.ids() == [1, 2, 12]
    assert (landed.manifest.rows, landed.manifest.quarantined) == (3, 2)
    visible = ds.dataset(zone.home, format="parquet", partitioning="hive").to_table()
    assert sorted(visible["id"].to_pylist()) == [1, 2, 12]


def test_rows_that_were_set_aside_are_known_by_their_manifest(tmp_path: Path) -> None:
    """Read again and landed anew, raw names those of now; those of a published batch stay as they are."""
    zone = Zone(tmp_path, (PARTS[0], pa.table({"id": [None, 12], "v": ["x", "l"]})))
    aside = zone.home / f"_quarantine/load_date=2026-07-01/batch={BATCH.id}"

    def digest() -> str:
        return hashlib.sha256((aside / "_MANIFEST.json").read_bytes()).hexdigest()

    first = zone.raw.land(BATCH, zone.staged)
    assert first.manifest.aside == digest()
    assert zone.raw.land(BATCH, zone.staged) == first
    more = zone.staging.stage(TABLE, BATCH, SLICES[1], extract_of(pa.table({"id": [None, 12], "v": ["y", "l"]})))
    # The same rows land, and other ones are set aside.
    more = replace(more, manifest=replace(more.manifest, files=zone.staged[1].manifest.files))
    (source,) = zone.staged[1].manifest.files
    (Path(more.directory) / source.path).unlink()
    (Path(more.directory) / source.path).hardlink_to(Path(zone.staged[1].directory) / source.path)
    second = zone.raw.land(BATCH, (zone.staged[0], more))
    assert second.manifest.aside == digest() != first.manifest.aside
    assert zone.raw.find(BATCH) == second
    zone.raw.mark_published(MARK)
    other = zone.staging.stage(TABLE, BATCH, SLICES[1], extract_of(pa.table({"id": [None, 13], "v": ["z", "l"]})))
    with pytest.raises(TransientError, match="published by another run"):
        zone.raw.land(BATCH, (zone.staged[0], other))
    assert second.manifest.aside == digest()


def test_a_batch_without_rows_lands_with_its_columns(tmp_path: Path) -> None:
    """An emptied source is a result as well: the schema is kept."""
    empty = PARTS[0].slice(0, 0)
    zone = Zone(tmp_path, (empty, empty))

    landed = zone.raw.land(BATCH, zone.staged)

    assert landed.manifest.rows == 0
    assert pq.read_schema(min(zone.directory.glob("*.parquet"))).names == ["id", "v"]


def test_a_publication_is_marked_in_raw(zone: Zone) -> None:
    """The marker says which batch it is and which came before; readers do not mind it, and verification still holds."""
    landed = zone.raw.land(BATCH, zone.staged)
    assert not zone.raw.is_published(BATCH.load_date, BATCH.id)

    zone.raw.mark_published(MARK)

    assert zone.raw.is_published(BATCH.load_date, BATCH.id)
    assert json.loads((zone.directory / "_PUBLISHED").read_text()) == {
        "batch_id": BATCH.id,
        "sequence": 7,
        "previous": "before",
        "load_date": "2026-07-01",
    }
    zone.raw.verify(landed)
    assert zone.ids() == ALL_IDS


def test_a_batch_that_was_given_up_is_marked_in_raw(zone: Zone) -> None:
    """Maintenance may remove it then; a batch that is marked as published is never marked as given up."""
    zone.raw.land(BATCH, zone.staged)

    zone.raw.mark_abandoned(BATCH)

    assert json.loads((zone.directory / "_ABANDONED").read_text())["id"] == BATCH.id
    (zone.directory / "_ABANDONED").unlink()
    zone.raw.mark_published(MARK)
    zone.raw.mark_abandoned(BATCH)
    assert not (zone.directory / "_ABANDONED").exists()


def test_a_batch_that_never_landed_is_not_marked(zone: Zone) -> None:
    """A marker alone would look like a batch."""
    zone.raw.mark_abandoned(replace(BATCH, id="20260701_000099_0badcafe"))
    zone.raw.mark_published(replace(MARK, batch_id="20260701_000099_0badcafe"))

    assert not zone.home.exists()
