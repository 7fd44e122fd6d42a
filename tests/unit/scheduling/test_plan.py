"""The orchestration plan keeps its published schema in every mode, and no secret gets into it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration
from ingestion_runtime.scheduling.command import execution_command
from ingestion_runtime.scheduling.plan import plan_document
from tests.lake import PROJECT

SCHEMA = json.loads((PROJECT / "docs/reference/orchestration-plan.schema.json").read_text())
RUN_ID = "20260701T021500-0a1b2c"
TEMPORAL = {"namespace": "data", "task_queue": "ingestion", "workflow": "IngestSales"}
MODES: Mapping[str, dict[str, Any]] = {
    "plain_cron": {"mode": "plain_cron"},
    "external_scheduler": {"mode": "external_scheduler"},
    "airflow": {"mode": "airflow"},
    "airflow, one task": {"mode": "airflow", "airflow": {"per": "run", "queue": "lake"}},
    "temporal": {"mode": "temporal", "temporal": TEMPORAL},
    "informatica": {"mode": "informatica", "informatica": {"folder": "SALES"}},
    "informatica, bare": {"mode": "informatica"},
    "with alerts": {"alerts": {"email": ["data-team@example.com"]}, "retries": {"retry_exit_codes": [3]}},
}


def plan(configuration: Configuration, *options: str) -> dict[str, Any]:
    """The plan as a reader of the printed JSON gets it."""
    printed = json.dumps(plan_document(configuration, configuration.tables, RUN_ID, options))
    parsed: dict[str, Any] = json.loads(printed)
    return parsed


def without_nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return all(without_nulls(item) for item in value.values())
    return value is not None and (not isinstance(value, list) or all(without_nulls(item) for item in value))


@pytest.mark.parametrize("section", MODES.values(), ids=MODES)
def test_the_plan_of_every_mode_keeps_the_schema(desk: Any, section: dict[str, Any]) -> None:
    """Seven keys at most, no nulls, and each key of the metadata is described."""
    found = plan(desk.load(lambda c: c.update(orchestration=section)))

    Draft202012Validator(SCHEMA).validate(found)
    assert set(found) - {"alerts"} == {"execution_command", "metadata", "mode", "retries", "run_id", "schedule"}
    assert set(found["metadata"]) <= set(SCHEMA["properties"]["metadata"]["properties"])
    assert without_nulls(found)
    assert found["mode"] == section.get("mode", "plain_cron")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p.update(alerts=None),
        lambda p: p.pop("run_id"),
        lambda p: p.update(mode="cron"),
        lambda p: p.update(execution_command="ingestion --config x"),
        lambda p: p["retries"].update(retry_exit_codes=[1]),
        lambda p: p["schedule"].update(cron="@daily"),
        lambda p: p["metadata"].update(version=2),
        lambda p: p["metadata"].update(secrets=["hunter2"]),
        lambda p: p["metadata"].pop("temporal"),
        lambda p: p.update(colour="green"),
    ],
)
def test_the_schema_refuses_what_is_no_plan(desk: Any, spoil: Any) -> None:
    """A schema that accepts everything would prove nothing."""
    validator = Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    found = plan(desk.load(lambda c: c.update(orchestration=MODES["temporal"])))
    validator.validate(found)
    spoil(found)

    with pytest.raises(ValidationError):
        validator.validate(found)


def test_a_plan_names_secrets_and_never_holds_one(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the connections that are used, wherever in the configuration they stand."""
    monkeypatch.setenv("SALES_PASSWORD", "Tr0ub4dor&3")

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["unused"] = {**c["connections"]["sales"], "password": "${env:OTHER}"}
        c["connections"]["catalog"] = {**c["connections"]["sales"], "password": "${file:catalog-password}"}
        c["runtime"]["intermediate"] = {"connection": "catalog", "warehouse": "data/warehouse"}
        c["runtime"]["notify"] = {"targets": [{"to": "webhook", "url": "${env:HOOK}"}]}
        for table in c["tables"]:
            table["connection"] = "sales"

    found = plan(desk.load(edit))

    assert found["metadata"]["secrets"] == ["${env:HOOK}", "${env:SALES_PASSWORD}", "${file:catalog-password}"]
    assert "Tr0ub4dor" not in json.dumps(found)


def test_the_command_is_absolute_and_carries_the_options(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the configuration was named by a relative path."""
    monkeypatch.chdir(desk.directory)
    configuration = desk.load()

    found = plan(configuration, "--only-tables", "public.orders")

    program, *arguments = found["execution_command"]
    assert Path(program).is_file()
    assert Path(program).is_absolute()
    assert arguments == ["--config", str(desk.path), "--only-tables", "public.orders"]
    assert found["metadata"]["configuration"] == str(desk.path)


def test_a_crontab_line_survives_cron(desk: Any) -> None:
    """A percent sign is a line break for cron, and a blank an end of the argument for its shell."""
    configuration = desk.load(lambda c: c.update(orchestration={"alerts": {"email": ["a@b", "c@d"]}}))

    mail, zone, line = plan(configuration, "--only-tables", "public.100% sure")["metadata"]["crontab"]

    assert (mail, zone) == ("MAILTO=a@b,c@d", "CRON_TZ=UTC")
    assert line.startswith("0 * * * * /")
    assert line.endswith(r"--only-tables 'public.100\% sure'")


@pytest.mark.parametrize("name", ["new\nline", "half \udc80"])
def test_what_no_scheduler_could_pass_on_is_refused(desk: Any, name: str) -> None:
    """A line break would be another line of a crontab; bytes that are no text are no JSON."""
    with pytest.raises(ConfigError, match="cannot pass"):
        execution_command(desk.load(), ["--only-tables", name])
