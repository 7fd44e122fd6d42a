"""The command line: options in, exit code out. People read stderr; ``--output json`` puts one document on stdout.

Only click and the error tree are imported with it: what a command needs it imports itself, and ``--help`` none of it
(0.08 s where it took 0.34).
"""

import gc
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ingestion_runtime.model.errors import ConfigError, IngestionError

if TYPE_CHECKING:
    from ingestion_runtime.model.spec import Configuration, RunOptions, TableSpec

_LATER = "comes with a later version; nothing was done."


def _output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="A table on stderr for people, or one JSON document on stdout for programs.",
    )(command)


def _config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--config", "config_path", type=click.Path(path_type=Path), help="The configuration file (JSON).")(
        command
    )


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@_config_option
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
@_output_option
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
    if config_path is None:
        raise click.UsageError("Missing option '--config'.")
    sys.exit(_guarded(lambda: _run(config_path, options), options["output"]))


@cli.command(short_help="Check a configuration; nothing is connected or written.")
@_config_option
@_output_option
def validate(config_path: Path | None, output: str) -> None:
    """Check a configuration and say everything that is wrong with it; nothing is connected or written."""
    if config_path is None:
        raise click.UsageError("Missing option '--config'.")
    sys.exit(_guarded(lambda: _validate(config_path, output), output))


@cli.command(short_help="Fill a new column in for rows that were read before it existed.")
@_config_option
@click.option("--table", "table_name", metavar="SCHEMA.TABLE", required=True, help="The table, of mode scd1.")
@click.option("--columns", metavar="LIST", help="The columns to fill in, separated by commas; they must be there.")
@click.option("--load-date", metavar="YYYY-MM-DD", help="The day this run counts for (default: today).")
@_output_option
def backfill(config_path: Path | None, table_name: str, columns: str | None, load_date: str | None, output: str) -> None:
    """Read all rows at or below a table's watermark again and merge them: an added column gets its older values.

    One batch in slices of the primary key, published as any other; watermark and schedule stay as they are. Rows are
    read whole. Killed anywhere, the same command or the next ordinary run goes on.
    """
    if config_path is None:
        raise click.UsageError("Missing option '--config'.")
    sys.exit(_guarded(lambda: _backfill(config_path, table_name, columns, load_date, output), output))


def _backfill(path: Path, table_name: str, columns: str | None, load_date: str | None, output: str) -> int:
    from ingestion_runtime.config import load_configuration
    from ingestion_runtime.model.spec import RunOptions

    configuration = load_configuration(path)
    tables = _pick(configuration.tables, table_name, "--table")
    if len(tables) != 1:
        raise ConfigError("--table names several tables.", remedy="Fill in one table at a time.")
    request = RunOptions(
        run_id=_run_id(),
        load_date=parse_load_date(load_date, configuration.runtime.timezone),
        backfill=True,
        backfill_columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
    )
    return _carry_out(configuration, tables, request, output)


def _validate(path: Path, output: str) -> int:
    from ingestion_runtime.config import ConfigIssue, load_configuration

    issues: tuple[ConfigIssue, ...] = ()
    failure: ConfigError | None = None
    tables = 0
    try:
        tables = len(load_configuration(path).tables)
    except ConfigError as error:
        failure = error
        found = error.values.get("issues", ())
        # A file that cannot be read has no places to point at: the whole of it is the issue.
        issues = found if isinstance(found, tuple) and found else (ConfigIssue("", str(error)),)
    if output == "json":
        listed = [{"pointer": issue.pointer, "message": issue.message} for issue in issues]
        _print_json({"version": 1, "valid": failure is None, "tables": tables, "issues": listed})
    elif failure is None:
        click.echo(f"{path}: valid, {tables} {'table' if tables == 1 else 'tables'}.", err=True)
    if failure is not None and output != "json":
        raise failure
    return 0 if failure is None else failure.exit_code


def _run(path: Path, options: dict[str, Any]) -> int:
    from ingestion_runtime.config import load_configuration
    from ingestion_runtime.model.spec import RunOptions

    configuration = load_configuration(path)
    tables = select_tables(configuration, options["only_tables"])
    request = RunOptions(
        run_id=_run_id(),
        load_date=parse_load_date(options["load_date"], configuration.runtime.timezone),
        wm_lag_seconds=options["wm_lag_seconds"],
        heartbeat_seconds=options["heartbeat_seconds"],
        reload=frozenset(table.name for table in select_reloads(tables, options["reload_tables"])),
    )
    return _carry_out(configuration, tables, request, options["output"])


def _run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def _carry_out(configuration: "Configuration", tables: tuple["TableSpec", ...], request: "RunOptions", output: str) -> int:
    from ingestion_runtime.orchestrator import RunRequest, run
    from ingestion_runtime.results import print_table, result_document

    gc.freeze()
    gc.enable()
    result = run(RunRequest(configuration, tables, request), os.environ)
    if output == "json":
        _print_json(result_document(result))
    else:
        print_table(result)
    return result.exit_code


def select_tables(configuration: "Configuration", only: str | None) -> tuple["TableSpec", ...]:
    """Return the configured tables that ``only`` names (all without it), in the order of the configuration.

    Names match case-insensitively, blanks are trimmed. Raises ConfigError for a name that is not configured.
    """
    return configuration.tables if only is None else _pick(configuration.tables, only, "--only-tables")


def select_reloads(tables: tuple["TableSpec", ...], names: str | None) -> tuple["TableSpec", ...]:
    """Return the selected tables that are to be reloaded: none without ``names``, all for ``*``."""
    if names is None:
        return ()
    return tables if names.strip() == "*" else _pick(tables, names, "--reload")


def parse_load_date(text: str | None, timezone: str) -> date:
    """Return the load date: ``text`` (ISO), or today in the configured time zone. Raises ConfigError."""
    from zoneinfo import ZoneInfo

    if text is None:
        return datetime.now(ZoneInfo(timezone)).date()
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"--load-date {text!r} is not a date.", remedy="Write it as YYYY-MM-DD.") from None


def run_cli() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    cli(prog_name="ingestion")
    sys.exit(0)


def _pick(tables: tuple["TableSpec", ...], names: str, option: str) -> tuple["TableSpec", ...]:
    wanted = {name.strip().lower() for name in names.split(",") if name.strip()}
    known = {table.name.lower() for table in tables}
    if not wanted or wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "nothing"
        raise ConfigError(
            f"{option} names {unknown}, which is not among the tables of this run.",
            remedy=f"Choose from: {', '.join(sorted(table.name for table in tables))}.",
        )
    return tuple(table for table in tables if table.name.lower() in wanted)


def _guarded(command: Callable[[], int], output: str) -> int:
    """Return the command's exit code; an error of ours becomes one message on stderr, never a traceback.

    Programs get their one document in this case too.
    """
    try:
        return command()
    except KeyboardInterrupt:
        # Before the tables began: while they run, the orchestrator listens and says how each of them ended.
        click.echo("Error: interrupted before any table was begun. Run again.", err=True)
        return 128 + signal.SIGINT
    except IngestionError as error:
        message = str(error).rstrip()
        click.echo(f"Error: {message}", err=True)
        if output == "json":
            failure = {"type": type(error).__name__, "message": message}
            _print_json({"version": 1, "exit_code": error.exit_code, "error": failure, "tables": []})
        return error.exit_code


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
