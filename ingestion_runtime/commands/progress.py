"""``ingestion-progress``: how runs go, from their event logs: live, looked back at, and what fails again and again."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ingestion_runtime.commands.common import finish, output_option, print_json

_INTERRUPTED = 128 + signal.SIGINT


def _log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--log-file`` and ``--config``, as the arguments ``log_file`` and ``config_path``; see ``_locate``."""
    command = click.option(
        "--config", "config_path", type=click.Path(path_type=Path), help="Take the log folder of this configuration."
    )(command)
    return click.option(
        "--log-file",
        metavar="PATH|URL",
        help="An event log, a folder of them (the newest counts), or an outbox such as webhdfs://host:port/path.",
    )(command)


def _run_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--run N|ID``, as the argument ``run``."""
    return click.option(
        "--run", "run", metavar="N|ID", default="1", show_default=True, help="The run, counted from the last, or its id."
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ingestion-runtime")
def cli() -> None:
    """Show how runs go, from the event logs that they write."""


@cli.command(short_help="Follow the last run until it ends.")
@_log_options
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1, max=3600),
    default=5.0,
    show_default=True,
    help="Look at the log this often.",
)
@click.option("--once", is_flag=True, help="Show how things stand, and end.")
@click.option("--from-start", is_flag=True, help="Tell the runs before the last one too.")
@click.option("--next", "next_run", is_flag=True, help="Wait for a run that has not ended yet.")
@click.option("--exit-with-run", is_flag=True, help="End with the run's exit code, 1 if it died; else 0 once it has ended.")
@output_option
def watch(log_file: str | None, config_path: Path | None, output: str, **wishes: Any) -> None:
    """Follow the last run until it ends, wherever it was started: on a terminal as a dashboard, else in lines."""
    _require_place(log_file, config_path)
    finish(lambda: _quietly(lambda: _watch(_locate(log_file, config_path), wishes, output)), output)


@cli.command(short_help="Show a run that has been, table by table.")
@_log_options
@_run_option
@output_option
def summary(log_file: str | None, config_path: Path | None, run: str, output: str) -> None:
    """Show a run: a line for each table with when it was at work, and what failed."""
    _require_place(log_file, config_path)
    finish(lambda: _quietly(lambda: _summarize(_locate(log_file, config_path), run, output)), output)


@cli.command(short_help="What fails again and again, over all runs.")
@_log_options
@click.option("--show-tables", is_flag=True, help="Name the tables, with how often each failed.")
@output_option
def failures(log_file: str | None, config_path: Path | None, show_tables: bool, output: str) -> None:
    """Show what failed in all runs of a folder: equal failures together, the most frequent first."""
    _require_place(log_file, config_path)
    finish(lambda: _quietly(lambda: _list_failures(_locate(log_file, config_path), show_tables, output)), output)


@cli.command(short_help="Write a run into one HTML file.")
@_log_options
@_run_option
@click.option(
    "--to", "target", metavar="FILE", type=click.Path(path_type=Path), required=True, help="The HTML file to write."
)
@output_option
def report(log_file: str | None, config_path: Path | None, run: str, target: Path, output: str) -> None:
    """Write a run into one HTML file that opens anywhere, without a network."""
    _require_place(log_file, config_path)
    finish(lambda: _quietly(lambda: _report(_locate(log_file, config_path), run, target, output)), output)


def _require_place(log_file: str | None, config_path: Path | None) -> None:
    if (log_file is None) == (config_path is None):
        raise click.UsageError("Say where the event logs are: either --log-file PATH or --config FILE.")


def _locate(log_file: str | None, config_path: Path | None) -> str:
    """Return where the event logs are: the folder into which runs of a configuration write them, if one is given."""
    if config_path is None:
        return log_file or ""
    from ingestion_runtime.config import load_configuration

    runtime = load_configuration(config_path).runtime
    return str(runtime.log_folder)


def _quietly(command: Callable[[], int]) -> int:
    """Return the command's exit code; a signal ends it without a word, and leaves the terminal as it was."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        return command()
    except KeyboardInterrupt:
        return _INTERRUPTED


def _watch(location: str, wishes: dict[str, Any], output: str) -> int:
    from rich.console import Console

    from ingestion_runtime.progress import screens
    from ingestion_runtime.progress.documents import watch_document
    from ingestion_runtime.progress.watching import Watch, Wishes

    watching = Watch(location, Wishes(**wishes))
    console = Console(stderr=True, emoji=False)
    if wishes["once"]:
        if output == "table":
            return watching.show_once(screens.dashboard_teller(console))
        several = wishes["from_start"]
        return watching.show_once(
            screens.json_teller(click.echo) if several else lambda *it: print_json(watch_document(*it))
        )
    if output == "json":
        return watching.follow(screens.PlainScreen(wishes["interval"], screens.json_teller(click.echo)))
    if console.is_terminal and not console.is_dumb_terminal:
        return watching.follow(screens.LiveScreen(console))
    lines = screens.LineTeller(lambda line: click.echo(line, err=True))
    return watching.follow(screens.PlainScreen(wishes["interval"], lines))


def _summarize(location: str, wanted: str, output: str) -> int:
    from datetime import UTC, datetime

    from rich.console import Console

    from ingestion_runtime.progress.documents import VERSION, run_document
    from ingestion_runtime.progress.history import pick_run
    from ingestion_runtime.progress.summary import print_summary

    run = pick_run(location, wanted)
    if output == "json":
        print_json({"version": VERSION, "run": run_document(run)})
    else:
        print_summary(Console(stderr=True, emoji=False), run, datetime.now(UTC))
    return 0


def _list_failures(location: str, show_tables: bool, output: str) -> int:
    from rich.console import Console

    from ingestion_runtime.progress.failures import failures_document, group_failures, print_failures
    from ingestion_runtime.progress.history import require_runs

    runs = require_runs(location)
    groups = group_failures(runs)
    if output == "json":
        print_json(failures_document(runs, groups))
    else:
        print_failures(Console(stderr=True, emoji=False), runs, groups, show_tables=show_tables)
    return 0


def _report(location: str, wanted: str, target: Path, output: str) -> int:
    from ingestion_runtime.progress.documents import VERSION
    from ingestion_runtime.progress.history import pick_run
    from ingestion_runtime.progress.report.writing import write_report

    run = pick_run(location, wanted)
    write_report(run, target)
    if output == "json":
        print_json({"version": VERSION, "run_id": run.run_id, "report": str(target)})
    else:
        click.echo(f"{target}: run {run.run_id}", err=True)
    return 0


def main() -> None:
    """Run the command line and end the process with its exit code."""
    cli(prog_name="ingestion-progress")


if __name__ == "__main__":
    main()
