"""The section ``orchestration``, and the cron expressions that all schedulers read alike."""

from typing import Any

import pytest

from ingestion_runtime.config.cron import cron_problem
from ingestion_runtime.model.orchestration import (
    AirflowPlan,
    Alerts,
    LoadDateFrom,
    Orchestration,
    Retries,
    Schedule,
    SchedulerMode,
    TasksPer,
    TemporalPlan,
)

TEMPORAL = {"namespace": "data", "task_queue": "ingestion", "workflow": "IngestSales"}


def test_left_out_it_is_hourly_cron_in_the_zone_of_the_runtime(desk: Any) -> None:
    """With three tries for what a retry may mend."""
    loaded = desk.load(lambda c: c["runtime"].update(timezone="Europe/Berlin")).orchestration

    assert loaded == Orchestration(schedule=Schedule("0 * * * *", "Europe/Berlin"))
    assert (loaded.mode, loaded.retries) == (SchedulerMode.PLAIN_CRON, Retries(3, 300, (3, 4)))
    assert (loaded.airflow, loaded.alerts) == (AirflowPlan(None, TasksPer.TABLE, None, LoadDateFrom.LOGICAL_DATE), None)


def test_everything_can_be_said(desk: Any) -> None:
    """Blanks in the schedule, repeated codes and addresses do not count."""
    said = {
        "mode": "temporal",
        "schedule": {"cron": "  15  2 * *  MON-FRI", "timezone": "America/New_York"},
        "retries": {"count": 0, "delay_seconds": 0, "retry_exit_codes": [4, 3, 4]},
        "alerts": {"email": ["a@example.com", "a@example.com"], "on": ["success", "failure"]},
        "airflow": {"dag_id": "sales.nightly", "per": "group", "pool": "sales", "load_date_from": "today", "queue": "lake"},
        "temporal": TEMPORAL,
    }

    loaded = desk.load(lambda c: c.update(orchestration=said)).orchestration

    assert loaded == Orchestration(
        SchedulerMode.TEMPORAL,
        Schedule("15 2 * * MON-FRI", "America/New_York"),
        Retries(0, 0, (3, 4)),
        Alerts(("a@example.com",), ("failure", "success")),
        AirflowPlan("sales.nightly", TasksPer.GROUP, "sales", LoadDateFrom.TODAY, "lake"),
        TemporalPlan(**TEMPORAL),
    )


def test_a_mode_gets_what_it_needs_and_nothing_of_another(desk: Any) -> None:
    """Temporal finds a workflow by three names; a block of another mode is a mode that was forgotten."""
    missing = desk.refuse(lambda c: c.update(orchestration={"mode": "temporal"}))
    assert "'namespace', 'task_queue' and 'workflow'" in missing["/orchestration/temporal"]

    half = desk.refuse(lambda c: c.update(orchestration={"mode": "temporal", "temporal": {"namespace": "data"}}))
    assert set(half) == {"/orchestration/temporal/task_queue", "/orchestration/temporal/workflow"}

    strange = desk.refuse(lambda c: c.update(orchestration={"mode": "informatica", "temporal": TEMPORAL}))
    assert "belongs to mode 'temporal'" in strange["/orchestration/temporal"]


@pytest.mark.parametrize(
    ("section", "pointer", "words"),
    [
        ({"mode": "airflw"}, "/mode", "did you mean 'airflow'?"),
        ({"schedule": {"cron": "0 2 * *"}}, "/schedule/cron", "must be five fields"),
        ({"schedule": {"cron": ""}}, "/schedule/cron", "must not be empty"),
        ({"schedule": {"timezone": "Europe/Berlim"}}, "/schedule/timezone", "did you mean 'Europe/Berlin'?"),
        ({"schedule": "0 2 * * *"}, "/schedule", "must be an object"),
        ({"retries": {"count": -1}}, "/retries/count", "at least 0"),
        ({"retries": {"retry_exit_codes": [1]}}, "/retries/retry_exit_codes/0", "must be 3 or 4"),
        ({"retries": {"retry_exit_codes": []}}, "/retries/retry_exit_codes", "must not be empty"),
        ({"alerts": {}}, "/alerts/email", "required"),
        ({"alerts": {"email": []}}, "/alerts/email", "must not be empty"),
        ({"alerts": {"email": ["a@b", "https://u:pw@chat.example.com/T0ken"]}}, "/alerts/email/1", "e-mail address"),
        ({"alerts": {"email": ["a@b\nX"]}}, "/alerts/email/0", "e-mail address"),
        ({"alerts": {"email": ["a@b"], "on": ["sometimes"]}}, "/alerts/on/0", "'failure', 'retry' or 'success'"),
        ({"airflow": {"dag_id": "a b"}}, "/airflow/dag_id", "must be letters"),
        ({"airflow": {"pool": "'; drop"}}, "/airflow/pool", "must be letters"),
        ({"airflow": {"per": "slice"}}, "/airflow/per", "must be 'table', 'group' or 'run'"),
        ({"mode": "temporal", "temporal": {**TEMPORAL, "workflow": "a\nb"}}, "/temporal/workflow", "control characters"),
        ({"pool": "x"}, "/pool", "unknown key"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(desk: Any, section: dict[str, Any], pointer: str, words: str) -> None:
    """Alone, and without repeating the value."""
    found = desk.refuse(lambda c: c.update(orchestration=section))

    assert list(found) == [f"/orchestration{pointer}"]
    assert words in found[f"/orchestration{pointer}"]
    assert "T0ken" not in str(found)


@pytest.mark.parametrize(
    "text",
    [
        "0 * * * *",
        "15 2 * * *",
        "*/15 * * * *",
        "0 8-18/2 * * mon-fri",
        "0,30 0 1,15 JAN,jul *",
        "0 0 29 2 *",
        "0 0 31 2 1",
        "59 23 31 12 6",
    ],
)
def test_what_every_scheduler_reads_alike_is_accepted(text: str) -> None:
    """The last but one runs on Mondays: with both days given either is enough."""
    assert cron_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("@daily", "write '0 0 * * *'"),
        ("@reboot", "five fields"),
        ("60 * * * *", "wrong minute"),
        ("* 24 * * *", "wrong hour"),
        ("* * 0 * *", "wrong day of the month"),
        ("* * * 13 *", "wrong month"),
        ("* * * * 7", "wrong day of the week"),
        ("* * * * sunday", "wrong day of the week"),
        ("* * * * fri-mon", "ranges upwards"),
        ("5/10 * * * *", "a step behind"),
        ("*/0 * * * *", "a step goes from 1"),
        ("*/60 * * * *", "a step goes from 1"),
        ("1,,2 * * * *", "wrong minute"),
        ("1-2-3 * * * *", "wrong minute"),
        ("-1 * * * *", "wrong minute"),
        ("² * * * *", "wrong minute"),
        ("H * * * *", "wrong minute"),
        ("0 0 L * *", "wrong day of the month"),
        ("0 0 ? * *", "wrong day of the month"),
        ("0 0 * * 1#2", "wrong day of the week"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 2,4,6,9,11 *", "never comes"),
    ],
)
def test_what_some_would_read_otherwise_or_never_is_refused(text: str, words: str) -> None:
    """With the reason."""
    assert words in cron_problem(text)
