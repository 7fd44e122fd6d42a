"""``ingestion airflow-dag``: a DAG file for Airflow 3."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    only_tables_option,
    open_configuration,
    output_option,
    print_json,
    require_config,
    select_tables,
)

if TYPE_CHECKING:
    from ingestion_runtime.scheduling.airflow import Dag


@click.command("airflow-dag", short_help="Write a DAG file for Airflow 3.")
@config_option
@click.option("--to", "target", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The file to write.")
@only_tables_option
@click.option(
    "--per", type=click.Choice(["table", "group", "run"]), help="A task for each table (default), connection or run."
)
@click.option("--dag-id", metavar="NAME", help="The DAG's name (default: the name of the job).")
@click.option("--pool", metavar="NAME", help="The pool that the tasks share (default: the DAG's name; a run's task: none).")
@click.option("--queue", metavar="NAME", help="The queue of the workers that have the state (default: Airflow's).")
@click.option("--schedule", metavar="CRON|none", help="When it runs (default: orchestration.schedule).")
@click.option(
    "--load-date-from",
    type=click.Choice(["logical-date", "interval-start", "interval-end", "today"]),
    help="Which day a run counts for (default: that of its logical date).",
)
@output_option
def airflow_dag(config_path: Path | None, target: Path, only_tables: str | None, output: str, **options: str | None) -> None:
    """Write a DAG file for Airflow 3: exit codes 3 and 4 are tried again, every other failure is final.

    Nothing is run, and no secret gets into the file. Written anew it is the same file, for as long as the configuration is
    the same. Options left out are taken from `orchestration` in the configuration.
    """
    path = require_config(config_path)
    finish(lambda: _write(path, target, only_tables, output, options), output)


def _write(path: Path, target: Path, only_tables: str | None, output: str, options: dict[str, str | None]) -> int:
    from ingestion_runtime.scheduling.airflow import design_dag
    from ingestion_runtime.scheduling.dag_file import dag_text, write_dag

    configuration = open_configuration(path)
    dag = design_dag(configuration, select_tables(configuration, only_tables), **options)
    changed = write_dag(target, dag_text(dag))
    if output == "json":
        print_json(_document(dag, target, changed))
    else:
        _tell(dag, target, changed)
    return 0


def _tell(dag: "Dag", target: Path, changed: bool) -> None:
    tasks = "1 task" if len(dag.tasks) == 1 else f"{len(dag.tasks)} tasks"
    click.echo(f"{target}: {'written' if changed else 'unchanged'}, DAG {dag.dag_id} with {tasks}.", err=True)
    click.echo(f"Schedule: {dag.cron} ({dag.timezone})" if dag.cron else "Schedule: none, it runs when triggered", err=True)
    if dag.pool is not None:
        click.echo("Its tasks wait until the pool exists. Create it, or fit its size, with:", err=True)
        click.echo(f"  {dag.pool.command}", err=True)
    if dag.secrets:
        click.echo(f"The workers need: {', '.join(dag.secrets)}", err=True)


def _document(dag: "Dag", target: Path, changed: bool) -> dict[str, object]:
    pool = None if dag.pool is None else {"name": dag.pool.name, "slots": dag.pool.slots, "command": dag.pool.command}
    return {
        "version": 1,
        "path": str(target),
        "changed": changed,
        "dag_id": dag.dag_id,
        "schedule": None if dag.cron is None else {"cron": dag.cron, "timezone": dag.timezone},
        "pool": pool,
        "tasks": [{"task_id": task.task_id, "tables": list(task.tables), "pool_slots": task.slots} for task in dag.tasks],
        "secrets": list(dag.secrets),
    }
