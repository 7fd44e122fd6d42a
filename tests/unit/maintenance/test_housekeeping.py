"""What goes of logs, and what stays."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion_runtime.maintenance.housekeeping import find_old_logs

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


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
    for kind in ("run-a", "recon-a", "maintenance-a", "verify-a"):
        for days in (400, 300, 200):
            put(logs, f"{kind}-{days}.jsonl", days)
    put(logs, "spark-1.log", 500)
    put(logs, "report-1.html", 500)
    put(logs, "report-2.html", 499)
    assert old(logs) == {
        *(f"{kind}-a-{days}.jsonl" for kind in ("run", "recon", "maintenance", "verify") for days in (400, 300)),
        "report-1.html",
    }


def test_what_is_young_enough_stays(logs: Path) -> None:
    """Counted from when it was last written to."""
    for days in (31, 30.01, 29.9, 1):
        put(logs, f"run-{days}.jsonl", days)
    assert old(logs) == {"run-31.jsonl", "run-30.01.jsonl"}
    assert old(logs, 1) == {"run-31.jsonl", "run-30.01.jsonl", "run-29.9.jsonl"}


def test_nothing_of_anybody_else_goes(logs: Path) -> None:
    """Other names, folders and links, however old; nor anything without a limit, or where there is no folder."""
    put(logs, "run-new.jsonl", 0)
    for name in ("run-1.json", "running.jsonl", "audit.log", "spark.log", "run-.jsonl", "RUN-1.jsonl", "my-run-1.jsonl"):
        put(logs, name, 999)
    (logs / "run-folder.jsonl").mkdir()
    put(logs, "elsewhere", 999)
    (logs / "run-link.jsonl").symlink_to(logs / "elsewhere")
    assert old(logs) == set()
    put(logs, "run-old.jsonl", 999)
    assert old(logs, None) == set()
    assert old(logs) == {"run-old.jsonl"}
    assert old(logs / "missing") == set()
