"""Carrying a run out, whichever command asked for it."""

import gc
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.commands.common import open_configuration, parse_load_date, print_json
from ingestion_runtime.model.errors import IngestionError

if TYPE_CHECKING:
    from ingestion_runtime.model.options import RunOptions
    from ingestion_runtime.model.spec import Configuration, TableSpec


def new_run_id() -> str:
    """Return a name for a run: when it began, in UTC, and something random."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def open_for_run(path: Path) -> "Configuration":
    """Return the configuration of a run; see ``open_configuration``.

    What its sources say may end a run before it begins: those whom the configuration names are told.
    """
    try:
        return open_configuration(path)
    except IngestionError as error:
        _tell(path, error)
        raise


def _tell(path: Path, error: IngestionError) -> None:
    from ingestion_runtime.config import load_configuration
    from ingestion_runtime.model.options import RunOptions
    from ingestion_runtime.outlets import open_notifier

    try:
        configuration = load_configuration(path)
    except IngestionError:
        return  # it cannot be read, and names nobody
    today = parse_load_date(None, configuration.runtime.timezone)
    notifier = open_notifier(configuration, RunOptions(new_run_id(), today))
    if notifier is not None:
        notifier.__exit__(type(error), error, None)


def carry_out(configuration: "Configuration", tables: tuple["TableSpec", ...], request: "RunOptions", output: str) -> int:
    """Run the tables, print how they ended, and return the exit code."""
    from ingestion_runtime.orchestrator import RunRequest, run
    from ingestion_runtime.results import print_table, result_document

    gc.freeze()
    gc.enable()
    result = run(RunRequest(configuration, tables, request), os.environ)
    if output == "json":
        print_json(result_document(result))
    else:
        print_table(result)
    return result.exit_code
