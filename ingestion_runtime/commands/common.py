"""What commands share: their options, how tables are named, and how an error becomes a message and an exit code.

Only click and the error tree are imported with it, as with every module of this room: what a command needs it imports
itself, and ``--help`` none of it (0.08 s where it took 0.34).
"""

import json
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ingestion_runtime.commands.names import complete_tables
from ingestion_runtime.model.errors import ConfigError, IngestionError

if TYPE_CHECKING:
    from ingestion_runtime.model.spec import Configuration, TableSpec


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--output table|json``, as the argument ``output``."""
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="A table on stderr for people, or one JSON document on stdout for programs.",
    )(command)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config FILE``, as the argument ``config_path``; see ``require_config``."""
    return click.option("--config", "config_path", type=click.Path(path_type=Path), help="The configuration file (JSON).")(
        command
    )


def only_tables_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--only-tables LIST``, as the argument ``only_tables``; see ``select_tables``."""
    return click.option(
        "--only-tables",
        metavar="LIST",
        help="Only these tables: schema.table, separated by commas.",
        shell_complete=complete_tables,
    )(command)


def require_config(path: Path | None) -> Path:
    """Return the path given with ``--config``; without one the command was used wrongly."""
    if path is None:
        raise click.UsageError("Missing option '--config'.")
    return path


def open_configuration(path: Path) -> "Configuration":
    """Return the configuration in a file, with all its tables: patterns are resolved against their sources.

    Raises ConfigError, and TransientError for a source that has to be asked and cannot be reached.
    """
    from ingestion_runtime.endpoints import resolving

    return resolving.open_configuration(path)


def select_tables(configuration: "Configuration", only: str | None) -> tuple["TableSpec", ...]:
    """Return the configured tables that ``only`` names (all without it), in the order of the configuration.

    Names match case-insensitively, blanks are trimmed. Raises ConfigError for a name that is not configured.
    """
    return configuration.tables if only is None else pick_tables(configuration.tables, only, "--only-tables")


def select_by(tables: tuple["TableSpec", ...], names: str | None, option: str) -> tuple["TableSpec", ...]:
    """Return those of the selected tables that an option is given for: none without ``names``, all for ``*``."""
    if names is None:
        return ()
    return tables if names.strip() == "*" else pick_tables(tables, names, option)


def parse_load_date(text: str | None, timezone: str) -> date:
    """Return the load date: ``text`` (ISO), or today in the configured time zone. Raises ConfigError."""
    from zoneinfo import ZoneInfo

    if text is None:
        return datetime.now(ZoneInfo(timezone)).date()
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"--load-date {text!r} is not a date.", remedy="Write it as YYYY-MM-DD.") from None


def pick_tables(tables: tuple["TableSpec", ...], names: str, option: str) -> tuple["TableSpec", ...]:
    """Return the tables that ``names`` lists (see ``select_tables``); ``option`` is named in errors."""
    return match_tables(tables, _split(names, {table.name.lower() for table in tables}), option)


def _split(names: str, known: Collection[str]) -> Iterator[str]:
    """Yield the names of a list with commas between them; a name that is ``known`` (in lower case) may hold some itself."""
    pieces = names.split(",")
    most = 1 + max((name.count(",") for name in known), default=0)
    while pieces:
        length = next((n for n in range(most, 1, -1) if ",".join(pieces[:n]).strip().lower() in known), 1)
        yield ",".join(pieces[:length])
        del pieces[:length]


def match_tables(tables: tuple["TableSpec", ...], names: Iterable[str], option: str) -> tuple["TableSpec", ...]:
    """Return the tables of these names, letter case and blanks around them aside; ``option`` is named in errors."""
    wanted = {name.strip().lower() for name in names if name.strip()}
    known = {table.name.lower() for table in tables}
    if not wanted or wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "nothing"
        raise ConfigError(
            f"{option} names {unknown}, which is not among the tables of this run.",
            remedy=f"Choose from: {', '.join(sorted(table.name for table in tables))}.",
        )
    return tuple(table for table in tables if table.name.lower() in wanted)


def finish(command: Callable[[], int], output: str) -> NoReturn:
    """End the process with the command's exit code; see ``guarded``."""
    sys.exit(guarded(command, output))


def guarded(command: Callable[[], int], output: str) -> int:
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
            print_json({"version": 1, "exit_code": error.exit_code, "error": failure, "tables": []})
        return error.exit_code


def print_json(document: dict[str, Any]) -> None:
    """Put a document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
