"""The file system's few verbs on a real disk."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.tools.files import LocalFiles

FILES = LocalFiles()


def test_a_text_is_written_whole_with_its_folders(tmp_path: Path) -> None:
    """Nothing but the file remains, in UTF-8, whatever the machine's locale."""
    path = tmp_path / "a/b/text.json"

    FILES.write_text(str(path), "größer 日本\n")

    assert path.read_bytes() == "größer 日本\n".encode()
    assert FILES.read_text(str(path)) == "größer 日本\n"
    assert [p.name for p in path.parent.iterdir()] == ["text.json"]


def test_a_text_that_is_replaced_is_never_seen_half(tmp_path: Path) -> None:
    """A reader beside the writer finds one of the texts, whole, at every moment."""
    path = str(tmp_path / "text")
    texts = {letter * 100_000 for letter in "ab"}
    FILES.write_text(path, "a" * 100_000)
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.add(Path(path).read_text(encoding="utf-8"))

    reader = threading.Thread(target=watch)
    reader.start()
    for number in range(100):
        FILES.write_text(path, "ab"[number % 2] * 100_000)
    over.set()
    reader.join()

    assert seen <= texts


def test_a_file_that_holds_no_text_is_told_by_its_name(tmp_path: Path) -> None:
    """Half a disk block in place of a manifest: an error of ours, which readers of manifests know how to take."""
    path = tmp_path / "text.json"
    path.write_bytes(b"{\xff\xfe")

    with pytest.raises(TerminalError, match="holds no text") as refused:
        FILES.read_text(str(path))

    assert refused.value.values["path"] == str(path)


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """The new text is built beside the old one; a lone surrogate cannot be encoded."""
    path = tmp_path / "text"
    FILES.write_text(str(path), "old")

    with pytest.raises(UnicodeEncodeError):
        FILES.write_text(str(path), "new \ud800")

    assert path.read_text() == "old"


def test_names_are_sorted_and_none_where_there_is_no_directory(tmp_path: Path) -> None:
    """A listing decides the order of files, so it must not depend on the disk."""
    for name in ("b", "a", ".c", "10", "9"):
        (tmp_path / name).touch()

    assert FILES.names(str(tmp_path)) == (".c", "10", "9", "a", "b")
    assert FILES.names(str(tmp_path / "missing")) == ()
    assert FILES.names(str(tmp_path / "a")) == ()


def test_an_adopted_file_survives_the_first_name(tmp_path: Path) -> None:
    """Raw keeps what staging loses."""
    source, target = tmp_path / "staged", tmp_path / "raw"
    source.write_bytes(b"rows")

    FILES.adopt(str(source), str(target))
    source.unlink()

    assert target.read_bytes() == b"rows"


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staging on another device than raw works as well."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "staged", tmp_path / "raw"
    source.write_bytes(b"rows")

    FILES.adopt(str(source), str(target))

    assert target.read_bytes() == b"rows"
    assert target.stat().st_ino != source.stat().st_ino


def test_a_full_disk_is_no_reason_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a copy can mend is mended by one; everything else is told."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "staged").write_bytes(b"rows")

    with pytest.raises(OSError, match="No space left"):
        FILES.adopt(str(tmp_path / "staged"), str(tmp_path / "raw"))

    assert not (tmp_path / "raw").exists()


def test_size_hash_and_age_are_those_of_the_file(tmp_path: Path) -> None:
    """The hash is SHA-256 in hex, the age counts from the last change to the given moment."""
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1000)
    os.utime(path, (1_000_000, 1_000_000))

    assert FILES.exists(str(path))
    assert FILES.size(str(path)) == 3000
    assert FILES.sha256(str(path)) == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert FILES.age_seconds(str(path), 1_000_060.0) == 60.0


def test_a_directory_in_which_something_lies_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "day/batch").mkdir(parents=True)
    FILES.remove_empty(str(tmp_path / "day"))
    assert (tmp_path / "day/batch").is_dir()
    FILES.remove_empty(str(tmp_path / "day/batch"))
    FILES.remove_empty(str(tmp_path / "day"))
    FILES.remove_empty(str(tmp_path / "never"))
    assert not (tmp_path / "day").exists()


def test_a_directory_moves_in_one_step_and_goes_in_one(tmp_path: Path) -> None:
    """All of it is under the new name; removing what is gone already is fine."""
    FILES.make_directory(str(tmp_path / "old/deep"))
    FILES.make_directory(str(tmp_path / "old/deep"))
    (tmp_path / "old/deep/file").write_bytes(b"x")

    FILES.rename(str(tmp_path / "old"), str(tmp_path / "new"))

    assert (tmp_path / "new/deep/file").read_bytes() == b"x"
    assert not FILES.exists(str(tmp_path / "old"))
    for _ in range(2):
        FILES.remove_tree(str(tmp_path / "new"))
        assert not FILES.exists(str(tmp_path / "new"))
