"""The command line: options in, exit code out. People read stderr; ``--output json`` puts one document on stdout."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from ingestion_runtime.commands.backfill import backfill
from ingestion_runtime.commands.common import (
    config_option,
    finish,
    open_configuration,
    output_option,
    parse_load_date,
    require_config,
    select_reloads,
    select_tables,
)
from ingestion_runtime.commands.running import carry_out, new_run_id
from ingestion_runtime.commands.validate import validate

_LATER = "comes with a later version; nothing was done."
_COMMANDS = (validate, backfill)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.option("--only-tables", metavar="LIST", help="Only these tables: schema.table, separated by commas.")
@click.option("--load-date", metavar="YYYY-MM-DD", help="The day this run counts for (default: today).")
@click.option(
    "--reload",
    "reload_tables",
    metavar="LIST|*",
    help="Read these tables anew from the beginning and replace their targets in one publish.",
)
@click.option("--wm-lag-seconds", metavar="N", type=click.IntRange(min=0), help="Re-read this far behind every watermark.")
@click.option(
    "--heartbeat-seconds",
    metavar="N",
    type=click.IntRange(min=0),
    default=120,
    show_default=True,
    help="Say in the event log that the run is alive; 0: never.",
)
@click.option("--maintenance-mode", metavar="MODE", help="Not yet: " + _LATER)
@click.option("--dump-orchestration-plan", is_flag=True, help="Not yet: " + _LATER)
@output_option
@click.version_option(package_name="ingestion-runtime")
@click.pass_context
def cli(context: click.Context, /, config_path: Path | None, **options: Any) -> None:
    """Bring the tables of a configuration into the lake: kill it anywhere, run it again, the target equals the source."""
    if context.invoked_subcommand is not None:
        if config_path is not None:
            raise click.UsageError(f"--config belongs behind the command: {context.invoked_subcommand} --config FILE")
        return
    for option in ("maintenance_mode", "dump_orchestration_plan"):
        if options[option]:
            raise click.UsageError(f"--{option.replace('_', '-')} {_LATER}")
    path = require_config(config_path)
    finish(lambda: _run(path, options), options["output"])


for _command in _COMMANDS:
    cli.add_command(_command)


def _run(path: Path, options: dict[str, Any]) -> int:
    from ingestion_runtime.model.spec import RunOptions

    configuration = open_configuration(path)
    tables = select_tables(configuration, options["only_tables"])
    request = RunOptions(
        run_id=new_run_id(),
        load_date=parse_load_date(options["load_date"], configuration.runtime.timezone),
        wm_lag_seconds=options["wm_lag_seconds"],
        heartbeat_seconds=options["heartbeat_seconds"],
        reload=frozenset(table.name for table in select_reloads(tables, options["reload_tables"])),
    )
    return carry_out(configuration, tables, request, options["output"])


def run_cli() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    cli(prog_name="ingestion")
    sys.exit(0)
