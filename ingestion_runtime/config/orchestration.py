"""From the section ``orchestration`` of the file to Orchestration."""

import re

from ingestion_runtime.config.cron import cron_problem
from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.orchestration import AirflowFile, AlertsFile, OrchestrationFile, RetriesFile
from ingestion_runtime.config.runtime import check_timezone
from ingestion_runtime.model.orchestration import (
    DEFAULT_CRON,
    AirflowPlan,
    Alerts,
    InformaticaPlan,
    LoadDateFrom,
    Orchestration,
    Retries,
    Schedule,
    SchedulerMode,
    TasksPer,
    TemporalPlan,
)

AT: Location = ("orchestration",)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)
# An address and nothing else: what looks like a URL may carry a password.
EMAIL = re.compile(r"[A-Za-z0-9._%+'=&-]{1,64}@[A-Za-z0-9.-]{1,190}", re.ASCII)
# The blocks that only one mode reads. Any mode may have a DAG written as well.
BLOCKS = {"temporal": SchedulerMode.TEMPORAL, "informatica": SchedulerMode.INFORMATICA}


def build_orchestration(file: OrchestrationFile, timezone: str, log: IssueLog) -> Orchestration:
    """Return the section with filled defaults, ``timezone`` where it names none; problems are recorded."""
    mode = SchedulerMode(file.mode)
    _check_blocks(file, mode, log)
    zone = file.schedule.timezone or timezone
    if file.schedule.timezone is not None:
        check_timezone(zone, (*AT, "schedule", "timezone"), log)
    if (problem := cron_problem(file.schedule.cron)) and log.clean((*AT, "schedule", "cron")):
        log.add((*AT, "schedule", "cron"), problem)
    temporal, informatica = file.temporal, file.informatica
    return Orchestration(
        mode=mode,
        schedule=Schedule(" ".join(file.schedule.cron.split()) or DEFAULT_CRON, zone),
        retries=_retries(file.retries),
        alerts=None if file.alerts is None else _alerts(file.alerts, log),
        airflow=_airflow(file.airflow, log),
        temporal=None if temporal is None else TemporalPlan(temporal.namespace, temporal.task_queue, temporal.workflow),
        informatica=None if informatica is None else InformaticaPlan(informatica.folder, informatica.workflow),
    )


def _check_blocks(file: OrchestrationFile, mode: SchedulerMode, log: IssueLog) -> None:
    if not log.clean((*AT, "mode")):
        return
    if mode is SchedulerMode.TEMPORAL and file.temporal is None and log.clean((*AT, "temporal")):
        log.add((*AT, "temporal"), "mode 'temporal' needs this object, with 'namespace', 'task_queue' and 'workflow'")
    for key, owner in BLOCKS.items():
        block = getattr(file, key)
        if block is None:
            continue
        if owner is not mode:
            log.add((*AT, key), f"belongs to mode '{owner}', and the mode is '{mode}'; leave one out")
        for name, value in block.model_dump().items():
            if value is not None and not value.isprintable():
                log.add((*AT, key, name), "may not hold control characters")


def _retries(file: RetriesFile) -> Retries:
    return Retries(file.count, file.delay_seconds, tuple(sorted(set(file.retry_exit_codes))))


def _alerts(file: AlertsFile, log: IssueLog) -> Alerts:
    at = (*AT, "alerts", "email")
    for index, address in enumerate(file.email):
        if log.clean(at) and not EMAIL.fullmatch(address):
            log.add((*at, index), "must be an e-mail address; a URL could hold a secret and is not accepted here")
    return Alerts(tuple(dict.fromkeys(file.email)), tuple(sorted(set(file.on))))


def _airflow(file: AirflowFile, log: IssueLog) -> AirflowPlan:
    for key in ("dag_id", "pool", "queue"):
        name = getattr(file, key)
        if name is not None and not NAME.fullmatch(name):
            signs = "letters, digits, '_', '-' and '.'"
            log.add((*AT, "airflow", key), f"must be {signs}, at most 200, and not start with '-' or '.'")
    return AirflowPlan(file.dag_id, TasksPer(file.per), file.pool, LoadDateFrom(file.load_date_from), file.queue)
