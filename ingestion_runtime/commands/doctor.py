"""``ingestion doctor``: what is wrong with an installation, before a run finds it out."""

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


@click.command(short_help="Check this installation and what a configuration needs; nothing is changed.")
@config_option
@only_tables_option
@output_option
def doctor(config_path: Path | None, only_tables: str | None, output: str) -> None:
    """Look at everything that a run of this configuration needs: one line each, with what to do about it.

    Machine, packages, directories, state, catalog, Spark's needs, and the sources with their rights, TLS and clocks. Nothing
    is written that stays, and a host that does not answer holds nothing up. Exit code 0 when nothing is red, else the one
    that a run would have.
    """
    path = require_config(config_path)
    finish(lambda: _doctor(path, only_tables, output), output)


def _doctor(path: Path, only_tables: str | None, output: str) -> int:
    from ingestion_runtime.checkup.examination import Surroundings, examine
    from ingestion_runtime.checkup.findings import exit_code
    from ingestion_runtime.checkup.report import findings_document, print_findings

    findings = examine(path, lambda configuration: select_tables(configuration, only_tables), Surroundings())
    if output == "json":
        print_json(findings_document(findings))
    else:
        print_findings(findings)
    return exit_code(findings)
