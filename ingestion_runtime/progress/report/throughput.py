"""Rows a second over the time of a run, and how many tables were at work."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ingestion_runtime.progress.report.axis import Axis
from ingestion_runtime.progress.report.words import short_count
from ingestion_runtime.progress.view import RunView, TableView

_MOST_BINS: Final = 180
_LEAST_BIN: Final = 0.1  # seconds; the log's own moments are no finer than that
_HEIGHT: Final = 120.0
_TOP: Final = 14.0
_LOW: Final = 36.0
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line, and what it stands for."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A curve and the area below it as SVG paths; ``base`` is the y of zero."""

    line: str
    area: str
    levels: tuple[Level, ...]
    base: float
    height: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """``rates`` are rows a second in stretches of ``bin_seconds``; ``peak`` is the largest."""

    bin_seconds: float
    rates: tuple[float, ...]
    peak: float
    rows: Chart
    at_work: Chart
    most_at_work: int


def measure(run: RunView, axis: Axis) -> Throughput:
    """Return what was read when. Rows that an earlier run had staged were not read in this one, and do not count."""
    bins = max(1, min(_MOST_BINS, int(axis.seconds / _LEAST_BIN)))
    width = axis.seconds / bins
    rows = [0.0] * bins
    for start, end, number in _stretches(run, axis):
        _spread(rows, width, start, end, number)
    rates = tuple(number / width for number in rows)
    peak = max(rates)
    work = _at_work(run, axis)
    most = max((number for _, number in work), default=0)
    return Throughput(width, rates, peak, _curve(rates, width, axis), _stairs(work, most, axis), most)


def _stretches(run: RunView, axis: Axis) -> Iterator[tuple[float, float, int]]:
    """Yield seconds after the start, and the rows that were read between them."""
    for table in run.tables:
        taken_over = _taken_over(table)
        for (start, before), (end, after) in zip(table.samples, table.samples[1:], strict=False):
            # Fewer rows than before: a read that was too large starts again. What it had read was read all the same.
            number = max(0, after - before - taken_over.get(end, 0))
            yield (start - axis.start).total_seconds(), (end - axis.start).total_seconds(), number


def _taken_over(table: TableView) -> Counter[datetime]:
    found: Counter[datetime] = Counter()
    for piece in table.slices:
        if piece.reused and piece.ended is not None:
            found[piece.ended] += piece.rows
    return found


def _spread(bins: list[float], width: float, start: float, end: float, number: int) -> None:
    """Share rows out evenly over the bins between two moments."""
    last = len(bins) - 1
    start, end = max(start, 0.0), max(end, 0.0)
    first, final = min(int(start / width), last), min(int(end / width), last)
    if end - start <= 0 or first == final:
        bins[final] += number
        return
    for place in range(first, final + 1):
        low = start if place == first else place * width
        high = end if place == final else (place + 1) * width
        bins[place] += number * (high - low) / (end - start)


def _at_work(run: RunView, axis: Axis) -> list[tuple[float, int]]:
    """Return how many tables are at work from which second on."""
    changes: Counter[float] = Counter()
    for table in run.tables:
        if table.started is not None:
            changes[(table.started - axis.start).total_seconds()] += 1
            changes[((table.ended or run.last_line_at) - axis.start).total_seconds()] -= 1
    number, steps = 0, []
    for at in sorted(changes):
        number += changes[at]
        steps.append((at, number))
    return steps


def _curve(rates: tuple[float, ...], width: float, axis: Axis) -> Chart:
    top, levels = _scale(max(rates))
    base = _TOP + _HEIGHT

    def y(rate: float) -> float:
        return round(base - rate / top * _HEIGHT, 1)

    # As stairs: a rate is that of a stretch, and not of its middle.
    points = [f"M{axis.place(0)} {base}"]
    for place, rate in enumerate(rates):
        points.append(f"V{y(rate)}H{axis.place((place + 1) * width)}")
    line = "".join(points)
    marks = tuple(Level(y(level), short_count(level)) for level in levels)
    return Chart(line, f"{line}V{base}Z", marks, base, base + 8)


def _stairs(steps: list[tuple[float, int]], most: int, axis: Axis) -> Chart:
    base = _TOP + _LOW
    top = max(most, 1)
    points = [f"M{axis.place(0)} {base}"]
    points += [f"H{axis.place(at)}V{round(base - number / top * _LOW, 1)}" for at, number in _thinned(steps)]
    line = "".join(points)
    end = axis.place(axis.seconds)
    return Chart(line, f"{line}H{end}V{base}Z", (Level(_TOP, str(top)), Level(base, "0")), base, base + 8)


def _thinned(steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return few enough of many steps for a page: of those that fall together, the one with the most tables."""
    if len(steps) <= 4 * _MOST_BINS:
        return steps
    size = math.ceil(len(steps) / (4 * _MOST_BINS))
    groups = (steps[place : place + size] for place in range(0, len(steps), size))
    return [max(group, key=lambda step: step[1]) for group in groups]


def _scale(peak: float) -> tuple[float, tuple[float, ...]]:
    """Return the top of a scale, and three or four round levels from zero up to it."""
    if peak <= 0:
        return 1.0, (0.0,)
    rough = peak / 3
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in _STEPS if factor * magnitude >= rough * 0.999)
    levels = [step * place for place in range(math.ceil(peak / step - 1e-9) + 1)]
    return levels[-1], tuple(levels)
