"""A target kept in shape: what is found there, and what was done about it. No row changes by any of this.

What may be done and how old things must be is said by the table's ``maintenance`` settings, its partition and its
``spec_mode``; whoever implements ``TargetUpkeep`` is built with them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FileSum:
    """How many files, and their bytes."""

    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Orphan:
    """A file in the table's folder that nothing names: its path, its bytes, and the seconds since it was last touched."""

    path: str
    size: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that keeps a snapshot: ``kind`` is ``branch`` or ``tag``."""

    name: str
    kind: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found by looking.

    ``partition`` says how the table's partition differs from the configured one (None: it does not). ``data`` are the files
    that readers read, ``small`` those below the configured size, ``former`` those that follow an earlier partition.
    ``deletes`` are delete files, and ``dead_rows`` the rows that they hide (None: nobody counted). ``rewritable`` is what
    ``rewrite`` would write anew now; ``unfit`` says why it cannot (None: it can). ``expirable`` of the ``snapshots`` would
    expire now; ``oldest`` and ``newest`` are their times. ``attempts`` are branches of attempts at batches. ``orphans`` are
    all files that nothing names, young ones included, and ``removable`` of them are old enough; ``unclear`` says why none
    would be removed (None: nothing is in the way). ``damage``: see ``TargetHead``.
    """

    partition: str | None
    data: FileSum
    small: FileSum
    former: FileSum
    deletes: FileSum
    dead_rows: int | None
    rewritable: FileSum
    unfit: str | None
    snapshots: int
    expirable: int
    oldest: datetime | None
    newest: datetime | None
    references: tuple[Reference, ...]
    attempts: tuple[str, ...]
    orphans: tuple[Orphan, ...]
    removable: FileSum
    unclear: str | None
    damage: str | None = None

    @property
    def wants_rewrite(self) -> bool:
        """Whether ``rewrite`` would do something."""
        return self.unfit is None and bool(self.partition or self.rewritable.files)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Files written anew, in one commit. ``removed`` files (delete files included) became ``added`` ones with ``rows`` rows;
    ``dead_rows`` are hidden rows that were left behind. ``repartitioned``: the table has the configured partition now."""

    removed: FileSum
    added: FileSum
    rows: int
    dead_rows: int
    repartitioned: bool
    location: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Snapshots that are gone, and files that nothing named any more. ``kept`` says why none went (None: nothing was in the
    way)."""

    snapshots: int = 0
    removed: FileSum = FileSum()
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """Files that nothing named and that are gone now; ``kept`` says why none was removed although there are some."""

    removed: FileSum = FileSum()
    kept: str | None = None


class TargetUpkeep(Protocol):
    """Keeps one table in shape. Not shared between threads.

    What takes a ``fence`` is called under the table's lease, with its token: nothing of an earlier holder goes while it
    could still be published, and what a higher fence forbids raises PublishRaceError and changes nothing.
    """

    def survey(self) -> Survey | None:
        """Look, and change nothing; None where there is no table, or nothing was ever published. May start an engine.

        Raises LostFileError where a file that readers need is gone or cannot be read.
        """
        ...

    def rewrite(self) -> Rewritten | None:
        """Write small files, files with dead rows and files of another partition anew; None: there was nothing to do.

        One commit that adds and removes no row. Needs no lease, and may run beside an ingestion: raises PublishRaceError,
        nothing changed, when the table has moved meanwhile; worth another try. Raises StaleMainError for a table that is not
        as its last run left it.
        """
        ...

    def expire(self, fence: int) -> Expired:
        """Let old snapshots go, and then the files that only they named. What any branch or tag needs stays."""
        ...

    def drop_stale(self, keep: Collection[str], fence: int) -> tuple[str, ...]:
        """Drop what attempts at batches left that were never published, but for those of the batches (ids) in ``keep``;
        return their names."""
        ...

    def remove_orphans(self, fence: int) -> Removed:
        """Remove files of the table that nothing names, once they are old enough.

        Nothing is removed where it cannot be told for sure which files are needed, and whose they are.
        """
        ...
