"""A window that a person asked for, in the terms of a table's cursor."""

from dataclasses import dataclass

from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.watermark import from_ticks, parse_watermark, to_ticks

_MICROS = {CursorType.EPOCH_SECONDS: 1_000_000, CursorType.EPOCH_MILLIS: 1_000}
_SPELLED = {
    CursorType.INT: "a whole number",
    CursorType.DATE: "YYYY-MM-DD",
}
_MOMENT = "YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, without a time zone"


@dataclass(frozen=True, slots=True)
class CursorWindow:
    """The cursor values above ``low`` up to ``high`` (inclusive; None: up to the watermark)."""

    low: Watermark
    high: Watermark | None


def has_windows(table: TableSpec) -> bool:
    """Return whether rows of a table can be told by a window: it has a cursor, and not one that only the source compares."""
    return table.mode != "full" and table.incr_col_type not in (None, CursorType.TEXT)


def why_not(table: TableSpec) -> str:
    """Return why a table has no windows, to follow a colon."""
    return "it is loaded whole" if table.mode == "full" else "only the source knows the order of a text cursor"


def read_window(table: TableSpec, asked: AskedWindow) -> CursorWindow:
    """Return the window in the ticks of the table's cursor. Raises ConfigError, saying how its cursor is spelled.

    A moment means what the column shows: UTC where it has a zone (epochs too), else its own wall clock.
    """
    kind = table.incr_col_type
    if kind is None or not has_windows(table):
        raise ConfigError(
            f"{table.name} has no window that could be read again: {why_not(table)}.",
            remedy="Leave it out with --only-tables, or read it anew with --reload.",
            table=table.name,
        )
    start = _first_tick(table, kind, asked.start, "--start-date")
    end = None if asked.end is None else _first_tick(table, kind, asked.end, "--end-date")
    if end is not None and end <= start:
        raise ConfigError(
            f"{table.name}: no value lies from {asked.start!r} up to {asked.end!r}, which does not belong to the window.",
            remedy="Set --end-date to a later value than --start-date.",
            table=table.name,
        )
    try:
        return CursorWindow(from_ticks(kind, start - 1), None if end is None else from_ticks(kind, end - 1))
    except TerminalError:
        raise ConfigError(
            f"{table.name}: nothing lies before {asked.start!r}.",
            remedy="Set --start-date to a later value.",
            table=table.name,
        ) from None


def _first_tick(table: TableSpec, kind: CursorType, text: str, option: str) -> int:
    """Return the smallest tick that is not before ``text``."""
    micros = _MICROS.get(kind)
    try:
        ticks = to_ticks(parse_watermark(kind if micros is None else CursorType.TIMESTAMP, text))
    except ConfigError:
        raise ConfigError(
            f"{table.name}: {option} {text!r} is no value of a cursor of type {kind}.",
            remedy=f"Write it as {_SPELLED.get(kind, _MOMENT)}, or leave the table out with --only-tables.",
            table=table.name,
        ) from None
    return ticks if micros is None else -(-ticks // micros)
