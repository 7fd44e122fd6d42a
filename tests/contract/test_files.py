"""What staging and raw may rely on, wherever their paths lie: a local disk and HDFS, by one suite."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.tools.files import Files, LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from tests.servers.hdfs import HdfsServer


@dataclass(frozen=True)
class Desk:
    """Verbs, and a directory that nobody else uses."""

    files: Files
    root: str

    def text(self, name: str, content: str = "x") -> str:
        """Write a text and return its path."""
        path = f"{self.root}/{name}"
        self.files.write_text(path, content)
        return path


@pytest.fixture(params=["local", "hdfs"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    if request.param == "local":
        yield Desk(LocalFiles(), str(tmp_path / "desk"))
        return
    server: HdfsServer = request.getfixturevalue("hdfs_server")
    spark = request.getfixturevalue("spark")
    yield Desk(PlacedFiles(LocalFiles(), HdfsFiles(lambda: spark)), server.new_root())


def test_a_text_comes_back_and_replaces_the_one_before(desk: Desk) -> None:
    """Whole, in UTF-8, with the directories it needs and nothing beside it."""
    desk.text("a/b.json", "first")
    path = desk.text("a/b.json", "zweiter ü🚲\n")

    assert desk.files.read_text(path) == "zweiter ü🚲\n"
    assert desk.files.size(path) == len("zweiter ü🚲\n".encode())
    assert desk.files.sha256(path) == hashlib.sha256("zweiter ü🚲\n".encode()).hexdigest()
    assert desk.files.names(f"{desk.root}/a") == ("b.json",)
    assert abs(desk.files.age_seconds(path, time.time())) < 60


def test_a_reader_sees_the_old_text_or_the_new_one(desk: Desk) -> None:
    """Replacing is one step: somebody who reads all the while never meets an absent, an empty or half a text."""
    path = desk.text("a", "0" * 5000)
    seen: set[str] = set()
    over = False

    def read() -> None:
        while not over:
            seen.add(desk.files.read_text(path))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for number in range(1, 10):
            desk.text("a", str(number) * 5000)
        over = True
        reading.result(30)

    assert seen <= {str(number) * 5000 for number in range(10)}


def test_what_is_not_there(desk: Desk) -> None:
    """Asking is fine, listing finds nothing, reading says so, and removing needs no care."""
    path = f"{desk.root}/nothing"

    assert not desk.files.exists(path)
    assert desk.files.names(path) == ()
    for look in (desk.files.size, desk.files.sha256, desk.files.read_text):
        with pytest.raises(FileNotFoundError):
            look(path)
    desk.files.remove_tree(path)


def test_a_file_that_is_no_text_is_refused(desk: Desk, tmp_path: Path) -> None:
    """With its path, as a final error: reading it again would not help."""
    path = f"{desk.root}/binary"
    with desk.files.replacing(path) as written:
        written.write_bytes(b"\xff\xfe")

    with pytest.raises(TerminalError, match="binary holds no text"):
        desk.files.read_text(path)


def test_an_adopted_file_outlives_the_first_name(desk: Desk) -> None:
    """Raw keeps what staging removes."""
    source = desk.text("staged/file", "rows")
    desk.files.make_directory(f"{desk.root}/raw")

    desk.files.adopt(source, f"{desk.root}/raw/file")
    desk.files.remove_tree(f"{desk.root}/staged")

    assert desk.files.read_text(f"{desk.root}/raw/file") == "rows"


def test_a_file_is_adopted_from_and_to_a_local_disk(desk: Desk, tmp_path: Path) -> None:
    """Staging and raw may lie in two places; nothing but the file arrives, under its very name."""
    near = tmp_path / "near" / "inc=a b" / "ü'%3D[*]?#"
    near.parent.mkdir(parents=True)
    near.write_text("rows")
    desk.files.make_directory(desk.root)

    desk.files.adopt(str(near), f"{desk.root}/inc=%2F ü#?")
    desk.files.adopt(f"{desk.root}/inc=%2F ü#?", str(near.with_name("back:1")))

    assert near.with_name("back:1").read_text() == "rows"
    assert sorted(path.name for path in near.parent.iterdir()) == ["back:1", near.name]
    assert desk.files.names(desk.root) == ("inc=%2F ü#?",)


def test_a_directory_moves_in_one_step_to_a_free_name(desk: Desk) -> None:
    """With all that is in it."""
    desk.text("from/a", "1")
    desk.text("from/b/c", "2")

    desk.files.rename(f"{desk.root}/from", f"{desk.root}/to")

    assert desk.files.names(f"{desk.root}/to") == ("a", "b")
    assert desk.files.read_text(f"{desk.root}/to/b/c") == "2"
    assert not desk.files.exists(f"{desk.root}/from")


def test_a_directory_never_moves_onto_or_into_another(desk: Desk) -> None:
    """A name that is taken is an error, and both directories stay as they were."""
    desk.text("from/a", "1")
    desk.text("to/b", "2")

    with pytest.raises(OSError, match="to"):
        desk.files.rename(f"{desk.root}/from", f"{desk.root}/to")

    assert desk.files.names(f"{desk.root}/from") == ("a",)
    assert desk.files.names(f"{desk.root}/to") == ("b",)


def test_parquet_is_read_through_an_open_file(desk: Desk) -> None:
    """Footer and rows, from files of several row groups."""
    rows = pa.table({"id": range(5000), "text": [f"ü{n}" for n in range(5000)]})
    path = f"{desk.root}/part.parquet"
    with desk.files.replacing(path) as written:
        pq.write_table(rows, written, row_group_size=700)

    with desk.files.open(path) as stream:
        assert pq.read_metadata(stream).num_rows == 5000
    with desk.files.open(path) as stream:
        assert pq.read_table(stream).equals(rows)


def test_what_was_not_finished_does_not_appear(desk: Desk) -> None:
    """A replacement that fails half-way leaves the old file."""
    path = desk.text("file", "old")

    def fail() -> None:
        with desk.files.replacing(path) as written:
            written.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert desk.files.read_text(path) == "old"


def test_hdfs_in_safe_mode_is_an_outage(hdfs_server: HdfsServer, request: pytest.FixtureRequest) -> None:
    """Worth a retry, with what to look at; reading still works."""
    spark = request.getfixturevalue("spark")
    desk = Desk(HdfsFiles(lambda: spark), hdfs_server.new_root())
    path = desk.text("before", "x")
    hdfs_server.set_safe_mode(on=True)
    try:
        with pytest.raises(TransientError, match=r"^HDFS could not serve the run: Cannot create file.*safe mode"):
            desk.text("during")
        assert desk.files.read_text(path) == "x"
    finally:
        hdfs_server.set_safe_mode(on=False)
