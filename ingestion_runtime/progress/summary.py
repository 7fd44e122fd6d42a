"""A run looked back at: a table of its tables with a bar for when each was at work."""

import itertools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ingestion_runtime.progress.dashboard import MARKS, STATE_STYLES
from ingestion_runtime.progress.health import Moment, is_gone, judge_health
from ingestion_runtime.progress.remarks import failure_lines
from ingestion_runtime.progress.view import RunView, TableState, TableView
from ingestion_runtime.progress.wording import printable, show_bytes, show_duration, show_time

_FILE_WIDTH: Final = 160  # where no terminal says how wide it is
_GAP: Final = 2
_GANTT: Final = "when"
_GANTT_LEAST, _GANTT_MOST = 20, 60
_LONGEST_NAME: Final = 48
_NUMBERS: Final = ("read", "written", "size", "slices", "time")
_DROPPED_FIRST: Final = ("size", "slices", "engine", "written", "read", "time")
_STEP_STYLES: Final = {"prepare": "dim", "read": "blue", "deletes": "yellow", "record": "dim"}
_PUBLISH_STYLE: Final = "magenta"


def print_summary(console: Console, run: RunView, now: datetime) -> None:
    """Print a run on a console: a heading, a line for each table, what failed and how it ended."""
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    words = (printable(run.job_name) or "a run", printable(run.load_date), printable(run.run_id))
    console.print(Text.assemble((words[0], "bold"), f", load date {words[1]}, run {words[2]}", overflow="fold"))
    console.print(f"{show_time(run.started)}, {_span(run, now)}", style="dim", highlight=False)
    console.print()
    console.print(_build_table(console, run, now))
    for line in [Text(), *failure_lines(console, run.tables, None), *_closing(run, now)]:
        console.print(line, soft_wrap=True)


def _span(run: RunView, now: datetime) -> str:
    seconds = ((run.ended or now) - run.started).total_seconds()
    words = show_duration(max(seconds, 0.0))
    return words if run.ended else f"{words} so far"


def _closing(run: RunView, now: datetime) -> list[Text]:
    counts = [f"{number:,} {state}" for state in TableState if (number := run.count(state))]
    gone = is_gone(run)
    health = judge_health(run, Moment(now, "", gone=gone))
    said = health.text if run.ended or gone else f"no end was logged: it is under way, or it died; {health.text}"
    style = "" if run.exit_code == 0 else "bold red"
    lines = [Text.assemble(f"{run.total:,} tables: {', '.join(counts)}; {run.rows_read:,} rows read; ", (said, style))]
    if run.garbage:
        lines.append(Text(f"{run.garbage:,} lines of the log could not be read and were passed over", "yellow"))
    return lines


def _build_table(console: Console, run: RunView, now: datetime) -> Table:
    cells = {header: [cell(table, now) for table in run.tables] for header, cell in _CELLS.items()}
    longest = {header: max([len(header), *(cell.cell_len for cell in column)]) for header, column in cells.items()}
    longest["table"] = min(longest["table"], _LONGEST_NAME)
    dropped = list(_DROPPED_FIRST)
    while dropped and sum(longest[header] + _GAP for header in cells) + _GANTT_LEAST > console.width:
        header = dropped.pop(0)
        del cells[header]
    left = console.width - sum(longest[header] + _GAP for header in cells) - _GAP
    if left >= _GANTT_LEAST and console.encoding.lower().startswith("utf"):
        places = min(left, _GANTT_MOST)
        cells[_GANTT] = [_gantt(run, table, places, now) for table in run.tables]
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="bold")
    for header in cells:
        justify: JustifyMethod = "right" if header in _NUMBERS else "left"
        # A long name is folded, never cut: this is what people look things up in.
        shown.add_column(header, justify=justify, no_wrap=header != "table", overflow="fold")
    for row in zip(*cells.values(), strict=True):
        shown.add_row(*row)
    return shown


def _gantt(run: RunView, table: TableView, places: int, now: datetime) -> Text:
    """Return when a table was at work within the run, a character for each span of time, in the colour of its step."""
    if table.started is None:
        return Text()
    end = run.ended or max([now if not is_gone(run) else run.last_line_at, run.last_line_at])
    whole = max((end - run.started).total_seconds(), 1e-6)

    def place(at: datetime) -> int:
        return min(max(int((at - run.started).total_seconds() / whole * places), 0), places - 1)

    first, last = place(table.started), place(table.ended or end)
    bar = Text(" " * first)
    styles = [_style_at(table, run, (at + 0.5) / places * whole) for at in range(first, last + 1)]
    for style, group in itertools.groupby(styles):
        bar.append("━" * len(list(group)), style)
    if table.state in (TableState.FAILED, TableState.INTERRUPTED):
        bar = bar[: len(bar) - 1]
        bar.append(MARKS[table.state], STATE_STYLES[table.state])
    return bar


def _style_at(table: TableView, run: RunView, seconds: float) -> str:
    """Return the colour of the step a table was at, so many seconds into the run; that of its last one afterwards."""
    at = [step for step in table.steps if (step.started - run.started).total_seconds() <= seconds]
    name = (at[-1] if at else table.steps[0]).name if table.steps else "read"
    return _STEP_STYLES.get(name, _PUBLISH_STYLE)


def _time(table: TableView, now: datetime) -> Text:
    spent = table.seconds
    if spent is None and table.started is not None:
        spent = max(((table.ended or now) - table.started).total_seconds(), 0.0)
    return Text(show_duration(spent))


def _number(table: TableView, number: int) -> Text:
    return Text("" if table.state is TableState.WAITING else f"{number:,}")


_CELLS: Final[Mapping[str, Callable[[TableView, datetime], Text]]] = {
    "table": lambda table, _now: Text(printable(table.name)),
    "state": lambda table, _now: Text(f"{MARKS[table.state]} {table.state}", STATE_STYLES[table.state]),
    "engine": lambda table, _now: Text(printable(table.engine)),
    "read": lambda table, _now: _number(table, table.rows_read),
    "written": lambda table, _now: _number(table, table.rows_written),
    "size": lambda table, _now: Text(show_bytes(table.bytes) if table.bytes else ""),
    "slices": lambda table, _now: Text(str(table.slices_total) if table.slices_total else ""),
    "time": _time,
}
