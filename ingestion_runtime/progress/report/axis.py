"""The time of a run along a line: where a moment lies, and where to write which."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ingestion_runtime.progress.report.words import duration

WIDTH: Final = 1180.0
LEFT: Final = 236.0
RIGHT: Final = 1108.0
_MOST_TICKS: Final = 9
_STEPS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A line at ``x``, with the time since the start and that of the clock."""

    x: float
    since: str
    clock: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``start``, so many ``seconds``, drawn between LEFT and RIGHT."""

    start: datetime
    seconds: float

    def x(self, at: datetime) -> float:
        """Return where a moment lies; one outside is put on the edge."""
        return self.place((at - self.start).total_seconds())

    def place(self, seconds: float) -> float:
        """Return where so many seconds after the start lie."""
        share = min(max(seconds / self.seconds, 0.0), 1.0)
        return round(LEFT + share * (RIGHT - LEFT), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return at most nine lines at round times."""
        step = next((step for step in _STEPS if self.seconds / step < _MOST_TICKS), 0.0)
        days = 1
        while not step:
            days *= 2
            step = days * _STEPS[-1] if self.seconds / (days * _STEPS[-1]) < _MOST_TICKS else 0.0
        return tuple(self._tick(step * number, step) for number in range(int(self.seconds / step) + 1))

    def _tick(self, seconds: float, step: float) -> Tick:
        at = self.start + timedelta(seconds=seconds)
        since = "0" if not seconds else _since(seconds, step)
        return Tick(self.place(seconds), since, f"{at:%H:%M:%S}" if step >= 1 or not seconds else "")


def _since(seconds: float, step: float) -> str:
    if step < 1:
        return f"{seconds:.2f} s" if step < 0.1 else f"{seconds:.1f} s"  # noqa: PLR2004 - as many digits as the step has
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return duration(seconds).removesuffix(" 00 s").removesuffix(" 00 min")


def axis_of(start: datetime, end: datetime) -> Axis:
    """Return the axis of a run; one that took no time gets a hundredth of a second."""
    return Axis(start, max((end - start).total_seconds(), 0.01))
