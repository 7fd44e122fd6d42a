"""Batches into an Iceberg table without Spark: staged files become its own, and what cannot be taken as it is is rewritten.

    {table}/data/{batch}/{attempt}-00000.parquet       a second name of a staged file, or a rewritten one
    {table}/metadata/ingest_{batch}_{attempt}-m0.avro  manifests, and snap-{id}-0-ingest_{batch}_{attempt}.avro

Nothing is committed here. What a run leaves that dies before the commit goes when its batch is gone on with (``leftovers``).
Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from ingestion_runtime.endpoints.iceberg.adding import Addition, freed_deletes, pend_addition
from ingestion_runtime.endpoints.iceberg.adoption import Entries, StagedFooter, hindrance, read_footer
from ingestion_runtime.endpoints.iceberg.attempts import Attempt, Pending
from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.endpoints.iceberg.cursor_span import CursorSpan
from ingestion_runtime.endpoints.iceberg.growth import replaced_columns, swapped_schema, written_columns
from ingestion_runtime.endpoints.iceberg.leftovers import batch_location, remove_empty, remove_files
from ingestion_runtime.endpoints.iceberg.local_tools import LocalTools
from ingestion_runtime.endpoints.iceberg.merging import Merged, MergePlan, MergeTask, ProcessMerge
from ingestion_runtime.endpoints.iceberg.overwriting import Cleared, SpanClearing, count_inside
from ingestion_runtime.endpoints.iceberg.partitions import PartitionKey, partition_key, splitter, stored_values
from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot, duck_type, local_path
from ingestion_runtime.endpoints.iceberg.snapshots import stage_snapshot
from ingestion_runtime.endpoints.iceberg.staged_rows import StagedRows
from ingestion_runtime.endpoints.key_counts import count_keys
from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, Written
from ingestion_runtime.tools.local_sql import quote
from ingestion_runtime.tools.parquet_writer import ParquetWriter, WrittenFile

_BATCH_ROWS = 65_536
_FORMAT_VERSION = 2
# A merge writes files anew in which a row differs. That many times what was staged, Spark's merge-on-read is faster.
_OUTGROWN = 64


class ProcessWriter:
    """Writes batches into one table in this process. ``target`` is the table as it is, or as it is going to be created."""

    def __init__(self, table: TableSpec, tools: LocalTools, target: Table) -> None:
        """Raises UnfitSnapshot for a table that only Spark can write."""
        if target.metadata.format_version != _FORMAT_VERSION:
            raise UnfitSnapshot(f"the table has format {target.metadata.format_version}")
        for column in target.schema().fields:
            duck_type(column.field_type)  # someone else may have added one of a type that never lands
        self._table = table
        self._tools = tools
        self._target = target
        self._schema = written_columns(target.schema())
        self._entries = Entries(target)

    def replace(self, batch: Batch, attempt: str, payload: Payload, base: int | None, *, rewrites: bool) -> Pending | None:
        """Write a payload as the whole table; ``base`` is the snapshot that it follows.

        Files become the table's as they are; where one cannot, all are written anew, or with ``rewrites`` False nothing is
        written and None returned. An error leaves no file behind.
        """
        footers = [read_footer(path) for path in payload.files]
        counts = count_keys(self._tools.sql, payload.files, self._table.primary_keys)
        repeats = batch.mode == "scd1" and counts.keys != counts.rows
        partitions = None if repeats else self._fitting(footers)
        if partitions is None and not rewrites:
            return None
        with self._attempt(batch, attempt) as made:
            if partitions is not None:
                files = self._adopt(footers, partitions, made)
            else:
                # Only a table that is merged into keeps the newest row of each key; elsewhere the audit judges all of them.
                kept = counts if batch.mode == "scd1" else replace(counts, keys=counts.rows)
                files = self._rewrite(payload, kept, made)
            return self._pend(batch, base, made, files, counts)

    def add(self, batch: Batch, attempt: str, payload: Payload, base: int, *, rewrites: bool) -> Pending | None:
        """Add a payload to the table at ``base``; an overwrite takes the rows of the batch's span out of it first.

        Files become the table's as they are; where one cannot, or rows have to be taken out, files are written anew, or with
        ``rewrites`` False nothing is written and None returned. An error leaves no file behind.
        """
        footers = [read_footer(path) for path in payload.files]
        rows = sum(footer.metadata.num_rows for footer in footers)
        partitions = self._fitting(footers)
        span = None
        if batch.write is WriteMode.OVERWRITE:
            span = CursorSpan(batch.plan.span, self._target.schema(), self._table.incremental_column or "")
        if not rewrites and (span is not None or partitions is None):
            return None
        with self._attempt(batch, attempt) as made:
            if partitions is not None:
                added = self._adopt(footers, partitions, made)
            else:
                added = self._rewrite(payload, Counts(rows, rows, 0), made)
            cleared = Cleared() if span is None else self._clear(span, base, made)
            found = rows if span is None else sum(count_inside(span, path) for path in made.made)
            kept = self._entries_of(cleared.kept, made)
            return pend_addition(self._target, base, made, Addition(rows, found, added, kept, cleared))

    def merge(self, batch: Batch, attempt: str, payload: Payload, base: int, *, most: int | None) -> Pending:
        """Merge a payload into the table at ``base``. An error leaves no file behind.

        Raises UnfitSnapshot where Spark should do it: for a table that only Spark can read, and for one of which more than
        ``most`` bytes (None: any number) and far more than was staged would be written anew.
        """
        with self._attempt(batch, attempt) as made, self._tools.sql.session() as sql:
            split = splitter(self._table.partition, self._schema)
            task = MergeTask(
                table=self._target,
                base=base,
                spec=self._table,
                payload=payload,
                settings=self._tools.settings,
                split=split,
                directory=made.folder,
                prefix=made.prefix,
            )
            work = ProcessMerge(sql, task)
            _refuse_outgrown(work.plan(), most)
            merged = work.write()
            written = _measured(made.name, base, merged)
            if not merged.changed:
                remove_empty(Path(made.folder))
                return Pending(written, None, ())
            removed = [*(file.entry for file in merged.removed), *freed_deletes(self._target, base, merged.removed)]
            snapshot = stage_snapshot(self._target, base, made.name, self._listed(merged.added, made), removed)
            made.made.extend(map(local_path, snapshot.files))
            return Pending(replace(written, snapshot=str(snapshot.snapshot.snapshot_id)), snapshot, tuple(made.made))

    def _clear(self, span: CursorSpan, base: int, attempt: Attempt) -> Cleared:
        settings, split = self._tools.settings, splitter(self._table.partition, self._schema)
        writer = ParquetWriter(attempt.folder, f"{attempt.prefix}-kept", self._schema, settings, split)
        cleared = SpanClearing(self._target, base, span, settings.group_bytes // 4).clear(self._tools.sql, writer)
        attempt.made.extend(file.path for file in cleared.kept)
        return cleared

    def _fitting(self, footers: Sequence[StagedFooter]) -> list[PartitionKey] | None:
        """Return the partitions of files that may all become the table's as they are, else None."""
        names = {item.column for item in self._table.partition}
        if not names.isdisjoint(replaced_columns(self._target)):
            return None  # the partitions are those of the former values, which are NULL from now on
        found = []
        fitting: pa.Schema | None = None
        for footer in footers:
            columns = footer.columns
            # Files of one batch have the same columns, and comparing them costs a hundredth of judging them.
            if fitting is None or not columns.equals(fitting, check_metadata=True):
                if hindrance(columns, self._target.schema()) is not None:
                    return None
                fitting = columns
            key: PartitionKey | None = ()
            if self._table.partition and footer.metadata.num_rows:
                key = self._partition(footer)
            if key is None:
                return None
            found.append(key)
        return found

    def _partition(self, footer: StagedFooter) -> PartitionKey | None:
        import pyarrow.parquet as pq

        names = [item.column for item in self._table.partition]
        keys: set[PartitionKey | None] = set()
        with pq.ParquetFile(footer.path, metadata=footer.metadata) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(dict.fromkeys(names))):
                keys.add(partition_key(self._table.partition, batch))
                if len(keys) > 1:
                    return None
        return keys.pop()

    def _adopt(
        self, footers: Sequence[StagedFooter], partitions: Sequence[PartitionKey], attempt: Attempt
    ) -> list[DataFile]:
        files: list[DataFile] = []
        for footer, key in zip(footers, partitions, strict=True):
            if footer.metadata.num_rows:
                path = attempt.path(len(files))
                attempt.made.append(path)
                # A name of its own: expiring the table's file leaves raw's, and the other way round.
                self._tools.files.adopt(footer.path, path)
                files.append(self._entry(replace(footer, path=path), attempt, key))
        return files

    def _rewrite(self, payload: Payload, counts: Counts, attempt: Attempt) -> list[DataFile]:
        split = splitter(self._table.partition, self._schema)
        writer = ParquetWriter(attempt.folder, attempt.prefix, self._schema, self._tools.settings, split)
        with self._tools.sql.session() as sql:
            view = StagedRows(sql, payload, self._target.schema(), self._table).newest(counts)
            listed = ", ".join(quote(name) for name in self._schema.names)
            try:
                for rows in sql.sql(f"SELECT {listed} FROM {view}").to_arrow_reader(_BATCH_ROWS):
                    writer.write(rows.cast(self._schema))
                written = writer.close()
            except BaseException:
                writer.abort()
                raise
        return self._listed(written, attempt)

    def _listed(self, written: Sequence[WrittenFile], attempt: Attempt) -> list[DataFile]:
        attempt.made.extend(file.path for file in written)
        return self._entries_of(written, attempt)

    def _entries_of(self, written: Sequence[WrittenFile], attempt: Attempt) -> list[DataFile]:
        # The key of a part is its partition; see ``splitter``.
        keys = [file.part if isinstance(file.part, tuple) else () for file in written]
        return [self._entry(read_footer(file.path), attempt, key) for file, key in zip(written, keys, strict=True)]

    def _entry(self, footer: StagedFooter, attempt: Attempt, key: PartitionKey) -> DataFile:
        values = stored_values(self._table.partition, self._schema, key) if key else ()
        return self._entries.entry(footer, f"{attempt.location}/{Path(footer.path).name}", Record(*values))

    def _pend(self, batch: Batch, base: int | None, attempt: Attempt, files: Sequence[DataFile], counts: Counts) -> Pending:
        replaced = replaced_columns(self._target)
        schema = swapped_schema(self._target, replaced).schema_id if replaced else None
        snapshot = stage_snapshot(self._target, base, attempt.name, files, replaces=True, schema_id=schema)
        attempt.made.extend(map(local_path, snapshot.files))
        total = sum(file.record_count for file in files)
        written = Written(
            branch=attempt.name,
            base=None if base is None else str(base),
            snapshot=str(snapshot.snapshot.snapshot_id),
            rows=counts.rows,
            keys=counts.keys,
            found=total if batch.write is WriteMode.MERGE else counts.keys,
            null_keys=counts.null_keys,
            total=total,
            added=total,
            changed=True,
            replaced=replaced,
        )
        return Pending(written, snapshot, tuple(attempt.made))

    @contextmanager
    def _attempt(self, batch: Batch, attempt: str) -> Iterator[Attempt]:
        """Lend the place for a try; what was made in it goes if the block fails."""
        location = batch_location(self._target, batch.id)
        folder, metadata = Path(local_path(location)), Path(local_path(self._target.location_provider().metadata_path))
        made = Attempt(f"ingest_{batch.id}_{attempt}", attempt, str(folder), location)
        for needed in (folder, metadata):
            self._tools.files.make_directory(str(needed))
        try:
            yield made
        except BaseException:
            remove_files(map(str, (*folder.glob(f"{attempt}-*"), *metadata.glob(f"*{made.name}*"))))
            remove_empty(folder)
            raise


def _measured(name: str, base: int, merged: Merged) -> Written:
    return Written(
        branch=name,
        base=str(base),
        snapshot=str(base),
        rows=merged.rows,
        keys=merged.keys,
        found=merged.found,
        null_keys=merged.null_keys,
        total=merged.total,
        added=merged.rows_added,
        changed=merged.changed,
        buried=merged.buried,
    )


def _refuse_outgrown(plan: MergePlan, most: int | None) -> None:
    if most is not None and plan.file_bytes > most and plan.file_bytes > _OUTGROWN * plan.staged_bytes:
        large, small = plan.file_bytes / 2**30, plan.staged_bytes / 2**20
        raise UnfitSnapshot(f"{large:,.1f} GiB would be written anew for {small:,.1f} MiB, where Spark writes what differs")
