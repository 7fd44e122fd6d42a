"""Hands every event to every subscriber, and keeps their failures away from the tables."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ingestion_runtime.events.event import Envelope, Event, Subscriber
from ingestion_runtime.events.plain import to_json
from ingestion_runtime.model.clock import utc_now

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubscriberProblem:
    """A subscriber that raised: its class, how often, and the first error's type and message."""

    subscriber: str
    failures: int
    error_type: str
    message: str


class _Channel:
    """What an emitter and everything bound from it share: the sequence, the subscribers, their problems."""

    def __init__(self, run_id: str, subscribers: Sequence[Subscriber], clock: Callable[[], datetime]) -> None:
        self._run_id = run_id
        self._subscribers = list(subscribers)
        self._clock = clock
        self._seq = 0
        self._problems: dict[int, SubscriberProblem] = {}
        # One lock over numbering and delivery is what gives every subscriber the same order. It is reentrant, so that
        # a subscriber may emit.
        self._lock = threading.RLock()

    def subscribe(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers.append(subscriber)

    def emit(self, event: Event, table: str | None, piece: str | None) -> None:
        with self._lock:
            self._seq += 1
            envelope = Envelope(event, self._run_id, table, piece, self._clock(), self._seq)
            for subscriber in tuple(self._subscribers):
                try:
                    subscriber.handle(envelope)
                except Exception as error:  # noqa: BLE001  whatever it is, the table goes on
                    self._note(subscriber, error, envelope)

    @property
    def problems(self) -> tuple[SubscriberProblem, ...]:
        with self._lock:
            return tuple(self._problems.values())

    def _note(self, subscriber: Subscriber, error: Exception, envelope: Envelope) -> None:
        known = self._problems.get(id(subscriber))
        if known is not None:
            self._problems[id(subscriber)] = SubscriberProblem(
                known.subscriber, known.failures + 1, known.error_type, known.message
            )
            return
        problem = SubscriberProblem(type(subscriber).__name__, 1, type(error).__name__, str(error))
        self._problems[id(subscriber)] = problem
        line = {
            "event": "subscriber_failed",
            "run_id": envelope.run_id,
            "seq": envelope.seq,
            "subscriber": problem.subscriber,
            "error_type": problem.error_type,
            "message": problem.message,
        }
        _LOG.warning("%s", to_json(line))


class EventEmitter:
    """Emits the events of one run. Safe to use from several threads.

    Delivery is synchronous: when ``emit`` returns, every subscriber has seen the event. A subscriber that raises is
    counted, reported once through ``logging``, and shown by ``problems``; the caller never notices.
    """

    def __init__(self, run_id: str, subscribers: Sequence[Subscriber] = (), clock: Callable[[], datetime] = utc_now) -> None:
        self._channel = _Channel(run_id, subscribers, clock)
        self._table: str | None = None
        self._slice: str | None = None

    def emit(self, event: Event) -> None:
        """Hand the event to every subscriber."""
        self._channel.emit(event, self._table, self._slice)

    def bind(self, *, table: str | None = None, slice: str | None = None) -> "EventEmitter":  # noqa: A002  the envelope's word
        """Return an emitter on the same run that adds these ids; an id not given is inherited."""
        bound = EventEmitter.__new__(EventEmitter)
        bound._channel = self._channel
        bound._table = table if table is not None else self._table
        bound._slice = slice if slice is not None else self._slice
        return bound

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber; it sees the events from now on."""
        self._channel.subscribe(subscriber)

    @property
    def problems(self) -> tuple[SubscriberProblem, ...]:
        """The subscribers that raised so far."""
        return self._channel.problems
