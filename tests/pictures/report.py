"""The report of a night of 50 tables, as a browser shows it."""

import tempfile
from pathlib import Path

from ingestion_runtime.progress.history import newest_runs
from ingestion_runtime.progress.report import write_report
from tests.browser import take_picture
from tests.nights import make_night

_ROWS = 6_000
_WIDTH, _HEIGHT = 1280, 2420


def draw_report(folder: Path) -> None:
    """Run the night and draw the top of its report, as ``report.png`` and, for dark pages, ``report-dark.png``."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = make_night(Path(scratch, "night"), _ROWS)
        lake.call("--load-date", "2026-07-01")
        (log,) = (lake.root / "logs").glob("run-*.jsonl")
        # Messages name the file of the source, which is nobody's but this machine's.
        log.write_text(log.read_text().replace(str(lake.root), "/srv/night"))
        run = next(newest_runs(str(log)))
        page = Path(scratch, "report.html")
        write_report(run, page, run.ended)
        take_picture(page, folder / "report.png", _WIDTH, _HEIGHT)
        take_picture(page, folder / "report-dark.png", _WIDTH, _HEIGHT, dark=True)
