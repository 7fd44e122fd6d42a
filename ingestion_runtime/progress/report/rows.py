"""The tables of a run as lines, and their slices."""

import re
from dataclasses import dataclass
from typing import Final

from ingestion_runtime.progress.report.axis import Axis
from ingestion_runtime.progress.report.timeline import time_taken
from ingestion_runtime.progress.report.words import clip, count, duration, plural, visible
from ingestion_runtime.progress.view import RunView, SliceView, TableView
from ingestion_runtime.progress.wording import show_bytes

_MOST_SLICES: Final = 600
_WATERMARK: Final = 120
_ZERO_FRACTION: Final = re.compile(r"(?<=:\d\d)\.0+$")  # a second is a second
_LEAST: Final = 0.8  # of a hundred: what the eye finds in a row of the table


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of the table of tables. ``x`` and ``width``: its time in the run, in hundredths."""

    name: str
    mode: str
    source: str
    state: str
    engine: str
    read: str
    written: str
    deleted: str
    slices: str
    size: str
    bytes: int
    seconds: str
    exact_seconds: float | None
    watermark: str
    note: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A slice as a line."""

    ordinal: int
    rows: str
    size: str
    seconds: str
    rate: str
    connections: str
    note: str


@dataclass(frozen=True, slots=True)
class SliceGroup:
    """The slices of one table."""

    name: str
    summary: str
    rows: tuple[SliceRow, ...]


def table_row(table: TableView, run: RunView, axis: Axis) -> TableRow:
    """Return the line of a table; ``axis`` is that of the run."""
    x = width = 0.0
    if table.started is not None:
        x = min(max((table.started - run.started).total_seconds() / axis.seconds * 100, 0.0), 100.0 - _LEAST)
        width = min(max(time_taken(table, run) / axis.seconds * 100, _LEAST), 100.0 - x)
    told = (
        (table.duplicates, "older rows of the same key left out"),
        (table.quarantined, "rows without a key in quarantine"),
    )
    total = table.slices_total
    slices = table.slices_read
    return TableRow(
        name=visible(table.name),
        mode=visible(table.mode),
        source=visible(table.source),
        state=table.state.value,
        engine=visible(table.engine),
        read=count(table.rows_read),
        written=count(table.rows_written),
        deleted=count(table.rows_deleted),
        slices=count(slices) if total in (None, slices) or table.state.is_over else f"{slices:,} of {total:,}",
        size=show_bytes(table.bytes),
        bytes=table.bytes,
        seconds=duration(time_taken(table, run)) if table.started else "",
        exact_seconds=round(time_taken(table, run), 3) if table.started else None,
        watermark=visible(clip(_ZERO_FRACTION.sub("", table.watermark or ""), _WATERMARK)),
        note="; ".join(f"{number:,} {what}" for number, what in told if number),
        x=round(x, 1),
        width=round(width, 1),
    )


def slice_groups(run: RunView) -> tuple[tuple[SliceGroup, ...], int]:
    """Return the tables of several slices, those that took longest first, and how many slices the page has no room for."""
    cut = [table for table in run.tables if sum(not piece.tombstones for piece in table.slices) > 1]
    cut.sort(key=lambda table: -time_taken(table, run))
    groups: list[SliceGroup] = []
    room, left_out = _MOST_SLICES, 0
    for table in cut:
        if len(table.slices) > room:
            left_out += len(table.slices)
            continue
        room -= len(table.slices)
        groups.append(SliceGroup(visible(table.name), _summary(table), tuple(map(_slice_row, table.slices))))
    return tuple(groups), left_out


def _summary(table: TableView) -> str:
    read = [piece for piece in table.slices if not piece.tombstones]
    told = [plural(len(read), "slice"), plural(sum(piece.rows for piece in read), "row")]
    times = sorted(piece.seconds for piece in read if piece.seconds is not None and not piece.reused)
    if times:
        told += [f"median {duration(times[len(times) // 2])}", f"slowest {duration(times[-1])}"]
    return ", ".join(told)


def _slice_row(piece: SliceView) -> SliceRow:
    notes = [
        *(["staged by an earlier run"] if piece.reused else []),
        *(["keys that the source no longer has"] if piece.tombstones else []),
        *(["not finished"] if piece.ended is None else []),
    ]
    timed = piece.seconds is not None and not piece.reused
    rated = bool(timed and piece.seconds and not piece.tombstones)
    return SliceRow(
        ordinal=piece.ordinal + 1,
        rows=count(piece.rows),
        size=show_bytes(piece.bytes),
        seconds=duration(piece.seconds) if timed and piece.seconds is not None else "",
        rate=count(piece.rows / piece.seconds) if rated and piece.seconds else "",
        connections=str(piece.connections or ""),
        note=", ".join(notes),
    )
