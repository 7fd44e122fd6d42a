"""Forecasts and standings for people, on stderr. Every name and message is shown as it is, whatever it holds."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion_runtime.explaining.forecast import Action, Forecast, Piece, SliceForecast
from ingestion_runtime.explaining.standing import LastRun, Measure, Overview, Standing, TableStanding
from ingestion_runtime.telling import counted, open_console, say

_ACTIONS: Final = {
    Action.READS: "green",
    Action.FINISHES: "yellow",
    Action.UNCHANGED: "cyan",
    Action.SKIPPED: "cyan",
    Action.FAILS: "bold red",
    Action.UNKNOWN: "yellow",
}
_STANDINGS: Final = {
    Standing.NEVER: "yellow",
    Standing.RUNNING: "green",
    Standing.DONE: "green",
    Standing.UNCHANGED: "cyan",
    Standing.SKIPPED: "cyan",
    Standing.FAILED: "bold red",
    Standing.INTERRUPTED: "bold yellow",
}
_ZERO_FRACTION: Final = re.compile(r"(?<=:\d\d)\.0+$")
_DROPPED_FIRST: Final = ("seconds", "rows", "mode")


def print_forecasts(forecasts: Sequence[Forecast]) -> None:
    """Print what a run would do, a paragraph per table and one line for all of them."""
    console = open_console()
    for forecast in forecasts:
        _print_forecast(console, forecast)
    counts = [(action, sum(forecast.action is action for forecast in forecasts)) for action in Action]
    told = ", ".join(f"{count} {action}" for action, count in counts if count)
    say(console, Text(f"{counted(len(forecasts), 'table')}: {told}. Nothing was read, written or locked."))


def _print_forecast(console: Console, forecast: Forecast) -> None:
    head = Text.assemble((forecast.table, "bold"), "  ", (forecast.mode, "dim"), "  ")
    head.append(forecast.action.value, _ACTIONS[forecast.action])
    head.append(f"  {forecast.reason}" if forecast.reason else "")
    say(console, head)
    for label, text in _facts(forecast):
        say(console, Text.assemble((f"  {label:<10}", "dim"), text))
    for piece in forecast.slices:
        say(console, Text.assemble((f"  slice {piece.ordinal:<4}", "dim"), _spell_slice(piece)))
    statements = [statement for piece in forecast.slices for statement in piece.statements]
    for line in statements[0].splitlines() if statements else ():
        say(console, Text.assemble(("  SQL       ", "dim"), line))
    if len(statements) > 1:
        say(console, Text(f"  and {len(statements) - 1} more like it: --output json has them all", "dim"))
    for change in forecast.changes:
        words = f"{change.column}: {change.change} {change.before or '-'} -> {change.after or '-'}, policy {change.policy}"
        say(console, Text.assemble(("  column    ", "dim"), (words, "bold red" if change.refused else "")))
    for note in forecast.notes:
        say(console, Text.assemble(("  note      ", "dim"), note))
    if forecast.failure is not None:
        stop = forecast.failure
        say(console, Text.assemble(("  stops     ", "dim"), (stop.type, "bold red"), f" {stop.message}"))
    console.print()


def _facts(forecast: Forecast) -> Iterator[tuple[str, str]]:
    if forecast.watermark is not None:
        yield "watermark", forecast.watermark
    if forecast.slices:
        rows = "an unknown number of rows" if forecast.estimated_rows is None else f"about {forecast.estimated_rows:,} rows"
        bounds = f", above {forecast.lower} up to {forecast.upper}" if forecast.upper is not None else ""
        yield "reads", f"{rows} in {counted(len(forecast.slices), 'slice')}{bounds}"
    if forecast.columns:
        noted = [f"{column.name} ({column.note})" for column in forecast.columns if column.note]
        yield "columns", f"{len(forecast.columns)}{': ' + ', '.join(noted) if noted else ''}"
    if forecast.engine is not None:
        most = max((piece.connections for piece in forecast.slices), default=1)
        yield "engine", f"{forecast.engine} ({forecast.engine_reason}), {counted(most, 'connection')}"
    if forecast.publish is not None:
        keys = ", the keys of source and target compared" if forecast.compares_keys else ""
        yield "publish", f"{forecast.publish}: {forecast.target}, its publish number {forecast.sequence}{keys}"


def _spell_slice(piece: SliceForecast) -> str:
    rows = "" if piece.estimated_rows is None else f", about {piece.estimated_rows:,} rows"
    keys = f", {piece.keys}" if piece.keys else ""
    match piece.covers:
        case Piece.WINDOW:
            words = f"above {piece.low} up to {piece.high}"
        case Piece.REREAD:
            ends = f"from {piece.low} to {piece.high}" if piece.low is not None else f"up to {piece.high}"
            nulls = "rows without a cursor" if piece.nulls else ""
            words = f"again: {' and '.join(filter(None, (ends if piece.high is not None else '', nulls))) or 'no rows'}"
        case Piece.WHOLE:
            words = "the whole table"
        case Piece.TOMBSTONES:
            words = "keys that the source no longer has"
    return f"{words}{keys}{rows}"


def print_overview(overview: Overview, stale_hours: float | None) -> None:
    """Print where the tables stand: one line a table, and under them what failed and what is stale."""
    console = open_console()
    say(console, Text(f"{overview.job_name}, {overview.state}", "italic"))
    if overview.last_run is not None:
        say(console, _spell_run(overview.last_run, overview.as_of))
    console.print(_standing_table(console.width, overview, stale_hours))
    for table in overview.tables:
        for style, words in _remarks(table):
            say(console, Text.assemble((f"{table.table}: ", ""), (words, style)))
    stale = [table.table for table in overview.tables if stale_hours is not None and table.is_stale(stale_hours)]
    if stale:
        say(console, Text.assemble((f"staler than {stale_hours:g} hours: ", "bold red"), ", ".join(stale)))


def _standing_table(width: int, overview: Overview, stale_hours: float | None) -> Table:
    tables = overview.tables
    cells = {
        "table": [Text(table.table) for table in tables],
        "mode": [Text(table.mode) for table in tables],
        "stands": [Text(table.standing.value, _STANDINGS[table.standing]) for table in tables],
        "last ended": [Text(_ago(table.last_at, overview.as_of)) for table in tables],
        "rows": [Text("" if table.last_rows_written is None else f"{table.last_rows_written:,}") for table in tables],
        "seconds": [Text("" if table.last_seconds is None else f"{table.last_seconds:.1f}") for table in tables],
        "fresh": [_fresh(table, stale_hours) for table in tables],
        "watermark": [Text(_ZERO_FRACTION.sub("", table.watermark or "")) for table in tables],
    }
    needed = {header: max(len(header), *(cell.cell_len for cell in column), 0) + 2 for header, column in cells.items()}
    for header in _DROPPED_FIRST:
        if sum(needed[kept] for kept in cells) > width:
            del cells[header]
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for header in cells:
        shown.add_column(header, justify="right" if header in ("rows", "seconds") else "left", overflow="fold")
    for row in zip(*cells.values(), strict=True):
        shown.add_row(*row)
    return shown


def _fresh(table: TableStanding, stale_hours: float | None) -> Text:
    if table.freshness_seconds is None:
        return Text("unknown", "bold red" if stale_hours is not None else "")
    stale = stale_hours is not None and table.is_stale(stale_hours)
    since = "" if table.freshness_of is Measure.WATERMARK else " (success)"
    return Text(f"{_span(table.freshness_seconds)}{since}", "bold red" if stale else "")


def _remarks(table: TableStanding) -> Iterator[tuple[str, str]]:
    if table.problem is not None:
        yield "bold red", table.problem
    if table.standing in (Standing.FAILED, Standing.INTERRUPTED) and table.last_error is not None:
        often = f" ({table.failures} times in a row)" if table.failures > 1 else ""
        yield "", f"{table.last_error}{often}"
    if table.open_batch is not None:
        yield "", f"batch {table.open_batch.batch_id} of run {table.open_batch.run_id} is open; the next run goes on with it"
    if table.lease is not None:
        left = "at work" if table.lease.at_work else "gone, the next run takes over"
        yield "", f"held by run {table.lease.run_id}, process {table.lease.pid} on {table.lease.host}: {left}"


def _spell_run(run: LastRun, now: datetime) -> Text:
    tables, begun = counted(run.tables, "table"), _ago(run.started_at, now)
    words = f"last run {run.run_id} of {run.load_date}, {tables}, begun {begun}: "
    if run.ended_at is not None:
        code = run.exit_code or 0
        return Text.assemble(words, (f"exit code {code}", "" if code == 0 else "bold red"))
    if run.at_work:
        return Text.assemble(words, (f"at work, process {run.pid} on {run.host}", "green"))
    return Text.assemble(words, ("died", "bold red"))


def _ago(moment: datetime | None, now: datetime) -> str:
    return "" if moment is None else f"{_span(max(0.0, (now - moment).total_seconds()))} ago"


def _span(seconds: float) -> str:
    """Return a time in its two largest units, as people say it."""
    minutes, whole = int(seconds // 60), int(seconds)
    if minutes < 1:
        return f"{whole} s"
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"
