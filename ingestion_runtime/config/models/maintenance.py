"""How tables, state and logs are kept in shape."""

from typing import Annotated

from pydantic import Field

from ingestion_runtime.config.models.parts import Days, FilePart, MebiBytes


class TableMaintenanceFile(FilePart):
    """How a table is kept in shape by --maintenance-mode apply."""

    target_file_mb: MebiBytes = 128
    """How large files become that are put together, in MiB."""
    small_file_mb: MebiBytes = 32
    """Files below this size, in MiB, are small."""
    min_small_files: Annotated[int, Field(ge=0, le=1_000_000)] = 8
    """Small files of one partition from which on they are put together; 0: never."""
    expire_days: Days | None = 7
    """Older snapshots are expired; 0: all but those that are kept; null: none is."""
    keep_snapshots: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """So many snapshots are kept whatever their age."""
    orphan_hours: Annotated[int, Field(ge=1, le=876_000)] | None = 72
    """Files in the table's folder that nothing names are removed once they are older than this; null: never."""
    raw_days: Days | None = None
    """Older raw batches are removed unless a rebuild needs them; 0: as soon as none does; null: never."""
    keep_backup: bool = False
    """Whether what a rebuild replaced is kept, under a tag."""


class MaintenanceFile(TableMaintenanceFile):
    """What --maintenance-mode apply does with tables that say nothing else, and with state and logs."""

    state_days: Annotated[int, Field(ge=1, le=36_500)] | None = 90
    """What the state keeps for people only is removed after so many days; null: never."""
    log_days: Annotated[int, Field(ge=1, le=36_500)] | None = 30
    """Older log files, and their mirrors in the outbox, are removed, the newest of each kind excepted; null: never."""
    wait_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How long it waits for a table that a run is working on."""
