"""The dashboard as a terminal shows it, in the middle of a night of 50 tables."""

import sys
import tempfile
from pathlib import Path

from ingestion_runtime.progress.history import newest_runs
from ingestion_runtime.progress.view import RunView, TableState
from tests.faults.gaps import Process
from tests.lake import PROJECT
from tests.nights import BROKEN, make_night
from tests.pictures.drawing import save_svg
from tests.terminal import Terminal

_ROWS = 10_000
_WIDTH, _HEIGHT = 116, 42
_MEASURED = 5  # measurements of a table whose throughput is worth looking at
_CURVES = 2


def draw_dashboard(folder: Path) -> None:
    """Run the night and draw the dashboard of its second half, as ``dashboard.svg``."""
    with tempfile.TemporaryDirectory(prefix="nightly-") as scratch, Terminal(_WIDTH, _HEIGHT) as terminal:
        lake = make_night(Path(scratch), _ROWS)
        logs = lake.root / "logs"
        terminal.type(
            [sys.executable, str(PROJECT / "progress_cli.py"), "watch", "--log-file", str(logs), "--interval", "0.5"]
        )
        terminal.wait_for("Waiting for a run")
        with Process(lake.command("--heartbeat-seconds", "5")) as run:
            run.wait_until(lambda: any(map(_is_worth_a_picture, newest_runs(str(logs)))), "the night was at its best")
            # Painted anew once a second.
            terminal.wait_for("4 running")
            shown = terminal.coloured()
    save_svg(shown, _WIDTH, "ingestion-progress watch --log-file logs", folder / "dashboard.svg")


def _is_worth_a_picture(run: RunView) -> bool:
    """All that fails has failed, and much of what is at work has been measured for a while."""
    running = [table for table in run.tables if table.state is TableState.RUNNING]
    measured = [table for table in running if len(table.samples) >= _MEASURED]
    return run.count(TableState.FAILED) == len(BROKEN) and len(running) == run.max_parallel and len(measured) >= _CURVES
