"""The commits of upkeep: files written anew, snapshots that expire, and the mark that goes before files are removed.

Imported only when metadata is written: pyiceberg costs 1.2 s.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    AssertDefaultSpecId,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemovePartitionStatisticsUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    TableUpdate,
    ValidatableTableRequirement,
)

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.commits import (
    FENCE,
    AssertNewest,
    add_snapshot,
    batch_of,
    check_format,
    commit,
    fence_of,
    guard,
    insist,
    read_head,
    set_ref,
)

#: In the table's properties: which sweep of files that nothing names was the last. Whoever writes files without the table's
#: lease commits only if there was none since.
SWEPT = "ingest.swept"


class AssertUnswept(ValidatableTableRequirement):
    """No files may have been swept away since ours were begun: they might have been among them."""

    type: Literal["assert-ingest-unswept"] = "assert-ingest-unswept"
    swept: str | None

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as pyiceberg's own do
        """Raise CommitFailedException after a sweep."""
        if base_metadata is None or base_metadata.properties.get(SWEPT) != self.swept:
            raise CommitFailedException("files that no snapshot named were removed in the meantime")


class AssertFence(ValidatableTableRequirement):
    """The table's fence may not be above ours."""

    type: Literal["assert-ingest-fence"] = "assert-ingest-fence"
    fence: int

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as pyiceberg's own do
        """Raise CommitFailedException when another holder of the lease has announced itself."""
        found = 0 if base_metadata is None else fence_of(base_metadata.properties)
        if found > self.fence:
            raise CommitFailedException(f"the fence stands at {found}, above our token {self.fence}")


class AssertReferences(ValidatableTableRequirement):
    """Branches and tags must name the snapshots that they named when it was decided which ones nobody needs."""

    type: Literal["assert-ingest-references"] = "assert-ingest-references"
    references: dict[str, int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as pyiceberg's own do
        """Raise CommitFailedException when a branch or a tag has moved, come or gone."""
        if base_metadata is None or references_of(base_metadata) != self.references:
            raise CommitFailedException("a branch or a tag has moved")


def references_of(metadata: TableMetadata) -> dict[str, int]:
    """Return the snapshots of all branches and tags by name."""
    return {name: ref.snapshot_id for name, ref in metadata.refs.items()}


def commit_rewritten(catalog: Catalog, table: Table, pending: Snapshot | None, respecified: Sequence[TableUpdate]) -> str:
    """Let main name a snapshot of the same rows, and another partition be the table's, in one commit; return the location.

    ``table`` as it was when the work began. Receipt and tag stay as they are. Raises PublishRaceError, nothing changed, when
    main is another by now, another snapshot has taken the number, or files have been swept away.
    """
    metadata = table.metadata
    base = metadata.current_snapshot_id
    requirements: list[Any] = [
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": base}),
        AssertDefaultSpecId.model_validate({"default-spec-id": metadata.default_spec_id}),
        AssertUnswept(swept=metadata.properties.get(SWEPT)),
    ]
    updates = list(respecified)
    if pending is not None:
        requirements.append(AssertNewest(sequence=pending.sequence_number or 0))
        updates += [add_snapshot(metadata, pending), set_ref(MAIN_BRANCH, "branch", pending.snapshot_id)]
    return commit(catalog, table, tuple(requirements), tuple(updates))


def commit_expiry(catalog: Catalog, table: Table, snapshots: Sequence[int], fence: int) -> str:
    """Take snapshots out of the metadata; raises PublishRaceError when a reference has moved since ``table`` was loaded."""
    metadata, gone = table.metadata, set(snapshots)
    updates: list[TableUpdate] = [
        RemovePartitionStatisticsUpdate.model_validate({"snapshot-id": file.snapshot_id})
        for file in metadata.partition_statistics
        if file.snapshot_id in gone
    ]
    updates.append(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(snapshots)}))
    if fence_of(metadata.properties) < fence:
        updates.append(SetPropertiesUpdate(updates={FENCE: str(fence)}))
    requirements = (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertReferences(references=references_of(metadata)),
        AssertFence(fence=fence),
    )
    return commit(catalog, table, requirements, tuple(updates))


def drop_stale(catalog: IcebergCatalog, table: Table | None, keep: Collection[str], fence: int) -> tuple[str, ...]:
    """Drop the branches of attempts whose batches are not to be kept; see ``TargetUpkeep.drop_stale``."""
    names = () if table is None else read_head(table).branches
    stale = tuple(name for name in names if batch_of(name) not in keep)
    if table is not None and stale:
        if catalog.local:  # elsewhere Iceberg's own library writes the metadata
            check_format(table)
        guard(catalog.pyiceberg(), table, fence, stale)
    return stale


def announce_sweep(catalog: Catalog, table: Table, fence: int) -> str:
    """Raise the fence and mark the table, so that whatever is under way and began before can no longer be committed."""
    requirements = (AssertTableUUID(uuid=table.metadata.table_uuid), AssertFence(fence=fence))

    def act(now: Table) -> str:
        mark = f"{max(time.time_ns(), 1 + int(now.metadata.properties.get(SWEPT, 0)))}"
        return commit(catalog, now, requirements, (SetPropertiesUpdate(updates={FENCE: str(fence), SWEPT: mark}),))

    return insist(catalog, table, act)
