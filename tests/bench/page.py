"""The figures in the documentation: ``make figures`` writes the last complete bench into it."""

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
BEGIN, END = "<!-- bench: begin, written by `make figures` -->", "<!-- bench: end -->"


def draw(figures: Path, directory: Path) -> None:
    """Draw the charts of a bench into a directory."""
    command = [str(BENCH_PYTHON), "-m", "tests.bench.charts", str(figures), str(directory)]
    subprocess.run(command, cwd=PROJECT, env=clean_environment({}), check=True)


def replaced(page: str, text: str) -> str:
    """Return the page with ``text`` between its two marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} followed by {END!r}")
    return f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}"


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
    PAGE.write_text(replaced(PAGE.read_text(), f"{told(book.about)}\n\n{PICTURES}\n\n{markdown(book, promises)}"))
    draw(source, IMAGES)
    shutil.copyfile(source, IMAGES / "bench.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
