"""The bench: ``make bench``, or ``python -m tests.bench``.

BENCH_ROWS (3000000) is the main size, BENCH_REPEAT (3) how often everybody runs. BENCH_ONLY names parts (load, merge,
tables, idle, mariadb, sqlite, growth), BENCH_SYSTEMS who takes part; BENCH_RESUME=1 goes on where an earlier bench with
the same settings stopped. BENCH_DIR (.bench) is where everything is written; with the databases it takes 15 GB.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.bench import workloads
from tests.bench.contest import Arena
from tests.bench.figures import LABELS, Book
from tests.bench.machine import describe
from tests.bench.page import draw
from tests.bench.promises import TABLE_COUNTS, evaluate, row_counts
from tests.bench.report import print_promises, print_series
from tests.bench.sources import postgres
from tests.bench.workloads import Field

PARTS = ("load", "merge", "tables", "idle", "mariadb", "sqlite", "growth")


def chosen(variable: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that a variable lists, all of them when it is not set; unknown ones end the bench."""
    listed = [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
    unknown = [name for name in listed if name not in known]
    if unknown:
        raise SystemExit(f"{variable}: {', '.join(unknown)} is none of {', '.join(known)}")
    return tuple(name for name in known if name in listed) or known


def number(variable: str, default: int) -> int:
    """Return a whole number from 1 on."""
    text = os.environ.get(variable) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SystemExit(f"{variable} must be a whole number from 1 on, not {text!r}")
    return int(text)


def growth(field: Field) -> None:
    """What more rows and more tables cost; one run each is enough for a curve."""
    for rows in row_counts(field.rows):
        workloads.load(field, rows, ("arrow", "plain-4"), 1)
        workloads.merge(field, rows, ("arrow",), 1)
        if rows != field.rows:
            field.postgres.drop(f"load_{rows}")
    for count in TABLE_COUNTS:
        workloads.many_tables(field, count, ("arrow", "dlt"), 1)


def parts(field: Field) -> dict[str, Callable[[], None]]:
    """What there is to run, by name."""
    return {
        "load": lambda: workloads.load(field, field.rows, workloads.LOAD, field.repeat),
        "merge": lambda: workloads.merge(field, field.rows, workloads.MERGE, field.repeat),
        "tables": lambda: workloads.many_tables(field, workloads.SMALL, workloads.TABLES, field.repeat),
        "idle": lambda: workloads.idle(field),
        "mariadb": lambda: workloads.elsewhere(field, "mariadb"),
        "sqlite": lambda: workloads.elsewhere(field, "sqlite"),
        "growth": lambda: growth(field),
    }


def main() -> int:
    """Run what was asked for; 1 if a promise is not met, a part failed or a result is wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and their files removed
    rows, repeat = number("BENCH_ROWS", 3_000_000), number("BENCH_REPEAT", 3)
    wanted, systems = chosen("BENCH_ONLY", PARTS), chosen("BENCH_SYSTEMS", tuple(LABELS))
    root = Path(os.environ.get("BENCH_DIR") or ".bench").absolute()
    resume = os.environ.get("BENCH_RESUME", "") not in ("", "0")
    book = Book.open(root / "bench.json", describe(rows, repeat), resume=resume)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    warn_if_busy(book, console)
    work, logs = root / "work", root / "logs"
    try:
        for directory in (work, logs):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        with postgres() as server:
            arena = Arena(book, console, logs, frozenset(systems))
            failed = contend(parts(Field(server, arena, work, rows, repeat)), wanted, console)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    complete = wanted == PARTS and systems == tuple(LABELS)
    return finish(book, console, rows, complete=complete, failed=failed)


def warn_if_busy(book: Book, console: Console) -> None:
    """Say so when the machine had other things to do: then processor seconds can be compared, and seconds hardly."""
    load, cores = book.about["machine"]["load_before"], book.about["machine"]["cores"]
    if load > cores / 2:
        console.print(f"This machine is busy (load {load} on {cores} cores): trust the CPU seconds only.", style="yellow")


def contend(contests: dict[str, Callable[[], None]], wanted: tuple[str, ...], console: Console) -> list[str]:
    """Run the wanted parts, and return those that could not be held; the others go on."""
    failed = []
    for name in wanted:
        try:
            contests[name]()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            failed.append(name)
            console.print(f"{name}: {error}", style="red", markup=False, highlight=False)
    return failed


def finish(book: Book, console: Console, rows: int, *, complete: bool, failed: list[str]) -> int:
    """Print the tables and the promises, and return the exit code."""
    promises = evaluate(book, rows)
    book.promises = [asdict(promise) for promise in promises]
    book.write()
    print_series(console, book)
    print_promises(console, promises)
    draw(book.file, book.file.parent)
    console.print(f"All figures: {book.file}, charts beside it", highlight=False, soft_wrap=True)
    wrong = [series for series in book.all() if series.worst.verdict == "WRONG"]
    for series in wrong:
        console.print(
            f"WRONG: {LABELS[series.system]}, {series.workload}, {series.size:,}: {series.worst.note}", style="red"
        )
    broken = {"NOT met", "not measured"} if complete else {"NOT met"}
    return 1 if wrong or failed or any(promise.status in broken for promise in promises) else 0


if __name__ == "__main__":
    sys.exit(main())
