"""``ingestion why-missing``: one key traced from the source into the target, and the reason in one sentence."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    match_tables,
    open_configuration,
    output_option,
    parse_load_date,
    print_json,
    require_config,
)
from ingestion_runtime.commands.names import complete_table
from ingestion_runtime.model.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from ingestion_runtime.model.spec import Configuration, TableSpec
    from ingestion_runtime.tracing.trace import Trace

_EQUAL, _NOT_EQUAL, _UNREACHABLE = 0, 1, 3


# A key may begin with a minus, and is none of our options.
@click.command(
    "why-missing",
    short_help="Say in one sentence why a key is in the target or is not.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("table", shell_complete=complete_table)
@click.argument("key", nargs=-1, required=True, type=click.UNPROCESSED)
@config_option
@click.option(
    "--with",
    "version",
    metavar="NAME=VALUE",
    multiple=True,
    help="Of several versions of the row the one with this value in another column; may be given again.",
)
@output_option
def why_missing(table: str, key: tuple[str, ...], config_path: Path | None, version: tuple[str, ...], output: str) -> None:
    """Trace one KEY of a TABLE through source, window, slices, raw, target and its history, and say why it is there or not.

    KEY is the value of the primary key; of several columns one value each, in the order of primary_keys, or NAME=VALUE for
    each, or one argument with commas between them, or one JSON array. NULL is NULL. A table without a key is asked by
    NAME=VALUE of any columns.

    Nothing is written and no lease is taken. Exit code 0: readers see it as the source has it; 1: they do not; 2: the
    question cannot be asked; 3: the source cannot be reached, and what could be found without it is said.
    """
    path = require_config(config_path)
    finish(lambda: _why_missing(path, table, key, version, output), output)


def _why_missing(path: Path, table: str, key: tuple[str, ...], version: tuple[str, ...], output: str) -> int:
    from ingestion_runtime.tracing.trace import MaskedColumnError
    from ingestion_runtime.tracing.wanted import KeyTypeError

    try:
        configuration = _open(path)
        found = _trace(configuration, _pick(configuration, table), key, version)
    except _NotConfiguredError as error:
        return _refuse(error, "table_not_configured", table, output)
    except KeyTypeError as error:
        return _refuse(error, "key_of_another_type", table, output)
    except MaskedColumnError as error:
        return _refuse(error, "masked_column", table, output)
    return _answer(found, output)


class _NotConfiguredError(ConfigError):
    """A table that this configuration does not ingest."""


def _open(path: Path) -> "Configuration":
    """Return the configuration; while a source is away its patterns stand for the tables that the last runs found."""
    from ingestion_runtime.explaining.remembered import remembered_configuration

    try:
        return open_configuration(path)
    except (TransientError, ConfigError):  # of a file that cannot be used the second look says the same
        return remembered_configuration(path)


def _pick(configuration: "Configuration", name: str) -> "TableSpec":
    try:
        (table,) = match_tables(configuration.tables, [name], "why-missing")
    except ConfigError as error:
        raise _NotConfiguredError(
            f"The table {name!r} is not configured: nothing of it is ever read.", remedy=error.remedy, table=name
        ) from None
    return table


def _trace(configuration: "Configuration", table: "TableSpec", key: tuple[str, ...], version: tuple[str, ...]) -> "Trace":
    from ingestion_runtime.tracing.trace import trace
    from ingestion_runtime.tracing.wanted import speak_key, speak_version

    spoken = speak_key(key, table.primary_keys, table.name)
    today = parse_load_date(None, configuration.runtime.timezone)
    return trace(configuration, table, spoken, speak_version(version), today)


def _refuse(error: ConfigError, cause: str, table: str, output: str) -> int:
    click.echo(f"Error: {str(error).rstrip()}", err=True)
    if output == "json":
        said: dict[str, Any] = {"sentence": error.message, "remedy": error.remedy, "in_target": None}
        failure = {"type": "ConfigError", "message": str(error).rstrip()}
        print_json({"version": 1, "exit_code": error.exit_code, "table": table, "cause": cause, **said, "error": failure})
    return error.exit_code


def _answer(found: "Trace", output: str) -> int:
    from ingestion_runtime.tracing.cause import Cause
    from ingestion_runtime.tracing.stages import document

    verdict = found.verdict
    code = _EQUAL if verdict.in_target and verdict.equals_source else _NOT_EQUAL
    code = _UNREACHABLE if verdict.cause is Cause.SOURCE_UNREACHABLE else code
    if output == "json":
        print_json({"version": 1, "exit_code": code, **document(found)})
    else:
        from ingestion_runtime.tracing.screens import print_trace

        print_trace(found)
    return code
