"""``--start-date`` and ``--end-date``: a run that reads the rows of a window again, in place of what is new."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ingestion_runtime.model.errors import ConfigError

if TYPE_CHECKING:
    from ingestion_runtime.model.options import AskedWindow
    from ingestion_runtime.model.spec import TableSpec

_TOLD = 5


def window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--start-date VALUE`` and ``--end-date VALUE``, as the arguments of these names; see ``select_window``."""
    end = click.option("--end-date", metavar="VALUE", help="Where that window ends (exclusive); the watermark if left out.")
    start = click.option(
        "--start-date", metavar="VALUE", help="Read a window of the cursor again, from here on; nothing new is read."
    )
    return start(end(command))


def refuse_unfit_options(options: dict[str, Any]) -> None:
    """Raise click.UsageError for options that contradict each other. Nothing is read yet."""
    if options["end_date"] is not None and options["start_date"] is None:
        raise click.UsageError("--end-date needs --start-date.")
    if options["start_date"] is not None and options["reload_tables"] is not None:
        raise click.UsageError("--reload reads everything anew: leave it out, or --start-date.")


def select_window(tables: Sequence["TableSpec"], options: dict[str, Any]) -> "AskedWindow | None":
    """Return the window that was asked for, None without ``--start-date``.

    Raises ConfigError, before anything is touched, where the cursor of a selected table cannot be compared with it. Tables
    that have no windows are passed over when all tables are run, and refused when they were named.
    """
    if options["start_date"] is None:
        return None
    from ingestion_runtime.model.options import AskedWindow
    from ingestion_runtime.planning.window import has_windows, read_window

    asked = AskedWindow(options["start_date"], options["end_date"])
    errors: list[ConfigError] = []
    for table in tables:
        if options["only_tables"] is not None or has_windows(table):
            try:
                read_window(table, asked)
            except ConfigError as error:
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        more = f"\n  and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        told = "".join(f"\n  {error.message} {error.remedy}" for error in errors[:_TOLD])
        raise ConfigError(f"The window does not fit {len(errors)} tables:{told}{more}", remedy="\nNothing was touched.")
    if not any(map(has_windows, tables)):
        raise ConfigError(
            "No table of this run has a window that could be read again.",
            remedy="Windows are for the modes scd1 and append, with a cursor that is no text.",
        )
    return asked
