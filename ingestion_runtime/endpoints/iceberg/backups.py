"""What a rebuild replaced, kept under a tag: nothing expires what a tag names. Imported only when metadata is written."""

from collections.abc import Callable

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID

from ingestion_runtime.endpoints.iceberg.commits import commit, remove_ref, set_ref

PREFIX = "ingest_backup_"


def keep_backup(catalog: Catalog, table: Table, batch_id: str) -> str | None:
    """Tag what readers see now and return the tag's name; None where they see nothing.

    Raises PublishRaceError when the table moved since it was loaded.
    """
    current = table.metadata.current_snapshot_id
    if current is None:
        return None
    name = f"{PREFIX}{batch_id}"
    unmoved = AssertRefSnapshotId.model_validate({"ref": MAIN_BRANCH, "snapshot-id": current})
    commit(catalog, table, (AssertTableUUID(uuid=table.metadata.table_uuid), unmoved), (set_ref(name, "tag", current),))
    return name


def drop_backups(catalog: Catalog, table: Table, chosen: Callable[[str], bool]) -> None:
    """Drop the tags of rebuilds that are ``chosen``; raises PublishRaceError when the table moved since it was loaded."""
    names = [name for name in table.metadata.refs if name.startswith(PREFIX) and chosen(name)]
    if names:
        commit(catalog, table, (AssertTableUUID(uuid=table.metadata.table_uuid),), tuple(map(remove_ref, names)))
