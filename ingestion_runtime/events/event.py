"""What an event is, and who hears of it.

Fields are plain values, so that every subscriber can write them down without knowing the class."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import ClassVar, Protocol


class Event:
    """Base of all events. ``level`` is the log level of the line that the event becomes."""

    __slots__ = ()

    name: ClassVar[str]
    level: ClassVar[str] = "info"


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event with its place in the run. ``at`` is aware, in UTC; ``seq`` starts at 1 and has no gaps."""

    event: Event
    run_id: str
    table: str | None
    slice: str | None
    at: datetime
    seq: int


class Subscriber(Protocol):
    """Someone who is told of every event, in order, one at a time. What it raises never reaches the table's work."""

    def handle(self, envelope: Envelope) -> None: ...


class Emitter(Protocol):
    """What emits events: an ``EventEmitter``, bound to a table or not."""

    def emit(self, event: Event) -> None: ...

    def bind(self, *, table: str | None = None, slice: str | None = None) -> "Emitter":  # noqa: A002  the envelope's word
        """Return an emitter that adds these ids to every event."""
        ...


def event_fields(event: Event) -> dict[str, object]:
    """Return the event's own fields by name, in the order of their declaration."""
    return {item.name: getattr(event, item.name) for item in fields(event)}  # type: ignore[arg-type]  # all are dataclasses
