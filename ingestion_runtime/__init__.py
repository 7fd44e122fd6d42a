"""Batch ingestion of relational tables into a lakehouse.

``run`` is the way in for programs. Importing this costs nothing: what is needed is imported when it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from datetime import date

    from pyspark.sql import SparkSession

    from ingestion_runtime.config import load_configuration
    from ingestion_runtime.model.errors import (
        ConfigError,
        IngestionError,
        LeaseHeldError,
        OutcomeUnknownError,
        TerminalError,
        TransientError,
    )
    from ingestion_runtime.model.result import Failure, RunResult, TableResult, TableStatus
    from ingestion_runtime.model.spec import Configuration

__all__ = [
    "ConfigError",
    "Configuration",
    "Failure",
    "IngestionError",
    "LeaseHeldError",
    "OutcomeUnknownError",
    "RunResult",
    "TableResult",
    "TableStatus",
    "TerminalError",
    "TransientError",
    "load_configuration",
    "run",
]

_ERRORS = ("ConfigError", "IngestionError", "LeaseHeldError", "OutcomeUnknownError", "TerminalError", "TransientError")
_HOMES = {
    **dict.fromkeys(_ERRORS, "model.errors"),
    **dict.fromkeys(("Failure", "RunResult", "TableResult", "TableStatus"), "model.result"),
    "Configuration": "model.spec",
    "load_configuration": "config",
}


def run(
    config: "str | os.PathLike[str] | Configuration",
    *,
    only_tables: "str | Iterable[str] | None" = None,
    load_date: "date | str | None" = None,
    reload: "str | Iterable[str] | None" = None,
    allow_shrink: "str | Iterable[str] | None" = None,
    start_date: str | None = None,
    end_date: str | None = None,
    wm_lag_seconds: int | None = None,
    heartbeat_seconds: int = 120,
    notify_interval_seconds: int = 300,
    session: "SparkSession | None" = None,
) -> "RunResult":
    """Bring tables of a configuration up to date and return how they ended, as ``ingestion --config`` does.

    ``config`` is the path of a configuration, or one that was loaded (``load_configuration``). The other arguments are the
    options of the command line. Tables are named by ``schema.table``, in a list or separated by commas; ``reload`` and
    ``allow_shrink`` take ``*`` for all of the run. ``load_date`` is a date or ``YYYY-MM-DD``; today in the configured time
    zone without it. A Spark ``session`` that is up already is used for tables that need Spark, and left running.

    How single tables failed stands in the result, whose ``exit_code`` is that of the command. Raised is what keeps a run
    from beginning: ConfigError (configuration, arguments, credentials), TransientError (state database or the source of a
    pattern out of reach), TerminalError (a state database of a later version). Nothing is printed, and the process is never
    ended. On the main thread SIGINT and SIGTERM stop the run in order while it lasts: what was not finished is
    ``interrupted`` in the result. May be called again, and by several threads at once for different tables.
    """
    from ingestion_runtime.api import run as run_tables

    return run_tables(
        config,
        only_tables=only_tables,
        load_date=load_date,
        reload=reload,
        allow_shrink=allow_shrink,
        start_date=start_date,
        end_date=end_date,
        wm_lag_seconds=wm_lag_seconds,
        heartbeat_seconds=heartbeat_seconds,
        notify_interval_seconds=notify_interval_seconds,
        session=session,
    )


def run_cli() -> None:
    """Run the command line. Imported late, so that ``import ingestion_runtime`` costs nothing."""
    import gc
    import os

    # What is imported stays: looking through it for garbage again and again takes 0.12 of an idle run's 1.6 s.
    gc.disable()
    # Arrow's own pools keep what was freed: a merge of 300,000 rows into 3 million peaked at 587 MiB with them, at 513
    # with the system's, in the same time. It has to be said before Arrow is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from ingestion_runtime.cli import run_cli as run

    run()


def __getattr__(name: str) -> Any:
    """Import what belongs to ``run`` when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
