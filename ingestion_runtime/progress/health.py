"""Whether a run is alive, as far as its log and this machine can tell."""

import socket
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from ingestion_runtime.progress.view import RunView
from ingestion_runtime.progress.wording import printable, show_duration, show_time

_HEARTBEAT: Final = 120.0  # the default of --heartbeat-seconds, until two of them have said more
_LATE: Final = 1.5
_SILENT: Final = 3.0
_START_SLACK: Final = 60.0  # seconds by which a clock that was corrected makes a process look younger than its first line


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known beside the log when a picture of it is shown: the time, where the lines come from, why none came
    (``problem``), by how many seconds they may be late, and whether the run's process is gone."""

    now: datetime
    place: str
    problem: str = ""
    lag: float = 0.0
    gone: bool = False


class Mood(StrEnum):
    """How worried someone who watches should be."""

    WELL = "well"
    LATE = "late"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Health:
    """A sentence about a run, and how grave it is."""

    text: str
    mood: Mood


def judge_health(run: RunView, moment: Moment) -> Health:
    """Return how the run ended, or when it was heard of last."""
    if run.ended is not None:
        code = "unknown" if run.exit_code is None else run.exit_code
        return Health(f"ended {show_time(run.ended)}, exit code {code}", Mood.WELL if run.exit_code == 0 else Mood.BAD)
    silence = max((moment.now - run.last_line_at).total_seconds(), 0.0)
    heard = f"last line {show_duration(silence)} ago"
    if moment.gone:
        return Health(f"died? process {run.pid} on {printable(run.host)} is gone and wrote no end; {heard}", Mood.BAD)
    interval = (run.heartbeat.interval if run.heartbeat else None) or _HEARTBEAT
    if run.heartbeat is not None:
        age = max((moment.now - run.heartbeat.at).total_seconds(), 0.0)
        heard = f"heartbeat {show_duration(age)} ago, {heard}"
    if silence > _SILENT * interval + moment.lag:
        return Health(f"no sign of life: {heard}", Mood.BAD)
    return Health(heard, Mood.LATE if silence > _LATE * interval + moment.lag else Mood.WELL)


def is_gone(run: RunView) -> bool:
    """Whether the run's process was on this host and is no more, although the run wrote no end."""
    if run.ended is not None or not run.pid or run.host != socket.gethostname():
        return False
    import psutil

    try:
        began = float(psutil.Process(run.pid).create_time())
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return began > run.started.timestamp() + _START_SLACK  # its number belongs to another process now
