"""When a target's messages are sent: not more than one of a kind an interval, and nothing twice."""

import time
from collections.abc import Callable
from typing import Final

from ingestion_runtime.events.notifier.notice import Notice
from ingestion_runtime.model.notify import NoticeKind

# The last message of a run tells all that these had to tell.
_TOLD_AT_THE_END: Final = frozenset({NoticeKind.FAILURE, NoticeKind.RECOVERY, NoticeKind.STALL, NoticeKind.DIGEST})


class Pace:
    """The schedule of one target. ``interval_seconds`` lie between two messages of one kind; those that come sooner are
    gathered into one. At the end everything goes out at once, and what the last message tells does not go out twice."""

    def __init__(self, interval_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval_seconds
        self._clock = clock
        self._sent: dict[NoticeKind, float] = {}

    def take(self, waiting: list[Notice], *, finishing: bool) -> tuple[list[Notice], float | None]:
        """See ``Schedule.take``."""
        now = self._clock()
        over = any(notice.kind is NoticeKind.END for notice in waiting)
        due: dict[NoticeKind, Notice] = {}
        kept: list[Notice] = []
        for notice in waiting:
            if over and notice.kind in _TOLD_AT_THE_END:
                continue
            if not (finishing or over or self._left(notice.kind, now) <= 0):
                kept.append(notice)
                continue
            earlier = due.get(notice.kind)
            due[notice.kind] = notice if earlier is None else notice.gathered(earlier)
        waiting[:] = kept
        self._sent |= dict.fromkeys(due, now)
        return list(due.values()), min((self._left(notice.kind, now) for notice in kept), default=None)

    def _left(self, kind: NoticeKind, now: float) -> float:
        """Seconds until a message of this kind may go out."""
        sent = self._sent.get(kind)
        return 0.0 if sent is None else sent + self._interval - now
