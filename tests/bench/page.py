"""The figures in documentation and README: ``make figures`` writes the last complete bench into them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import Book
from tests.bench.promises import Promise
from tests.bench.report import markdown
from tests.bench.systems import BENCH_PYTHON, PROJECT, clean_environment

PAGE = PROJECT / "docs" / "explanation" / "speed.md"
IMAGES = PROJECT / "docs" / "images"
PICTURES = """![Seconds of every workload](../images/bench-workloads.svg)

![Peak memory](../images/bench-memory.svg)

![What more rows and more tables cost](../images/bench-growth.svg)"""
README = PROJECT / "README.md"
BEGIN_LINE, END_LINE = "<!-- bench -->", "<!-- bench: end -->"
BEGIN, END = "<!-- bench: begin, written by `make figures` -->", "<!-- bench: end -->"


def draw(figures: Path, directory: Path) -> None:
    """Draw the charts of a bench into a directory."""
    command = [str(BENCH_PYTHON), "-m", "tests.bench.charts", str(figures), str(directory)]
    subprocess.run(command, cwd=PROJECT, env=clean_environment({}), check=True)


def replaced(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Return the page with ``text`` between its two marks."""
    head, opened, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"the page has no {begin!r} followed by {end!r}")
    return f"{head}{begin}{text}{end}{tail}"


def headline(book: Book) -> str:
    """Return the figures that everybody asks for first, in a sentence."""
    rows = book.about["settings"]["rows"]

    def seconds(workload: str, system: str, size: int) -> str:
        series = book.get(workload, system, size)
        if series is None:
            raise ValueError(f"{workload} of {size} was not run with {system}")
        return f"{series.seconds:.1f}"

    merge, mor = seconds("merge", "arrow", rows), seconds("merge", "plain-mor", rows)
    return (
        f"{rows / 1e6:g} million rows from PostgreSQL are in the Iceberg table {seconds('load', 'arrow', rows)} s after the"
        f" command was started (plain Spark with 4 connections: {seconds('load', 'plain-4', rows)}), {rows // 10:,} changes"
        f" are merged into them in {merge} s ({mor}), 50 small tables take {seconds('tables', 'arrow', 50)} s"
        f" ({seconds('tables', 'plain-4', 50)}), ten tables with nothing new {seconds('idle', 'arrow', 10)} s"
        f" ({seconds('idle', 'plain-4', 10)}); {book.about['machine']['cores']} cores"
    )


def told(about: Mapping[str, Any]) -> str:
    """Return in words on what a bench ran."""
    machine, versions, settings = about["machine"], dict(about["versions"]), about["settings"]
    others = ", ".join(f"{name} {number}" for name, number in versions.pop("others").items())
    listed = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    runs = (
        "one run each"
        if settings["repeat"] == 1
        else f"medians of {settings['repeat']} runs, least and most in brackets; without brackets one run"
    )
    return (
        f"{about['began'][:10]}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"{machine['system']}, load {machine['load_before']} before; {runs}.\n\n"
        f"Versions: {listed}. The environment of dlt: {others}."
    )


def main() -> int:
    """Write page, charts and figures; 1 if the bench is not complete."""
    source = Path(os.environ.get("BENCH_DIR") or PROJECT / ".bench") / "bench.json"
    if not source.exists():
        print(f"There is no {source}: run `make bench` first.", file=sys.stderr)
        return 1
    book = Book.read(source)
    promises = [Promise(**promise) for promise in book.promises]
    if not promises or any(promise.status == "not measured" for promise in promises):
        print(f"{source} is no complete bench: only one without BENCH_ONLY and BENCH_SYSTEMS is.", file=sys.stderr)
        return 1
    PAGE.write_text(replaced(PAGE.read_text(), f"\n{told(book.about)}\n\n{PICTURES}\n\n{markdown(book, promises)}"))
    README.write_text(replaced(README.read_text(), headline(book), BEGIN_LINE, END_LINE))
    draw(source, IMAGES)
    shutil.copyfile(source, IMAGES / "bench.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
