"""How far a run is, and how long it will take: what can be said honestly, and nothing where there is no basis yet."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingestion_runtime.progress.view import RunView, TableState, TableView
from ingestion_runtime.progress.wording import recent_rate

_LEAST_ENDED: Final = 3  # the mean of fewer tables says little of the others


@dataclass(frozen=True, slots=True)
class Estimate:
    """``fraction`` of the work that is done, from 0 to 1; ``seconds`` that are left, None while nobody can tell."""

    fraction: float
    seconds: float | None

    @property
    def percent(self) -> str:
        """The fraction as ``99%``, rounded down: what is not through is not shown as if it were."""
        return f"{int(self.fraction * 100 + 1e-9)}%"


def estimate(run: RunView, now: datetime) -> Estimate:
    """Return how far a run is.

    Tables count alike: one that is over whole, one that is read by its rows among those that were estimated, or by its
    slices. Time is left for the longest of the tables at work, or for all that is to do shared by ``max_parallel``; the
    longer counts. A table at work needs what its rows need at its pace; one that waits, what the ended ones took on average.
    """
    total = max(run.total, 1)
    running = [table for table in run.tables if table.state is TableState.RUNNING]
    fraction = min((run.over + sum(part_done(table) for table in running)) / total, 1.0)
    if run.ended is not None:
        return Estimate(fraction, 0.0)
    waiting = run.count(TableState.WAITING)
    usual = _usual_seconds(run)
    left = [_seconds_left(table, usual, now) for table in running]
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(left) or (waiting and usual is None) or not (running or waiting):
        return Estimate(fraction, None)
    shared = (sum(known) + waiting * (usual or 0.0)) / run.max_parallel
    return Estimate(fraction, max(shared, *known, 0.0) if known else shared)


def rows_per_second(run: RunView, now: datetime) -> float:
    """Return how many rows are being read by all tables together."""
    reading = [table for table in run.tables if table.state is TableState.RUNNING and table.phase == "read"]
    return sum(recent_rate(table, now) or 0.0 for table in reading)


def part_done(table: TableView) -> float:
    """Return how much of a table at work is done, from 0 to 1; reading is taken for nine tenths of it."""
    if table.phase not in ("read", "prepare", ""):
        return 0.9
    if table.estimated_rows:
        return 0.9 * min(table.rows_read / table.estimated_rows, 1.0)
    if table.slices_total:
        return 0.9 * min(table.slices_read / table.slices_total, 1.0)
    return 0.0


def _usual_seconds(run: RunView) -> float | None:
    """Return the mean duration of the ended tables; None before one for every thread, and no fewer than three, has ended."""
    ended = [table.seconds for table in run.tables if table.state.is_over and table.seconds is not None]
    needed = min(max(_LEAST_ENDED, run.max_parallel), max(run.total - 1, 1))
    return sum(ended) / len(ended) if len(ended) >= needed else None


def _seconds_left(table: TableView, usual: float | None, now: datetime) -> float | None:
    rate = recent_rate(table, now)
    if table.phase == "read" and table.estimated_rows and rate:
        return max(table.estimated_rows - table.rows_read, 0) / rate
    if table.phase == "read" and table.slices_read and table.slices_total and table.started:
        each = (now - table.started).total_seconds() / table.slices_read
        return max(table.slices_total - table.slices_read, 0) * max(each, 0.0)
    if usual is None or table.started is None:
        return None
    spent = (now - table.started).total_seconds()
    # One that takes longer than the others did: as much again is the best guess about things of unknown length.
    return usual - spent if spent < usual else max(spent, 0.0)
