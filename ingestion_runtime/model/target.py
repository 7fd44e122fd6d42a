"""A published table as the protocol sees it: a head that moves by compare-and-set, and branches no reader looks at."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from ingestion_runtime.model.batch import Batch, Receipt, TableKey
from ingestion_runtime.model.endpoint import IngestColumns
from ingestion_runtime.model.keys import KeyFingerprint, KeysMissed, TargetKeys


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
    """The files of a batch, absolute, with their columns and the rows that their manifests promise.

    ``tombstones`` are files of keys that the source no longer has, ``deleted`` of them; they may be all there is.
    ``keys`` are what the receipt shall remember of the source's keys. ``renamed`` are (name now, name in the target), and
    with ``replaces`` the payload becomes the whole table. ``again`` of the rows were read from where rows had been read
    before.
    """

    files: tuple[str, ...]
    schema: pa.Schema
    rows: int
    tombstones: tuple[str, ...] = ()
    deleted: int = 0
    keys: KeyFingerprint | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    replaces: bool = False
    again: int = 0


@dataclass(frozen=True, slots=True)
class Buried:
    """What became of a batch's tombstones on its branch.

    ``tombstones`` counted in their files; ``alive`` of their keys that readers would still see; ``live`` rows that readers
    would see, and ``expected``: those of the base, and the batch's new keys, without the tombstones.
    """

    tombstones: int
    alive: int
    live: int
    expected: int


@dataclass(frozen=True, slots=True)
class Written:
    """A batch on its branch, with what the audit needs.

    ``rows`` counted in the staged files by whoever wrote them; ``keys`` distinct keys among them; ``found`` rows of the
    branch that carry one of those keys (merge), or lie in the span that was read (overwrite), else equal to ``keys``;
    ``null_keys`` staged rows with a NULL in the key; ``total`` rows on the branch; ``added`` rows written; ``changed``: the
    branch differs from its base. Without a primary key ``keys`` equals ``rows``. ``before`` and ``removed`` are the rows of
    the base and those of them that are not on the branch; only appends and overwrites count them. ``replaced`` are columns
    that get another type with the publish. ``branch`` names the attempt; a target that needs no branch keeps the files until
    they are published or discarded by that name.
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
    buried: Buried | None = None
    replaced: tuple[str, ...] = ()
    before: int = 0
    removed: int = 0


class TargetKeyReader(Protocol):
    """The primary keys of one table. Reads only; starts an engine."""

    def compare(self, snapshot: str | None, staged: Sequence[str]) -> TargetKeys:
        """Return the live keys at ``snapshot`` (None: an empty table) united with those in staged files, by bucket."""
        ...

    def write_missing(
        self,
        snapshot: str | None,
        staged: Sequence[str],
        moved: str,
        buckets: Collection[str],
        columns: IngestColumns,
        to: str,
    ) -> KeysMissed:
        """Write tombstones into the directory ``to``, which must not exist yet: the live keys at ``snapshot`` in these
        buckets that are neither staged nor among the keys in the directory ``moved``."""
        ...


class TargetTable(Protocol):
    """One table that batches are published into. Not shared between threads."""

    @property
    def key(self) -> TableKey: ...

    def location(self) -> str | None:
        """The current location by one cheap look-up, None without a table. Starts an engine for a Hadoop catalog only."""
        ...

    def head(self) -> TargetHead | None:
        """The full head, None when there is no table. Starts an engine where the table lies on HDFS."""
        ...

    def live_rows(self) -> int | None:
        """The rows that readers see now, without those that are marked as deleted; None before the first publish."""
        ...

    def columns(self) -> pa.Schema | None:
        """The columns whose types bind what lands, in those types; None where there is no table, or none of that kind."""
        ...

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:
        """Return by name the ids that these columns have in the table, or would get if they were added now.

        ``renamed`` gives the name in the table by the name in ``schema``. Empty where columns have no ids. A file with
        other ids than the table's is never wrong, only written once more.
        """
        ...

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:
        """Commit a higher fence and drop stale branches; raises PublishRaceError when a higher fence stands already."""
        ...

    def is_littered(self, batch_id: str) -> bool:
        """Whether attempts at a batch left anything beside the branches of a head. One cheap look."""
        ...

    def sweep(self, batch_id: str) -> None:
        """Remove what dead attempts at a batch left beside the branches of a head. Only after ``guard`` with a token above
        theirs: a commit that is still under way must be refused before its files go."""
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

    def keep_backup(self, batch_id: str) -> str | None:
        """Keep what readers see now under a name, from before the batch that is going to replace it; return the name.

        None where readers see nothing, and where the target keeps what it replaces by itself.
        """
        ...

    def drop_backups(self, chosen: Callable[[str], bool]) -> None:
        """Drop what ``keep_backup`` kept under the names that are chosen. What cannot be dropped now a later call finds."""
        ...
