"""What ``watch`` shows a run on: a dashboard, a line at a time, or documents for programs."""

import json
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol

from rich.console import Console
from rich.live import Live

from ingestion_runtime.progress.dashboard import dashboard, waiting_screen
from ingestion_runtime.progress.documents import watch_document
from ingestion_runtime.progress.estimate import estimate, rows_per_second
from ingestion_runtime.progress.health import Moment, Mood, judge_health
from ingestion_runtime.progress.view import RunView, TableState
from ingestion_runtime.progress.wording import printable, show_duration

_REPAINT: Final = 1.0  # seconds: the clocks on a dashboard go on between two looks at the log


class Screen(Protocol):
    """Somewhere to show a run on; ``pause`` is how many seconds may pass between two pictures."""

    pause: float

    def show(self, run: RunView | None, moment: Moment) -> None:
        """Show how things stand; there is no run yet for None."""
        ...

    def leave(self, run: RunView | None, moment: Moment) -> None:
        """Show for the last time a run that has a successor, which is shown from now on."""
        ...

    def end(self, run: RunView | None, moment: Moment) -> None:
        """Show how things ended, in a way that stays."""
        ...

    def __enter__(self) -> "Screen": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LiveScreen:
    """The dashboard, on a screen of its own that is gone afterwards; the last picture stays on the ordinary one."""

    pause = _REPAINT

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")
        self._left: list[str] = []

    def show(self, run: RunView | None, moment: Moment) -> None:
        height = self._console.height - 1
        picture = waiting_screen(moment) if run is None else dashboard(self._console, run, moment, height)
        self._live.update(picture, refresh=True)

    def leave(self, run: RunView | None, moment: Moment) -> None:
        # Told at the end: on the screen of the dashboard nothing stays.
        if run is not None:
            self._left.append(one_line(run, moment))

    def end(self, run: RunView | None, moment: Moment) -> None:
        self._live.stop()
        for line in self._left:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if run is not None:
            self._console.print(dashboard(self._console, run, moment, self._console.height - 2))

    def __enter__(self) -> "LiveScreen":
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)


class PlainScreen:
    """Pictures that follow each other, where nothing can be drawn over: written by ``tell`` every ``pause`` seconds."""

    def __init__(self, pause: float, tell: Callable[[RunView | None, Moment], None]) -> None:
        self.pause = pause
        self._tell = tell

    def show(self, run: RunView | None, moment: Moment) -> None:
        self._tell(run, moment)

    def leave(self, run: RunView | None, moment: Moment) -> None:
        self._tell(run, moment)

    def end(self, run: RunView | None, moment: Moment) -> None:
        self._tell(run, moment)

    def __enter__(self) -> "PlainScreen":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing was changed."""


class LineTeller:
    """Tells a run in one line at a time, and every failure once in lines of its own."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._told: set[tuple[str, str]] = set()

    def __call__(self, run: RunView | None, moment: Moment) -> None:
        """Write the line."""
        clock = f"{moment.now.astimezone():%H:%M:%S}"
        if run is None:
            reason = printable(moment.problem) or "nothing is there yet"
            self._write(f"{clock}  waiting for a run in {printable(moment.place)}: {reason}")
            return
        for table in run.tables:
            if table.failure is not None and (run.run_id, table.name) not in self._told:
                self._told.add((run.run_id, table.name))
                failure = f"{printable(table.failure.error_type)} {printable(table.failure.message)}"
                self._write(f"{clock}  {printable(table.name)} {table.state}: {failure}")
        self._write(f"{clock}  {one_line(run, moment)}")


def json_teller(write: Callable[[str], None]) -> Callable[[RunView | None, Moment], None]:
    """Return what writes a run as one line of JSON."""
    return lambda run, moment: write(json.dumps(watch_document(run, moment), ensure_ascii=False))


def dashboard_teller(console: Console) -> Callable[[RunView | None, Moment], None]:
    """Return what prints the dashboard once, with all of its tables."""

    def tell(run: RunView | None, moment: Moment) -> None:
        console.print(waiting_screen(moment) if run is None else dashboard(console, run, moment, None))

    return tell


def one_line(run: RunView, moment: Moment) -> str:
    """Return a run in a line: ``nightly 20 of 50 tables (40%), 3 running, 1 failed, 1,234 rows, ... about 2:10 left``."""
    left, health = estimate(run, moment.now), judge_health(run, moment)
    counts = [f"{number:,} {state}" for state in _TOLD if (number := run.count(state))]
    parts = [*counts, f"{run.rows_read:,} rows"]
    if rate := rows_per_second(run, moment.now):
        parts.append(f"{rate:,.0f} rows/s")
    if run.ended is None and left.seconds is not None and health.mood is not Mood.BAD:
        parts.append(f"about {show_duration(left.seconds)} left")
    parts.append(health.text)
    if run.garbage:
        parts.append(f"{run.garbage:,} unreadable lines")
    if moment.problem:
        parts.append(printable(moment.problem))
    name = printable(run.job_name) or printable(run.run_id)
    return f"{name}: {run.over:,} of {run.total:,} tables ({left.percent}), {', '.join(parts)}"


_TOLD: Final = (TableState.RUNNING, TableState.FAILED, TableState.INTERRUPTED)
