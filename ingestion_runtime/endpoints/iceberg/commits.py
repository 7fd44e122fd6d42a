"""Iceberg metadata through pyiceberg: heads, guards, schema growth, and the compare-and-set that publishes.

Imported only when metadata is read or written: pyiceberg costs 1.2 s.
"""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError, ValidationError
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AddSnapshotUpdate,
    AssertCreate,
    AssertCurrentSchemaId,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotRefUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableUpdate,
    ValidatableTableRequirement,
)

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.endpoints.iceberg.creation import Creation
from ingestion_runtime.endpoints.iceberg.growth import swapped_schema
from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.errors import LostFileError, PublishRaceError, TerminalError
from ingestion_runtime.model.target import TargetHead, Written

RECEIPT = "ingest.receipt"
FENCE = "ingest.fence"
TAG = "ingest_last"
# pyiceberg 0.12 reads format 3 and raises NotImplementedError when it is to write its metadata.
_NEWEST_FORMAT = 2
_TRIES = 5
# ingest_<batch id>_<attempt>: nothing else is ours to drop.
_ATTEMPT = re.compile(r"ingest_(\d{8}_\d{6,}_[0-9a-f]{8})_\w+")


class AssertHead(ValidatableTableRequirement):
    """The table must still carry the expected receipt, and no fence above ours."""

    type: Literal["assert-ingest-head"] = "assert-ingest-head"
    batch_id: str | None
    fence: int

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as pyiceberg's own do
        """Raise CommitFailedException when the table moved on without us."""
        properties = base_metadata.properties if base_metadata else {}
        receipt, _ = _try_receipt(properties)
        found = receipt.batch_id if receipt else None
        if found != self.batch_id:
            raise CommitFailedException(f"the receipt names batch {found}, expected {self.batch_id}")
        if fence_of(properties) > self.fence:
            raise CommitFailedException(f"the fence stands at {fence_of(properties)}, above our token {self.fence}")


class AssertNewest(ValidatableTableRequirement):
    """No snapshot may have been added since ours was written: it would have our sequence number."""

    type: Literal["assert-ingest-newest"] = "assert-ingest-newest"
    sequence: int

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]  # as pyiceberg's own do
        """Raise CommitFailedException when the number is taken."""
        last = 0 if base_metadata is None else base_metadata.next_sequence_number() - 1
        if last >= self.sequence:
            raise CommitFailedException(f"the table is at sequence number {last}, the snapshot was to get {self.sequence}")


def load(catalog: Catalog, identifier: tuple[str, ...]) -> Table | None:
    """Return the table as the catalog has it now, None when there is none.

    Raises LostFileError where the catalog knows the table, and the warehouse no longer has its metadata, or has them torn.
    """
    try:
        return catalog.load_table(identifier)
    except NoSuchTableError:
        return None
    except FileNotFoundError as error:
        raise _lost(identifier, f"the warehouse has lost its metadata ({error})") from error
    except (ValidationError, UnicodeDecodeError) as error:
        words = " ".join(line.strip() for line in str(error).splitlines()[1:2]).partition(" [type=")[0]
        raise _lost(identifier, f"its metadata cannot be read ({words or error})") from error


def _lost(identifier: tuple[str, ...], how: str) -> LostFileError:
    return LostFileError(
        f"{'.'.join(identifier)}: the catalog knows the table, but {how}.",
        remedy="Restore the warehouse (is it mounted?), or drop the table from the catalog and run it with --reload.",
        table=".".join(identifier),
    )


def check_format(table: Table) -> None:
    """Raise TerminalError for a table of a later format than pyiceberg writes: rows could follow, but no commit."""
    version, name = table.metadata.format_version, ".".join(table.name())
    if version > _NEWEST_FORMAT:
        raise TerminalError(
            f"{name}: the table has format {version}, and commits can be written in format {_NEWEST_FORMAT} at most.",
            remedy="Iceberg takes no format back: drop the table and run with --reload.",
            table=name,
        )


def read_head(table: Table) -> TargetHead:
    """Return what the table says of itself; a receipt that cannot be read is damage."""
    metadata = table.metadata
    receipt, unreadable = _try_receipt(metadata.properties)
    current = metadata.current_snapshot_id
    return TargetHead(
        location=table.metadata_location,
        receipt=receipt,
        fence=fence_of(metadata.properties),
        snapshot=None if current is None else str(current),
        damage=unreadable or _damage(table, receipt),
        branches=tuple(
            sorted(
                name
                for name, ref in metadata.refs.items()
                if ref.snapshot_ref_type is SnapshotRefType.BRANCH and _ATTEMPT.fullmatch(name)
            )
        ),
    )


def publish(
    catalog: Catalog,
    table: Table,
    expected: str | None,
    written: Written,
    receipt: Receipt,
    pending: Snapshot | None = None,
) -> str:
    """Move main, tag and receipt in one commit; see ``TargetTable.publish``. A ``pending`` snapshot is added by it."""
    updates = [*_swap(table, written.replaced), *_point(table.metadata, written, pending)]
    if written.branch in table.metadata.refs:
        updates.append(remove_ref(written.branch))
    updates.append(_signed(receipt))
    base = int(written.base) if written.base else None
    requirements = (
        AssertTableUUID(uuid=table.metadata.table_uuid),
        AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": base}),
        AssertHead(batch_id=expected, fence=receipt.fence),
    )
    further: list[ValidatableTableRequirement] = []
    if pending is not None:
        further.append(AssertNewest(sequence=pending.sequence_number or 0))
    if written.replaced:
        further.append(AssertCurrentSchemaId.model_validate({"current-schema-id": table.schema().schema_id}))
    return commit(catalog, table, (*requirements, *further), tuple(updates))


def publish_new(catalog: Catalog, creation: Creation, written: Written, receipt: Receipt, pending: Snapshot | None) -> str:
    """Create a table together with its first batch, in one commit; PublishRaceError when there is one by now."""
    updates = (*creation.transaction._updates, *_point(creation.table.metadata, written, pending), _signed(receipt))
    try:
        return commit(catalog, creation.table, (AssertCreate(),), updates)
    except TableAlreadyExistsError as error:
        raise _race(creation.table, error) from error


def _point(metadata: TableMetadata, written: Written, pending: Snapshot | None) -> list[TableUpdate]:
    """Return the updates that let main and tag name the written snapshot."""
    if written.snapshot is None:
        return []
    snapshot = int(written.snapshot)
    updates = [] if pending is None else [add_snapshot(metadata, pending)]
    return [*updates, set_ref(MAIN_BRANCH, "branch", snapshot), set_ref(TAG, "tag", snapshot)]


def add_snapshot(metadata: TableMetadata, pending: Snapshot) -> TableUpdate:
    """Return the update that makes a written snapshot one of the table's."""
    # The time of the commit, not of the writing: readers refuse metadata whose times run backwards.
    now = max(int(time.time() * 1000), metadata.last_updated_ms)
    return AddSnapshotUpdate(snapshot=pending.model_copy(update={"timestamp_ms": now}))


def _signed(receipt: Receipt) -> TableUpdate:
    return SetPropertiesUpdate(updates={RECEIPT: dump_document(receipt), FENCE: str(receipt.fence)})


def _swap(table: Table, replaced: Sequence[str]) -> list[TableUpdate]:
    """Return the updates by which columns get their new type in the very commit that moves main to their values."""
    if not replaced:
        return []
    last_added = SetCurrentSchemaUpdate.model_validate({"schema-id": -1})
    return [AddSchemaUpdate(schema=swapped_schema(table, replaced)), last_added]


def guard(catalog: Catalog, table: Table, token: int, drop: Sequence[str]) -> Table:
    """Raise the fence to ``token`` and drop branches in one commit."""
    receipt, _ = _try_receipt(table.metadata.properties)
    # Also without updates: a higher fence has to refuse us, and a commit of nothing writes nothing.
    head = AssertHead(batch_id=receipt.batch_id if receipt else None, fence=token)
    requirements = (AssertTableUUID(uuid=table.metadata.table_uuid), head)

    def act(now: Table) -> str:
        updates: list[TableUpdate] = [remove_ref(name) for name in drop if name in now.metadata.refs]
        if fence_of(now.metadata.properties) < token:
            updates.append(SetPropertiesUpdate(updates={FENCE: str(token)}))
        return commit(catalog, now, requirements, tuple(updates))

    insist(catalog, table, act)
    return catalog.load_table(table.name())


def insist(catalog: Catalog, table: Table, act: Callable[[Table], str]) -> str:
    """Return what ``act`` returns, on the table as it is by then where someone else commits at the very same moment.

    For commits whose requirements hold for whatever follows: files written anew without a lease must stop none of them.
    """
    for _ in range(_TRIES - 1):
        try:
            return act(table)
        except PublishRaceError:
            table = catalog.load_table(table.name())
    return act(table)


def batch_of(branch: str) -> str | None:
    """Return the batch (id) at which a branch was an attempt, None for a branch that was none."""
    found = _ATTEMPT.fullmatch(branch)
    return None if found is None else found[1]


def drop_branch(catalog: Catalog, table: Table, branch: str) -> None:
    """Drop a branch, whatever the table's receipt and fence say: nobody reads it."""
    commit(catalog, table, (AssertTableUUID(uuid=table.metadata.table_uuid),), (remove_ref(branch),))


def set_ref(name: str, kind: str, snapshot: int) -> TableUpdate:
    """Return the update by which a branch or a tag names a snapshot."""
    return SetSnapshotRefUpdate.model_validate({"ref-name": name, "type": kind, "snapshot-id": snapshot})


def remove_ref(name: str) -> TableUpdate:
    return RemoveSnapshotRefUpdate.model_validate({"ref-name": name})


def commit(
    catalog: Catalog,
    table: Table,
    requirements: tuple[Any, ...],  # pyiceberg's type lists its own requirements and leaves no place for ours
    updates: tuple[TableUpdate, ...],
) -> str:
    """Commit once, and return the new location; PublishRaceError where a requirement is not met, or someone was faster."""
    # commit_table tries once: a retry would check the requirements against metadata that we have not judged.
    try:
        response = catalog.commit_table(table, requirements, updates)
    except CommitFailedException as error:
        raise _race(table, error) from error
    return str(response.metadata_location)


def _race(table: Table, error: Exception) -> PublishRaceError:
    return PublishRaceError(
        f"{'.'.join(table.name())}: the commit was refused ({error}).",
        remedy="Nothing was published; run again.",
        table=".".join(table.name()),
    )


def _damage(table: Table, receipt: Receipt | None) -> str | None:
    metadata = table.metadata
    current = metadata.current_snapshot_id
    if receipt is None:
        return None if current is None else "it holds data that this runtime did not publish"
    tag = metadata.refs.get(TAG)
    if tag is None:
        return "the tag ingest_last is gone (the table was replaced)"
    walked = current
    while walked is not None and walked != tag.snapshot_id:
        snapshot = metadata.snapshot_by_id(walked) or _expired(table, walked)
        if snapshot is None:
            return "its history is cut off before the last publish"
        operation = snapshot.summary.operation if snapshot.summary else None
        if operation is not Operation.REPLACE:
            name = operation.value if operation else "unknown"
            return f"someone else wrote to it (snapshot {walked}, operation {name}), or it was rolled back"
        walked = snapshot.parent_snapshot_id
    return None if walked == tag.snapshot_id else "it no longer contains the last publish (rolled back or truncated)"


def _expired(table: Table, snapshot_id: int) -> Snapshot | None:
    """Return a snapshot that former metadata still knows: of two compactions in a row the first may have expired since."""
    for entry in reversed(table.metadata.metadata_log):
        snapshot = None
        with suppress(Exception):  # a file that cannot be read, for whatever reason, tells nothing
            snapshot = FromInputFile.table_metadata(table.io.new_input(entry.metadata_file)).snapshot_by_id(snapshot_id)
        if snapshot is not None:
            return snapshot
    return None


def _try_receipt(properties: dict[str, str]) -> tuple[Receipt | None, str | None]:
    """Return the receipt, or what is wrong with it; a table whose receipt cannot be read can only be replaced."""
    text = properties.get(RECEIPT)
    try:
        return (None if text is None else load_document(Receipt, text, f"its property {RECEIPT}")), None
    except TerminalError as error:
        return None, error.message.rstrip(".")


def fence_of(properties: dict[str, str]) -> int:
    """Return the table's fence: nothing is published under a token below it."""
    return int(properties.get(FENCE, "0"))
