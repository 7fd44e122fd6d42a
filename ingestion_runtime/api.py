"""The way in for Python programs: notebooks, and the tasks of a scheduler. See ``ingestion_runtime.run``."""

import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_runtime.commands.common import match_tables, parse_load_date
from ingestion_runtime.commands.running import new_run_id, open_for_run
from ingestion_runtime.commands.window import select_window
from ingestion_runtime.endpoints.resolving import resolve
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.options import AskedWindow, RunOptions
from ingestion_runtime.model.result import RunResult
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.orchestrator import RunRequest
from ingestion_runtime.orchestrator import run as carry_out

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Tables = str | Iterable[str] | None
_ALL = "*"


def run(
    config: str | os.PathLike[str] | Configuration,
    *,
    only_tables: Tables = None,
    load_date: date | str | None = None,
    reload: Tables = None,
    allow_shrink: Tables = None,
    start_date: str | None = None,
    end_date: str | None = None,
    wm_lag_seconds: int | None = None,
    heartbeat_seconds: int = 120,
    notify_interval_seconds: int = 300,
    session: "SparkSession | None" = None,
) -> RunResult:
    """Run tables of a configuration; see ``ingestion_runtime.run``."""
    configuration = resolve(config) if isinstance(config, Configuration) else open_for_run(Path(config))
    tables = configuration.tables if only_tables is None else _pick(configuration.tables, only_tables, "only_tables")
    for name, number in (("wm_lag_seconds", wm_lag_seconds), ("heartbeat_seconds", heartbeat_seconds)):
        _require_number(name, number)
    _require_number("notify_interval_seconds", notify_interval_seconds)
    options = RunOptions(
        run_id=new_run_id(),
        load_date=_read_date(load_date, configuration.runtime.timezone),
        wm_lag_seconds=wm_lag_seconds,
        heartbeat_seconds=heartbeat_seconds,
        notify_interval_seconds=notify_interval_seconds,
        reload=_names(tables, reload, "reload"),
        allow_shrink=_names(tables, allow_shrink, "allow_shrink"),
        window=_window(tables, start_date, end_date, named=only_tables is not None, reload=reload is not None),
    )
    return carry_out(RunRequest(configuration, tables, options), os.environ, session)


def _pick(tables: tuple[TableSpec, ...], names: str | Iterable[str], argument: str) -> tuple[TableSpec, ...]:
    return match_tables(tables, names.split(",") if isinstance(names, str) else names, argument)


def _names(tables: tuple[TableSpec, ...], names: Tables, argument: str) -> frozenset[str]:
    if names is None:
        return frozenset()
    every = isinstance(names, str) and names.strip() == _ALL
    return frozenset(table.name for table in (tables if every else _pick(tables, names, argument)))


def _window(
    tables: tuple[TableSpec, ...], start: str | None, end: str | None, *, named: bool, reload: bool
) -> AskedWindow | None:
    if end is not None and start is None:
        raise ConfigError("end_date needs start_date.", remedy="Say where the window begins.")
    if start is not None and reload:
        raise ConfigError("reload reads everything anew.", remedy="Leave it out, or start_date.")
    return select_window(tables, {"start_date": start, "end_date": end, "only_tables": "" if named else None})


def _read_date(value: date | str | None, timezone: str) -> date:
    if value is None or isinstance(value, str):
        return parse_load_date(value, timezone)
    # A datetime is a date too, and its day depends on a zone: nobody should have to guess which.
    if type(value) is not date:
        remedy = "Give a datetime.date or the text YYYY-MM-DD; a datetime has a method date()."
        raise ConfigError(f"load_date {value!r} is not a date.", remedy=remedy)
    return value


def _require_number(name: str, value: int | None) -> None:
    whole = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    if not whole:
        raise ConfigError(f"{name} {value!r} is not a number of seconds.", remedy="Give a whole number from 0 on.")
