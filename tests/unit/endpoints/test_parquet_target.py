"""A plain Parquet directory as a target: what only a link that moves can promise."""

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.model.batch import Batch, TableKey, WriteMode
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import TargetHead, Written
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch, make_payload, make_receipt
from tests.targets import ParquetPlace, local_tools

TABLE = TableSpec("shop", "stores", "full", "source")


class Story:
    """One directory, batch after batch."""

    def __init__(self, root: Path, table: TableSpec = TABLE) -> None:
        self.root = root
        self.table = table
        self.place = ParquetPlace(root / "final")
        self.link = self.place.link(table)
        self.folder = self.link.with_name(f".{table.table}")
        self.last: Batch | None = None

    @property
    def target(self) -> ParquetTarget:
        return self.place.open(self.table)

    def head(self) -> TargetHead:
        head = self.target.head()
        assert head is not None
        return head

    def write(self, number: int, rows: pa.Table, attempt: str = "a1") -> tuple[Batch, Written]:
        base = self.last.id if self.last else None
        batch = make_batch(self.table, number, base=base, write=WriteMode.REPLACE)
        payload = make_payload(self.root / f"payload-{number}-{attempt}", batch, rows)
        return batch, self.target.write(batch, attempt, payload, self.target.prepare(payload))

    def publish(self, number: int, attempt: str = "a1") -> Path:
        """Publish a batch whose one row holds its number, and return the folder that readers open."""
        batch, written = self.write(number, pa.table({"n": [number]}), attempt)
        self.target.publish(batch.base, written, make_receipt(batch))
        self.last = batch
        return self.link.resolve()


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_readers_open_the_table_under_its_plain_name(story: Story) -> None:
    """final_root/schema/table is a link to the batch; the folder of batches is hidden from those who list tables."""
    folder = story.publish(1)

    assert story.link == story.root / "final/shop/stores"
    assert story.link.is_symlink()
    assert folder.parent == story.folder
    assert ds.dataset(story.link, format="parquet").to_table()["n"].to_pylist() == [1]
    assert story.target.key == TableKey(str(story.root / "final"), "shop", "stores")


def test_the_folder_can_be_moved_as_a_whole(story: Story, tmp_path: Path) -> None:
    """The link is relative: a copy or another mount point reads the same rows."""
    story.publish(1)

    (tmp_path / "final").rename(tmp_path / "elsewhere")

    assert ds.dataset(tmp_path / "elsewhere/shop/stores", format="parquet").to_table()["n"].to_pylist() == [1]


def test_a_replaced_batch_stays_readable_until_the_next_publish(story: Story) -> None:
    """Who has opened the old batch can finish; one publish later its folder is gone."""
    first = story.publish(1)
    second = story.publish(2)
    assert ds.dataset(first, format="parquet").to_table()["n"].to_pylist() == [1]

    third = story.publish(3)

    assert not first.exists()
    assert ds.dataset(second, format="parquet").to_table()["n"].to_pylist() == [2]
    assert {path for path in story.folder.iterdir() if path.is_dir()} == {second, third}


def test_a_takeover_spares_the_batch_that_readers_may_be_at(story: Story) -> None:
    """The batch before the current one is no stale branch: what a guard drops are the unpublished ones."""
    first = story.publish(1)
    second = story.publish(2)
    _, stale = story.write(3, pa.table({"n": [3]}))

    head = story.head()
    story.target.guard(9, head.branches)

    assert head.branches == (stale.branch,)
    assert {path for path in story.folder.iterdir() if path.is_dir()} == {first, second}


def test_a_publish_sweeps_what_dead_attempts_left(story: Story) -> None:
    """Folders that never became the table are removed by the next batch that does."""
    story.publish(1)
    _, dead = story.write(2, pa.table({"n": [0]}), attempt="dead")
    assert (story.folder / dead.branch).exists()

    story.publish(2)

    assert not (story.folder / dead.branch).exists()


def test_at_every_moment_the_name_leads_to_a_whole_batch(story: Story) -> None:
    """While batches are published one after another, the link is never missing and never leads to a half one."""
    story.publish(0)
    seen: list[int] = []
    broken: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            try:
                for _ in range(100):
                    folder = story.link.readlink()
            except OSError as error:
                broken.append(str(error))
                continue
            try:
                seen.append(pq.read_table(story.link.parent / folder / "part-00000.parquet")["n"][0].as_py())
            except OSError as error:
                # Two publishes later a batch may be gone; the one that the name leads to may not.
                if story.link.readlink() == folder:
                    broken.append(str(error))

    reader = threading.Thread(target=watch)
    reader.start()
    for number in range(1, 60):
        story.publish(number)
    over.set()
    reader.join()

    assert broken == []
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_the_table_keeps_its_rows_when_raw_is_removed(story: Story) -> None:
    """It shares bytes with raw, not their fate."""
    batch, written = story.write(1, pa.table({"n": [1]}))
    story.target.publish(None, written, make_receipt(batch))

    for path in (story.root / "payload-1-a1").iterdir():
        path.unlink()

    assert story.place.read(story.table) == [{"n": 1}]


def test_a_directory_in_the_place_of_the_link_is_never_replaced(story: Story) -> None:
    """It is somebody's data: reported as damage, and refused before anything is written."""
    story.link.mkdir(parents=True)
    (story.link / "theirs.csv").write_text("1")

    assert story.head().damage is not None
    with pytest.raises(TerminalError, match="did not make"):
        story.write(1, pa.table({"n": [1]}))

    assert (story.link / "theirs.csv").read_text() == "1"
    assert not story.folder.exists()


def test_a_link_that_leads_nowhere_is_damage_and_can_be_replaced(story: Story) -> None:
    """Somebody removed the batches: the head still answers, and a replacement mends it."""
    story.publish(1)
    LocalFiles().remove_tree(str(story.folder))

    assert story.head().damage is not None
    assert story.head().receipt is None

    story.last = None
    story.publish(2)
    assert story.head().damage is None
    assert story.place.read(story.table) == [{"n": 2}]


def test_distinct_keys_are_counted_over_all_files_whatever_their_names(tmp_path: Path) -> None:
    """A key in two files is one key, and a dot in a column's name is no path."""
    table = TableSpec("shop", "stores", "full", "source", primary_keys=("a.b", "c"))
    target = ParquetTarget(str(tmp_path / "final"), table, LocalFiles(), local_tools(tmp_path).sql)
    batch = make_batch(table, 1, write=WriteMode.REPLACE)
    payload = make_payload(
        tmp_path / "payload",
        batch,
        pa.table({"a.b": [1, 1, None], "c": ["x", "y", "z"]}),
        pa.table({"a.b": [1, 2, 2], "c": ["x", "x", None]}),
    )

    written = target.write(batch, "a1", payload, target.prepare(payload))

    assert (written.rows, written.keys, written.null_keys) == (6, 3, 2)
