"""The part ``orchestration``: what schedulers have to know."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from ingestion_runtime.config.models.parts import FilePart, Text


class SchedulingPart(FilePart):
    """An object of the section ``orchestration``, which most configurations and every run do without."""

    model_config = ConfigDict(defer_build=True)


class ScheduleFile(SchedulingPart):
    """When runs begin."""

    cron: Text = "0 * * * *"
    """Five fields: minute, hour, day of the month, month, day of the week (0 is Sunday)."""
    timezone: Text | None = None
    """IANA name of the zone in which they are meant; the runtime's where left out."""


class RetriesFile(SchedulingPart):
    """How often a run that failed is tried again."""

    count: Annotated[int, Field(ge=0, le=100)] = 3
    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    retry_exit_codes: list[Literal[3, 4]] = Field(default=[3, 4], min_length=1)
    """3: something was unreachable; 4: a living run holds the table. No other failure is mended by trying again."""


class AlertsFile(SchedulingPart):
    """Whom the scheduler tells."""

    placeholders: ClassVar[Mapping[str, object]] = {"email": ["nobody@example.com"]}

    email: Annotated[list[Text], Field(min_length=1)]
    """E-mail addresses."""
    on: list[Literal["failure", "retry", "success"]] = Field(default=["failure"], min_length=1)
    """What they are told of."""


class AirflowFile(SchedulingPart):
    """What the DAG is like that `ingestion airflow-dag` writes."""

    dag_id: Text | None = None
    """Name of the DAG; the job's where left out."""
    per: Literal["table", "group", "run"] = "table"
    """A task for each table, for the tables of each connection, or for all of them."""
    pool: Text | None = None
    """The pool that the tasks share; the DAG's name where left out, and none for a task per run."""
    queue: Text | None = None
    """The queue of the workers that have the program and the state; Airflow's default queue where left out."""
    load_date_from: Literal["logical-date", "interval-start", "interval-end", "today"] = "logical-date"
    """The moment of Airflow's run whose day is the load date."""


class TemporalFile(SchedulingPart):
    """Where Temporal finds the workflow that starts the runs."""

    placeholders: ClassVar[Mapping[str, object]] = {"namespace": "?", "task_queue": "?", "workflow": "?"}

    namespace: Text
    task_queue: Text
    workflow: Text


class InformaticaFile(SchedulingPart):
    """Where Informatica keeps the workflow whose command task starts the runs."""

    folder: Text | None = None
    workflow: Text | None = None


class OrchestrationFile(SchedulingPart):
    """Who starts the runs and when: for plans and DAG files, a run itself does not read it."""

    mode: Literal["plain_cron", "external_scheduler", "airflow", "temporal", "informatica"] = "plain_cron"
    schedule: ScheduleFile = Field(default_factory=ScheduleFile)
    retries: RetriesFile = Field(default_factory=RetriesFile)
    alerts: AlertsFile | None = None
    airflow: AirflowFile = Field(default_factory=AirflowFile)
    temporal: TemporalFile | None = None
    """Required by the mode of this name."""
    informatica: InformaticaFile | None = None
