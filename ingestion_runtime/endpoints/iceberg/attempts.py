"""One try to write a batch in this process, and what it leaves to be committed.

Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

from dataclasses import dataclass, field

from ingestion_runtime.endpoints.iceberg.snapshots import PendingSnapshot
from ingestion_runtime.model.target import Written


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to write a batch: its name, where its data files go (local folder, and the folder as the table spells it),
    and the files that it made so far (absolute local paths)."""

    name: str
    prefix: str
    folder: str
    location: str
    made: list[str] = field(default_factory=list)

    def path(self, number: int) -> str:
        """Return the local path of a data file."""
        return f"{self.folder}/{self.prefix}-{number:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Pending:
    """What a write left to be committed: the measured batch, its snapshot (None where nothing differs), and the local paths
    of all files made."""

    written: Written
    snapshot: PendingSnapshot | None
    files: tuple[str, ...]
