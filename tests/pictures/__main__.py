"""``python -m tests.pictures``: draw all pictures anew into ``docs/images``; with names, those."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from tests.lake import PROJECT
from tests.pictures.dashboard import draw_dashboard
from tests.pictures.proofs import draw_proofs
from tests.pictures.report import draw_report

IMAGES = PROJECT / "docs" / "images"


def draw_run(folder: Path) -> None:
    """The demo's table of results, as ``run.svg``."""
    command = [sys.executable, "-m", "ingestion_runtime.demo", "picture", str(folder / "run.svg")]
    subprocess.run(command, cwd=PROJECT, check=True)


PICTURES: Mapping[str, Callable[[Path], None]] = {
    "run": draw_run,
    "dashboard": draw_dashboard,
    "report": draw_report,
    "proofs": draw_proofs,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(PICTURES)))
def main(names: tuple[str, ...]) -> None:
    """Draw the pictures of the documentation anew."""
    for name in names or PICTURES:
        PICTURES[name](IMAGES)
        click.echo(f"{name}: drawn", err=True)


if __name__ == "__main__":
    main(prog_name="python -m tests.pictures")
