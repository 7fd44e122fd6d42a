"""Draws the charts of a bench: ``python -m tests.bench.charts BENCH.JSON DIRECTORY``, in the environment of the bench."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from tests.bench.figures import FLOORS, LABELS, OURS, WORKLOADS, Book, Series
from tests.bench.promises import IDLE_SECONDS, IDLE_TABLES, PEAK_MIB, TABLE_COUNTS, TABLES, TABLES_SECONDS, row_counts

BLUE, ORANGE, GREY, RED = "#2563eb", "#d97706", "#9ca3af", "#dc2626"
MOST_WORDS = 24
GROWING = {"arrow": BLUE, "plain-4": ORANGE, "dlt": "#059669"}
# The same figures give the same file: no date, no random names, text as text.
STYLE = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
}


def colour(series: Series) -> str:
    """Ours are blue, floors grey, what failed or is wrong red."""
    if not series.good:
        return RED
    return BLUE if series.system in OURS else GREY if series.system in FLOORS else ORANGE


def bars(axes: Any, series: Sequence[Series], figure: Callable[[Series], float], unit: str, bound: float | None) -> None:
    """One bar for each system, the shortest of its kind first; the promised bound as a line."""
    for place, one in enumerate(series):
        axes.barh(place, figure(one), color=colour(one), height=0.7)
        note = "" if one.good else f" {one.worst.failure[:MOST_WORDS]}" if one.worst.failure else " WRONG"
        text = f"{figure(one):,.{0 if unit.startswith('MiB') else 1}f}{note}"
        # On white, and above the line of the bound.
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        at = {"xy": (figure(one), place), "xytext": (4, 0), "textcoords": "offset points"}
        axes.annotate(text, **at, va="center", fontsize=8, bbox=box, zorder=3)
    axes.set_yticks(range(len(series)), [LABELS[one.system] for one in series])
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.2)
    axes.grid(axis="x", alpha=0.3)
    if bound is not None:
        axes.axvline(bound, color="black", linestyle="--", linewidth=1)


def workloads(book: Book, rows: int) -> Any:
    """Seconds of everybody in each workload."""
    sizes = {"load": rows, "merge": rows, "tables": TABLES, "idle": IDLE_TABLES, "mariadb": rows // 3, "sqlite": rows // 3}
    titles = {
        "load": f"full load, PostgreSQL, {rows:,} rows",
        "merge": f"merge {rows // 10:,} rows into {rows:,}",
        "tables": f"{TABLES} small tables",
        "idle": f"nothing new, {IDLE_TABLES} tables",
        "mariadb": f"full load, MariaDB, {rows // 3:,} rows",
        "sqlite": f"full load, SQLite, {rows // 3:,} rows",
    }
    bounds = {"tables": TABLES_SECONDS, "idle": IDLE_SECONDS}
    picture, grid = plt.subplots(3, 2, figsize=(11, 9.5), layout="constrained")
    for axes, workload in zip(grid.flat, WORKLOADS, strict=True):
        found = [series for name in (*FLOORS, *LABELS) if (series := book.get(workload, name, sizes[workload]))]
        bars(axes, list(dict.fromkeys(found)), lambda series: series.seconds, "seconds", bounds.get(workload))
        axes.set_title(titles[workload])
    return picture


def memory(book: Book, rows: int) -> Any:
    """Peak memory of everybody in the two large workloads."""
    picture, grid = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
    for axes, workload in zip(grid, ("load", "merge"), strict=True):
        found = [series for name in LABELS if name != "floor-copy" and (series := book.get(workload, name, rows))]
        bars(axes, found, lambda series: series.peak_mib, "MiB, all processes", PEAK_MIB)
        axes.set_title(f"peak memory, {workload}, {rows:,} rows")
    return picture


def growth(book: Book, rows: int) -> Any:
    """What more rows and more tables cost."""
    picture, grid = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    seconds, peak = (lambda series: series.seconds), (lambda series: series.peak_mib)
    lines = (
        ("full load: seconds by rows", "load", row_counts(rows), seconds, ("arrow", "plain-4")),
        (f"merge of {rows // 10:,} rows: seconds by rows of the table", "merge", row_counts(rows), seconds, ("arrow",)),
        ("full load of small tables: seconds by tables", "tables", TABLE_COUNTS, seconds, ("arrow", "dlt")),
        ("full load: peak MiB by rows", "load", row_counts(rows), peak, ("arrow", "plain-4")),
    )
    for axes, (title, workload, sizes, figure, names) in zip(grid.flat, lines, strict=True):
        for name in names:
            found = [series for size in sizes if (series := book.get(workload, name, size))]
            points = [series.size for series in found], [figure(series) for series in found]
            axes.plot(*points, marker="o", color=GROWING[name], label=LABELS[name])
        axes.set_title(title)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M" if value >= 1e6 else f"{value:,.0f}")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return picture


def main() -> None:
    """Draw all charts."""
    book, directory = Book.read(Path(sys.argv[1])), Path(sys.argv[2])
    rows = book.about["settings"]["rows"]
    with mpl.rc_context(STYLE):
        for name, draw in (("workloads", workloads), ("memory", memory), ("growth", growth)):
            draw(book, rows).savefig(directory / f"bench-{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
