"""The command line: options in, exit code out. People read stderr; ``--output json`` puts one document on stdout."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ingestion_runtime.commands.airflow_dag import airflow_dag
from ingestion_runtime.commands.backfill import backfill
from ingestion_runtime.commands.common import (
    config_option,
    finish,
    only_tables_option,
    open_configuration,
    output_option,
    parse_load_date,
    require_config,
    select_by,
    select_tables,
)
from ingestion_runtime.commands.completion import completion
from ingestion_runtime.commands.doctor import doctor
from ingestion_runtime.commands.explain import explain
from ingestion_runtime.commands.init import init
from ingestion_runtime.commands.maintenance import maintain, maintenance_option, refuse_options_of_runs
from ingestion_runtime.commands.names import PROGRAM, VARIABLE, complete_tables, register_shells
from ingestion_runtime.commands.orchestration_plan import given_options, print_plan
from ingestion_runtime.commands.retry import retry
from ingestion_runtime.commands.running import carry_out, new_run_id, open_for_run
from ingestion_runtime.commands.status import status
from ingestion_runtime.commands.validate import validate
from ingestion_runtime.commands.verify import verify
from ingestion_runtime.commands.why_missing import why_missing
from ingestion_runtime.commands.window import refuse_unfit_options, select_window, window_options

if TYPE_CHECKING:
    from ingestion_runtime.model.options import RunOptions
    from ingestion_runtime.model.spec import Configuration, TableSpec

_COMMANDS = (init, validate, doctor, backfill, explain, status, retry, verify, why_missing, airflow_dag, completion)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@only_tables_option
@click.option("--load-date", metavar="YYYY-MM-DD", help="The day this run counts for (default: today).")
@click.option(
    "--reload",
    "reload_tables",
    metavar="LIST|*",
    shell_complete=complete_tables,
    help="Read these tables anew from the beginning and replace their targets in one publish.",
)
@click.option(
    "--allow-shrink",
    "allow_shrink",
    metavar="LIST|*",
    shell_complete=complete_tables,
    help="Publish these tables even if they lose more rows than their max_shrink_fraction.",
)
@window_options
@click.option("--wm-lag-seconds", metavar="N", type=click.IntRange(min=0), help="Re-read this far behind every watermark.")
@click.option(
    "--heartbeat-seconds",
    metavar="N",
    type=click.IntRange(min=0),
    default=120,
    show_default=True,
    help="Say in the event log that the run is alive; 0: never.",
)
@click.option(
    "--notify-interval-seconds",
    metavar="N",
    type=click.IntRange(min=0),
    default=300,
    show_default=True,
    help="Tell those in runtime.notify how things stand; 0: only what happens.",
)
@maintenance_option
@click.option("--dump-orchestration-plan", is_flag=True, help="Print what a scheduler has to know, as JSON; nothing is run.")
@output_option
@click.version_option(package_name="ingestion-runtime")
@click.pass_context
def cli(context: click.Context, /, config_path: Path | None, **options: Any) -> None:
    """Bring the tables of a configuration into the lake: kill it anywhere, run it again, the target equals the source."""
    if context.invoked_subcommand is not None:
        if config_path is not None:
            raise click.UsageError(f"--config belongs behind the command: {context.invoked_subcommand} --config FILE")
        return
    if options["maintenance_mode"]:
        refuse_options_of_runs(context)
        maintained = require_config(config_path)
        # Programs get their document in any case; people a table beside it.
        finish(lambda: maintain(maintained, options), "json")
    refuse_unfit_options(options)
    path = require_config(config_path)
    if options["dump_orchestration_plan"]:
        finish(lambda: print_plan(*_read_request(path, options), given_options(context)), options["output"])
    finish(lambda: carry_out(*_read_request(path, options), options["output"]), options["output"])


for _command in _COMMANDS:
    cli.add_command(_command)


def _read_request(path: Path, options: dict[str, Any]) -> "tuple[Configuration, tuple[TableSpec, ...], RunOptions]":
    """Return the configuration, the tables that are selected from it, and what the command line adds. Raises ConfigError."""
    from ingestion_runtime.model.options import RunOptions

    configuration = (open_configuration if options["dump_orchestration_plan"] else open_for_run)(path)
    tables = select_tables(configuration, options["only_tables"])
    request = RunOptions(
        run_id=new_run_id(),
        load_date=parse_load_date(options["load_date"], configuration.runtime.timezone),
        wm_lag_seconds=options["wm_lag_seconds"],
        heartbeat_seconds=options["heartbeat_seconds"],
        notify_interval_seconds=options["notify_interval_seconds"],
        reload=frozenset(table.name for table in select_by(tables, options["reload_tables"], "--reload")),
        allow_shrink=frozenset(table.name for table in select_by(tables, options["allow_shrink"], "--allow-shrink")),
        window=select_window(tables, options),
    )
    return configuration, tables, request


def run_cli() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    if VARIABLE in os.environ:
        register_shells()
    cli(prog_name=PROGRAM)
    sys.exit(0)
