"""Runs that have been, read from whole logs."""

from collections.abc import Iterator
from typing import Final

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.progress.fold import RunBook
from ingestion_runtime.progress.follow import open_tail
from ingestion_runtime.progress.places import Log, Place
from ingestion_runtime.progress.view import RunView
from ingestion_runtime.progress.wording import printable

_KNOWN: Final = 5  # runs that a message names


def read_runs(location: str) -> tuple[RunView, ...]:
    """Return every run found in a file, a folder or an outbox, in the order in which they began.

    None where nothing is. Raises ConfigError for what may not be read, TransientError for a file system out of reach.
    """
    place, book = Place(location), RunBook()
    for log in place.logs():
        _read(place, log, book)
    return book.runs()


def require_runs(location: str) -> tuple[RunView, ...]:
    """Return the same; raises ConfigError where there is none."""
    runs = read_runs(location)
    if not runs:
        raise _nothing_in(location)
    return runs


def newest_runs(location: str) -> Iterator[RunView]:
    """Yield the same runs the other way round, and read no further back than is asked for."""
    place, told = Place(location), set[str]()
    for log in reversed(place.logs()):
        book = RunBook()
        _read(place, log, book)
        for run in reversed(book.runs()):
            if run.run_id not in told:
                told.add(run.run_id)
                yield run


def pick_run(location: str, wanted: str) -> RunView:
    """Return the run with the id ``wanted``, or counted from the last, which is ``1``. Raises ConfigError without it."""
    number = int(wanted) if wanted.isdecimal() and len(wanted) <= len(str(10**6)) else 0
    seen: list[RunView] = []
    for run in newest_runs(location):
        seen.append(run)
        if run.run_id == wanted or len(seen) == number:
            return run
    if not seen:
        raise _nothing_in(location)
    known = ", ".join(printable(run.run_id) for run in seen[:_KNOWN])
    raise ConfigError(
        f"{location} holds no run {wanted!r}, but {len(seen)} others.",
        remedy=f"Name one by its number (1 is the last) or its id; the last ones: {known}.",
    )


def _nothing_in(location: str) -> ConfigError:
    return ConfigError(f"{location} holds no run.", remedy="Name the file, the folder of event logs, or the outbox.")


def _read(place: Place, log: Log, book: RunBook) -> None:
    tail = open_tail(log, place)
    try:
        for text in tail.read():
            book.add(text)
    finally:
        tail.close()
