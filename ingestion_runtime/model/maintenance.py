"""What maintenance may do, as configured: how tables are kept in shape, and how long what they no longer need is kept."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

#: What the ids of maintenance begin with, by which others know who holds a lease.
RUN_PREFIX: Final = "maintenance-"


class SpecMode(StrEnum):
    """What becomes of the rows of a table whose configured partition has changed: they are written anew, or stay as they are
    and only new files follow it."""

    APPEND = "append"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class TableMaintenance:
    """How one table is maintained. Sizes in MiB (2**20 bytes).

    Files below ``small_file_mb`` are put together up to ``target_file_mb`` where a partition has ``min_small_files`` of them
    (0: never). Snapshots older than ``expire_days`` go (None: none does), never the newest ``keep_snapshots``; files of the
    table that nothing names after ``orphan_hours`` (None: never), raw batches that no rebuild needs after ``raw_days``
    (None: never). ``keep_backup``: what a rebuild replaced stays under its tag.
    """

    target_file_mb: int = 128
    small_file_mb: int = 32
    min_small_files: int = 8
    expire_days: int | None = 7
    keep_snapshots: int = 10
    orphan_hours: int | None = 72
    raw_days: int | None = None
    keep_backup: bool = False


@dataclass(frozen=True, slots=True)
class Maintenance:
    """How a whole configuration is maintained; ``tables`` is what holds for tables that say nothing else.

    ``state_days``: how long the state keeps what only people look at, ``log_days`` how long log files are kept (None: for
    ever). ``wait_seconds``: how long a lease is waited for that a living run holds.
    """

    tables: TableMaintenance = field(default_factory=TableMaintenance)
    state_days: int | None = 90
    log_days: int | None = 30
    wait_seconds: int = 60
