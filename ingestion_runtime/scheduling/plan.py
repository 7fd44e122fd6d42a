"""The orchestration plan: one JSON object that tells a scheduler what to run, when, and what to do with failures.

Published as docs/reference/orchestration-plan.schema.json.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ingestion_runtime.model.orchestration import Orchestration, SchedulerMode
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.scheduling.airflow import design_dag
from ingestion_runtime.scheduling.command import execution_command, secret_references

PLAN_VERSION = 1


def plan_document(
    configuration: Configuration, tables: Sequence[TableSpec], run_id: str, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the plan for these tables as JSON values, without nulls and without any secret.

    ``options`` are the arguments behind the configuration. ``run_id`` names this plan; runs get ids of their own.
    Raises ConfigError where the command cannot be written down.
    """
    orchestration = configuration.orchestration
    retries = orchestration.retries
    command = execution_command(configuration, options)
    plan: dict[str, Any] = {
        "alerts": None if orchestration.alerts is None else asdict(orchestration.alerts),
        "execution_command": command,
        "metadata": _metadata(configuration, tables, command),
        "mode": orchestration.mode.value,
        "retries": {
            "count": retries.count,
            "delay_seconds": retries.delay_seconds,
            "retry_exit_codes": retries.exit_codes,
        },
        "run_id": run_id,
        "schedule": asdict(orchestration.schedule),
    }
    return {key: _plain(value) for key, value in plan.items() if value is not None}


def _metadata(configuration: Configuration, tables: Sequence[TableSpec], command: tuple[str, ...]) -> dict[str, Any]:
    orchestration, runtime = configuration.orchestration, configuration.runtime
    return {
        "version": PLAN_VERSION,
        "job_name": runtime.job_name,
        "configuration": str(configuration.path),
        "load_date_timezone": runtime.timezone,
        "max_parallel_tables": runtime.max_parallel_tables,
        "secrets": secret_references(configuration, tables),
        "tables": [{"name": table.name, "mode": table.mode, "connection": table.connection} for table in tables],
        **_of_mode(configuration, tables, orchestration, command),
    }


def _of_mode(
    configuration: Configuration, tables: Sequence[TableSpec], orchestration: Orchestration, command: tuple[str, ...]
) -> dict[str, Any]:
    """Return what only the scheduler of this mode asks for, under its name."""
    match orchestration.mode:
        case SchedulerMode.PLAIN_CRON:
            return {"crontab": _crontab(orchestration, command)}
        case SchedulerMode.AIRFLOW:
            dag = design_dag(configuration, tables)
            pool = None if dag.pool is None else {"name": dag.pool.name, "slots": dag.pool.slots}
            told = {"dag_id": dag.dag_id, "per": dag.per, "load_date_from": dag.load_date_from, "queue": dag.queue}
            return {"airflow": {**told, "pool": pool, "task_ids": [task.task_id for task in dag.tasks]}}
        case SchedulerMode.TEMPORAL if orchestration.temporal is not None:
            return {"temporal": asdict(orchestration.temporal)}
        case SchedulerMode.INFORMATICA if orchestration.informatica is not None:
            return {"informatica": asdict(orchestration.informatica)}
        case _:
            return {}


def _crontab(orchestration: Orchestration, command: tuple[str, ...]) -> list[str]:
    """Return lines for a crontab; in its commands a percent sign means a line break unless it is escaped."""
    schedule, alerts = orchestration.schedule, orchestration.alerts
    mail = [f"MAILTO={','.join(alerts.email)}"] if alerts is not None else []
    return [*mail, f"CRON_TZ={schedule.timezone}", f"{schedule.cron} {shlex.join(command).replace('%', chr(92) + '%')}"]


def _plain(value: Any) -> Any:
    """Return JSON values without nulls in objects."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
