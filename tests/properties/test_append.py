"""A table without a key ends equal to its source, row by row and as often, whatever comes between: random nights.

``APPEND_EXAMPLES=50`` looks longer, at nights that were never told before.
"""

import os
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.logbook import Logbook

EXAMPLES = int(os.environ.get("APPEND_EXAMPLES") or 0)
NIGHTS = 8
POINTS = ("after-plan", "after-stage", "after-branch", "before-publish", "after-publish")


class Nights:
    """What befalls a log between two runs: rows that come, rows that come late, and windows that are corrected."""

    def __init__(self, log: Logbook, rng: Random, lag: int) -> None:
        self._log = log
        self._rng = rng
        self._lag = lag
        self._tick = 100
        self.told: list[Any] = []

    def write(self) -> None:
        """Add rows: new ones, some of them equal or tied with the last; and late ones, none later than the lag."""
        rows = []
        newest = self._tick
        for _ in range(self._rng.choice((0, 1, 1, 5, 40))):
            late = self._rng.random() < 0.2
            at = newest - self._rng.randint(0, self._lag) if late else self._tick + self._rng.choice((0, 0, 1, 7))
            self._tick = max(self._tick, at)
            rows += [(at, f"/{self._rng.randint(0, 2)}", self._rng.randint(0, 1))] * self._rng.choice((1, 1, 2))
        if rows:
            self._log.write(*rows)
        self.told.append(rows)

    def correct(self) -> tuple[str, ...]:
        """Change and delete rows of a window, and add some to it; return the window."""
        start = self._rng.randint(90, self._tick)
        end = start + self._rng.randint(1, 30)
        self._log.change(
            f"UPDATE visits SET page = '/changed' WHERE at BETWEEN {start} AND {end - 1} AND bytes = 0",
            f"DELETE FROM visits WHERE at BETWEEN {start} AND {end - 1} AND page = '/1' AND at < {self._tick}",
            f"INSERT INTO visits VALUES ({start}, '/added', 3)",
        )
        window = (str(start), str(end)) if self._rng.random() < 0.7 else (str(start),)
        self.told.append(window)
        return window

    def run(self, *window: str) -> None:
        """Run, as often as it takes: some runs fail between two effects."""
        for _ in range(4):
            point = self._rng.choice(POINTS) if self._rng.random() < 0.4 else ""
            self.told.append(point or "run")
            result = self._log.run(window=window, failing=point)
            if result.failure is None:
                return
            assert point, result.failure.message
        assert self._log.run(window=window).failure is None


@pytest.mark.timeout(3600 if EXAMPLES else 300)
@settings(
    max_examples=EXAMPLES or 2,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_nights_lose_no_row_and_add_none_twice(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ties, late rows, windows that are corrected, slices, partitions, and runs that fail in any gap."""
    rng = Random(seed)  # noqa: S311 - no secret
    lag = rng.choice((0, 0, 5))
    log = Logbook(
        tmp_path_factory.mktemp("nights"),
        create="CREATE TABLE visits (at INTEGER, page TEXT, bytes INTEGER)",
        incr_col_type="int",
        lag=lag,
        intermediate={"partition": rng.choice(([], [{"column": "at", "transform": "truncate:10"}]))},
    )
    log.configure(scd1_slicing={"max_count": 10, "target_rows_per_slice": 8, "max_partitions": 3})
    nights = Nights(log, rng, lag)
    for night in range(NIGHTS):
        nights.write()
        nights.run()
        assert log.target() == log.source(), (seed, nights.told)
        if night and rng.random() < 0.4:
            window = nights.correct()
            nights.run(*window)
            # A row of the window may tie with the watermark, and a part of it lie above: that is for the next run.
            nights.run()
            assert log.target() == log.source(), (seed, nights.told)
