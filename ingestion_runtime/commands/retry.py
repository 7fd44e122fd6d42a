"""``ingestion retry``: what a run left undone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    open_configuration,
    output_option,
    print_json,
    require_config,
)
from ingestion_runtime.commands.running import carry_out, new_run_id

if TYPE_CHECKING:
    from ingestion_runtime.explaining.unfinished import Unfinished
    from ingestion_runtime.model.spec import Configuration


@click.command(short_help="Run the tables again that failed in the last run, or were interrupted.")
@config_option
@click.option("--run", "run_id", metavar="ID", help="The run to retry (default: the last one of this configuration).")
@output_option
def retry(config_path: Path | None, run_id: str | None, output: str) -> None:
    """Run the tables again that failed in a run, or were interrupted, with what that run was asked to do: its load date,
    its reloads, its lag.

    Which tables these are the state database knows, also of a run that was killed. Tables that have ended well since are
    left alone. Result and exit codes are those of a run; with nothing to retry, 0.
    """
    path = require_config(config_path)
    finish(lambda: _retry(path, run_id, output), output)


def _retry(path: Path, run_id: str | None, output: str) -> int:
    from dataclasses import replace

    from ingestion_runtime.explaining.unfinished import find_unfinished

    configuration = open_configuration(path)
    left = find_unfinished(configuration, run_id)
    if output != "json":
        _tell(left)
    if left.run is None or not left.tables:
        if output == "json":
            print_json(_nothing(left, configuration))
        return 0
    return carry_out(configuration, left.tables, replace(left.run.options, run_id=new_run_id()), output)


def _nothing(left: "Unfinished", configuration: "Configuration") -> dict[str, object]:
    """Return the document of a run over no table: no run began, so it has no id."""
    load_date = None if left.run is None else left.run.options.load_date.isoformat()
    about = {"version": 1, "run_id": None, "job_name": configuration.runtime.job_name, "load_date": load_date}
    return {**about, "exit_code": 0, "seconds": 0.0, "tables": []}


def _tell(left: "Unfinished") -> None:
    def say(text: str) -> None:
        click.echo(text, err=True)

    if left.run is None:
        say("No run of this configuration is recorded: there is nothing to retry.")
        return
    named = f"run {left.run.options.run_id} of {left.run.options.load_date}"
    if left.tables:
        say(f"Retrying what {named} left undone: {', '.join(table.name for table in left.tables)}")
    else:
        say(f"Nothing is left to retry of {named}.")
    if left.since:
        say(f"Failed in it, and ended well since: {', '.join(left.since)}")
    if left.gone:
        say(f"Were in it, and are not configured any more: {', '.join(left.gone)}")
    for other in dict.fromkeys(run for _, run in left.elsewhere):
        names = ", ".join(name for name, run in left.elsewhere if run == other)
        say(f"Failed in run {other}, and did not end well since: {names} (retry --run {other})")
