"""What people see of maintenance, and what programs get."""

import io
import json
from contextlib import redirect_stderr

import pytest

from ingestion_runtime.maintenance.report import (
    Action,
    ActionKind,
    Failure,
    Figures,
    Finding,
    FindingKind,
    Housekeeping,
    MaintenanceReport,
    Mode,
    Status,
    TableReport,
)
from ingestion_runtime.maintenance.screens import print_report, report_document, size_text
from ingestion_runtime.telling import counted

FIGURES = Figures(9, 9000, 9, 0, 0, 3, None, 2, 0, 0, 3, 0)
HOSTILE = "shop.[red]o'rd\"ers[/] :smile: \u00e9\u4e2d"


def report(*tables: TableReport, mode: Mode = Mode.APPLY, housekeeping: Housekeeping | None = None) -> MaintenanceReport:
    return MaintenanceReport(mode, "maintenance-x", "nightly", 0, 1.25, tables, housekeeping or Housekeeping())


def shown(made: MaintenanceReport) -> str:
    stream = io.StringIO()
    with redirect_stderr(stream):
        print_report(made)
    return stream.getvalue()


def test_names_and_messages_are_shown_as_they_are() -> None:
    """No markup, no picture, nothing cut, each sentence on a line of its own."""
    finding = Finding(FindingKind.COLUMN_MISSING, f"intermediate.merge_filter names [bold]{HOSTILE}[/bold], " + "long " * 60)
    failure = Failure("TerminalError", f"{HOSTILE}: it broke.", "Mend [it].", 1)
    text = shown(report(TableReport(HOSTILE, "lake:x", Status.ERROR, findings=(finding,), error=failure)))
    assert f"{HOSTILE}: it broke. Mend [it]." in text
    assert f"  look  {finding.message}" in text
    assert "0 of 1 tables complete in 1.2 s, exit code 0" in text


def test_a_dry_run_tells_what_would_be_and_an_upkeep_what_was() -> None:
    """What was found and seen to is not told twice."""
    small = Finding(FindingKind.SMALL_FILES, "9 of 9 data files below 32 MiB", apply=True, count=9, bytes=9000)
    loose = Finding(FindingKind.RAW_LOOSE, "1 raw batch without a receipt", count=1)
    looked = TableReport("a.b", "lake:a.b", None, Status.REWRITTEN, FIGURES, (small, loose))
    text = shown(report(looked, mode=Mode.DRY_RUN, housekeeping=Housekeeping(5, 2, 2048)))
    assert "nothing was changed" in text
    assert "9  8.8 KiB          3" in text  # files, size, snapshots
    assert "  apply 9 of 9 data files below 32 MiB (8.8 KiB)" in text
    assert "rewritten" in text
    assert "5 rows of the state that nobody needs may go" in text
    assert "2 old log files (2.0 KiB) may go" in text
    action = Action(ActionKind.REWRITE, "9 files written anew as 1, with 7 rows", 9, 9000, 0.5)
    kept = TableReport("a.b", "lake:a.b", Status.REWRITTEN, None, None, (small, loose), (action,), ("lease held by run x",))
    text = shown(report(kept, housekeeping=Housekeeping(0, 1, 10)))
    assert "data files below" not in text
    assert "  look  1 raw batch without a receipt" in text
    assert "  done  9 files written anew as 1, with 7 rows (8.8 KiB) in 0.5 s" in text
    assert "  left  lease held by run x" in text
    assert "1 old log file (10 B) removed" in text


def test_the_document_holds_plain_values() -> None:
    """With its version, and every field of every part."""
    action = Action(ActionKind.EXPIRE, "3 snapshots expired", 3, 10, 0.1, ("a",))
    table = TableReport(
        "a.b", "lake:a.b", Status.APPLIED, actions=(action,), rebuild={"rows": 3, "differences": {"equal": 1}}
    )
    document = report_document(report(table))
    assert json.loads(json.dumps(document)) == document
    assert (document["version"], document["mode"], document["run_id"]) == (1, "apply", "maintenance-x")
    (told,) = document["tables"]
    assert (told["status"], told["would"], told["error"], told["rebuild"]["differences"]) == (
        "applied",
        None,
        None,
        {"equal": 1},
    )
    assert told["actions"][0] == {
        "kind": "expire",
        "message": "3 snapshots expired",
        "count": 3,
        "bytes": 10,
        "seconds": 0.1,
        "names": ["a"],
    }
    nothing = {"state_rows": 0, "log_files": 0, "log_bytes": 0, "outbox_runs": 0, "outbox_bytes": 0}
    assert document["housekeeping"] == {**nothing, "actions": [], "error": None}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes_are_told_in_powers_of_1024(size: int | None, text: str) -> None:
    """As people write them."""
    assert size_text(size) == text


def test_one_and_many() -> None:
    """Numbers of four digits and more have commas."""
    assert counted(1, "batch", "batches") == "1 batch"
    assert counted(0, "file") == "0 files"
    assert counted(1234, "batch", "batches") == "1,234 batches"
