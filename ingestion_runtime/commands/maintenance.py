"""``--maintenance-mode``: looking after the tables in place of a run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ingestion_runtime.commands.common import print_json, select_tables

MODES = ("dry-run", "apply", "rebuild-from-raw")
_FITTING = frozenset({"config_path", "only_tables", "maintenance_mode", "output"})


def maintenance_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--maintenance-mode MODE``, as the argument ``maintenance_mode``."""
    return click.option(
        "--maintenance-mode",
        type=click.Choice(MODES),
        help="Look after the tables instead of running: say what is found and change nothing; compact, expire and remove;"
        " or build the tables anew from raw. Prints one JSON document.",
    )(command)


def refuse_options_of_runs(context: click.Context) -> None:
    """Raise click.UsageError for options that only a run has a use for."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _FITTING
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--maintenance-mode does not go with {', '.join(given)}.")


def maintain(path: Path, options: dict[str, Any]) -> int:
    """Maintain the selected tables, print the document (and the table for people), and return the exit code."""
    from ingestion_runtime.explaining.remembered import remembered_configuration
    from ingestion_runtime.maintenance import MaintenanceRequest, Mode, run
    from ingestion_runtime.maintenance.screens import print_report, report_document

    # Sources are not asked which tables a pattern stands for: what was never ingested needs no maintenance.
    configuration = remembered_configuration(path)
    tables = select_tables(configuration, options["only_tables"])
    report = run(MaintenanceRequest(configuration, tables, Mode(options["maintenance_mode"])), os.environ)
    if options["output"] == "table":
        print_report(report)
    print_json(report_document(report))
    return report.exit_code
