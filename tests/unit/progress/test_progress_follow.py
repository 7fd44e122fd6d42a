"""Logs are followed while they are written, rotated, emptied and replaced."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.model.errors import ConfigError, TransientError
from ingestion_runtime.progress.follow import LOST, Follower, LineSplitter
from ingestion_runtime.progress.history import newest_runs, pick_run, read_runs, require_runs
from ingestion_runtime.progress.places import Place
from tests.eventlog import NIGHT, Story

NOBODY = 65_534


class Watched:
    """A place that is followed; what each look brings."""

    def __init__(self, location: object) -> None:
        self.follower = Follower(Place(str(location)))

    def look(self) -> list[str]:
        return list(self.follower.poll())


@contextmanager
def as_nobody() -> Iterator[None]:
    """Rights mean nothing to root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


@given(st.lists(st.binary(max_size=12)), st.integers(1, 7))
def test_lines_are_the_same_in_whatever_portions_they_come(pieces: list[bytes], size: int) -> None:
    content = b"\n".join(pieces)
    splitter, found = LineSplitter(), []
    for start in range(0, len(content), size):
        found += splitter.feed(content[start : start + size])
    found += splitter.cut()
    whole = content.decode(errors="replace").split("\n") if content.isascii() else None
    expected = [line.decode(errors="replace") for line in content.split(b"\n")]
    assert found == (expected if expected[-1] else expected[:-1])
    assert whole is None or found == (whole if whole[-1] else whole[:-1])


def test_a_line_without_an_end_takes_no_memory_without_end() -> None:
    """It counts as one line that says nothing; the next one is whole again."""
    splitter, found = LineSplitter(), []
    for _ in range(40):
        found += splitter.feed(b"x" * (1 << 20))
    assert found == [LOST]
    assert list(splitter.feed(b"xxx\nnext\n")) == ["next"]


def test_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "run-1.jsonl"
    log.write_text("one\ntw")
    watched = Watched(log)
    assert watched.look() == ["one"]
    assert watched.look() == []
    with log.open("a") as stream:
        stream.write("o\nthree\nfo")
    assert watched.look() == ["two", "three"]


def test_a_file_that_is_not_there_yet_is_read_from_its_beginning_once_it_is(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "later" / "run-1.jsonl")
    assert watched.look() == []
    assert watched.follower.log is None
    (tmp_path / "later").mkdir()
    assert watched.look() == []
    (tmp_path / "later" / "run-1.jsonl").write_text("one\n")
    assert watched.look() == ["one"]


def test_a_file_that_is_renamed_is_read_to_its_end_before_its_successor(tmp_path: Path) -> None:
    """Rotation by renaming: what the writer still adds to the old file comes, and then the new one from its beginning."""
    log = tmp_path / "run-1.jsonl"
    log.write_text("one\n")
    watched = Watched(log)
    assert watched.look() == ["one"]
    with log.open("a") as writer:
        log.rename(tmp_path / "run-1.jsonl.1")
        writer.write("two\n")
        writer.flush()
        assert watched.look() == ["two"]
        writer.write("three\nhal")
    log.write_text("four\n")
    assert watched.look() == ["three", "hal", "four"]
    assert watched.look() == []


@pytest.mark.parametrize("after", ["new\n", "something new that is longer than all that was there before\n"])
def test_a_file_that_is_emptied_is_read_from_its_beginning(tmp_path: Path, after: str) -> None:
    """Rotation by copying and emptying, also where it has grown beyond the place reached when it is looked at again."""
    log = tmp_path / "run-1.jsonl"
    log.write_text("one\ntwo\nhalf")
    watched = Watched(log)
    assert watched.look() == ["one", "two"]
    log.write_text(after)
    assert watched.look() == ["half", after.strip()]
    assert watched.look() == []


def test_a_file_that_is_removed_and_made_again_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "run-1.jsonl"
    log.write_text("one\n")
    watched = Watched(tmp_path)
    assert watched.look() == ["one"]
    log.unlink()
    assert watched.look() == []
    log.write_text("two\n")
    assert watched.look() == ["two"]


def test_in_a_folder_the_run_that_began_last_is_followed(tmp_path: Path) -> None:
    """By the time in its name: an older log may have been touched since. Other files are no logs."""
    older = Story(tmp_path, "old").begin(["a.b"])
    newer = Story(tmp_path, "new", NIGHT + timedelta(hours=1)).begin(["a.b"])
    older.after(9_000).end()
    (tmp_path / "spark-new.log").write_text("no event\n")
    (tmp_path / "run-zzz.jsonl.gz").write_text("no event\n")
    watched = Watched(tmp_path)
    assert watched.look() == newer.lines
    assert watched.follower.log == str(newer.path)


def test_a_newer_run_is_switched_to_after_the_rest_of_the_old_one(tmp_path: Path) -> None:
    older = Story(tmp_path, "old").begin(["a.b"])
    watched = Watched(tmp_path)
    assert watched.look() == older.lines
    older.end()
    newer = Story(tmp_path, "new", NIGHT + timedelta(hours=1)).begin(["a.b"])
    assert watched.look() == [*older.lines[1:], *newer.lines]
    newer.end()
    assert watched.look() == newer.lines[1:]


def test_a_log_that_is_moved_away_does_not_bring_an_older_run_back(tmp_path: Path) -> None:
    Story(tmp_path, "old").begin(["a.b"])
    newer = Story(tmp_path, "new", NIGHT + timedelta(hours=1)).begin(["a.b"])
    watched = Watched(tmp_path)
    assert watched.look() == newer.lines
    newer.path.rename(tmp_path / "moved")
    assert watched.look() == []
    newer.end()
    assert watched.look() == (tmp_path / "moved").read_text().splitlines()[1:]


def test_a_folder_behind_a_link_is_a_folder_and_a_link_to_a_log_a_log(tmp_path: Path) -> None:
    story = Story(tmp_path / "logs").begin(["a.b"])
    (tmp_path / "folder").symlink_to(tmp_path / "logs")
    (tmp_path / "current.jsonl").symlink_to(story.path)
    assert Watched(tmp_path / "folder").look() == story.lines
    assert Watched(tmp_path / "current.jsonl").look() == story.lines


def test_a_link_that_is_turned_to_another_log_is_followed(tmp_path: Path) -> None:
    older, newer = Story(tmp_path / "a", "a").begin(["a.b"]), Story(tmp_path / "b", "b").begin(["a.b"])
    link = tmp_path / "current.jsonl"
    link.symlink_to(older.path)
    watched = Watched(link)
    assert watched.look() == older.lines
    link.unlink()
    link.symlink_to(newer.path)
    assert watched.look() == newer.lines


@pytest.mark.parametrize("part", ["", "/run-out"])
def test_an_outbox_is_read_segment_by_segment(tmp_path: Path, part: str) -> None:
    """In the order of their numbers, whatever the number of digits; hidden names are still being written."""
    folder = tmp_path / "run-out"
    folder.mkdir()
    watched = Watched(f"{tmp_path}{part}")
    assert watched.look() == []
    (folder / "000001.jsonl").write_text("one\ntwo\n")
    (folder / ".000002.jsonl.part").write_text("thr")
    assert watched.look() == ["one", "two"]
    (folder / "1000000.jsonl").write_text("last\n")
    (folder / "999999.jsonl").write_text("last but one\n")
    (folder / ".000002.jsonl.part").rename(folder / "000002.jsonl")
    assert watched.look() == ["thr", "last but one", "last"]
    assert watched.look() == []


def test_a_segment_that_is_written_again_with_more_in_it_is_read_again(tmp_path: Path) -> None:
    """As an outbox does that got no answer to its first try; the lines that come twice are told once."""
    story = Story(tmp_path / "log").begin(["a.b"]).whole("a.b", 5).end()
    folder = tmp_path / "out" / "run-run-1"
    folder.mkdir(parents=True)
    watched = Watched(tmp_path / "out")
    (folder / "000001.jsonl").write_text("".join(f"{line}\n" for line in story.lines[:3]))
    assert watched.look() == story.lines[:3]
    (folder / "000001.jsonl").write_text("".join(f"{line}\n" for line in story.lines))
    assert watched.look() == story.lines
    assert read_runs(str(tmp_path / "out")) == read_runs(str(tmp_path / "log"))


def test_the_outbox_that_a_run_writes_says_what_its_log_says(tmp_path: Path) -> None:
    """On whatever file system fsspec knows."""
    filesystem = fsspec.filesystem("memory")
    try:
        story = Story(tmp_path / "log", outbox="memory://outbox").begin(["a.b", "a.c"]).whole("a.b", 5).fail("a.c").end()
        watched = Watched("memory://outbox")
        assert watched.look() == story.lines
        assert watched.follower.log == "/outbox/run-run-1"
        assert read_runs("memory://outbox") == read_runs(str(story.path))
    finally:
        filesystem.rm("/outbox", recursive=True)


def test_a_log_that_may_not_be_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    log = tmp_path / "run-1.jsonl"
    log.write_text("one\n")
    log.chmod(0)
    watched = Watched(log)
    with as_nobody(), pytest.raises(ConfigError, match=r"may not be read.*Run this as a user"):
        watched.look()


@pytest.mark.parametrize("location", ["nosuch://host/logs", "webhdfs://"])
def test_an_address_of_no_file_system_is_refused(location: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*Name a file"):
        Place(location).logs()


def test_a_file_system_out_of_reach_is_worth_another_try() -> None:
    """Nothing listens on port 1 of this host; the address is told without the credentials that may stand in it."""
    with pytest.raises(TransientError, match=r"webhdfs://127.0.0.1:1/logs cannot be read.*try again") as caught:
        Place("webhdfs://reader:geheim@127.0.0.1:1/logs").newest()
    assert "geheim" not in str(caught.value)


def test_a_path_through_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read"):
        Place(str(tmp_path / "file" / "logs")).logs()


class TestHistory:
    def test_all_runs_of_a_folder_are_read_in_the_order_of_their_starts(self, tmp_path: Path) -> None:
        for number in (2, 0, 1):
            Story(tmp_path, f"run-{number}", NIGHT + timedelta(days=number)).begin(["a.b"]).whole("a.b", number).end()
        assert [(run.run_id, run.rows_read) for run in read_runs(str(tmp_path))] == [
            ("run-0", 0),
            ("run-1", 1),
            ("run-2", 2),
        ]
        assert [run.run_id for run in newest_runs(str(tmp_path))] == ["run-2", "run-1", "run-0"]

    def test_a_log_and_its_outbox_in_one_folder_are_one_run(self, tmp_path: Path) -> None:
        story = Story(tmp_path, outbox=str(tmp_path)).begin(["a.b"]).whole("a.b", 5).end()
        (run,) = read_runs(str(tmp_path))
        (other,) = newest_runs(str(tmp_path))
        assert run.rows_read == other.rows_read == 5
        assert run.run_id == story.run_id

    def test_a_run_is_picked_by_its_number_or_its_id(self, tmp_path: Path) -> None:
        for number in range(3):
            Story(tmp_path, f"run-{number}", NIGHT + timedelta(days=number)).begin(["a.b"]).end()
        assert pick_run(str(tmp_path), "1").run_id == "run-2"
        assert pick_run(str(tmp_path), "3").run_id == "run-0"
        assert pick_run(str(tmp_path), "run-1").run_id == "run-1"

    @pytest.mark.parametrize("wanted", ["0", "4", "-1", "run-9", "", "9" * 5_000, "٣x"])
    def test_a_run_that_is_not_there_is_refused_with_those_that_are(self, tmp_path: Path, wanted: str) -> None:
        for number in range(3):
            Story(tmp_path, f"run-{number}", NIGHT + timedelta(days=number)).begin(["a.b"]).end()
        with pytest.raises(ConfigError, match=r"but 3 others.*run-2, run-1, run-0"):
            pick_run(str(tmp_path), wanted)

    @pytest.mark.parametrize("content", [None, "", "no line of ours\n"])
    def test_a_place_without_a_run_is_refused(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "run-1.jsonl").write_text(content)
        with pytest.raises(ConfigError, match="holds no run"):
            pick_run(str(tmp_path), "1")
        with pytest.raises(ConfigError, match="holds no run"):
            require_runs(str(tmp_path))

    def test_what_is_removed_while_it_is_read_is_passed_over(self, tmp_path: Path) -> None:
        story = Story(tmp_path / "log", outbox=str(tmp_path / "out")).begin(["a.b"]).end()
        place = Place(str(tmp_path / "out"))
        (log,) = place.logs()
        shutil.rmtree(tmp_path / "out")
        assert story.lines
        assert place.logs() == ()
        assert list(Watched(log.path).look()) == []
