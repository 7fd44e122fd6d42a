"""Failures that come again are told together."""

import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from ingestion_runtime.progress.failures import (
    FailureGroup,
    failures_document,
    group_failures,
    message_pattern,
    print_failures,
)
from ingestion_runtime.progress.history import read_runs
from tests.eventlog import NIGHT, Story


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("shop.orders: 17 rows of 1,234 are late.", "<table>: <n> rows of <n> are late."),
        ("Column 'price' (NUMERIC) of \"orders\" holds `x 1`.", "Column '…' (NUMERIC) of '…' holds '…'."),
        ("Batch 20260701_000017_9a6a98b8 is open.", "Batch <id> is open."),
        ("Snapshot 0123456789abcdef0123 is gone.", "Snapshot <id> is gone."),
        ("Run 123e4567-e89b-12d3-a456-426614174000 holds it.", "Run <id> holds it."),
        ("At 12:30:05.123 on 10.0.0.1:5432", "At <n> on <n>"),
        ("no answer\n  since   3 s", "no answer since <n> s"),
        ("defaced facade", "defaced facade"),
        ("It's gone", "It's gone"),
        ("", ""),
    ],
)
def test_a_message_keeps_what_is_the_same_in_every_case(message: str, pattern: str) -> None:
    assert message_pattern(message, "shop.orders") == pattern


def nights(directory: Path) -> tuple[FailureGroup, ...]:
    """Three nights: a full disk in two of them, another failure in the last; an interrupted table."""
    names = [f"shop.t{number}" for number in range(4)]
    for number in range(3):
        story = Story(directory, f"run-{number}", NIGHT + timedelta(days=number)).begin(names)
        if number < 2:
            story.fail(names[0], f"The disk is full ({number} bytes left).").fail(
                names[1], "The disk is full (9 bytes left)."
            )
        else:
            story.fail(names[0], "No column 'x'.", "Correct it.", code=1).fail(names[3], "Stopped.", code=143)
        story.whole(names[2]).end()
    return group_failures(read_runs(str(directory)))


def test_failures_of_one_kind_are_one_group_over_tables_and_runs(tmp_path: Path) -> None:
    disk, column = nights(tmp_path)
    assert (disk.error_type, disk.pattern) == ("TransientError", "<table>: The disk is full (<n> bytes left).")
    assert (disk.count, disk.runs, disk.tables) == (4, 2, (("shop.t0", 2), ("shop.t1", 2)))
    assert disk.first_seen == NIGHT + timedelta(seconds=2)
    assert disk.last_seen == NIGHT + timedelta(days=1, seconds=4)
    assert (disk.remedy, disk.stack_hash, disk.current) == ("Free space, then run again.", "0123456789ab", False)
    assert disk.reason == "shop.t1: The disk is full (9 bytes left)."
    assert (column.error_type, column.count, column.tables, column.current) == ("TerminalError", 1, (("shop.t0", 1),), True)


def test_a_table_that_a_signal_stopped_did_not_fail(tmp_path: Path) -> None:
    assert not any("shop.t3" in dict(group.tables) for group in nights(tmp_path))


def test_another_stack_is_another_kind(tmp_path: Path) -> None:
    story = Story(tmp_path).begin(["a.b", "a.c"]).fail("a.b").fail("a.c").end()
    text = story.path.read_text().replace('"a.c: The disk', '"a.c: The disk').splitlines()
    changed = [line.replace("0123456789ab", "ba9876543210") if '"table": "a.c"' in line else line for line in text]
    story.path.write_text("\n".join(changed) + "\n")
    assert sorted(group.stack_hash for group in group_failures(read_runs(str(tmp_path)))) == ["0123456789ab", "ba9876543210"]


def test_nothing_failed_is_an_answer(tmp_path: Path) -> None:
    Story(tmp_path).begin(["a.b"]).whole("a.b").end()
    assert group_failures(read_runs(str(tmp_path))) == group_failures(()) == ()


def printed(directory: Path, *, show_tables: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    runs = read_runs(str(directory))
    print_failures(console, runs, group_failures(runs), show_tables=show_tables)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_people_are_told_how_often_where_and_what_to_do(tmp_path: Path) -> None:
    nights(tmp_path)
    with next(tmp_path.iterdir()).open("a") as log:
        log.write("garbage\n")
    lines = printed(tmp_path, show_tables=True)
    assert lines[0] == "✗ TransientError  4 times in 2 runs  not in the last run"
    assert lines[1] == "  <table>: The disk is full (<n> bytes left)."
    assert lines[3] == "  → Free space, then run again."
    assert lines[4].endswith("stack 0123456789ab, 2 tables")
    assert lines[5:7] == ["    shop.t0  2", "    shop.t1  2"]
    assert "✗ TerminalError  1 time in 1 run  in the last run too" in lines
    assert lines[-2:] == [
        "5 failures of 2 kinds in 3 runs",
        "1 line of the logs could not be read and were passed over",
    ]
    assert not any(line.startswith("    shop.") for line in printed(tmp_path, show_tables=False))


def test_programs_get_the_same(tmp_path: Path) -> None:
    groups = nights(tmp_path)
    document = json.loads(json.dumps(failures_document(read_runs(str(tmp_path)), groups)))
    assert (document["version"], document["runs"], document["garbage"]) == (1, 3, 0)
    first, second = document["failures"]
    assert (first["count"], first["runs"], first["current"], first["tables"]) == (4, 2, False, {"shop.t0": 2, "shop.t1": 2})
    assert (second["type"], second["remedy"], second["stack_hash"]) == ("TerminalError", "Correct it.", "0123456789ab")
