"""``python -m ingestion_runtime.demo``: the whole story; ``... show TABLE``: rows of a table."""

import io
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion_runtime.demo.compare import TABLES, Comparison, Lake, compare
from ingestion_runtime.demo.shop import change, create

ROOT = Path(".demo")
SHOP = ROOT / "shop.db"
CONFIGURATION = Path("conf/demo.json")
NAMES = tuple(f"shop.{table}" for table in TABLES)


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Create a shop database, ingest it, change it, ingest it again, and compare."""
    if context.invoked_subcommand is None:
        sys.exit(_tell(Console()))


@main.command()
@click.argument("table", type=click.Choice(NAMES))
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="How many rows.")
@click.option("--all-columns", is_flag=True, help="With the columns that the ingestion added.")
def show(table: str, limit: int, all_columns: bool) -> None:
    """Print rows of a published table."""
    if not ROOT.is_dir():
        raise click.UsageError("There is no demo yet; run `make demo` first.")
    rows = Lake(ROOT).read(table.removeprefix("shop."), limit=limit)
    if not all_columns:
        rows = rows.select([name for name in rows.column_names if not name.startswith("_ingest_")])
    shown = Table(*rows.column_names, title=table)
    for row in rows.to_pylist():
        shown.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(shown)


@main.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def picture(target: Path) -> None:
    """Run the demo's two ingests and draw what the terminal showed as an SVG file."""
    shutil.rmtree(ROOT, ignore_errors=True)
    create(SHOP)
    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    for load_date, prepare in (("2026-07-01", None), ("2026-07-02", change), ("2026-07-02", None)):
        if prepare is not None:
            changes = prepare(SHOP)
            console.print(
                f"[dim]# a day passes: {changes.updated} rows updated, {changes.inserted} inserted, "
                f"{changes.late} arrived late[/dim]",
                highlight=False,
            )
        arguments = ["ingestion.py", "--config", str(CONFIGURATION), "--load-date", load_date]
        console.print(f"[bold]$ python {' '.join(arguments)}[/bold]", highlight=False)
        environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "92"}
        ended = subprocess.run([sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, text=True, check=True)
        console.print(Text.from_ansi(ended.stderr))
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = console.export_svg(title="Two nights, and a rerun")
    # rich names a font on the network; a picture in a repository opens without one.
    target.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


def _tell(console: Console) -> int:
    """Return the exit code: 0 when every target equals its source and the idle run did nothing."""
    if not CONFIGURATION.is_file():
        console.print(f"{CONFIGURATION} is not here: run this in the project's directory.")
        return 2
    began = time.monotonic()
    shutil.rmtree(ROOT, ignore_errors=True)
    console.rule("1. A shop database is created")
    create(SHOP)
    console.print(f"{SHOP}: {SHOP.stat().st_size / 1e6:.0f} MB of customers, products, stores, orders and order items.")
    console.rule("2. It is ingested for the first time")
    if code := _ingest(console, "2026-07-01"):
        return code
    console.rule("3. A day passes")
    done = change(SHOP)
    console.print(
        f"{done.updated} rows updated, {done.inserted} inserted, {done.late} orders arrived late, "
        f"{done.prices} prices moved."
    )
    console.rule("4. It is ingested again: what has a cursor reads only what changed")
    if code := _ingest(console, "2026-07-02"):
        return code
    console.rule("5. The same once more: nothing is left to do")
    before = Lake(ROOT).versions()
    if code := _ingest(console, "2026-07-02"):
        return code
    idle = Lake(ROOT).versions() == before
    console.print("No table was committed to." if idle else "[red]A table was committed to.[/red]")
    console.rule("6. Source and targets are read and compared")
    equal = _report(console, compare(SHOP, Lake(ROOT)))
    console.print(f"All of it took {time.monotonic() - began:.1f} s. To look at the rows:")
    console.print("  .venv/bin/python -m ingestion_runtime.demo show shop.orders", highlight=False)
    return 0 if equal and idle else 1


def _ingest(console: Console, load_date: str) -> int:
    """Run the program as a user would; its table of results goes to stderr."""
    arguments = ["ingestion.py", "--config", str(CONFIGURATION), "--load-date", load_date]
    console.print(f"$ python {' '.join(arguments)}", highlight=False)
    began = time.monotonic()
    code = subprocess.run([sys.executable, *arguments], check=False).returncode
    # The JVM is a child of the child; both have been waited for, so the larger one is in here.
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    console.print(f"{time.monotonic() - began:.1f} s, exit code {code}, largest process so far {largest} MiB")
    return code


def _report(console: Console, comparisons: list[Comparison]) -> bool:
    shown = Table("table", "source rows", "target rows", "equal?")
    for one in comparisons:
        verdict = f"[red]no, {one.differing} rows differ[/red]" if one.differing else "[green]yes[/green]"
        shown.add_row(one.table, f"{one.source_rows:,}", f"{one.target_rows:,}", verdict)
    console.print(shown)
    return not any(one.differing for one in comparisons)


if __name__ == "__main__":
    main(prog_name="python -m ingestion_runtime.demo")
