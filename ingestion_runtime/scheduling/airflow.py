"""What an Airflow DAG for a configuration consists of: its tasks, its pool, its schedule."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ingestion_runtime.config.cron import cron_problem
from ingestion_runtime.config.orchestration import NAME
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.orchestration import Alerts, LoadDateFrom, Retries, TasksPer
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.scheduling.command import execution_command, secret_references

NO_SCHEDULE = "none"
# Airflow takes ids of up to 250 signs; some stay free for what makes an id unique.
_LONGEST_ID = 200
_WHOLE_RUN = "ingest"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of Airflow: so many tables of the configuration are worked on at a time, whichever runs they belong to."""

    name: str
    slots: int
    job: str

    @property
    def command(self) -> str:
        """The command that creates the pool, or gives it its size."""
        return shlex.join(["airflow", "pools", "set", self.name, str(self.slots), f"tables at a time of {self.job}"])


@dataclass(frozen=True, slots=True)
class DagTask:
    """A task: some tables, by arguments behind the command. ``slots`` of the pool are taken while it works."""

    task_id: str
    name: str
    tables: tuple[str, ...]
    arguments: tuple[str, ...]
    slots: int


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG. ``cron`` None: it runs when it is triggered. ``timezone`` is that of the cron expression, ``load_date_zone``
    that in which load dates are counted. ``secrets`` are references that the workers must be able to resolve."""

    dag_id: str
    description: str
    cron: str | None
    timezone: str
    load_date_from: LoadDateFrom
    load_date_zone: str
    per: TasksPer
    command: tuple[str, ...]
    tasks: tuple[DagTask, ...]
    pool: Pool | None
    queue: str | None
    parallel: int
    retries: Retries
    alerts: Alerts | None
    secrets: tuple[str, ...]


def design_dag(
    configuration: Configuration,
    tables: Sequence[TableSpec],
    *,
    per: str | None = None,
    dag_id: str | None = None,
    pool: str | None = None,
    queue: str | None = None,
    schedule: str | None = None,
    load_date_from: str | None = None,
) -> Dag:
    """Return the DAG for these tables of a configuration; what is None is as ``orchestration`` says.

    Raises ConfigError for a wrong name or schedule, and for a table that cannot have a task of its own.
    """
    orchestration, runtime = configuration.orchestration, configuration.runtime
    wanted = orchestration.airflow
    name = _checked(dag_id, "--dag-id") or wanted.dag_id or runtime.job_name
    kind = TasksPer(per) if per else wanted.per
    pool_name = _checked(pool, "--pool") or wanted.pool or (None if kind is TasksPer.RUN else name)
    parallel = runtime.max_parallel_tables
    chosen = None if schedule == NO_SCHEDULE else _checked_cron(schedule) or orchestration.schedule.cron
    return Dag(
        dag_id=name,
        description=f"{runtime.job_name}: {len(tables)} {'table' if len(tables) == 1 else 'tables'}",
        cron=chosen,
        timezone=orchestration.schedule.timezone,
        load_date_from=LoadDateFrom(load_date_from) if load_date_from else wanted.load_date_from,
        load_date_zone=runtime.timezone,
        per=kind,
        command=execution_command(configuration),
        tasks=tuple(_tasks(configuration, tables, kind, parallel if pool_name else 1)),
        pool=Pool(pool_name, parallel, runtime.job_name) if pool_name else None,
        queue=_checked(queue, "--queue") or wanted.queue,
        parallel=parallel,
        retries=orchestration.retries,
        alerts=orchestration.alerts,
        secrets=secret_references(configuration, tables),
    )


def _tasks(configuration: Configuration, tables: Sequence[TableSpec], kind: TasksPer, slots: int) -> list[DagTask]:
    groups: list[tuple[str, tuple[TableSpec, ...]]]
    match kind:
        case TasksPer.TABLE:
            groups = [(table.name, (table,)) for table in tables]
        case TasksPer.GROUP:
            # Sorted by connection: a stable sort, so that tables keep their order.
            ordered = sorted(tables, key=lambda table: table.connection)
            groups = [(name, tuple(found)) for name, found in groupby(ordered, key=lambda table: table.connection)]
        case TasksPer.RUN:
            groups = [(_WHOLE_RUN, tuple(tables))]
    taken: set[str] = set()
    tasks = []
    for name, members in groups:
        everything = len(members) == len(configuration.tables)
        arguments = () if everything else ("--only-tables", ",".join(_selectable(table) for table in members))
        # A run works on no more tables at a time than it has.
        needed = min(len(members), slots)
        tasks.append(DagTask(_task_id(name, taken), name, tuple(t.name for t in members), arguments, needed))
    return tasks


def _selectable(table: TableSpec) -> str:
    """Return a table's name, as ``--only-tables`` takes it."""
    if "," in table.name or table.name != table.name.strip():
        raise ConfigError(
            f"The table {table.name!r} cannot have a task of its own: --only-tables cannot name it, for a comma or blank.",
            remedy="Have one task for the whole run (--per run, or orchestration.airflow.per).",
            table=table.name,
        )
    return table.name


def _task_id(name: str, taken: set[str]) -> str:
    """Return an id that Airflow accepts and no other task has: the name, where it may be one."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_LONGEST_ID]
    if plain != name or plain in taken:
        plain = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    taken.add(plain)
    return plain


def _checked(name: str | None, option: str) -> str | None:
    if name is not None and not NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {name!r} is no name that Airflow takes.",
            remedy="Use letters, digits, '_', '-' and '.', at most 200, not starting with '-' or '.'.",
        )
    return name


def _checked_cron(schedule: str | None) -> str | None:
    if schedule is None:
        return None
    if problem := cron_problem(schedule):
        raise ConfigError(f"--schedule {problem}.", remedy=f"Such as '15 2 * * *', or '{NO_SCHEDULE}'.")
    return " ".join(schedule.split())
