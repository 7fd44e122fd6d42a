"""``--dump-orchestration-plan`` and ``airflow-dag``, as they are called."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from jsonschema import Draft202012Validator

from tests.cli.conftest import Call
from tests.cli.test_startup import CONFIGURATION, Imported
from tests.lake import PROJECT, Lake

SCHEMA = json.loads((PROJECT / "docs/reference/orchestration-plan.schema.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def planned(result: Result) -> dict[str, Any]:
    assert (result.exit_code, result.stderr) == (0, "")
    plan: dict[str, Any] = json.loads(result.stdout)
    return plan


# The plan


def test_a_plan_is_one_sorted_object_and_touches_nothing(call: Call, shop: Lake) -> None:
    """Without the source, and without a state."""
    (shop.root / "shop.db").unlink()
    before = files(shop.root)

    result = call("--config", shop.path, "--dump-orchestration-plan")

    plan = planned(result)
    Draft202012Validator(SCHEMA).validate(plan)
    assert result.stdout == json.dumps(plan, indent=2, sort_keys=True) + "\n"
    assert [table["name"] for table in plan["metadata"]["tables"]] == ["shop.customers", "shop.orders"]
    assert files(shop.root) == before


def test_the_command_of_a_plan_works_from_anywhere_without_a_shell(call: Call, shop: Lake) -> None:
    """With the options of the call, and nothing in its environment but where programs are."""
    options = ("--only-tables", " SHOP.customers", "--load-date", "2026-07-02", "--output", "json")
    plan = planned(call("--config", shop.path, "--dump-orchestration-plan", *options))
    assert [table["name"] for table in plan["metadata"]["tables"]] == ["shop.customers"]

    environment = {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}
    command = plan["execution_command"]
    ended = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert document["load_date"] == "2026-07-02"
    assert [(table["table"], table["status"]) for table in document["tables"]] == [("shop.customers", "done")]


def test_every_option_of_the_call_is_carried_and_no_default(call: Call, shop: Lake) -> None:
    """In the order of the help, spelt as the program takes them."""
    plain = planned(call("--config", shop.path, "--dump-orchestration-plan"))["execution_command"]
    assert plain[1:] == ["--config", str(shop.path)]

    given = ["--reload", "*", "--wm-lag-seconds", "60", "--heartbeat-seconds", "120"]
    carried = planned(call("--dump-orchestration-plan", *given, "--config", shop.path))["execution_command"]
    assert carried[3:] == given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only-tables", "shop.oders"], "--only-tables names shop.oders"),
        (["--reload", "shop.oders"], "--reload names shop.oders"),
        (["--load-date", "yesterday"], "--load-date 'yesterday' is not a date"),
        (["--wm-lag-seconds", "-1"], "--wm-lag-seconds"),
        (["--maintenance-mode", "apply"], "--maintenance-mode"),
    ],
)
def test_what_a_run_would_refuse_is_refused_for_the_plan(call: Call, shop: Lake, arguments: list[str], words: str) -> None:
    """A plan that cannot run would fail at night."""
    assert words in refused(call("--config", shop.path, "--dump-orchestration-plan", *arguments))


def test_a_wrong_section_is_told_with_the_rest(call: Call, shop: Lake) -> None:
    """By pointer, as everything in a configuration; also without asking for a plan."""
    shop.document["orchestration"] = {"mode": "temporal", "schedule": {"cron": "every day"}}
    shop.save()
    for arguments in (["--dump-orchestration-plan", "--config"], ["validate", "--config"]):
        message = refused(call(*arguments, shop.path))
        assert "/orchestration/schedule/cron: must be five fields" in message
        assert "/orchestration/temporal: mode 'temporal' needs" in message


def test_planning_imports_what_reads_the_file_and_no_engine(shop: Lake, tmp_path: Path) -> None:
    imported = Imported(tmp_path, ["--config", str(shop.path), "--dump-orchestration-plan"])
    assert imported.code == 0, imported.output
    assert imported.distributions <= {"click", *CONFIGURATION}


# The DAG file


def test_a_dag_file_is_written_with_what_has_to_be_done_next(call: Call, shop: Lake) -> None:
    """The pool and the secrets are told: without them tasks wait, or fail, at night."""
    shop.document["connections"]["source"] = {
        "dialect": "postgresql",
        "host": "db.example.com",
        "database": "shop",
        "user": "reader",
        "password": "${env:SHOP_PASSWORD}",
    }
    shop.document["tables"][1]["cursor_timezone"] = "UTC"
    shop.save()
    target = shop.root / "shop.py"

    result = call("airflow-dag", "--config", shop.path, "--to", target, "--schedule", "15 2 * * *")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"{target}: written, DAG test with 2 tasks.\n"
        "Schedule: 15 2 * * * (UTC)\n"
        "Its tasks wait until the pool exists. Create it, or fit its size, with:\n"
        "  airflow pools set test 4 'tables at a time of test'\n"
        "The workers need: ${env:SHOP_PASSWORD}\n"
    )
    compile(target.read_text(), str(target), "exec")
    again = call("airflow-dag", "--config", shop.path, "--to", target, "--schedule", "15 2 * * *")
    assert f"{target}: unchanged" in again.stderr


def test_programs_are_told_the_same(call: Call, shop: Lake) -> None:
    """One document on stdout."""
    target = shop.root / "shop.py"
    options = ("--per", "run", "--schedule", "none", "--only-tables", "shop.orders", "--output", "json")

    result = call("airflow-dag", "--config", shop.path, "--to", target, *options)

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "version": 1,
        "path": str(target),
        "changed": True,
        "dag_id": "test",
        "schedule": None,
        "pool": None,
        "tasks": [{"task_id": "ingest", "tables": ["shop.orders"], "pool_slots": 1}],
        "secrets": [],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--to'"),
        (["--to", "nowhere/shop.py"], "cannot be written: No such file"),
        (["--to", "shop.txt"], "ends with .py"),
        (["--to", "shop.py", "--per", "slice"], "'slice' is not one of"),
        (["--to", "shop.py", "--only-tables", "x.y"], "--only-tables names x.y"),
        (["--to", "shop.py", "--schedule", "daily"], "--schedule must be five fields"),
        (["--to", "shop.py", "--dag-id", "shop/nightly"], "--dag-id 'shop/nightly'"),
    ],
)
def test_bad_input_writes_nothing(
    call: Call, shop: Lake, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """Exit 2 with the reason."""
    monkeypatch.chdir(shop.root)
    before = files(shop.root)
    assert words in refused(call("airflow-dag", "--config", shop.path, *arguments))
    assert files(shop.root) == before
