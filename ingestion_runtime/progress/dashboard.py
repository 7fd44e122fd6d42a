"""A run as one screen of a terminal: what is going on and what failed first, and never more than fits."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ingestion_runtime.progress.estimate import Estimate, estimate, rows_per_second
from ingestion_runtime.progress.health import Moment, Mood, judge_health
from ingestion_runtime.progress.remarks import failure_lines
from ingestion_runtime.progress.view import RunView, TableState, TableView
from ingestion_runtime.progress.wording import printable, recent_rate, show_duration, sparkline

STATE_STYLES: Final[Mapping[TableState, str]] = {
    TableState.RUNNING: "bold blue",
    TableState.FAILED: "bold red",
    TableState.INTERRUPTED: "yellow",
    TableState.DONE: "green",
    TableState.UNCHANGED: "cyan",
    TableState.SKIPPED: "cyan",
    TableState.WAITING: "dim",
}
MARKS: Final[Mapping[TableState, str]] = {
    TableState.RUNNING: "▶",
    TableState.FAILED: "✗",
    TableState.INTERRUPTED: "‖",
    TableState.DONE: "✓",
    TableState.UNCHANGED: "=",
    TableState.SKIPPED: "=",
    TableState.WAITING: "·",
}
_MOODS: Final = {Mood.WELL: "green", Mood.LATE: "bold yellow", Mood.BAD: "bold red"}
_ENDED: Final = (TableState.DONE, TableState.UNCHANGED, TableState.SKIPPED)
_GAP: Final = 2
_NUMBERS: Final = ("slices", "rows", "rows/s", "time")
_DROPPED_FIRST: Final = ("engine", "slices", "rows/s", "step", "time", "rows")
_LEAST_NAME, _LONGEST_NAME = 16, 48
_SPARK: Final = "throughput"
_SPARK_WIDTH: Final = range(8, 25)
_HEADING: Final = 2  # lines of a table before its rows
_LEAST_HEIGHT: Final = 9


def dashboard(console: Console, run: RunView, moment: Moment, height: int | None) -> RenderableType:
    """Return the screen: at most ``height`` lines (no limit for None), as wide as the console."""
    head = [*_head(console, run, moment), Text()]
    room = None if height is None else max(height, _LEAST_HEIGHT) - len(head)
    # A third is for failures, as long as the table keeps its heading, a row and the count of the others.
    told = None if room is None else min(room // 3, room - _HEADING - 3)
    failures = [] if told is not None and told < 1 else failure_lines(console, run.tables, told)
    if failures:
        failures.insert(0, Text())
    rows = sorted(run.tables, key=_urgency)
    if room is not None:
        kept = room - len(failures) - _HEADING
        rows = rows[: kept if kept >= run.total else kept - 1]
    rest = _rest(run, rows)
    return Group(*head, _tables(console, rows, moment), *([rest] if rest else []), *failures)


def waiting_screen(moment: Moment) -> RenderableType:
    """Return what is shown before there is a run."""
    return Group(
        Text(f"Waiting for a run in {printable(moment.place)}", "bold"),
        Text(printable(moment.problem) or "Nothing is there yet. Ctrl-C ends.", "bold red" if moment.problem else "dim"),
    )


def _head(console: Console, run: RunView, moment: Moment) -> list[RenderableType]:
    left, health = estimate(run, moment.now), judge_health(run, moment)
    elapsed = ((run.ended or moment.now) - run.started).total_seconds()
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append(printable(run.job_name) or "a run", "bold")
    title.append(f"  load date {printable(run.load_date)}  run {printable(run.run_id)}", "dim")
    title.append(f"  {show_duration(max(elapsed, 0.0))}", "bold")
    counts = Text(no_wrap=True, overflow="ellipsis")
    for state in (TableState.RUNNING, TableState.FAILED, TableState.INTERRUPTED, *_ENDED, TableState.WAITING):
        if number := run.count(state):
            counts.append(f"{number:,} {state}  ", STATE_STYLES[state])
    counts.append(_flow(run, moment))
    life = Text(health.text, _MOODS[health.mood], no_wrap=True, overflow="ellipsis")
    for note, style in _notes(run, moment):
        life.append(f"  {note}", style)
    return [title, _bar(console, run, left, dead=health.mood is Mood.BAD), counts, life]


def _bar(console: Console, run: RunView, left: Estimate, *, dead: bool) -> RenderableType:
    words = f" {run.over:,} of {run.total:,} tables  {left.percent}"
    if run.ended is None and left.seconds is not None and not dead:
        words += f"  about {show_duration(left.seconds)} left"
    width = max(console.width - len(words) - 1, 4)
    failed = run.count(TableState.FAILED, TableState.INTERRUPTED)
    style = "red" if failed else "green"
    grid = Table.grid()
    bar = ProgressBar(1.0, left.fraction, width=width, complete_style=style, finished_style=style)
    grid.add_row(bar, Text(words, "bold", no_wrap=True, overflow="crop"))
    return grid


def _flow(run: RunView, moment: Moment) -> str:
    flow = f"{run.rows_read:,} rows"
    rate = rows_per_second(run, moment.now)
    return f"{flow}, {rate:,.0f} rows/s" if rate else flow


def _notes(run: RunView, moment: Moment) -> list[tuple[str, str]]:
    """Return what is worth a word beside the health of a run, with its style."""
    notes = []
    spark = run.heartbeat.spark if run.heartbeat and run.ended is None else {}
    if spark:
        load = ", ".join(f"{number} {printable(name.removeprefix('active_'))}" for name, number in spark.items())
        notes.append((f"Spark: {load}", "magenta"))
    warnings = len(run.warnings) + sum(len(table.warnings) for table in run.tables)
    if warnings:
        notes.append((f"{warnings:,} {'warning' if warnings == 1 else 'warnings'}", "yellow"))
    if run.garbage:
        notes.append((f"{run.garbage:,} unreadable {'line' if run.garbage == 1 else 'lines'}", "yellow"))
    if moment.problem:
        notes.append((printable(moment.problem), "bold red"))
    return notes


def _urgency(table: TableView) -> tuple[int, float]:
    """What is at work first, the longest of it on top; then what failed, what ended last, and what waits."""
    if table.state is TableState.RUNNING:
        return 0, table.started.timestamp() if table.started else 0.0
    if table.state in (TableState.FAILED, TableState.INTERRUPTED):
        return 1, 0.0
    if table.state.is_over:
        return 2, -table.ended.timestamp() if table.ended else 0.0
    return 3, 0.0


def _rest(run: RunView, shown: Sequence[TableView]) -> Text | None:
    hidden = run.total - len(shown)
    if hidden <= 0:
        return None
    counts = []
    for state in TableState:
        number = run.count(state) - sum(table.state is state for table in shown)
        if number > 0:
            counts.append(f"{number:,} {state}")
    return Text(f"and {hidden:,} more: {', '.join(counts)}", "dim", no_wrap=True, overflow="ellipsis")


def _tables(console: Console, tables: Sequence[TableView], moment: Moment) -> Table:
    """Return a line for each table, with as many columns as there is room for."""
    width = console.width
    cells: dict[str, list[Text]] = {header: [cell(table, moment) for table in tables] for header, cell in _CELLS.items()}
    longest = {header: max([len(header), *(cell.cell_len for cell in column)]) for header, column in cells.items()}
    longest["table"] = min(longest["table"], _LONGEST_NAME)
    dropped = list(_DROPPED_FIRST)
    while dropped and sum(longest[header] + _GAP for header in cells) > width:
        del cells[dropped.pop(0)]
    left = width - sum(longest[header] + _GAP for header in cells)
    if left >= _SPARK_WIDTH.start + _GAP and _can_draw(console):
        places = min(left - _GAP, _SPARK_WIDTH.stop - 1)
        cells[_SPARK] = [Text(sparkline(table.samples, places), "blue") for table in tables]
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="bold")
    for header in cells:
        justify: JustifyMethod = "right" if header in _NUMBERS else "left"
        name = header == "table"
        shown.add_column(
            header,
            justify=justify,
            no_wrap=True,
            overflow="ellipsis",
            min_width=_LEAST_NAME if name else longest.get(header),
        )
    for row in zip(*cells.values(), strict=True):
        shown.add_row(*row)
    return shown


def _can_draw(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _state(table: TableView, _moment: Moment) -> Text:
    return Text(f"{MARKS[table.state]} {table.state}", STATE_STYLES[table.state])


def _slices(table: TableView, _moment: Moment) -> Text:
    if not table.slices_total or (table.slices_total == 1 and not table.slices):
        return Text()
    at = table.slices_read if table.state.is_over else min(table.slices_read + 1, table.slices_total)
    return Text(f"{at}/{table.slices_total}")


def _rows(table: TableView, _moment: Moment) -> Text:
    return Text("" if table.state is TableState.WAITING else f"{table.rows_read:,}")


def _rate(table: TableView, moment: Moment) -> Text:
    rate = recent_rate(table, moment.now)
    return Text("" if rate is None else f"{rate:,.0f}")


def _time(table: TableView, moment: Moment) -> Text:
    spent = table.seconds
    if spent is None and table.started is not None:
        spent = max(((table.ended or moment.now) - table.started).total_seconds(), 0.0)
    return Text(show_duration(spent))


_CELLS: Final[Mapping[str, Callable[[TableView, Moment], Text]]] = {
    "table": lambda table, _moment: Text(printable(table.name)),
    "state": _state,
    "step": lambda table, _moment: Text(table.phase),
    "engine": lambda table, _moment: Text(printable(table.engine)),
    "slices": _slices,
    "rows": _rows,
    "rows/s": _rate,
    "time": _time,
}
