"""Snapshots that nobody needs any more. Imported only when metadata is read: pyiceberg costs 1.2 s."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice, pairwise

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from ingestion_runtime.endpoints.iceberg.commits import TAG
from ingestion_runtime.model.maintenance import TableMaintenance


def expired_snapshots(metadata: TableMetadata, settings: TableMaintenance, now: float) -> tuple[Snapshot, ...]:
    """Return the snapshots that may go, at ``now`` (seconds since the epoch).

    A snapshot's age counts from when another took its place before the readers, not from when it was made: somebody may
    have begun to read it a moment before. What a branch or a tag names stays, whatever its age, and so do the newest of main
    and the way from main back to the last publish, by which a run sees that nobody else has written to the table.
    """
    if settings.expire_days is None:
        return ()
    known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    kept = {ref.snapshot_id for ref in metadata.refs.values()}
    kept |= _newest(metadata, known, settings.keep_snapshots) | _way_back(metadata, known)
    left = _times_left(metadata)
    limit = (now - timedelta(days=settings.expire_days).total_seconds()) * 1000
    old = (s for s in metadata.snapshots if left.get(s.snapshot_id, s.timestamp_ms) <= limit)
    return tuple(snapshot for snapshot in old if snapshot.snapshot_id not in kept)


def _newest(metadata: TableMetadata, known: Mapping[int, Snapshot], count: int) -> set[int]:
    return {snapshot.snapshot_id for snapshot in islice(_ancestors(known, metadata.current_snapshot_id), count)}


def _way_back(metadata: TableMetadata, known: Mapping[int, Snapshot]) -> set[int]:
    """Return the snapshots from main back to the one that was published last; none, where main does not come from it."""
    tag = metadata.refs.get(TAG)
    found: set[int] = set()
    for snapshot in _ancestors(known, metadata.current_snapshot_id):
        found.add(snapshot.snapshot_id)
        if tag is not None and snapshot.snapshot_id == tag.snapshot_id:
            return found
    return set()


def _ancestors(known: Mapping[int, Snapshot], first: int | None) -> Iterator[Snapshot]:
    """Yield a snapshot and those that it follows, as far as they are known."""
    snapshot = None if first is None else known.get(first)
    while snapshot is not None:
        yield snapshot
        snapshot = None if snapshot.parent_snapshot_id is None else known.get(snapshot.parent_snapshot_id)


def _times_left(metadata: TableMetadata) -> dict[int, int]:
    """Return when snapshots ceased to be the one that readers see, in milliseconds; the last time counts."""
    log = metadata.snapshot_log
    times = {entry.snapshot_id: after.timestamp_ms for entry, after in pairwise(log)}
    for snapshot in metadata.snapshots:  # metadata may have been cut off, or written by who keeps no log
        if snapshot.parent_snapshot_id is not None:
            times.setdefault(snapshot.parent_snapshot_id, snapshot.timestamp_ms)
    return times
