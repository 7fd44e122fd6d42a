"""Snapshots that are written and not committed: manifests and manifest list lie in the table's folder, and no metadata
names them yet.

One commit makes such a snapshot the table's (``commits.publish``); without it its files are nobody's, and their names tell
which batch and attempt made them. Imported only when metadata is written: pyiceberg costs 1.2 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from pyiceberg.avro.codecs import AvroCompressionCodec
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    update_snapshot_summaries,
)

from ingestion_runtime.endpoints.iceberg.manifests import entries_of, manifests_of
from ingestion_runtime.model.errors import LostFileError

# Iceberg's own libraries join manifests by these numbers as well.
_MANY, _SMALL_BYTES = 100, 8 * 2**20

#: In a snapshot's summary: the attempt that made it.
ATTEMPT = "ingest.attempt"


@dataclass(frozen=True, slots=True)
class PendingSnapshot:
    """A snapshot that no metadata names, and the locations of the metadata files that were written for it."""

    snapshot: Snapshot
    files: tuple[str, ...]


class _DeleteManifestWriter(ManifestWriterV2):
    """pyiceberg writes manifests of data files only."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def stage_snapshot(
    table: Table,
    base: int | None,
    name: str,
    added: Sequence[DataFile],
    removed: Sequence[DataFile] = (),
    *,
    replaces: bool = False,
    schema_id: int | None = None,
    same_rows: bool = False,
) -> PendingSnapshot:
    """Write the metadata files of a snapshot that follows ``base``, and commit nothing.

    ``removed`` are data files and position-delete files of the base that are not in it any more; with ``replaces`` nothing
    of the base is. ``name`` begins the names of the files; ``schema_id`` is the schema that the table will have, None: the
    present one. ``added`` files are under the table's present partition spec. ``same_rows``: only files differ from the
    base, and whoever follows the table need not look (a snapshot of kind ``replace``).
    """
    writer = _SnapshotWriter(table, base, name)
    manifests = writer.added_manifests(added)
    kept, gone = writer.surviving({file.file_path for file in removed}, replaces=replaces)
    snapshot_list = writer.write_list([*manifests, *kept])
    metadata = table.metadata
    snapshot = Snapshot.model_validate(
        {
            "snapshot-id": writer.snapshot_id,
            "parent-snapshot-id": base,
            "sequence-number": writer.sequence,
            "manifest-list": snapshot_list,
            "summary": _summary(metadata, base, name, added, gone, replaces=replaces, same_rows=same_rows),
            "schema-id": metadata.current_schema_id if schema_id is None else schema_id,
        }
    )
    return PendingSnapshot(snapshot, tuple(writer.files))


def count_rows(table: Table, snapshot: Snapshot) -> int:
    """Return the rows of a snapshot by what its manifest list says of every manifest; one small file is read."""
    counted = 0
    for manifest in manifests_of(table, snapshot):
        rows = (manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0)
        counted += -rows if manifest.content == ManifestContent.DELETES else rows
    return counted


class _SnapshotWriter:
    """Writes the manifests of one snapshot, and remembers which files it made."""

    def __init__(self, table: Table, base: int | None, name: str) -> None:
        self._table = table
        self._base = base
        self._name = name
        self._metadata = table.metadata
        self._folder = table.location_provider().metadata_path
        default = TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT
        self._codec = cast(AvroCompressionCodec, table.properties.get(TableProperties.WRITE_AVRO_COMPRESSION, default))
        self.snapshot_id = table.metadata.new_snapshot_id()
        self.sequence = table.metadata.next_sequence_number()
        self.files: list[str] = []

    def added_manifests(self, added: Sequence[DataFile]) -> list[ManifestFile]:
        """Return the manifest of new files, if there are any."""
        entries = [
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self.snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=file,
            )
            for file in added
        ]
        return [self._write(self._metadata.spec(), ManifestContent.DATA, entries)] if entries else []

    def surviving(self, removed: set[str], *, replaces: bool) -> tuple[list[ManifestFile], list[DataFile]]:
        """Return the base's manifests without the removed files, and these files.

        A manifest that loses files is written anew and tells of them: whoever expires snapshots finds in it what to delete.
        """
        snapshot = None if self._base is None else self._metadata.snapshot_by_id(self._base)
        kept: list[ManifestFile] = []
        gone: list[DataFile] = []
        for manifest, entries in self._listed(snapshot, replaces=replaces) if snapshot and (removed or replaces) else ():
            lost = [entry.data_file for entry in entries if replaces or entry.data_file.file_path in removed]
            gone += lost
            paths = {file.file_path for file in lost}
            if lost:
                spec = self._metadata.specs()[manifest.partition_spec_id]
                kept.append(self._write(spec, manifest.content, [self._survivor(entry, paths) for entry in entries]))
            elif entries:
                kept.append(manifest)
        if snapshot and not (removed or replaces):
            kept = self._joined(manifests_of(self._table, snapshot))
        return kept, gone

    def _listed(self, snapshot: Snapshot, *, replaces: bool) -> list[tuple[ManifestFile, list[ManifestEntry]]]:
        """Return a snapshot's manifests with their entries; none of one that cannot be read whole, where all of it is
        replaced: what it consisted of nobody needs, and what it left is found as files that nothing names."""
        try:
            return [(manifest, entries_of(self._table, manifest)) for manifest in manifests_of(self._table, snapshot)]
        except LostFileError:
            if not replaces:
                raise
            return []

    def write_list(self, manifests: list[ManifestFile]) -> str:
        """Write the manifest list and return its location."""
        location = f"{self._folder}/snap-{self.snapshot_id}-0-{self._name}.avro"
        self.files.append(location)
        output = self._table.io.new_output(location)
        with write_manifest_list(2, output, self.snapshot_id, self._base, self.sequence, self._codec) as writer:
            writer.add_manifests(manifests)
        return location

    def _joined(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Put small manifests together once there are many: a table that is added to often would have one for each time."""
        spec = self._metadata.spec()
        small = [
            manifest
            for manifest in manifests
            if manifest.content == ManifestContent.DATA
            and manifest.partition_spec_id == spec.spec_id
            and manifest.manifest_length < _SMALL_BYTES
        ]
        if len(small) < _MANY:
            return manifests
        found = (entries_of(self._table, manifest) for manifest in small)
        joined = self._write(spec, ManifestContent.DATA, [self._survivor(entry, set()) for part in found for entry in part])
        others = {manifest.manifest_path for manifest in small}
        return [joined, *(manifest for manifest in manifests if manifest.manifest_path not in others)]

    def _survivor(self, entry: ManifestEntry, lost: set[str]) -> ManifestEntry:
        deleted = entry.data_file.file_path in lost
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.DELETED if deleted else ManifestEntryStatus.EXISTING,
            snapshot_id=self.snapshot_id if deleted else entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=entry.data_file,
        )

    def _write(self, spec: PartitionSpec, content: ManifestContent, entries: Sequence[ManifestEntry]) -> ManifestFile:
        location = f"{self._folder}/{self._name}-m{len(self.files)}.avro"
        self.files.append(location)
        output = self._table.io.new_output(location)
        kind = _DeleteManifestWriter if content == ManifestContent.DELETES else ManifestWriterV2
        writer = kind(spec, self._metadata.schema(), output, self.snapshot_id, self._codec)
        with writer:
            for entry in entries:
                writer.add_entry(entry)
        return writer.to_manifest_file()


def _summary(
    metadata: TableMetadata,
    base: int | None,
    name: str,
    added: Sequence[DataFile],
    gone: Sequence[DataFile],
    *,
    replaces: bool,
    same_rows: bool,
) -> Summary:
    collector = SnapshotSummaryCollector()
    schema, specs = metadata.schema(), metadata.specs()
    for file in added:
        collector.add_file(file, schema, metadata.spec())
    for file in gone:
        collector.remove_file(file, schema, specs[file.spec_id])
    # Readers that follow a table take added files from appends alone, and stop at everything else.
    operation = Operation.OVERWRITE if gone or (replaces and base is not None) else Operation.APPEND
    # Where all is replaced and nobody knows what was there, the totals are those of what was added.
    previous = metadata.snapshot_by_id(base) if base is not None and (gone or not replaces) else None
    summary = Summary(operation=operation, **collector.build(), **{ATTEMPT: name})
    told = update_snapshot_summaries(summary, previous.summary if previous else None)
    # pyiceberg adds totals up for the kinds of snapshot that it writes itself; this is none of them.
    return Summary(operation=Operation.REPLACE, **told.additional_properties) if same_rows else told
