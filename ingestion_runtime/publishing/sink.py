"""The sink that strategies talk to: staging, raw and target behind the specification's names."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial

import pyarrow as pa

from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.batch import RowsSetAside
from ingestion_runtime.model.batch import (
    Batch,
    Publication,
    PublishedMark,
    RawBatch,
    SchemaField,
    StagedSlice,
    WriteMode,
)
from ingestion_runtime.model.cursor import CursorType, Slice
from ingestion_runtime.model.endpoint import INGEST_TYPES, Capabilities, Landing
from ingestion_runtime.model.errors import SpoiltBatchError
from ingestion_runtime.model.keys import KeyFingerprint
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.publishing.proving import SliceProver
from ingestion_runtime.publishing.publisher import Publisher
from ingestion_runtime.staging import Staging


class LakeSink:
    """One table's way into the lake. Implements ``IncrementalSink``."""

    def __init__(
        self,
        table: TableSpec,
        staging: Staging,
        raw: RawZone,
        publisher: Publisher,
        emitter: Emitter,
        require_lease: Callable[[], None],
        prover: SliceProver,
    ) -> None:
        self._table = table
        self._staging = staging
        self._raw = raw
        self._publisher = publisher
        self._emitter = emitter
        self._require_lease = require_lease
        self._prover = prover

    @property
    def capabilities(self) -> Capabilities:
        """Every cursor type: a sink stores them as they come."""
        return Capabilities(incremental=True, literal_formats=frozenset(CursorType), staging=True, commit=True)

    def published_columns(self) -> pa.Schema | None:
        """Return the target's columns, whose types bind what lands; None where nothing binds."""
        return self._publisher.columns()

    def field_ids(self, extract: Landing) -> Mapping[str, int]:
        """Return the ids of an extract's columns in the target, those of the housekeeping columns included."""
        present = set(extract.schema.names)
        added = [pa.field(name, kind) for name, kind in INGEST_TYPES.items() if name not in present]
        return self._publisher.field_ids(pa.schema([*extract.schema, *added]), extract.renamed)

    def find_staged(self, batch: Batch, piece: Slice) -> StagedSlice | None:
        """Return the slice if this very batch staged it and its files still have the recorded hashes."""
        found = self._staging.find(self._table, batch, piece)
        if found is not None and self._prover.demanded and found.manifest.testimony is None:
            return None  # staged before the source's word was demanded
        return found

    def stage_incremental_slice(self, batch: Batch, piece: Slice, extract: Landing) -> StagedSlice:
        """Stage one slice; a full refresh is one slice.

        Raises TerminalError for NULL keys where the policy refuses them, and RefusedBatchError where the table demands its
        source's word on the rows, and what was staged is something else.
        """
        return self._staging.stage(self._table, batch, piece, extract, partial(self._prover.prove, piece))

    def find_raw(self, batch: Batch) -> RawBatch | None:
        """Return the batch if it has landed in raw.

        Raises SpoiltBatchError where its files are not as they were, or lack their source's word, which is demanded.
        """
        raw = self._raw.find(batch)
        if raw is not None:
            self._raw.verify(raw)
            if self._prover.demanded and not raw.manifest.testimonies:
                raise SpoiltBatchError(
                    f"{self._table.name}: batch {batch.id} landed before its source's word was demanded.",
                    remedy="Run again: the batch is given up and the source read anew.",
                    table=self._table.name,
                )
        return raw

    def write_raw(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> RawBatch:
        """Land the staged files in raw by one rename."""
        self._require_one_schema(staged)
        self._require_lease()
        raw = self._raw.land(batch, staged)
        self._report_quarantine(batch, staged)
        for piece in staged:
            self._staging.mark_landed(piece)
        return raw

    def finalize_full(self, batch: Batch, raw: RawBatch) -> Publication:
        """Publish a landed batch as the whole table."""
        files = tuple(f"{raw.directory}/{file.path}" for file in raw.manifest.files)
        payload = self._payload(files, raw.manifest.rows, raw.manifest.fields)
        return self._publisher.publish(batch, replace(payload, replaces=True), land=lambda: raw.digest)

    def commit_incremental(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> Publication:
        """Merge or add the staged slices on a branch, audit, land raw, publish."""
        self._require_one_schema(staged)
        again = sum(piece.manifest.rows for piece in staged if batch.plan.asked or piece.manifest.slice.reread)
        payload = replace(self._incremental(staged), replaces=batch.write is WriteMode.REPLACE, again=again)
        publication = self._publisher.publish(batch, payload, land=lambda: self.write_raw(batch, staged).digest)
        if not publication.changed:
            # Nothing lands in raw for such a batch, but rows that were set aside must not vanish with its staging.
            self._raw.set_aside(batch, staged)
            self._report_quarantine(batch, staged)
        return publication

    def replace_table(self, batch: Batch, staged: tuple[StagedSlice, ...], keys: KeyFingerprint | None) -> Publication:
        """Publish the staged slices as the whole table; ``keys`` are what the receipt shall remember of the source's."""
        payload = replace(self._incremental(staged), replaces=True, keys=keys)
        return self._publisher.publish(batch, payload, land=lambda: self.write_raw(batch, staged).digest)

    def close(self, batch: Batch, publication: Publication | None) -> None:
        """Mark the raw batch as what it became."""
        if publication is not None and publication.changed:
            previous = publication.receipt.previous if publication.receipt else batch.base
            self._raw.mark_published(PublishedMark(batch.id, batch.sequence, previous, batch.load_date))
        else:
            self._raw.mark_abandoned(batch)

    def remove_staging(self, batch: Batch) -> None:
        """Remove the batch's slices; called last, when everything else is recorded."""
        self._staging.remove(self._table, batch)

    def mark_published(self, mark: PublishedMark) -> None:
        """Leave the marker of a published batch, where it has a place in raw."""
        self._raw.mark_published(mark)

    def has_published(self, load_date: date, batch_id: str) -> bool:
        """Whether that batch stands in raw and its publication is recorded there."""
        return self._raw.is_published(load_date, batch_id)

    def _report_quarantine(self, batch: Batch, staged: tuple[StagedSlice, ...]) -> None:
        rows = sum(piece.manifest.quarantined for piece in staged)
        if rows:
            self._emitter.emit(RowsSetAside(rows, self._raw.quarantine(batch)))

    def _require_one_schema(self, staged: tuple[StagedSlice, ...]) -> None:
        read = [piece for piece in staged if not piece.manifest.slice.tombstones]
        first = read[0].manifest.fields if read else ()
        for piece in read[1:]:
            # The rank of a text cursor and nothing else may differ; it never does, because text is not split.
            if piece.manifest.fields != first:
                raise SpoiltBatchError(
                    f"{self._table.name}: the source changed its columns between two slices of one batch.",
                    remedy="Run again: the batch is given up and read anew.",
                    table=self._table.name,
                )

    def _incremental(self, staged: tuple[StagedSlice, ...]) -> Payload:
        """Return rows and tombstones of a batch as one payload; either may be missing."""
        files = {
            buried: tuple(
                f"{piece.directory}/{file.path}"
                for piece in staged
                if piece.manifest.slice.tombstones is buried
                for file in piece.manifest.files
            )
            for buried in (False, True)
        }
        rows = sum(piece.manifest.rows for piece in staged if not piece.manifest.slice.tombstones)
        fields = staged[0].manifest.fields
        payload = self._payload(files[False], rows, fields) if files[False] else Payload((), pa.schema([]), 0)
        found = [piece for piece in staged if piece.manifest.comparison is not None]
        if not found:
            return payload
        manifest = found[-1].manifest
        keys = manifest.comparison.source if manifest.comparison else None
        return replace(payload, tombstones=files[True], deleted=manifest.rows, keys=keys)

    def _payload(self, files: tuple[str, ...], rows: int, fields: tuple[SchemaField, ...]) -> Payload:
        renamed = tuple((field.name, field.former) for field in fields if field.former)
        return Payload(files, self._staging.read_schema(files[0]), rows, renamed=renamed)
