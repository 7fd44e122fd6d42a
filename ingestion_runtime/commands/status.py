"""``ingestion status``: where the tables stand."""

import math
from pathlib import Path

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    only_tables_option,
    output_option,
    print_json,
    require_config,
    select_tables,
)


def _require_number(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no number of hours: against it, nothing would ever be stale."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be a number of hours")
    return value


@click.command(short_help="Say where the tables stand: last result, watermark, freshness. Only the state is read.")
@config_option
@only_tables_option
@click.option(
    "--stale-hours",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    callback=_require_number,
    help="Exit with 1 when a table is less fresh than so many hours.",
)
@output_option
def status(config_path: Path | None, only_tables: str | None, stale_hours: float | None, output: str) -> None:
    """Say where each table stands, by the state database alone: no source, no catalog and no target is looked at.

    Fresh is the time since the watermark where that is a time, else since the last run in which the table ended well.
    """
    path = require_config(config_path)
    finish(lambda: _status(path, only_tables, stale_hours, output), output)


def _status(path: Path, only_tables: str | None, stale_hours: float | None, output: str) -> int:
    from datetime import UTC, datetime

    from ingestion_runtime.documents import as_values
    from ingestion_runtime.explaining.remembered import remembered_configuration
    from ingestion_runtime.explaining.standing import look_around

    configuration = remembered_configuration(path)
    overview = look_around(configuration, select_tables(configuration, only_tables), datetime.now(UTC))
    stale = [table.table for table in overview.tables if stale_hours is not None and table.is_stale(stale_hours)]
    if output == "json":
        print_json({"version": 1, "stale_hours": stale_hours, "stale": stale, **as_values(overview)})
    else:
        from ingestion_runtime.explaining.screens import print_overview

        print_overview(overview, stale_hours)
    return 1 if stale else 0
