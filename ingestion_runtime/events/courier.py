"""Hands things over on a thread of its own, so that a run never waits for who receives them."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from ingestion_runtime.events.plain import to_json
from ingestion_runtime.model.errors import IngestionError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_CAPACITY: Final = 1000


class DeliveryError(Exception):
    """A receiver did not take something. The message is for people and holds no secret."""


class Schedule(Protocol[T]):
    """What is handed over when. Asked by one thread at a time."""

    def take(self, waiting: list[T], *, finishing: bool) -> tuple[list[T], float | None]:
        """Remove from ``waiting`` what is due and return it, in the order of delivery, with the seconds after which to ask
        again (None: not before something comes). ``finishing``: all that is worth delivering is due now."""
        ...


class AtOnce(Generic[T]):
    """Everything is due when it comes, in its order."""

    def take(self, waiting: list[T], *, finishing: bool) -> tuple[list[T], float | None]:  # noqa: ARG002 - the protocol's
        """See ``Schedule.take``."""
        due, waiting[:] = list(waiting), []
        return due, None


class Courier(Generic[T]):
    """Delivers items to one receiver, one after another, on a daemon thread that starts with the first item.

    ``add`` never waits and never raises; what finds ``capacity`` items waiting is counted in ``dropped``. A receiver that
    fails or never answers is reported once on stderr, as ``delivery_failed`` or ``delivery_unfinished``, and costs nobody
    anything: what it raises stays here. Only the text of our own errors is shown, for others may hold an address.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[T], None],
        schedule: Schedule[T] | None = None,
        capacity: int = _CAPACITY,
    ) -> None:
        self._name = name
        self._deliver = deliver
        self._schedule: Schedule[T] = schedule if schedule is not None else AtOnce()
        self._capacity = capacity
        self._waiting: list[T] = []
        self._busy = False
        self._finishing = False  # add() takes no more
        self._abandoned = False  # nobody waits any longer: the thread may end
        self._reported = False
        self._dropped = 0
        self._changed = threading.Condition()  # guards the fields above; held for moments only
        self._thread = threading.Thread(target=self._work, name=f"courier {name}", daemon=True)

    @property
    def dropped(self) -> int:
        """Items that came too late or found no room."""
        return self._dropped

    def add(self, item: T) -> None:
        """Deliver an item when its time comes."""
        with self._changed:
            if self._finishing or len(self._waiting) >= self._capacity:
                self._dropped += 1
                return
            self._waiting.append(item)
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify_all()

    def finish(self) -> None:
        """Accept nothing more, and deliver what waits without further delay. Returns at once; see ``wait``."""
        with self._changed:
            self._finishing = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until all is delivered; False when that took too long: then it is given up, and said so."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._busy and not self._waiting, max(0.0, seconds))
            self._abandoned = True
            left = len(self._waiting) + self._busy
            self._changed.notify_all()
        if not done or self._dropped:
            self._report({"event": "delivery_unfinished", "to": self._name, "undelivered": left, "dropped": self._dropped})
        return done

    def _work(self) -> None:
        while due := self._next():
            for item in due:
                if self._abandoned:
                    return
                self._hand_over(item)

    def _next(self) -> list[T]:
        """Wait for what is due; nothing is, once all has been delivered or given up."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            while not self._abandoned:
                due, pause = self._schedule.take(self._waiting, finishing=self._finishing)
                if due or self._finishing:
                    self._busy = bool(due)
                    return due
                self._changed.wait(pause)
            return []

    def _hand_over(self, item: T) -> None:
        try:
            self._deliver(item)
        except Exception as error:  # noqa: BLE001  whatever the receiver's library raises, the run goes on
            told = str(error) if isinstance(error, DeliveryError | IngestionError) else ""
            self._report({"event": "delivery_failed", "to": self._name, "error_type": type(error).__name__, "message": told})

    def _report(self, line: dict[str, object]) -> None:
        if not self._reported:
            self._reported = True
            _LOG.warning("%s", to_json(line))


def finish_all(couriers: "tuple[Courier[T], ...]", seconds: float) -> None:
    """Let all of them deliver what waits, and wait for it ``seconds`` in all."""
    for courier in couriers:
        courier.finish()
    deadline = time.monotonic() + seconds
    for courier in couriers:
        courier.wait(deadline - time.monotonic())
