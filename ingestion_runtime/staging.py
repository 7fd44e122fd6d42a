"""Staged slices: attempt directories, manifests written last, markers, and the clean-up of what is left over.

{root}/{schema}/{table}/inc={column}/slices/{16 hex}/      (inc=- for a full refresh)
    _RANGE.json                 which batch and slice this is
    attempt=xxxxxxxx/           one try to stage it
        part-*.parquet          the rows
        read=*/part-*.parquet   the rows of a read that had to be divided
        _quarantine/*.parquet   rows with a NULL key, where the policy sets them aside
        _MANIFEST.json          written last; decides
    moved=xxxxxxxx/             keys of the source, for as long as they are compared
    _SUCCESS, _LANDED           for people and other tools; nothing here believes them
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, SliceManifest, StagedSlice
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.endpoint import READ_PART, Landing
from ingestion_runtime.model.errors import IngestionError, TerminalError
from ingestion_runtime.model.keys import KeyComparison
from ingestion_runtime.model.spec import NullKeys, StagingSpec, TableSpec
from ingestion_runtime.model.testimony import Testimony
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.parquet import (
    count_null_keys,
    list_parquet,
    measure_file,
    read_schema,
    schema_fields,
    set_null_keys_aside,
)

MANIFEST = "_MANIFEST.json"
RANGE = "_RANGE.json"
SUCCESS = "_SUCCESS"
LANDED = "_LANDED"
QUARANTINE = "_quarantine"


#: Raises where the rows in files (absolute paths) are not those of which their source spoke.
Prove = Callable[[Sequence[str], Testimony], None]


@dataclass(frozen=True, slots=True)
class SliceRange:
    """What ``_RANGE.json`` says: whose slice a directory holds."""

    batch_id: str
    piece: Slice


@dataclass(frozen=True, slots=True)
class PendingSlice:
    """A slice that lies in staging: whose it is (None: nobody can tell), whether it is staged whole, and the seconds since
    it was begun. ``expired``: older than the configured hours, where leftovers are removed at all."""

    directory: str
    batch_id: str | None
    staged: bool
    age_seconds: float
    expired: bool


class Staging:
    """The staging area of one configuration."""

    def __init__(self, spec: StagingSpec, files: Files, clock: Callable[[], float] = time.time) -> None:
        self._spec = spec
        self._files = files
        self._clock = clock

    def slice_directory(self, table: TableSpec, batch: Batch, piece: Slice) -> str:
        """Return where a slice of this very batch is staged: batches never share a slice."""
        column = table.incremental_column or "-"
        identity = "\x00".join((table.name, column, batch.id, dump_document(piece)))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return f"{self._spec.root}/{table.schema}/{table.table}/inc={column}/slices/{digest}"

    def find(self, table: TableSpec, batch: Batch, piece: Slice) -> StagedSlice | None:
        """Return the slice if this batch staged it and every file still has its recorded size and hash."""
        directory = self.slice_directory(table, batch, piece)
        for name in self._files.names(directory):
            attempt = f"{directory}/{name}"
            if name.startswith("attempt=") and self._files.exists(f"{attempt}/{MANIFEST}"):
                manifest = self._read_manifest(attempt)
                if manifest is not None and self._verified(attempt, manifest, batch, piece):
                    return StagedSlice(attempt, manifest)
        return None

    def stage(
        self, table: TableSpec, batch: Batch, piece: Slice, extract: Landing, prove: Prove | None = None
    ) -> StagedSlice:
        """Read the extract into a new attempt directory and return it with its manifest.

        ``prove`` is asked where the source gave its word; what it raises ends the attempt.
        Raises TerminalError for a NULL in the primary key where the table's policy refuses it.
        """
        directory = self.slice_directory(table, batch, piece)
        attempt_id = uuid.uuid4().hex[:8]
        attempt = f"{directory}/attempt={attempt_id}"
        self._note(f"{directory}/{RANGE}", dump_document(SliceRange(batch.id, piece)))
        extract.write_parquet(attempt)
        names = self._written(attempt)
        self._apply_null_keys(table, attempt, names)
        set_aside = tuple(f"{QUARANTINE}/{name}" for name in self._written(f"{attempt}/{QUARANTINE}"))
        self._prove(extract, attempt, (*names, *set_aside), prove)
        manifest = SliceManifest(
            batch_id=batch.id,
            base=batch.base,
            slice=piece,
            attempt=attempt_id,
            files=tuple(measure_file(self._files, attempt, name) for name in names),
            fields=schema_fields(read_schema(self._files, f"{attempt}/{names[0]}"), extract.renamed),
            quarantine=tuple(measure_file(self._files, attempt, name) for name in set_aside),
            testimony=extract.testimony,
        )
        self._note(f"{attempt}/{MANIFEST}", dump_document(manifest))
        self._note(f"{directory}/{SUCCESS}", "")
        return StagedSlice(attempt, manifest)

    def _prove(self, extract: Landing, attempt: str, names: Sequence[str], prove: Prove | None) -> None:
        """Hold the rows against what their source said of them. Before the manifest: without it nothing was staged."""
        if prove is None or extract.testimony is None:
            return
        try:
            prove([f"{attempt}/{name}" for name in names], extract.testimony)
        except IngestionError:
            self._files.remove_tree(attempt)
            raise

    def stage_tombstones(
        self,
        table: TableSpec,
        batch: Batch,
        piece: Slice,
        write: Callable[[str, str], None],
        judge: Callable[[], KeyComparison],
    ) -> StagedSlice:
        """Stage the keys that a source no longer has, like a slice.

        ``write`` gets a directory for keys that are only compared, and the attempt's for tombstones; neither exists yet.
        ``judge`` is asked last; what it raises passes through, and nothing counts as staged.
        """
        directory = self.slice_directory(table, batch, piece)
        attempt_id = uuid.uuid4().hex[:8]
        attempt, moved = f"{directory}/attempt={attempt_id}", f"{directory}/moved={attempt_id}"
        self._note(f"{directory}/{RANGE}", dump_document(SliceRange(batch.id, piece)))
        write(moved, attempt)
        self._files.remove_tree(moved)
        files = tuple(measure_file(self._files, attempt, name) for name in list_parquet(self._files, attempt))
        manifest = SliceManifest(
            batch_id=batch.id,
            base=batch.base,
            slice=piece,
            attempt=attempt_id,
            files=files,
            fields=schema_fields(read_schema(self._files, f"{attempt}/{files[0].path}")),
            comparison=judge(),
        )
        self._note(f"{attempt}/{MANIFEST}", dump_document(manifest))
        self._note(f"{directory}/{SUCCESS}", "")
        return StagedSlice(attempt, manifest)

    def _written(self, directory: str) -> tuple[str, ...]:
        """Return the Parquet files in a directory, those of a divided read in the order of its parts."""
        parts = [name for name in self._files.names(directory) if name.startswith(READ_PART)]
        below = [f"{part}/{name}" for part in parts for name in list_parquet(self._files, f"{directory}/{part}")]
        return (*list_parquet(self._files, directory), *below)

    def read_schema(self, path: str) -> pa.Schema:
        """Return the columns of a file that was staged, wherever it lies by now."""
        return read_schema(self._files, path)

    def _apply_null_keys(self, table: TableSpec, attempt: str, names: tuple[str, ...]) -> None:
        rows = count_null_keys(self._files, attempt, names, table.primary_keys)
        if rows and table.null_keys is NullKeys.REFUSE:
            self._files.remove_tree(attempt)
            raise TerminalError(
                f"{table.name}: {rows} rows have a NULL in the primary key ({', '.join(table.primary_keys)}).",
                remedy='Correct them at the source, or set "null_keys": "quarantine" to keep them beside raw.',
                table=table.name,
                rows=rows,
            )
        if rows:
            set_null_keys_aside(self._files, attempt, names, f"{attempt}/{QUARANTINE}", table.primary_keys)

    def mark_landed(self, staged: StagedSlice) -> None:
        """Leave the marker that says: these rows are in raw."""
        self._note(f"{staged.directory.rpartition('/')[0]}/{LANDED}", "")

    def _note(self, path: str, text: str) -> None:
        # What a power cut takes away is read again: nothing here waits for the disk (8 waits of 3 ms a slice, measured).
        self._files.write_text(path, text, lasting=False)

    def remove(self, table: TableSpec, batch: Batch) -> None:
        """Remove all slices of a batch that is over."""
        for piece in batch.plan.slices:
            self._files.remove_tree(self.slice_directory(table, batch, piece))

    def ttl_cleanup(self, tables: Collection[TableSpec], open_batches: Collection[str]) -> int:
        """Remove slices older than the configured hours, never those of an open batch; return how many.

        Slices with both markers are done with; slices without them were left by a run that died, and the batch that would
        have used them is no longer open.
        """
        if not self._spec.enabled:
            return 0
        return sum(self._clean_table(table, open_batches) for table in tables)

    def pending(self, table: TableSpec) -> tuple[PendingSlice, ...]:
        """Return the slices of a table that lie in staging."""
        base = f"{self._spec.root}/{table.schema}/{table.table}"
        return tuple(
            found
            for column in self._files.names(base)
            for name in self._files.names(f"{base}/{column}/slices")
            if (found := self._look(f"{base}/{column}/slices/{name}")) is not None
        )

    def _clean_table(self, table: TableSpec, open_batches: Collection[str]) -> int:
        expired = [piece for piece in self.pending(table) if piece.expired and piece.batch_id not in open_batches]
        for piece in expired:
            self._files.remove_tree(piece.directory)
        return len(expired)

    def _look(self, directory: str) -> PendingSlice | None:
        """Return what lies in a directory, None where it is nothing of ours."""
        described = f"{directory}/{RANGE}"
        try:
            if not self._files.exists(described):
                return None
            age = self._files.age_seconds(described, self._clock())
            staged = self._files.exists(f"{directory}/{SUCCESS}")
        except OSError:
            return None  # removed by another run at this moment
        try:
            batch_id = load_document(SliceRange, self._files.read_text(described), described).batch_id
        except (TerminalError, OSError):
            batch_id = None
        expired = batch_id is not None and age > self._spec.ttl_hours * 3600
        return PendingSlice(directory, batch_id, staged, age, expired and self._spec.enabled)

    def _read_manifest(self, attempt: str) -> SliceManifest | None:
        try:
            return load_document(SliceManifest, self._files.read_text(f"{attempt}/{MANIFEST}"), attempt)
        except TerminalError:
            return None  # a slice can be read again: as good as not staged

    def _verified(self, attempt: str, manifest: SliceManifest, batch: Batch, piece: Slice) -> bool:
        if (manifest.batch_id, manifest.base, manifest.slice) != (batch.id, batch.base, piece):
            return False
        return all(
            self._files.exists(f"{attempt}/{file.path}")
            and self._files.size(f"{attempt}/{file.path}") == file.size
            and self._files.sha256(f"{attempt}/{file.path}") == file.sha256
            for file in (*manifest.files, *manifest.quarantine)
        )
