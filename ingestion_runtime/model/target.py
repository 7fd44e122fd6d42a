"""A published table as the protocol sees it: a head that moves by compare-and-set, and branches no reader looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ingestion_runtime.model.batch import Batch, Receipt, TableKey


@dataclass(frozen=True, slots=True)
class TargetHead:
    """What a target says of itself.

    ``location`` changes with every commit. ``snapshot`` is what readers see, None before the first publish. ``damage``
    says how the table left the path its receipt describes (rolled back, truncated, replaced, written by someone else),
    None when it did not. ``branches`` are the attempts that were never published.
    """

    location: str
    receipt: Receipt | None
    fence: int
    snapshot: str | None
    damage: str | None
    branches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """The files of a batch, absolute, with their columns and the rows that their manifests promise."""

    files: tuple[str, ...]
    schema: pa.Schema
    rows: int


@dataclass(frozen=True, slots=True)
class Written:
    """A batch on its branch, with what the audit needs.

    ``rows`` counted in the staged files by whoever wrote them; ``keys`` distinct keys among them; ``found`` rows of the
    branch that carry one of those keys (merge only, else equal to ``keys``); ``null_keys`` staged rows with a NULL in the
    key; ``total`` rows on the branch; ``added`` rows written; ``changed``: the branch differs from its base. Without a
    primary key ``keys`` equals ``rows``.
    """

    branch: str
    base: str | None
    snapshot: str | None
    rows: int
    keys: int
    found: int
    null_keys: int
    total: int
    added: int
    changed: bool


class TargetTable(Protocol):
    """One table that batches are published into. Not shared between threads."""

    @property
    def key(self) -> TableKey: ...

    def location(self) -> str | None:
        """The current location by one cheap look-up, None when there is no table. Never starts an engine."""
        ...

    def head(self) -> TargetHead | None:
        """The full head, None when there is no table. Never starts an engine."""
        ...

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:
        """Commit a higher fence and drop stale branches; raises PublishRaceError when a higher fence stands already."""
        ...

    def prepare(self, payload: Payload) -> TargetHead:
        """Create the table, or let it grow the columns of the payload; raises TerminalError for a type it cannot hold."""
        ...

    def write(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        """Write the payload on a new branch at ``head.snapshot`` and measure it. Readers see nothing of it."""
        ...

    def discard(self, branch: str) -> None:
        """Drop a branch; one that is gone already is fine."""
        ...

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        """Make the branch the table, with its receipt and fence, in one commit; return the new location.

        Refused with PublishRaceError, nothing changed, when the table's receipt does not name the batch ``expected``, its
        readers' snapshot is not ``written.base``, or its fence is above the receipt's.
        """
        ...
