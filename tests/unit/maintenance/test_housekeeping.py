"""What goes of logs, and what stays."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion_runtime.maintenance.housekeeping import find_old_logs

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
STAMP = "20260101T021000"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


def put(folder: Path, name: str, days: float) -> None:
    path = folder / name
    path.write_text("x" * 10)
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


def old(folder: Path, days: int | None = 30) -> set[str]:
    return {log.path.name for log in find_old_logs(folder, days, NOW)}


def test_what_is_older_goes_and_the_newest_of_each_kind_stays(logs: Path) -> None:
    """A folder that nobody has written to for a year still says what happened last."""
    kinds = ("run", "recon", "maintenance", "verify")
    for kind in kinds:
        for days in (400, 300, 200):
            put(logs, f"{kind}-{STAMP}-{days}.jsonl", days)
    put(logs, f"spark-{STAMP}-1.log", 500)
    put(logs, f"spark-maintenance-{STAMP}-2.log", 499)
    assert old(logs) == {
        *(f"{kind}-{STAMP}-{days}.jsonl" for kind in kinds for days in (400, 300)),
        f"spark-{STAMP}-1.log",
    }


def test_what_is_young_enough_stays(logs: Path) -> None:
    """Counted from when it was last written to."""
    for days in (31, 30.01, 29.9, 1):
        put(logs, f"run-{STAMP}-{days}.jsonl", days)
    assert old(logs) == {f"run-{STAMP}-31.jsonl", f"run-{STAMP}-30.01.jsonl"}
    assert old(logs, 1) == {f"run-{STAMP}-31.jsonl", f"run-{STAMP}-30.01.jsonl", f"run-{STAMP}-29.9.jsonl"}


def test_nothing_of_anybody_else_goes(logs: Path) -> None:
    """Other names, folders and links, however old; nor anything without a limit, or where there is no folder."""
    put(logs, f"run-{STAMP}-new.jsonl", 0)
    theirs = (
        "running.jsonl",
        "audit.log",
        "spark.log",
        "run-.jsonl",
        "run-1.jsonl",
        "spark-history.log",
        "report-june.html",
    )
    for name in (*theirs, f"RUN-{STAMP}-1.jsonl", f"my-run-{STAMP}-1.jsonl", f"run-{STAMP}-1.json"):
        put(logs, name, 999)
    (logs / f"run-{STAMP}-folder.jsonl").mkdir()
    put(logs, "elsewhere", 999)
    (logs / f"run-{STAMP}-link.jsonl").symlink_to(logs / "elsewhere")
    assert old(logs) == set()
    put(logs, f"run-{STAMP}-old.jsonl", 999)
    assert old(logs, None) == set()
    assert old(logs) == {f"run-{STAMP}-old.jsonl"}
    assert old(logs / "missing") == set()
