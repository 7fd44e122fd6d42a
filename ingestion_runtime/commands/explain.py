"""``ingestion explain``: what a run would do now."""

from pathlib import Path
from typing import Any

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    only_tables_option,
    open_configuration,
    output_option,
    parse_load_date,
    print_json,
    require_config,
    select_by,
    select_tables,
)
from ingestion_runtime.commands.names import complete_tables
from ingestion_runtime.commands.window import refuse_unfit_options, select_window, window_options


@click.command(short_help="Say what a run would do now: slices, SQL, engine, columns. Nothing is written.")
@config_option
@only_tables_option
@click.option("--load-date", metavar="YYYY-MM-DD", help="The day the run would count for (default: today).")
@click.option(
    "--reload", "reload_tables", metavar="LIST|*", shell_complete=complete_tables, help="As if these tables were reloaded."
)
@window_options
@output_option
def explain(config_path: Path | None, **options: Any) -> None:
    """Say what a run would do now with each table, and what would stop it.

    Sources are asked what a run would ask before it reads. Nothing is written anywhere, no lease is taken, and no engine
    is started. The exit code is the one that a run would have for what can be foreseen.
    """
    refuse_unfit_options(options)
    path = require_config(config_path)
    finish(lambda: _explain(path, options), options["output"])


def _explain(path: Path, options: dict[str, Any]) -> int:
    from ingestion_runtime.documents import as_values
    from ingestion_runtime.explaining.foresight import foresee
    from ingestion_runtime.explaining.screens import print_forecasts
    from ingestion_runtime.model.options import RunOptions
    from ingestion_runtime.orchestrator import gravest

    configuration = open_configuration(path)
    tables = select_tables(configuration, options["only_tables"])
    day = parse_load_date(options["load_date"], configuration.runtime.timezone)
    reload = frozenset(table.name for table in select_by(tables, options["reload_tables"], "--reload"))
    asked = RunOptions(run_id="explain", load_date=day, reload=reload, window=select_window(tables, options))
    forecasts = foresee(configuration, tables, asked)
    code = gravest(forecast.failure.exit_code for forecast in forecasts if forecast.failure)
    if options["output"] == "json":
        listed = [as_values(forecast) for forecast in forecasts]
        job, shown = configuration.runtime.job_name, {"version": 1, "exit_code": code}
        print_json({**shown, "job_name": job, "load_date": day.isoformat(), "tables": listed})
    else:
        print_forecasts(forecasts)
    return code
