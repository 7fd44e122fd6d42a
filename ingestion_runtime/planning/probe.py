"""Counting rows before they are read."""

from collections.abc import Callable
from dataclasses import dataclass

from ingestion_runtime.model.cursor import Interval
from ingestion_runtime.model.density import Counts


@dataclass(frozen=True, slots=True)
class RowCountProbe:
    """Counts the rows of a window by asking ``counter``, usually a source's ``count_rows``.

    The room itself does no I/O. ``counter`` answers None where it cannot tell. ``histogram``, a source's own, says where
    the rows lie; it is asked only about a window that is to be cut.
    """

    counter: Callable[[Interval], int | None]
    histogram: Counts | None = None

    def count(self, window: Interval) -> int | None:
        """Return the rows in ``window``, None when unknown; what the source raises (TransientError) passes through."""
        return self.counter(window)
