"""What goes of an outbox, and what stays."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion_runtime.maintenance.outbox import OldMirror, find_old_mirrors, remove_mirrors
from ingestion_runtime.model.errors import TransientError

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def mirror(root: Path, name: str, days: float, files: tuple[str, ...] = ("000001.jsonl", "000002.jsonl")) -> Path:
    """A run's folder, last written to so many days ago."""
    folder = root / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("x" * 10)
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(folder, (moment, moment))
    return folder


def old(root: Path, days: int = 30) -> set[str]:
    return {found.path.rpartition("/")[2] for found in find_old_mirrors(str(root), days, NOW)}


def test_what_nobody_has_written_to_goes_and_the_newest_run_stays(tmp_path: Path) -> None:
    """Also where the newest is old; a run that began long ago and was written to lately is not over."""
    mirror(tmp_path, "run-20260101T020000-aaaaaa", 170)
    mirror(tmp_path, "run-20260102T020000-long", 3)
    mirror(tmp_path, "run-20260110T020000-bbbbbb", 160, ("000001.jsonl", ".000002.jsonl.part"))
    mirror(tmp_path, "run-20260120T020000-cccccc", 150)
    assert old(tmp_path) == {"run-20260101T020000-aaaaaa", "run-20260110T020000-bbbbbb"}
    assert old(tmp_path, 165) == {"run-20260101T020000-aaaaaa"}
    found = find_old_mirrors(f"file://{tmp_path}", 165, NOW)
    assert found == (OldMirror(str(tmp_path / "run-20260101T020000-aaaaaa"), 20),)


def test_a_folder_without_a_time_is_as_old_as_its_name(tmp_path: Path) -> None:
    """Where a file system keeps none for folders, the beginning of the run counts."""
    for day in ("01", "28", "30"):
        os.utime(mirror(tmp_path, f"run-202606{day}T020000-aaaaaa", 0), (0, 0))
    assert old(tmp_path, 10) == {"run-20260601T020000-aaaaaa"}


def test_nothing_of_anybody_else_goes(tmp_path: Path) -> None:
    """Other names, files, links, folders with other things in them; and where there is no outbox there is nothing."""
    for name in ("run-1", "run-20260101T020000", "RUN-20260101T020000-x", "backup", "run-20269999T020000-x"):
        mirror(tmp_path, name, 999)
    mirror(tmp_path, "run-20260101T020000-kept", 999, ("000001.jsonl", "notes.txt"))
    (mirror(tmp_path, "run-20260101T030000-kept", 999) / "more").mkdir()
    os.utime(tmp_path / "run-20260101T030000-kept", (0, 0))
    (tmp_path / "run-20260101T040000-file").write_text("x")
    (tmp_path / "run-20260101T050000-link").symlink_to(tmp_path / "backup")
    mirror(tmp_path, "run-20260630T020000-last", 1)
    assert old(tmp_path) == set()
    assert old(tmp_path / "missing") == set()


def test_folders_are_removed_with_what_they_hold_and_one_that_is_gone_is_no_error(tmp_path: Path) -> None:
    first, second = (mirror(tmp_path, f"run-2026010{day}T020000-a", 100) for day in (1, 2))
    kept = mirror(tmp_path, "run-20260103T020000-a", 100)
    found = find_old_mirrors(str(tmp_path), 30, NOW)
    (first / "000001.jsonl").unlink()
    (first / "000002.jsonl").unlink()
    first.rmdir()
    remove_mirrors(str(tmp_path), found)
    assert (first.exists(), second.exists(), kept.exists()) == (False, False, True)


def test_an_outbox_out_of_reach_is_worth_another_try() -> None:
    with pytest.raises(TransientError, match="could not be looked through"):
        find_old_mirrors("webhdfs://127.0.0.1:1/outbox", 30, NOW)
