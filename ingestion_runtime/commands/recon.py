"""``ingestion-recon``: are the targets equal to their sources."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion_runtime.commands.common import (
    config_option,
    finish,
    only_tables_option,
    open_configuration,
    output_option,
    print_json,
    require_config,
    select_tables,
)
from ingestion_runtime.model.errors import ConfigError

if TYPE_CHECKING:
    from ingestion_runtime.model.reconciliation import Check


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@only_tables_option
@click.option(
    "--checks",
    metavar="LIST",
    help="These checks in place of the configured ones: plain_count, group_count, pk_uniqueness, checksum, bisect.",
)
@click.option(
    "--engine",
    type=click.Choice(["sqlalchemy", "spark"]),
    default="sqlalchemy",
    show_default=True,
    help="Who reads the targets: this process, or Spark. Sources answer by their own SQL.",
)
@click.option(
    "--max-parallel",
    metavar="N",
    type=click.IntRange(min=1, max=256),
    help="Compare so many tables at a time (default: max_parallel_tables).",
)
@click.option("--fail-on-warn", is_flag=True, help="Exit with 5 for a difference within its threshold, or a skipped check.")
@click.option(
    "--max-keys",
    metavar="N",
    type=click.IntRange(min=0, max=1_000_000),
    help="List so many differing keys (default: max_keys, 1000); all are counted.",
)
@click.option("--show-values", is_flag=True, help="Show the values that differ, for a few of the keys.")
@output_option
@click.option("--output-json", is_flag=True, help="The same as --output json.")
@click.version_option(package_name="ingestion-runtime")
def recon(config_path: Path | None, output: str, output_json: bool, **options: Any) -> None:
    """Compare sources and targets, at the watermark that both agree on. Nothing is written to either.

    Exit code: 0 equal, or within the thresholds; 1 a difference beyond its threshold; 2 configuration; 3 out of reach; 5
    with --fail-on-warn. Keys are named by the check bisect: --checks plain_count,checksum,bisect.
    """
    path = require_config(config_path)
    shown = "json" if output_json else output
    finish(lambda: _recon(path, shown, options), shown)


def _recon(path: Path, output: str, options: dict[str, Any]) -> int:
    from ingestion_runtime.commands.running import new_run_id
    from ingestion_runtime.reconciliation.document import report_document
    from ingestion_runtime.reconciliation.run import Reader, ReconRequest, reconcile

    checks = _parse_checks(options["checks"])
    configuration = open_configuration(path)
    request = ReconRequest(
        configuration=configuration,
        tables=select_tables(configuration, options["only_tables"]),
        run_id=new_run_id(),
        checks=checks,
        reader=Reader(options["engine"]),
        parallel=options["max_parallel"],
        fail_on_warn=options["fail_on_warn"],
        show_values=options["show_values"],
        most_keys=options["max_keys"],
    )
    report = reconcile(request, os.environ)
    if output == "json":
        print_json(report_document(report))
    else:
        from ingestion_runtime.reconciliation.screens import print_report

        print_report(report)
    return report.exit_code


def _parse_checks(text: str | None) -> "tuple[Check, ...] | None":
    """Return the checks that ``--checks`` lists, in the order in which they are made; None without it."""
    from ingestion_runtime.model.reconciliation import Check

    if text is None:
        return None
    asked = {word.strip().lower() for word in text.split(",") if word.strip()}
    unknown = asked - {check.value for check in Check}
    if unknown or not asked:
        raise ConfigError(
            f"--checks names {', '.join(sorted(unknown)) or 'nothing'}, which is no check.",
            remedy=f"Choose from: {', '.join(check.value for check in Check)}.",
        )
    return tuple(check for check in Check if check in asked)


def main() -> None:
    """Run the command line."""
    # Arrow's own pools keep what was freed (see ingestion_runtime.run_cli); it has to be said before Arrow is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    recon(prog_name="ingestion-recon")
