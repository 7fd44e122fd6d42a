"""Files of HDFS lent on this machine: what is refused before the first byte moves, and what is left afterwards."""

import shutil
from pathlib import Path
from typing import cast

import pytest

from ingestion_runtime.model.errors import TerminalError, TransientError
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.nearby import NearFiles

FAR = "hdfs://nn:8020/raw/g=a%2Fb/part ü.parquet"


class Depot:
    """Files on HDFS of which each holds its own path; ``size`` is told of all."""

    def __init__(self, size: int = 5) -> None:
        self._size = size

    def size(self, path: str) -> int:  # noqa: ARG002 - the protocol's
        return self._size

    def adopt(self, source: str, target: str) -> None:
        if "gone" in source:
            raise FileNotFoundError(2, "No such file", source)
        Path(target).write_text(source)


def near(root: Path, size: int = 5) -> NearFiles:
    return NearFiles(cast("Files", Depot(size)), str(root / "scratch"))


def test_local_files_are_lent_as_they_are(tmp_path: Path) -> None:
    """Nothing is made for them, and nothing removed."""
    file = tmp_path / "file"
    file.write_text("rows")
    with near(tmp_path) as lender, lender.lend([str(file)]) as (path,):
        assert path == str(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_copy_lies_where_its_path_says_for_as_long_as_it_is_lent(tmp_path: Path) -> None:
    """Below a folder that nobody else may look into, and that is gone in the end."""
    other = "hdfs://other/raw/g=a%2Fb/part ü.parquet"
    with near(tmp_path) as lender:
        with lender.lend([FAR, other, FAR]) as lent:
            assert lent == (lender.path(FAR), lender.path(other), lender.path(FAR))
            assert [Path(path).read_text() for path in lent] == [FAR, other, FAR]
            assert lender.root + FAR.removeprefix("hdfs://") == lent[0]
            assert lender.folder.stat().st_mode & 0o077 == 0
        assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert not list((tmp_path / "scratch").iterdir())


def test_a_file_that_is_gone_takes_the_others_of_its_portion_with_it(tmp_path: Path) -> None:
    with near(tmp_path) as lender:
        with pytest.raises(FileNotFoundError), lender.lend([FAR, "hdfs://nn/gone"]):
            pytest.fail("lent what is not there")
        assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_what_the_disk_cannot_hold_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    """With what is needed, what is free and where."""
    size = shutil.disk_usage(tmp_path).free
    with (
        near(tmp_path, size) as lender,
        pytest.raises(
            TransientError, match=r"MiB of HDFS have to be copied to .*/scratch .* MiB are free there\. Make room"
        ),
        lender.lend([FAR]),
    ):
        pytest.fail("lent what does not fit")
    assert not list((tmp_path / "scratch").iterdir())


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A manifest that was tampered with must not have files of this machine overwritten and removed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with near(tmp_path) as lender, pytest.raises(TerminalError, match="no path of ours"):
        lender.path("hdfs://nn/../../../victim")
    with near(tmp_path) as lender, pytest.raises(TerminalError), lender.lend(["hdfs://nn/../../../victim"]):
        pytest.fail("lent a file of this machine's")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("sizes", "pieces"),
    [([], []), ([10], [1]), ([4, 6], [2]), ([4, 7], [1, 1]), ([11, 1, 1], [1, 2]), ([1, 9, 1, 20, 3], [2, 1, 1, 1])],
)
def test_portions_hold_what_fits(sizes: list[int], pieces: list[int]) -> None:
    """In order; a file that is too large is one by itself. Local ones need no room."""
    lender = NearFiles(cast("Files", Depot()), "/nowhere", portion_bytes=10)
    for scheme, expected in (("hdfs://nn", pieces), ("", [len(sizes)] if sizes else [])):
        files = [(f"{scheme}/f{place}", size) for place, size in enumerate(sizes)]
        found = list(lender.portions(files))
        assert [len(piece) for piece in found] == expected
        assert [path for piece in found for path in piece] == [path for path, _ in files]
