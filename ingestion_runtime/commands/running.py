"""Carrying a run out, whichever command asked for it."""

import gc
import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ingestion_runtime.commands.common import print_json

if TYPE_CHECKING:
    from ingestion_runtime.model.spec import Configuration, RunOptions, TableSpec


def new_run_id() -> str:
    """Return a name for a run: when it began, in UTC, and something random."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


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
