"""Follows a run and tells the configured targets how it goes. It never blocks a run, and never fails one."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from ingestion_runtime.events.courier import Courier, finish_all
from ingestion_runtime.events.event import Emitter, Envelope
from ingestion_runtime.events.notifier.notice import FailedTable, Notice, RunAbout
from ingestion_runtime.events.notifier.pace import Pace
from ingestion_runtime.events.notifier.tally import Tally
from ingestion_runtime.events.notifier.targets import LogTarget, Target, build_target
from ingestion_runtime.events.types.run import RunDone, RunStarted
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError
from ingestion_runtime.model.notify import NoticeKind, NotifySpec, NotifyTarget

_GRAIN: Final = 30.0  # seconds after which standstills are looked for at the latest


@dataclass(frozen=True, slots=True)
class _Line:
    """One target with its courier."""

    spec: NotifyTarget
    target: Target
    courier: Courier[Notice]


class NotifierSubscriber:
    """A subscriber that turns events into messages: the run's beginning and end, the first failure, recoveries, tables that
    make no progress, and a digest every ``digest_seconds`` (0: none).

    Handling an event counts it and leaves a message with the couriers of the targets that want it; each of them has a
    thread of its own. As a context it ends with the run: the messages under way are waited for ``wait_seconds`` in all, and
    an error that ends the block, before the run could begin or in its midst, is told as well.
    """

    def __init__(
        self, spec: NotifySpec, about: RunAbout, digest_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spec = spec
        self._about = about
        self._digest = digest_seconds if spec.wants(NoticeKind.DIGEST) else 0.0
        self._stall = spec.stall_seconds if spec.wants(NoticeKind.STALL) else 0
        self._clock = clock
        self._begun = clock()
        self._next_digest = self._begun + self._digest
        self._tally = Tally()
        self._over = False
        self._lock = threading.Lock()  # the tally and what is next; never held while a message is delivered
        self._lines = tuple(_build_line(target) for target in spec.targets)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, emitter: Emitter, failed_before: Iterable[str] = ()) -> None:
        """Begin: the event log is there for messages, and these tables failed in their last run."""
        for line in self._lines:
            if isinstance(line.target, LogTarget):
                line.target.emitter = emitter
        with self._lock:
            self._tally.expect_recovery(failed_before)
        if (self._digest or self._stall) and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
            self._thread.start()

    def handle(self, envelope: Envelope) -> None:
        """Count the event, and tell of it what is worth telling."""
        with self._lock:
            failures, recovered = len(self._tally.failures), len(self._tally.recovered)
            self._tally.follow(envelope, self._clock())
            notice = self._react(envelope, failures, recovered)
        if notice is not None:
            self._post(notice)

    def tick(self) -> None:
        """Tell of tables that stand still, and how things stand if it is time."""
        with self._lock:
            found = () if self._over else tuple(self._due(self._clock()))
        for notice in found:
            self._post(notice)

    def __enter__(self) -> "NotifierSubscriber":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Tell of the error, if one ended the run, and end; the first call does it all."""
        if self._closed.is_set():
            return
        self._closed.set()
        # Whoever presses Ctrl-C now does not want to wait; how the run ended stands.
        with suppress(Exception, KeyboardInterrupt):
            if error is not None:
                self._tell_abort(error)
            finish_all(tuple(line.courier for line in self._lines), self._spec.wait_seconds)
        for line in self._lines:
            with suppress(Exception):
                line.target.stop()

    def _work(self) -> None:
        while not self._closed.wait(self._pause()):
            self.tick()

    def _pause(self) -> float:
        """Seconds until something may be due."""
        digest = self._next_digest - self._clock() if self._digest else _GRAIN
        return max(0.01, min(_GRAIN, digest, self._stall / 4 if self._stall else _GRAIN))

    def _react(self, envelope: Envelope, failures: int, recovered: int) -> Notice | None:
        event, tally = envelope.event, self._tally
        if isinstance(event, RunStarted):
            return self._notice(NoticeKind.START)
        if isinstance(event, RunDone):
            self._over = True
            return self._last(event.exit_code)
        if len(tally.failures) > failures:
            return self._notice(NoticeKind.FAILURE, failures=tuple(tally.failures[failures:]))
        if len(tally.recovered) > recovered:
            return self._notice(NoticeKind.RECOVERY, recovered=tuple(tally.recovered[recovered:]))
        return None

    def _due(self, now: float) -> Iterable[Notice]:
        stalled = self._tally.take_stalled(self._stall, now) if self._stall else ()
        if stalled:
            yield self._notice(NoticeKind.STALL, stalled=stalled)
        if self._digest and now >= self._next_digest:
            self._next_digest = now + self._digest
            yield self._notice(NoticeKind.DIGEST, failures=tuple(self._tally.failures))

    def _last(self, exit_code: int) -> Notice:
        tally = self._tally
        return self._notice(
            NoticeKind.END, failures=tuple(tally.failures), recovered=tuple(tally.recovered), exit_code=exit_code
        )

    def _tell_abort(self, error: BaseException) -> None:
        """Tell of a run that ended by an error of its own: to those who want failures, or ends, and nobody twice."""
        with self._lock:
            if self._over:
                return
            self._over = True
            failure, last = self._abort(error)
        for line in self._lines:
            if NoticeKind.END in line.spec.on:
                line.courier.add(last)
            elif NoticeKind.FAILURE in line.spec.on and failure is not None:
                line.courier.add(failure)

    def _abort(self, error: BaseException) -> tuple[Notice | None, Notice]:
        code, failure = _exit_code(error), None
        if not isinstance(error, KeyboardInterrupt | InterruptedRunError):
            # What others raise may hold anything; the program's output has it.
            told = str(error) if isinstance(error, IngestionError) else "The output of the program says more."
            failed = FailedTable("", type(error).__name__, told, exit_code=code)
            self._tally.failures.append(failed)
            failure = self._notice(NoticeKind.FAILURE, failures=(failed,), exit_code=code)
        return failure, self._last(code)

    def _notice(self, kind: NoticeKind, **facts: object) -> Notice:
        now, tally = self._clock(), self._tally
        return Notice(
            kind=kind,
            at=datetime.now(UTC),
            about=self._about,
            seconds=round(now - self._begun, 3),
            counts=tally.counts(),
            rows_read=tally.rows_read,
            rows_written=tally.rows_written,
            rows_deleted=tally.rows_deleted,
            running=tally.running(now),
            **facts,  # type: ignore[arg-type]  # fields of a notice, by name
        )

    def _post(self, notice: Notice) -> None:
        for line in self._lines:
            if notice.kind in line.spec.on:
                line.courier.add(notice)


def _build_line(spec: NotifyTarget) -> _Line:
    target = build_target(spec)
    return _Line(spec, target, Courier(spec.name, target.deliver, Pace(spec.min_interval_seconds), capacity=200))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, IngestionError):
        return error.exit_code
    return InterruptedRunError.exit_code if isinstance(error, KeyboardInterrupt) else 1
