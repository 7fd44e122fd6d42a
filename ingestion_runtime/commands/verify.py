"""``ingestion verify``: proof without the source."""

import signal
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
from ingestion_runtime.model.errors import IngestionError, TerminalError

_WARNED = 5


@click.command(short_help="Prove what was published: receipts, raw files and hashes against the rows. No source is asked.")
@config_option
@only_tables_option
@click.option("--files-only", is_flag=True, help="Look at records and raw files, and compare no rows.")
@click.option(
    "--max-keys",
    metavar="N",
    type=click.IntRange(min=0, max=10_000),
    default=10,
    show_default=True,
    help="Name so many keys for each finding.",
)
@click.option("--fail-on-warn", is_flag=True, help="Exit with 5 when something of a table could not be looked at.")
@output_option
def verify(
    config_path: Path | None, only_tables: str | None, files_only: bool, max_keys: int, fail_on_warn: bool, output: str
) -> None:
    """Trace every published batch from the table's receipt to its raw files and their hashes, to the rows that readers see.

    Names the batch, slice and file where something was lost, added or changed since. Nothing is changed and no lease is
    taken. Exit code 0 when nothing speaks against the tables, 1 when something does.
    """
    path = require_config(config_path)
    finish(lambda: _verify(path, only_tables, (not files_only, max_keys, fail_on_warn), output), output)


def _verify(path: Path, only_tables: str | None, asked: tuple[bool, int, bool], output: str) -> int:
    from ingestion_runtime.documents import as_values
    from ingestion_runtime.explaining.remembered import remembered_configuration
    from ingestion_runtime.orchestrator import gravest
    from ingestion_runtime.provenance.findings import ProofStatus
    from ingestion_runtime.provenance.verifying import Wishes, verify

    rows, most, fail_on_warn = asked
    configuration = remembered_configuration(path)
    tables = select_tables(configuration, only_tables)
    try:
        proofs = verify(configuration, tables, Wishes(rows, most), _classify)
    except KeyboardInterrupt:
        click.echo("Error: interrupted; nothing was changed.", err=True)
        return 128 + signal.SIGINT
    codes = [proof.error.exit_code for proof in proofs if proof.error]
    codes += [1 for proof in proofs if proof.status is ProofStatus.BROKEN]
    warned = _WARNED if fail_on_warn and any(proof.warns for proof in proofs) else 0
    code = gravest(codes) or warned
    if output == "json":
        listed = [as_values(proof) for proof in proofs]
        print_json({"version": 1, "exit_code": code, "job_name": configuration.runtime.job_name, "tables": listed})
    else:
        from ingestion_runtime.provenance.screens import print_proofs

        print_proofs(proofs)
    return code


def _classify(raised: Exception, table: str) -> IngestionError:
    from ingestion_runtime.ingestion.failures import classify

    error = classify(raised, table, interrupted=False)
    if isinstance(raised, IngestionError) or type(error) is not TerminalError:
        return error
    return TerminalError(
        error.message, remedy="Nothing was changed. Look at what it names, then run the same command again."
    )
