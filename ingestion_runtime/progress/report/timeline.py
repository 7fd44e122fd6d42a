"""The tables of a run along its time: a row each, its steps, and the slices of what it read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingestion_runtime.progress.report.axis import LEFT, RIGHT, Axis
from ingestion_runtime.progress.report.words import count, duration, plural, shorten, visible
from ingestion_runtime.progress.view import RunView, SliceView, TableState, TableView

# As many rows as a screen or two hold. The table of tables has every one of them, with its place in the run.
MOST_ROWS: Final = 60
_MOST_PIECES: Final = 900
_TOP: Final = 34.0
_ROW: Final = 21.0
_NAME: Final = 30
_LEAST: Final = 1.2  # narrower, nobody sees it
_SHOWN_FIRST: Final = (TableState.FAILED, TableState.INTERRUPTED, TableState.RUNNING)

#: The steps in the order of the legend, with what they are called there.
STEPS: Final = {
    "prepare": "prepare",
    "read": "read",
    "deletes": "look for deletes",
    "land": "land in raw",
    "write": "write",
    "audit": "audit",
    "commit": "commit",
    "publish": "publish",
    "record": "record",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one row: ``kind`` decides its colour, ``text`` is shown to who points at it."""

    x: float
    width: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One table. ``whole`` is its time in the run, ``end`` where the text of its duration begins."""

    y: float
    name: str
    full_name: str
    state: str
    whole: Bar
    bars: tuple[Bar, ...]
    end: float
    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows that are drawn, how many were left out, and the steps that occur."""

    rows: tuple[Row, ...]
    left_out: int
    longest_left_out: str
    height: float
    legend: tuple[tuple[str, str], ...]


def draw_timeline(run: RunView, axis: Axis) -> Timeline:
    """Return the tables that failed, are at work, or took longest, in the order in which they began."""
    began = [table for table in run.tables if table.started is not None]
    weighed = sorted(began, key=lambda table: (table.state not in _SHOWN_FIRST, -time_taken(table, run)))
    kept, rest = weighed[:MOST_ROWS], weighed[MOST_ROWS:]
    kept.sort(key=lambda table: (table.started or run.started, table.name))
    pieces = sum(len(table.slices) for table in kept)
    rows = tuple(_row(place, table, run, axis, pieces <= _MOST_PIECES) for place, table in enumerate(kept))
    found = {step.name for table in kept for step in table.steps}
    return Timeline(
        rows=rows,
        left_out=len(rest),
        longest_left_out=duration(max((time_taken(table, run) for table in rest), default=0.0)),
        height=_TOP + _ROW * len(rows) + 6,
        legend=tuple((name, label) for name, label in STEPS.items() if name in found),
    )


def time_taken(table: TableView, run: RunView) -> float:
    """Return the seconds of a table's work, until the last line of the log for one that is not over."""
    if table.seconds is not None:
        return table.seconds
    return 0.0 if table.started is None else ((table.ended or run.last_line_at) - table.started).total_seconds()


def _row(place: int, table: TableView, run: RunView, axis: Axis, with_slices: bool) -> Row:
    began = table.started or run.started
    end = table.ended or run.last_line_at
    bars: list[Bar] = []
    for step in table.steps:
        name = step.name if step.name in STEPS else "prepare"
        until = step.ended or end
        text = f"{STEPS[name]}: {duration((until - step.started).total_seconds())}"
        slices = [piece for piece in table.slices if not piece.tombstones and not piece.reused]
        if name == "read" and with_slices and len(slices) > 1:
            bars += _slice_bars(slices, step.started, until, table, axis)
        else:
            bars.append(_bar(axis, step.started, until, name, text))
    whole = _bar(axis, began, end, "whole", "")
    past = whole.x + whole.width
    # At the right edge the duration stands inside of the bar's row, in front of it.
    room = past + 70 < RIGHT + 72
    return Row(
        y=_TOP + _ROW * place,
        name=shorten(visible(table.name), _NAME),
        full_name=visible(table.name),
        state=table.state.value,
        whole=whole,
        bars=tuple(bars),
        end=past + 6 if room else whole.x - 6,
        anchor="start" if room else "end",
        text=duration(time_taken(table, run)) + ("" if table.state.is_over else " …"),
    )


def _slice_bars(slices: Sequence[SliceView], begun: datetime, until: datetime, table: TableView, axis: Axis) -> list[Bar]:
    """Return the slices that were read within a step, shaded in turns, over a bar of the step as a whole."""
    total = table.slices_total or len(slices)
    bars = [_bar(axis, begun, until, "read", f"read: {duration((until - begun).total_seconds())}")]
    for piece in slices:
        start, end = piece.started, piece.ended or until
        if start is None or start < begun or start > until:
            continue
        seconds = (end - start).total_seconds()
        text = f"slice {piece.ordinal + 1} of {total}: {plural(piece.rows, 'row')} in {duration(seconds)}"
        text += f" ({count(piece.rows / seconds)} rows/s)" if seconds > 0 else ""
        bars.append(_bar(axis, start, end, "slice-even" if piece.ordinal % 2 else "slice-odd", text))
    return bars


def _bar(axis: Axis, start: datetime, end: datetime, kind: str, text: str) -> Bar:
    x = axis.x(start)
    width = max(round(axis.x(end) - x, 1), _LEAST)
    return Bar(max(min(x, RIGHT - width), LEFT), width, kind, text)
