"""What must hold, line by line, and whether it does: computed from the figures of one bench."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tests.bench.figures import OURS, Book, Series

Status = Literal["met", "NOT met", "not measured"]
FLOOR_FACTOR = 1.5
SPARK_FACTOR = 1.3
THIRD, HALF = 1 / 3, 1 / 2
TABLES_SECONDS = 5.0
IDLE_SECONDS = 1.0
PEAK_MIB = 600.0
PEAK_GROWTH = 0.10
# Linear growth, and a tenth for the noise of single runs.
GROWTH_NOISE = 1.1
TABLES, IDLE_TABLES = 50, 10
TABLE_COUNTS = (10, 50, 200)


def row_counts(rows: int) -> tuple[int, int, int, int]:
    """The sizes at which the growth of cost is looked at: 1, 3, 6 and 12 million for 3 million."""
    return rows // 3, rows, rows * 2, rows * 4


@dataclass(frozen=True, slots=True)
class Promise:
    """One line: what is promised, what was found beside its bound, and the verdict."""

    text: str
    value: float | None
    bound: float | None
    unit: str
    status: Status


def evaluate(book: Book, rows: int) -> list[Promise]:
    """Return all promises in the order in which they are written down."""
    return [
        *_load(book, rows),
        *_merge(book, rows),
        *_many(book),
        *_memory(book, rows),
        *_growth(book, rows),
        _exact(book),
    ]


def _load(book: Book, rows: int) -> Iterable[Promise]:
    ours = book.get("load", "arrow", rows)
    floor, plain = book.get("load", "floor-write", rows), book.get("load", "plain-4", rows)
    yield _ratio("full load: 1.5 x the floor", ours, floor, FLOOR_FACTOR)
    yield _ratio("full load: a third of plain Spark, 4 partitions", ours, plain, THIRD)
    yield _ratio(
        "full load with engine spark: 1.3 x plain Spark, 4 partitions", book.get("load", "spark", rows), plain, SPARK_FACTOR
    )


def _merge(book: Book, rows: int) -> Iterable[Promise]:
    kinds = [book.get("merge", name, rows) for name in ("plain-cow", "plain-mor")]
    good = [series for series in kinds if series is not None and series.good]
    faster = min(good, key=lambda series: series.seconds) if len(good) == len(kinds) else None
    yield _ratio("merge: a third of plain Spark's faster MERGE", book.get("merge", "arrow", rows), faster, THIRD)


def _many(book: Book) -> Iterable[Promise]:
    ours = book.get("tables", "arrow", TABLES)
    yield _limit(f"{TABLES} small tables", ours, _seconds, TABLES_SECONDS, "s")
    yield _ratio(f"{TABLES} small tables: half of dlt", ours, book.get("tables", "dlt", TABLES), HALF)
    idle = book.get("idle", "arrow", IDLE_TABLES)
    yield _limit(f"nothing new, {IDLE_TABLES} tables", idle, _seconds, IDLE_SECONDS, "s")


def _memory(book: Book, rows: int) -> Iterable[Promise]:
    for workload in ("load", "merge"):
        usual, large = book.get(workload, "arrow", rows), book.get(workload, "arrow", rows * 4)
        yield _limit(f"peak memory of the {workload}", usual, _peak, PEAK_MIB, "MiB")
        text = f"peak memory of the {workload}: {rows * 4:,} rows within 10 % of {rows:,}"
        if usual is None or large is None:
            yield Promise(text, None, PEAK_GROWTH * 100, "%", "not measured")
        else:
            yield _bounded(text, abs(large.peak_mib / usual.peak_mib - 1) * 100, PEAK_GROWTH * 100, "%", usual, large)


def _growth(book: Book, rows: int) -> Iterable[Promise]:
    lines: Sequence[tuple[str, Sequence[int]]] = (
        ("load", row_counts(rows)),
        ("merge", row_counts(rows)),
        ("tables", TABLE_COUNTS),
    )
    for workload, sizes in lines:
        text = f"growth of {workload}, {sizes[0]:,} to {sizes[-1]:,}: not worse than linear"
        found = [series for size in sizes if (series := book.get(workload, "arrow", size)) is not None]
        if len(found) < len(sizes):
            yield Promise(text, None, GROWTH_NOISE, "x linear", "not measured")
            continue
        steps = [(b.seconds / a.seconds) / (b.size / a.size) for a, b in pairwise(found)]
        yield _bounded(text, max(steps), GROWTH_NOISE, "x linear", *found)


def _exact(book: Book) -> Promise:
    """Ours must be exact to the type; others are shown as they are."""
    ours = [series for series in book.all() if series.system in OURS]
    bad = [series for series in ours if series.worst.failure or series.worst.verdict != "exact"]
    status: Status = "NOT met" if bad else "met"
    return Promise("series of ours that failed or are not exact", len(bad), 0, "", status if ours else "not measured")


def _seconds(series: Series) -> float:
    return series.seconds


def _peak(series: Series) -> float:
    return series.peak_mib


def _limit(text: str, ours: Series | None, figure: Callable[[Series], float], bound: float, unit: str) -> Promise:
    if ours is None:
        return Promise(text, None, bound, unit, "not measured")
    return _bounded(text, figure(ours), bound, unit, ours)


def _ratio(text: str, ours: Series | None, other: Series | None, factor: float) -> Promise:
    """Ours against ``factor`` times another's seconds; another one that failed, or is wrong, is no measure."""
    if ours is None or other is None or not other.good:
        return Promise(text, None if ours is None else ours.seconds, None, "s", "not measured")
    return _bounded(text, ours.seconds, other.seconds * factor, "s", ours)


def _bounded(text: str, value: float, bound: float, unit: str, *series: Series) -> Promise:
    """A promise is met by good runs only: those that failed, or are wrong, prove nothing about speed."""
    met = value <= bound and all(one.good for one in series)
    return Promise(text, round(value, 3), round(bound, 3), unit, "met" if met else "NOT met")
