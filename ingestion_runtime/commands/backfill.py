"""``ingestion backfill``: older values for columns that came later."""

from pathlib import Path

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    open_configuration,
    output_option,
    parse_load_date,
    pick_tables,
    require_config,
)
from ingestion_runtime.commands.names import complete_table
from ingestion_runtime.commands.running import carry_out, new_run_id
from ingestion_runtime.model.errors import ConfigError


@click.command(short_help="Fill a new column in for rows that were read before it existed.")
@config_option
@click.option(
    "--table",
    "table_name",
    metavar="SCHEMA.TABLE",
    required=True,
    help="The table, of mode scd1.",
    shell_complete=complete_table,
)
@click.option("--columns", metavar="LIST", help="The columns to fill in, separated by commas; they must be there.")
@click.option("--load-date", metavar="YYYY-MM-DD", help="The day this run counts for (default: today).")
@output_option
def backfill(config_path: Path | None, table_name: str, columns: str | None, load_date: str | None, output: str) -> None:
    """Read all rows at or below a table's watermark again and merge them: an added column gets its older values.

    One batch in slices of the primary key, published as any other; watermark and schedule stay as they are. Rows are
    read whole. Killed anywhere, the same command or the next ordinary run goes on.
    """
    path = require_config(config_path)
    finish(lambda: _backfill(path, table_name, columns, load_date, output), output)


def _backfill(path: Path, table_name: str, columns: str | None, load_date: str | None, output: str) -> int:
    from ingestion_runtime.model.options import RunOptions

    configuration = open_configuration(path)
    tables = pick_tables(configuration.tables, table_name, "--table")
    if len(tables) != 1:
        raise ConfigError("--table names several tables.", remedy="Fill in one table at a time.")
    request = RunOptions(
        run_id=new_run_id(),
        load_date=parse_load_date(load_date, configuration.runtime.timezone),
        backfill=True,
        backfill_columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
    )
    return carry_out(configuration, tables, request, output)
