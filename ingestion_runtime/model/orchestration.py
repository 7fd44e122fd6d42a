"""Who starts the runs, when, and what happens to those that fail: as the configuration says, for schedulers to know."""

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_CRON = "0 * * * *"
# Codes that the same command may mend by itself: something was unreachable, or a living run holds a table.
RETRY_EXIT_CODES = (3, 4)


class SchedulerMode(StrEnum):
    """Which kind of scheduler starts the runs."""

    PLAIN_CRON = "plain_cron"
    EXTERNAL = "external_scheduler"
    AIRFLOW = "airflow"
    TEMPORAL = "temporal"
    INFORMATICA = "informatica"


class TasksPer(StrEnum):
    """What one task of an Airflow DAG works on: a table, the tables of one connection, or all of them."""

    TABLE = "table"
    GROUP = "group"
    RUN = "run"


class LoadDateFrom(StrEnum):
    """Which moment of an Airflow run names its load date. TODAY: that at which the task runs, so a later try may differ."""

    LOGICAL_DATE = "logical-date"
    INTERVAL_START = "interval-start"
    INTERVAL_END = "interval-end"
    TODAY = "today"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When runs begin: five fields of cron, and the IANA name of the zone in which they are meant."""

    cron: str = DEFAULT_CRON
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a run is tried again, after how many seconds, and for which exit codes."""

    count: int = 3
    delay_seconds: int = 300
    exit_codes: tuple[int, ...] = RETRY_EXIT_CODES


@dataclass(frozen=True, slots=True)
class Alerts:
    """Whom the scheduler tells, by e-mail address, and of what: failure, retry, success."""

    email: tuple[str, ...]
    on: tuple[str, ...] = ("failure",)


@dataclass(frozen=True, slots=True)
class AirflowPlan:
    """What a DAG is like. ``dag_id`` None: the job's name; ``pool`` None: the DAG's name, and none for a task per run;
    ``queue`` None: Airflow's default queue."""

    dag_id: str | None = None
    per: TasksPer = TasksPer.TABLE
    pool: str | None = None
    load_date_from: LoadDateFrom = LoadDateFrom.LOGICAL_DATE
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class TemporalPlan:
    """Where Temporal finds the workflow that starts the runs."""

    namespace: str
    task_queue: str
    workflow: str


@dataclass(frozen=True, slots=True)
class InformaticaPlan:
    """Where Informatica keeps the workflow whose command task starts the runs."""

    folder: str | None = None
    workflow: str | None = None


@dataclass(frozen=True, slots=True)
class Orchestration:
    """The section ``orchestration`` of a configuration. A run does not read it; plans and DAG files are made from it."""

    mode: SchedulerMode = SchedulerMode.PLAIN_CRON
    schedule: Schedule = field(default_factory=Schedule)
    retries: Retries = field(default_factory=Retries)
    alerts: Alerts | None = None
    airflow: AirflowPlan = field(default_factory=AirflowPlan)
    temporal: TemporalPlan | None = None
    informatica: InformaticaPlan | None = None
