"""``--maintenance-mode`` on the command line: what it takes, refuses and prints."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ingestion_runtime.commands.maintenance import MODES
from ingestion_runtime.maintenance.report import Mode
from tests.cli.conftest import Call
from tests.lake import Lake


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def document(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.stderr
    parsed: dict[str, Any] = json.loads(result.stdout)
    assert (parsed["version"], parsed["exit_code"]) == (1, code)
    return parsed


def test_the_modes_are_those_of_the_room() -> None:
    """The command line names them without importing it."""
    assert list(MODES) == [mode.value for mode in Mode]


@pytest.mark.parametrize("mode", ["compact", "", "Apply"])
def test_another_mode_is_refused_with_the_choices(call: Call, shop: Lake, mode: str) -> None:
    """Exit 2, and nothing is touched."""
    before = names(shop.root)
    result = call("--config", shop.path, "--maintenance-mode", mode)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'dry-run', 'apply', 'rebuild-from-raw'" in result.stderr
    assert names(shop.root) == before


@pytest.mark.parametrize(
    "options",
    [
        ["--reload", "*"],
        ["--load-date", "2026-07-01"],
        ["--wm-lag-seconds", "0"],
        ["--start-date", "2026-01-01"],
        ["--allow-shrink", "*", "--heartbeat-seconds", "5"],
        ["--dump-orchestration-plan"],
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_options_of_a_run_are_refused(call: Call, shop: Lake, options: list[str], mode: str) -> None:
    """Whoever gives them means something else; all of them are named."""
    result = call("--config", shop.path, "--maintenance-mode", mode, *options)
    assert result.exit_code == 2
    assert all(option in result.stderr for option in options if option.startswith("--"))
    assert not (shop.root / "state.db").exists()


def test_before_the_first_run_there_is_no_data_and_a_look_makes_none(call: Call, shop: Lake) -> None:
    """No state, no catalog, no folder comes of it."""
    before = names(shop.root)
    told = document(call("--config", shop.path, "--maintenance-mode", "dry-run"))
    assert [(table["status"], table["would"]) for table in told["tables"]] == [(None, "no_data")] * 2
    assert names(shop.root) == before


def test_apply_before_the_first_run_does_nothing(call: Call, shop: Lake) -> None:
    """And says so; the run after it is a first run."""
    told = document(call("--config", shop.path, "--maintenance-mode", "apply"))
    assert [(table["status"], table["actions"]) for table in told["tables"]] == [("no_data", [])] * 2
    assert shop.run(None).exit_code == 0


def test_one_document_is_printed_in_any_case(call: Call, shop: Lake) -> None:
    """Beside the table for people, without it, and when it cannot begin."""
    shop.run(None)
    both = call("--config", shop.path, "--maintenance-mode", "apply", "--only-tables", " SHOP.orders ")
    assert [table["table"] for table in document(both)["tables"]] == ["shop.orders"]
    assert "shop.orders" in both.stderr
    alone = call("--config", shop.path, "--maintenance-mode", "dry-run", "--output", "json")
    assert document(alone)["mode"] == "dry-run"
    assert alone.stderr == ""
    unknown = call("--config", shop.path, "--maintenance-mode", "apply", "--only-tables", "shop.oders")
    assert "shop.oders" in document(unknown, 2)["error"]["message"]
    shop.document["runtime"]["maintenance"] = {"raw_day": 1}
    shop.save()
    assert "raw_days" in document(call("--config", shop.path, "--maintenance-mode", "apply"), 2)["error"]["message"]


def test_only_a_whole_configuration_sees_to_state_and_logs(call: Call, shop: Lake) -> None:
    """Somebody who names a table means that table. The events of the last run stay with it."""
    shop.run(None)
    shop.run(None)
    with closing(sqlite3.connect(shop.root / "state.db")) as database:
        database.execute("UPDATE ingestion_events SET event_at = '2001' || substr(event_at, 5)")
        database.commit()
    look = ("--config", shop.path, "--maintenance-mode", "dry-run")
    assert document(call(*look, "--only-tables", "shop.orders"))["housekeeping"]["state_rows"] == 0
    assert document(call(*look))["housekeeping"]["state_rows"] > 0


def test_the_source_is_not_asked(call: Call, shop: Lake) -> None:
    """Maintenance runs while it is down."""
    shop.run(None)
    (shop.root / "shop.db").unlink()
    for mode in ("dry-run", "apply"):
        told = document(call("--config", shop.path, "--maintenance-mode", mode))
        assert [table["error"] for table in told["tables"]] == [None, None]


def test_the_log_of_maintenance_is_none_of_a_run(call: Call, shop: Lake) -> None:
    """It has a file of its own, which the dashboard passes over."""
    shop.run(None)
    told = document(call("--config", shop.path, "--maintenance-mode", "apply"))
    (log,) = (shop.root / "logs").glob("maintenance-*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert log.name == f"{told['run_id']}.jsonl"
    assert [line["event"] for line in lines] == ["maintenance_start", *["maintenance_table"] * 2, "maintenance_done"]
    assert {line["run_id"] for line in lines} == {told["run_id"]}
    assert [line["status"] for line in lines[1:3]] == ["noop", "noop"]
    from ingestion_runtime.progress.places import Place

    newest = Place(str(shop.root / "logs")).newest()
    assert newest is not None
    assert Path(newest.path).name.startswith("run-")


def test_a_state_that_is_none_is_told_before_anything_is_done(call: Call, shop: Lake) -> None:
    """Exit 1 with what to do, in a document."""
    shop.run(None)
    (shop.root / "state.db").write_bytes(b"this is no database" * 100)
    for mode in ("dry-run", "apply"):
        told = document(call("--config", shop.path, "--maintenance-mode", mode), 1)
        assert "state" in told["error"]["message"]
        assert told["tables"] == []
