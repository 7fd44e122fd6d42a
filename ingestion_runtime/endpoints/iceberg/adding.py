"""Batches that are added to an Iceberg table in this process, in place of the rows of their span or of none.

Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.endpoints.iceberg.attempts import Attempt, Pending
from ingestion_runtime.endpoints.iceberg.leftovers import remove_empty
from ingestion_runtime.endpoints.iceberg.overwriting import Cleared
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile, list_files, local_path
from ingestion_runtime.endpoints.iceberg.snapshots import count_rows, stage_snapshot
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.target import Written


@dataclass(frozen=True, slots=True)
class Addition:
    """Files with the ``rows`` of a payload, and ``kept`` ones with what was left of files that were ``cleared`` of a span.
    ``found`` of the rows in both lie in that span (all that were added, where there is none)."""

    rows: int
    found: int
    files: Sequence[DataFile]
    kept: Sequence[DataFile]
    cleared: Cleared


def pend_addition(table: Table, base: int, attempt: Attempt, addition: Addition) -> Pending:
    """Return what is left to be committed of an addition to the snapshot ``base``: nothing, where no row came or went."""
    cleared, added = addition.cleared, addition.files
    written = Written(
        branch=attempt.name,
        base=str(base),
        snapshot=str(base),
        rows=addition.rows,
        keys=addition.rows,
        found=addition.found,
        null_keys=0,
        total=0,
        added=sum(file.record_count for file in added),
        changed=bool(added or cleared.removed),
        removed=cleared.rows,
    )
    if not written.changed:
        remove_empty(Path(attempt.folder))
        return Pending(written, None, ())
    files = [*added, *addition.kept]
    gone = [*(file.entry for file in cleared.removed), *freed_deletes(table, base, cleared.removed)]
    snapshot = stage_snapshot(table, base, attempt.name, files, gone)
    attempt.made.extend(map(local_path, snapshot.files))
    if cleared.counted:
        before, total = cleared.before, cleared.stays + sum(file.record_count for file in files)
    else:
        before, total = (count_rows(table, of) for of in (_snapshot(table, base), snapshot.snapshot))
    measured = replace(written, snapshot=str(snapshot.snapshot.snapshot_id), before=before, total=total)
    return Pending(measured, snapshot, tuple(attempt.made))


def _snapshot(table: Table, number: int) -> Snapshot:
    found = table.snapshot_by_id(number)
    if found is None:
        raise TerminalError(
            f"{'.'.join(table.name())}: snapshot {number} is gone.",
            remedy="Something else expires snapshots of this table while it is written; run again.",
        )
    return found


def freed_deletes(table: Table, base: int, removed: Sequence[SnapshotFile]) -> list[DataFile]:
    """Return the position-delete files that name rows of no file which stays."""
    named = {path for file in removed for path in file.deletes}
    if not named:
        return []
    gone, listed = {file.path for file in removed}, list_files(table, base)
    needed = {path for file in listed.files if file.path not in gone for path in file.deletes}
    return [file for file in listed.position_deletes if local_path(file.file_path) in named - needed]
