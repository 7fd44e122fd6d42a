"""``ingestion validate``: what is wrong with a configuration."""

from pathlib import Path

import click

from ingestion_runtime.commands.common import config_option, finish, output_option, print_json, require_config
from ingestion_runtime.model.errors import ConfigError


@click.command(short_help="Check a configuration; nothing is connected or written.")
@config_option
@output_option
def validate(config_path: Path | None, output: str) -> None:
    """Check a configuration and say everything that is wrong with it; nothing is connected or written.

    What the patterns among its tables match is not known then: a run asks the sources for it.
    """
    path = require_config(config_path)
    finish(lambda: _validate(path, output), output)


def _validate(path: Path, output: str) -> int:
    from ingestion_runtime.config import ConfigIssue, load_configuration

    issues: tuple[ConfigIssue, ...] = ()
    failure: ConfigError | None = None
    tables = patterns = 0
    try:
        configuration = load_configuration(path)
        tables, patterns = len(configuration.tables), len(configuration.patterns)
    except ConfigError as error:
        failure = error
        found = error.values.get("issues", ())
        # A file that cannot be read has no places to point at: the whole of it is the issue.
        issues = found if isinstance(found, tuple) and found else (ConfigIssue("", str(error)),)
    if output == "json":
        listed = [{"pointer": issue.pointer, "message": issue.message} for issue in issues]
        counts = {"tables": tables, "patterns": patterns}
        print_json({"version": 1, "valid": failure is None, **counts, "issues": listed})
    elif failure is None:
        and_patterns = f", and {_counted(patterns, 'pattern')} that a run resolves" if patterns else ""
        click.echo(f"{path}: valid, {_counted(tables, 'table')}{and_patterns}.", err=True)
    if failure is not None and output != "json":
        raise failure
    return 0 if failure is None else failure.exit_code


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
