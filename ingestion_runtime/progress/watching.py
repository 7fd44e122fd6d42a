"""Watching a run from its log until it ends, wherever it was started."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from ingestion_runtime.model.errors import ConfigError, IngestionError
from ingestion_runtime.progress.fold import RunBook
from ingestion_runtime.progress.follow import Follower
from ingestion_runtime.progress.health import Moment, is_gone
from ingestion_runtime.progress.history import read_runs
from ingestion_runtime.progress.places import Place
from ingestion_runtime.progress.screens import Screen
from ingestion_runtime.progress.view import RunView

_PORTION: Final = 5_000  # lines
_OUTBOX_LAG: Final = 120.0  # seconds after which an outbox writes what it has
_GRACE: Final = 60.0  # seconds without a line, after which a run whose process is gone is taken for dead
_DIED: Final = 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What ``watch`` was asked for: seconds between two looks, to show things once, to tell the runs before the last one
    too, to pass over a run that has ended already, and to end as the run did."""

    interval: float = 5.0
    once: bool = False
    from_start: bool = False
    next_run: bool = False
    exit_with_run: bool = False


@dataclass(frozen=True, slots=True)
class _News:
    """What a look at the log brought: lines, or why there are none; ``whole``: all that was there has been read."""

    lines: tuple[str, ...] = ()
    problem: IngestionError | None = None
    whole: bool = False


class _Feed:
    """Looks at the log on a thread of its own: a file system that never answers must not stop the clock of a dashboard."""

    def __init__(self, follower: Follower, interval: float) -> None:
        self._follower = follower
        self._interval = interval
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def take(self, seconds: float) -> Iterator[_News]:
        """Yield what has come; waits for the first of it, at most so long."""
        try:
            yield self._news.get(timeout=seconds)
            while True:
                yield self._news.get_nowait()
        except queue.Empty:
            return

    def _work(self) -> None:
        while not self._stopped.is_set():
            for news in look(self._follower):
                self._news.put(news)
            self._stopped.wait(self._interval)


def look(follower: Follower) -> Iterator[_News]:
    """Yield what a look at the log brings, the last of it whole or with the problem that ended it."""
    try:
        lines = follower.poll()
        while portion := tuple(islice(lines, _PORTION)):
            yield _News(portion)
    except IngestionError as error:
        yield _News(problem=error)
    else:
        yield _News(whole=True)


class Watch:
    """One run after the other, on a screen, until the last of them ends."""

    def __init__(
        self,
        location: str,
        wishes: Wishes,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        grace: float = _GRACE,
    ) -> None:
        self._location = location
        self._place = Place(location)
        self._wishes = wishes
        self._clock = clock
        self._grace = grace
        self._begun = clock()
        self._book = RunBook()
        self._moment = Moment(clock(), str(self._place), lag=0.0 if self._place.is_local else _OUTBOX_LAG)

    def show_once(self, tell: Callable[[RunView | None, Moment], None]) -> int:
        """Show how things stand and return the exit code. Raises what ``Place`` raises, ConfigError without any run."""
        self._leave_earlier(tell)
        for news in look(Follower(self._place)):
            self._take(news, patient=False)
        run = self._current()
        if run is None:
            raise ConfigError(
                f"{self._place} holds no run.",
                remedy="Name the file, the folder of event logs, or the outbox; without --once a run is waited for.",
            )
        tell(run, self._now(run))
        return self._code(run)

    def follow(self, screen: Screen) -> int:
        """Show the run until it ends and return the exit code. Raises ConfigError for a log that may not be read."""
        feed = _Feed(Follower(self._place), self._wishes.interval)
        self._leave_earlier(screen.leave)
        with screen:
            feed.start()
            try:
                return self._follow(feed, screen)
            finally:
                feed.stop()

    def _follow(self, feed: _Feed, screen: Screen) -> int:
        shown: RunView | None = None
        due, first = time.monotonic() + screen.pause, True
        while True:
            whole = False
            for news in feed.take(max(due - time.monotonic(), 0.0)):
                self._take(news, patient=True)
                whole = whole or news.whole
            run = self._current()
            moment = self._now(run)
            if run is not None and shown is not None and run.run_id != shown.run_id:
                self._leave(shown.run_id, screen)
            shown = run
            if run is not None and whole and (run.ended is not None or self._is_dead(run, moment)):
                screen.end(run, moment)
                return self._code(run)
            if (first and whole) or time.monotonic() >= due:
                screen.show(run, moment)
                due, first = time.monotonic() + screen.pause, False

    def _take(self, news: _News, *, patient: bool) -> None:
        if news.problem is not None:
            # Rights do not come by waiting; a file system may.
            if not patient or isinstance(news.problem, ConfigError):
                raise news.problem
            self._moment = replace(self._moment, problem=news.problem.message)
            return
        self._moment = replace(self._moment, problem="")
        for text in news.lines:
            self._book.add(text)

    def _current(self) -> RunView | None:
        run = self._book.latest()
        if run is None or not self._wishes.next_run:
            return run
        over = run.ended or (run.last_line_at if is_gone(run) else None)
        return None if over is not None and over < self._begun else run

    def _now(self, run: RunView | None) -> Moment:
        return replace(self._moment, now=self._clock(), gone=run is not None and is_gone(run))

    def _is_dead(self, run: RunView, moment: Moment) -> bool:
        return moment.gone and (moment.now - run.last_line_at).total_seconds() > self._grace

    def _leave_earlier(self, leave: Callable[[RunView | None, Moment], None]) -> None:
        if self._wishes.from_start:
            for run in read_runs(self._location)[:-1]:
                leave(run, self._now(run))

    def _leave(self, run_id: str, screen: Screen) -> None:
        """Show a run for the last time, because a newer one has begun."""
        for run in self._book.runs():
            if run.run_id == run_id:
                screen.leave(run, self._now(run))

    def _code(self, run: RunView) -> int:
        if self._wishes.exit_with_run:
            return _DIED if run.exit_code is None else run.exit_code
        return 0 if run.ended is not None or self._wishes.once else _DIED
