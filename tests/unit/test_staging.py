"""Staged slices: only what this very batch staged, whole and unchanged, is used again."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.model.batch import StagedSlice
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import NullKeys, StagingSpec, TableSpec
from ingestion_runtime.staging import Staging
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch
from tests.extracts import MemoryExtract, extract_of

TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",), incremental_column="updated_at")
ROWS = pa.table({"id": [1, 2, 3], "v": ["a", "b", None]})
MORE = pa.table({"id": [4], "v": ["d"]})
HOUR = 3600.0


def window(low: str, high: str, ordinal: int = 0) -> Slice:
    return Slice(ordinal, Interval(Watermark(CursorType.INT, low), Watermark(CursorType.INT, high)))


PIECE = window("0", "10")
BATCH = make_batch(TABLE, 1, base="before", slices=(PIECE,))


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(StagingSpec(str(tmp_path / "staging")), LocalFiles())


def staged(staging: Staging, table: TableSpec = TABLE) -> StagedSlice:
    return staging.stage(table, BATCH, PIECE, extract_of(ROWS, MORE))


def test_a_slice_lies_where_the_specification_says(staging: Staging, tmp_path: Path) -> None:
    """{root}/{schema}/{table}/inc={column}/slices/{16 hex}, with an attempt directory below it."""
    found = Path(staged(staging).directory)

    place = found.parent.relative_to(tmp_path)
    assert re.fullmatch(r"staging/shop/orders/inc=updated_at/slices/[0-9a-f]{16}", str(place))
    assert re.fullmatch(r"attempt=[0-9a-f]{8}", found.name)


def test_a_full_refresh_is_staged_under_a_dash(staging: Staging, tmp_path: Path) -> None:
    """There is no cursor column to name."""
    table = replace(TABLE, mode="full", incremental_column=None)

    directory = staging.slice_directory(table, make_batch(table, 1), Slice(0))

    assert re.fullmatch(r"staging/shop/orders/inc=-/slices/[0-9a-f]{16}", str(Path(directory).relative_to(tmp_path)))


def test_the_manifest_names_batch_base_slice_and_every_file(staging: Staging) -> None:
    """Sizes, hashes and row counts are those of the files on disk."""
    found = staged(staging)

    document = json.loads(Path(found.directory, "_MANIFEST.json").read_text())
    assert (document["batch_id"], document["base"], document["attempt"]) == (
        BATCH.id,
        "before",
        found.directory.rpartition("attempt=")[2],
    )
    assert document["slice"]["window"]["high"]["literal"] == "10"
    expected = [
        {
            "path": path.name,
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": pq.read_table(path).num_rows,
        }
        for path in sorted(Path(found.directory).glob("*.parquet"))
    ]
    assert document["files"] == expected
    assert [file["rows"] for file in expected] == [3, 1]
    assert document["fields"] == [
        {"name": "id", "type": "int64", "former": None},
        {"name": "v", "type": "string", "former": None},
    ]
    assert (found.manifest.rows, found.manifest.quarantined) == (4, 0)


def test_markers_stand_beside_the_attempt(staging: Staging) -> None:
    """_RANGE.json tells whose slice it is, _SUCCESS that it is staged, _LANDED that it is in raw."""
    found = staged(staging)
    slice_directory = Path(found.directory).parent

    assert {path.name for path in slice_directory.iterdir()} == {"_RANGE.json", "_SUCCESS", Path(found.directory).name}
    assert json.loads((slice_directory / "_RANGE.json").read_text())["batch_id"] == BATCH.id
    staging.mark_landed(found)
    assert (slice_directory / "_LANDED").exists()


def test_a_staged_slice_is_found_again(staging: Staging) -> None:
    """The same batch and the same slice need not be read twice."""
    found = staged(staging)

    assert staging.find(TABLE, BATCH, PIECE) == found


def test_the_manifest_is_written_last(staging: Staging) -> None:
    """While the rows are written, and when that fails, no manifest exists and nothing can be found."""
    seen: list[object] = []

    class Failing:
        def write_parquet(self, directory: str) -> None:
            extract_of(ROWS).write_parquet(directory)
            seen.append(staging.find(TABLE, BATCH, PIECE))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        staging.stage(TABLE, BATCH, PIECE, Failing())  # type: ignore[arg-type]

    assert seen == [None]
    assert staging.find(TABLE, BATCH, PIECE) is None
    assert not list(Path(staging.slice_directory(TABLE, BATCH, PIECE)).rglob("_MANIFEST.json"))


def test_markers_without_a_manifest_prove_nothing(staging: Staging) -> None:
    """A directory with all files, _SUCCESS and _LANDED is not reused when its manifest is missing."""
    found = staged(staging)
    staging.mark_landed(found)

    Path(found.directory, "_MANIFEST.json").unlink()

    assert (Path(found.directory).parent / "_SUCCESS").exists()
    assert staging.find(TABLE, BATCH, PIECE) is None


def test_an_unreadable_manifest_is_as_good_as_none(staging: Staging) -> None:
    """A slice can be read again; the sound attempt beside it is found."""
    Path(staged(staging).directory, "_MANIFEST.json").write_text('{"batch_id"')
    assert staging.find(TABLE, BATCH, PIECE) is None

    again = staged(staging)

    assert staging.find(TABLE, BATCH, PIECE) == again


def flip_a_byte(directory: Path) -> None:
    path = directory / "part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_a_file(directory: Path) -> None:
    path = directory / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])


def lose_a_file(directory: Path) -> None:
    (directory / "part-00000.parquet").unlink()


@pytest.mark.parametrize("harm", [flip_a_byte, cut_a_file, lose_a_file])
def test_a_slice_whose_files_changed_is_not_reused(staging: Staging, harm: Callable[[Path], None]) -> None:
    """Every file has to have its recorded size and hash, or the slice is read again."""
    found = staged(staging)

    harm(Path(found.directory))

    assert staging.find(TABLE, BATCH, PIECE) is None


def test_a_divided_read_is_one_slice_of_all_its_parts(staging: Staging) -> None:
    """Directories read=* below the attempt belong to it; what a dead read left elsewhere does not."""

    class Divided(MemoryExtract):
        def write_parquet(self, directory: str) -> None:
            for part, rows in (("read=0", ROWS), ("read=1", MORE), ("_temporary", MORE)):
                extract_of(rows).write_parquet(f"{directory}/{part}")

    found = staging.stage(TABLE, BATCH, PIECE, Divided((ROWS,), []))
    assert [file.path for file in found.manifest.files] == ["read=0/part-00000.parquet", "read=1/part-00000.parquet"]
    assert found.manifest.rows == 4
    assert staging.find(TABLE, BATCH, PIECE) == found
    (Path(found.directory) / "read=1/part-00000.parquet").write_bytes(b"")
    assert staging.find(TABLE, BATCH, PIECE) is None


def test_null_keys_of_a_divided_read_are_set_aside_part_by_part(staging: Staging) -> None:
    """Files of equal names in two parts do not overwrite each other."""
    rows = pa.table({"id": [1, None], "v": ["a", "b"]})
    table = replace(TABLE, null_keys=NullKeys.QUARANTINE)

    class Divided(MemoryExtract):
        def write_parquet(self, directory: str) -> None:
            for part in ("read=0", "read=1"):
                extract_of(rows).write_parquet(f"{directory}/{part}")

    found = staging.stage(table, BATCH, PIECE, Divided((rows,), []))
    assert (found.manifest.rows, found.manifest.quarantined) == (2, 2)
    assert staging.find(table, BATCH, PIECE) == found


def test_a_slice_whose_quarantined_rows_changed_is_not_reused(staging: Staging) -> None:
    """Rows set aside are as much part of the batch as the others."""
    table = replace(TABLE, null_keys=NullKeys.QUARANTINE)
    found = staging.stage(table, BATCH, PIECE, extract_of(pa.table({"id": [1, None], "v": ["a", "b"]})))
    assert staging.find(table, BATCH, PIECE) == found

    next(Path(found.directory, "_quarantine").iterdir()).unlink()

    assert staging.find(table, BATCH, PIECE) is None


def test_a_new_attempt_stands_in_for_a_damaged_one(staging: Staging) -> None:
    """The slice is staged again beside the broken attempt, and the sound one is found."""
    flip_a_byte(Path(staged(staging).directory))

    again = staged(staging)

    assert staging.find(TABLE, BATCH, PIECE) == again


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_batch(TABLE, 2, base="before", slices=(PIECE,)), id="another batch"),
        pytest.param(replace(BATCH, base="later"), id="another base"),
        pytest.param(replace(BATCH, base=None), id="no base"),
    ],
)
def test_a_slice_of_another_batch_or_base_is_never_reused(staging: Staging, other: object) -> None:
    """The same window read by an older batch holds older rows."""
    staged(staging)

    assert staging.find(TABLE, other, PIECE) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [window("0", "11"), window("1", "10"), window("0", "10", ordinal=1), Slice(0)], ids=str)
def test_another_slice_of_the_same_batch_is_another_directory(staging: Staging, other: Slice) -> None:
    """A slice is its ordinal and its bounds: none stands in for a neighbour."""
    staged(staging)

    assert staging.find(TABLE, BATCH, other) is None


def test_a_manifest_copied_from_another_batch_convinces_nobody(staging: Staging) -> None:
    """What the manifest says counts, not where it lies."""
    found = staged(staging)
    other = make_batch(TABLE, 2, base="before", slices=(PIECE,))
    theirs = Path(staging.slice_directory(TABLE, other, PIECE))
    theirs.parent.mkdir(parents=True, exist_ok=True)
    Path(found.directory).parent.rename(theirs)

    assert staging.find(TABLE, other, PIECE) is None


def test_null_keys_are_refused_with_their_count_and_the_column(staging: Staging) -> None:
    """The policy "refuse" leaves nothing staged and says how many rows lack which key."""
    table = replace(TABLE, primary_keys=("id", "line"))
    rows = pa.table({"id": [1, None, None, 4], "line": [1, 1, None, None], "v": list("abcd")})

    with pytest.raises(TerminalError, match=r"3 rows have a NULL in the primary key \(id, line\)") as refused:
        staging.stage(table, BATCH, PIECE, extract_of(rows))

    assert refused.value.values["rows"] == 3
    assert "quarantine" in refused.value.remedy
    assert not list(Path(staging.slice_directory(table, BATCH, PIECE)).rglob("*.parquet"))
    assert staging.find(table, BATCH, PIECE) is None


def test_null_keys_are_set_aside_as_whole_rows(staging: Staging) -> None:
    """The policy "quarantine" moves them below _quarantine; the batch's own rows exclude them, and both are counted."""
    table = replace(TABLE, null_keys=NullKeys.QUARANTINE)
    mixed = pa.table({"id": [1, None, 3, None], "v": ["a", "b", None, "d"]})

    found = staging.stage(table, BATCH, PIECE, extract_of(mixed, MORE))

    directory = Path(found.directory)
    kept = pa.concat_tables(pq.read_table(directory / file.path) for file in found.manifest.files)
    aside = pa.concat_tables(pq.read_table(directory / file.path) for file in found.manifest.quarantine)
    assert kept.to_pylist() == [{"id": 1, "v": "a"}, {"id": 3, "v": None}, {"id": 4, "v": "d"}]
    assert aside.to_pylist() == [{"id": None, "v": "b"}, {"id": None, "v": "d"}]
    assert [file.path for file in found.manifest.quarantine] == ["_quarantine/part-00000.parquet"]
    assert (found.manifest.rows, found.manifest.quarantined) == (3, 2)
    assert staging.find(table, BATCH, PIECE) == found


def test_a_batch_that_is_over_takes_its_slices_with_it(staging: Staging) -> None:
    """Only its own: another batch's slices stay."""
    staged(staging)
    other = make_batch(TABLE, 2, slices=(PIECE,))
    theirs = staging.stage(TABLE, other, PIECE, extract_of(MORE))

    staging.remove(TABLE, BATCH)

    assert staging.find(TABLE, BATCH, PIECE) is None
    assert staging.find(TABLE, other, PIECE) == theirs


class Leftovers:
    """A staging area as runs have left it, looked at some hours later."""

    def __init__(self, root: Path, *, hours_later: float, ttl_hours: int = 72, enabled: bool = True) -> None:
        spec = StagingSpec(str(root / "staging"), ttl_hours, enabled)
        made = Path(staged(Staging(spec, LocalFiles())).directory).parent
        written = (made / "_RANGE.json").stat().st_mtime
        self.staging = Staging(spec, LocalFiles(), clock=lambda: written + hours_later * HOUR)

    def still_there(self) -> bool:
        return self.staging.find(TABLE, BATCH, PIECE) is not None


def test_clean_up_removes_aged_slices_of_closed_batches(tmp_path: Path) -> None:
    """Older than ttl_hours and no batch that would use them: gone, and counted."""
    left = Leftovers(tmp_path, hours_later=72.1)

    assert left.staging.ttl_cleanup([TABLE], {"another batch"}) == 1
    assert not left.still_there()
    assert left.staging.ttl_cleanup([TABLE], set()) == 0


def test_clean_up_spares_open_batches(tmp_path: Path) -> None:
    """A batch that waits for its rerun keeps its slices, however old they are."""
    left = Leftovers(tmp_path, hours_later=10_000)

    assert left.staging.ttl_cleanup([TABLE], {BATCH.id}) == 0
    assert left.still_there()


def test_clean_up_spares_young_slices(tmp_path: Path) -> None:
    """Right up to the configured hours."""
    left = Leftovers(tmp_path, hours_later=71.9)

    assert left.staging.ttl_cleanup([TABLE], set()) == 0
    assert left.still_there()


def test_clean_up_can_be_switched_off(tmp_path: Path) -> None:
    """staging.enabled false: nothing is removed at any age, and staging itself works on."""
    left = Leftovers(tmp_path, hours_later=10_000, enabled=False)

    assert left.staging.ttl_cleanup([TABLE], set()) == 0
    assert left.still_there()


def test_clean_up_looks_at_the_given_tables_only(tmp_path: Path) -> None:
    """Another configuration's tables may share the root, and a directory that is no slice is not ours."""
    left = Leftovers(tmp_path, hours_later=10_000)
    strange = tmp_path / "staging/shop/orders/inc=updated_at/slices/by-hand"
    strange.mkdir()

    assert left.staging.ttl_cleanup([replace(TABLE, table="customers")], set()) == 0
    assert left.still_there()
    assert left.staging.ttl_cleanup([TABLE], set()) == 1
    assert strange.exists()
