"""The figures as tables: for the terminal, and as Markdown for the documentation."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.bench.figures import FLOORS, LABELS, WORKLOADS, Book, Sample, Series
from tests.bench.promises import Promise

TITLES = {
    "load": "full load, PostgreSQL, {size:,} rows",
    "merge": "merge into {size:,} rows, random keys",
    "tables": "{size} small tables, full load",
    "idle": "nothing new, {size} tables",
    "mariadb": "full load, MariaDB, {size:,} rows",
    "sqlite": "full load, SQLite, {size:,} rows",
}
HEADINGS = ("system", "seconds", "CPU s", "peak MiB", "snapshots", "result")
_COLOURS = {"met": "green", "NOT met": "red", "not measured": "yellow"}


def grouped(book: Book) -> list[tuple[str, list[Series]]]:
    """Return the series by workload and size, each group with its title; floors first, then in the order of the names."""
    places = list(dict.fromkeys((*FLOORS, *LABELS)))
    groups: dict[tuple[int, int], list[Series]] = {}
    for series in book.all():
        groups.setdefault((WORKLOADS.index(series.workload), series.size), []).append(series)
    return [
        (TITLES[WORKLOADS[workload]].format(size=size), sorted(found, key=lambda series: places.index(series.system)))
        for (workload, size), found in sorted(groups.items(), key=lambda item: item[0])
    ]


def row(series: Series) -> tuple[str, ...]:
    """Return one series as the cells of a table."""
    seconds = series.of(lambda sample: sample.seconds)
    between = f" ({seconds.low:.2f}-{seconds.high:.2f})" if len(series.samples) > 1 else ""
    cpu, peak = series.of(lambda sample: sample.cpu_seconds).median, series.peak_mib
    made = {sample.snapshots for sample in series.samples} - {None}
    snapshots = "-".join(str(number) for number in sorted({min(made), max(made)})) if made else ""  # type: ignore[type-var]
    return (
        LABELS[series.system],
        f"{seconds.median:.2f}{between}",
        f"{cpu:.2f}",
        f"{peak:.0f}",
        snapshots,
        outcome(series.worst),
    )


def outcome(sample: Sample) -> str:
    """Return what became of a run."""
    if sample.failure:
        return f"failed: {sample.failure}"
    if sample.verdict == "not checked":
        return ""
    return f"{sample.verdict}: {sample.note}" if sample.note else sample.verdict


def print_series(console: Console, book: Book) -> None:
    """Print one table for each workload and size."""
    for title, found in grouped(book):
        table = Table(*HEADINGS, title=title, title_justify="left")
        for column in table.columns[1:5]:
            column.justify = "right"
            column.no_wrap = True
        for series in found:
            bad = bool(series.worst.failure) or series.worst.verdict == "WRONG"
            table.add_row(*(Text(cell) for cell in row(series)), style="red" if bad else None)
        console.print(table)


def print_promises(console: Console, promises: Sequence[Promise]) -> None:
    """Print every promise with what was found, its bound and the verdict."""
    table = Table("promise", "value", "at most", "", title="promises", title_justify="left")
    for promise in promises:
        table.add_row(*promise_row(promise)[:3], Text(promise.status, style=_COLOURS[promise.status]))
    console.print(table)


def promise_row(promise: Promise) -> tuple[str, str, str, str]:
    """Return one promise as the cells of a table."""
    return promise.text, _number(promise.value, promise.unit), _number(promise.bound, promise.unit), promise.status


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.6g} {unit}".strip()


def markdown(book: Book, promises: Sequence[Promise]) -> str:
    """Return all tables as Markdown."""
    parts = [_table(("promise", "value", "at most", ""), [promise_row(promise) for promise in promises])]
    for title, found in grouped(book):
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{_table(HEADINGS, [row(series) for series in found])}")
    return "\n\n".join(parts) + "\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
