"""A batch merged into an Iceberg table without Spark: copy-on-write of the files in which a row differs.

The keys of the batch are joined with those of the files whose bounds they fall into; where a row of theirs differs the
file is written anew, and all others stay as they are. Nothing is committed here. What the result means is what Spark's MERGE
in ``writer.py`` does, but for ``merge_filter``, which is not applied: statistics find the files in its place, and a filter
can only miss rows. Imported only when rows are merged in this process: pyiceberg costs 1.2 s.
"""

import glob
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyiceberg.table import Table

from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.merge_rows import MergeRows
from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows
from ingestion_runtime.endpoints.iceberg.revising import merge_columns
from ingestion_runtime.endpoints.iceberg.rewriting import Newcomers, Portion, Rewriter, first_change
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile, list_files
from ingestion_runtime.endpoints.iceberg.spool import (
    Spool,
    SpoolReader,
    Stretches,
    cut,
    spread,
)
from ingestion_runtime.model.columns import DELETED_AT, LOADED_AT_COLUMN, is_ingest_column
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Buried, Payload
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter, Splitter, WrittenFile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_T = TypeVar("_T")

# Two threads keep two cores busy; each holds a row group that is written and a batch that is read.
_THREADS = 2
# Files below this are written together with their neighbours, and a larger one that is alone is cut in two: so both threads
# have work, and small files do not stay small for ever.
_JOINED_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class MergeTask:
    """What is merged into what.

    ``table`` as it was loaded after it had grown to hold the payload, ``base`` the snapshot (id) that is merged into.
    ``split`` cuts rows into the partitions of the table's present spec. Files are written as
    ``{directory}/{prefix}-*.parquet``; no other file may be called so.
    """

    table: Table
    base: int
    spec: TableSpec
    payload: Payload
    settings: ParquetSettings
    split: Splitter | None
    directory: str
    prefix: str


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What a merge would do at most: ``files`` of ``file_bytes`` written anew, for ``rows`` staged in ``staged_bytes``."""

    files: int
    file_bytes: int
    rows: int
    staged_bytes: int


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge that was written. ``removed`` files are not in the new snapshot, ``added`` ones are.

    ``rows``, ``keys`` and ``null_keys`` are those of ``Written``, as are ``found`` (counted in the files, not assumed),
    ``total`` and ``buried``. ``rows_added`` were inserted or updated; deletes do not count. Not ``changed``: no row differs,
    and nothing was written.
    """

    added: tuple[WrittenFile, ...]
    removed: tuple[SnapshotFile, ...]
    rows: int
    keys: int
    null_keys: int
    found: int
    total: int
    rows_added: int
    buried: Buried | None

    @property
    def changed(self) -> bool:
        """Whether the new snapshot differs from its base."""
        return bool(self.added or self.removed)


class ProcessMerge:
    """One merge: ``plan``, then ``write``, once each. Needs a session of its own, and leaves its tables in it."""

    def __init__(self, sql: "DuckDBPyConnection", task: MergeTask) -> None:
        """Reads the snapshot's manifests and the staged keys. Raises UnfitSnapshot where only Spark can read the table."""
        self._sql = sql
        self._task = task
        self._files = list_files(task.table, task.base).files
        schema = task.table.schema()
        self._rows = MergeRows(sql, task.spec, schema, task.payload, self._files)
        kept = _kept_columns(task.spec, task.payload, schema.column_names)
        removes = task.spec.deletes is Deletes.HARD
        self._columns = merge_columns(written_columns(schema), task.spec.primary_keys, kept, removes=removes)
        self._met: tuple[int, ...] = ()
        self._going = True
        # A thread has a row group of its writer, a batch, what becomes of that, and a stretch of the spool.
        self._batch_bytes = max(1, task.settings.group_bytes // 4)

    def plan(self) -> MergePlan:
        """Find the rows that carry a key of the batch; reads the key columns of the files that can hold some."""
        self._met = self._rows.meet()
        staged = [Path(path).stat().st_size for path in (*self._task.payload.files, *self._task.payload.tombstones)]
        size = sum(self._files[number].entry.file_size_in_bytes for number in self._met)
        return MergePlan(len(self._met), size, self._rows.counts.rows + self._task.payload.deleted, sum(staged))

    def write(self) -> Merged:
        """Write the files that differ and count. What an attempt wrote that fails is removed."""
        self._rows.arrange()
        newcomers = Newcomers(self._open("new", self._task.split))
        try:
            with tempfile.TemporaryDirectory(dir=self._scratch()) as folder, ThreadPoolExecutor(_THREADS, "merge") as pool:
                spool = self._spool(pool, newcomers, folder)
                inserted = newcomers.rows
                changed = self._find_changed(pool, spool)
                jobs = [pool.submit(self._rewrite, *job, newcomers, spool) for job in enumerate(self._jobs(changed))]
                written = self._results(jobs)
            added = (*(file for files, _ in written for file in files), *newcomers.close())
            return self._measure(added, frozenset(changed), inserted + sum(rows for _, rows in written))
        except BaseException:
            newcomers.abort()
            for path in Path(self._task.directory).glob(f"{glob.escape(self._task.prefix)}-*.parquet"):
                path.unlink(missing_ok=True)
            raise

    def _scratch(self) -> str:
        """Return where the session puts what does not fit into memory, made if it is not there yet."""
        ((place,),) = self._sql.execute("SELECT current_setting('temp_directory')").fetchall()
        Path(place).mkdir(parents=True, exist_ok=True)
        return str(place)

    def _spool(self, pool: ThreadPoolExecutor, newcomers: Newcomers, folder: str) -> Spool:
        """Insert the rows that meet none, and put the others in order."""
        files = range(len(self._task.payload.files) + len(self._task.payload.tombstones))
        rows = min((self._stretch_rows(number) for number in files), default=1)
        starts = cut(self._rows.codes(), rows)

        def put(number: int) -> Stretches:
            path = f"{folder}/{number}.arrow"
            with closing(self._open_staged(number)) as file:
                return spread(file, number, self._rows.cursor(), starts, newcomers.write, path, lambda: self._going)

        stretches: Stretches = {}
        for part in self._results([pool.submit(put, number) for number in files]):
            for stretch, batches in part.items():
                stretches[stretch] = (*stretches.get(stretch, ()), *batches)
        return Spool(self._columns.schema, starts, stretches)

    def _stretch_rows(self, number: int) -> int:
        with closing(self._open_staged(number)) as file:
            return max(1, self._batch_bytes // file.row_bytes)

    def _open_staged(self, number: int) -> ParquetRows:
        payload = self._task.payload
        path = (*payload.files, *payload.tombstones)[number]
        # A row that is marked as deleted tells in its mark when the batch was read that no longer had it.
        told = {DELETED_AT: LOADED_AT_COLUMN} if number >= len(payload.files) else {}
        return ParquetRows.by_name(path, self._columns.schema, self._batch_bytes, told)

    def _find_changed(self, pool: ThreadPoolExecutor, spool: Spool) -> dict[int, int]:
        """Return the files that hold a row that differs, and where the first of them may be."""

        def look(numbers: Sequence[int]) -> dict[int, int]:
            reader, found = SpoolReader(spool), {}
            for number in numbers if self._going else ():
                with closing(self._open_file(number)) as file:
                    place = first_change(self._columns, file, number, reader)
                if place is not None:
                    found[number] = place
            return found

        # Neighbours together: they share what was spooled for them.
        size = max(1, -(-len(self._met) // (4 * _THREADS)))
        chunks = [self._met[begin : begin + size] for begin in range(0, len(self._met), size)]
        parts = self._results([pool.submit(look, chunk) for chunk in chunks])
        return {number: place for part in parts for number, place in part.items()}

    def _rewrite(
        self, job: int, portions: Sequence[Portion], newcomers: Newcomers, spool: Spool
    ) -> tuple[tuple[WrittenFile, ...], int]:
        rewriter = Rewriter(
            self._columns,
            self._rows.cursor(),
            SpoolReader(spool),
            self._task.split,
            newcomers,
            self._open_file,
            lambda route: self._open(f"{job:05d}", route),
        )
        return rewriter.rewrite(portions, lambda: self._going), rewriter.updated

    def _results(self, futures: Sequence["Future[_T]"]) -> list[_T]:
        """Return what the jobs return; after the first failure the others stop at their next batch."""
        try:
            return [future.result() for future in futures]
        except BaseException:
            self._going = False
            raise

    def _jobs(self, changed: Mapping[int, int]) -> Iterator[tuple[Portion, ...]]:
        """Files that are written by one thread into files of their own, and share a partition."""
        spec = self._task.table.metadata.default_spec_id
        alone = len(changed) == 1
        for files in _neighbours([(number, self._files[number]) for number in changed]):
            portions = []
            for number, file in files:
                with closing(self._open_file(number)) as opened:
                    groups = len(opened.group_starts) - 1
                settled = file.entry.spec_id == spec
                portions.append(Portion(number, 0, groups, changed[number], settled))
                if alone and groups > 1 and file.entry.file_size_in_bytes >= _JOINED_BYTES:
                    half = groups // 2
                    yield (replace(portions.pop(), stop=half),)
                    portions.append(Portion(number, half, groups, changed[number], settled))
            yield tuple(portions)

    def _open_file(self, number: int) -> ParquetRows:
        return ParquetRows.by_id(self._files[number].path, self._columns.schema, self._batch_bytes)

    def _open(self, name: str, split: Splitter | None) -> ParquetWriter:
        task = self._task
        return ParquetWriter(task.directory, f"{task.prefix}-{name}", self._columns.schema, task.settings, split)

    def _measure(self, added: tuple[WrittenFile, ...], removed: frozenset[int], rows_added: int) -> Merged:
        paths = [file.path for file in added]
        kept = [number for number in range(len(self._files)) if number not in removed]
        total = self._count(kept) + sum(file.rows for file in added)
        buried = None
        if self._task.payload.deleted:
            buried = self._rows.buried(removed, paths, self._count(range(len(self._files))), total)
        return Merged(
            added=added,
            removed=tuple(self._files[number] for number in sorted(removed)),
            rows=self._rows.counts.rows,
            keys=self._rows.counts.keys,
            null_keys=self._rows.counts.null_keys,
            found=self._rows.found(removed, paths),
            total=total,
            rows_added=rows_added,
            buried=buried,
        )

    def _count(self, files: Collection[int]) -> int:
        """Return the living rows of files of the snapshot."""
        return sum(self._files[number].entry.record_count for number in files) - self._rows.dead_rows(files)


def _kept_columns(spec: TableSpec, payload: Payload, columns: Sequence[str]) -> frozenset[str]:
    """Return the columns that a merge leaves as they are: gone at the source, and the policy says to ignore that."""
    if spec.policy.dropped is not OnChange.IGNORE:
        return frozenset()
    return frozenset(name for name in columns if name not in payload.schema.names and not is_ingest_column(name))


def _neighbours(files: Sequence[tuple[int, SnapshotFile]]) -> Iterator[list[tuple[int, SnapshotFile]]]:
    """Put files of the same partition together, up to a size."""
    together: list[tuple[int, SnapshotFile]] = []
    size, last = 0, None
    for number, file in sorted(files, key=lambda item: (item[1].entry.spec_id, repr(item[1].entry.partition), item[0])):
        place = (file.entry.spec_id, repr(file.entry.partition))
        if together and (place != last or size + file.entry.file_size_in_bytes > _JOINED_BYTES):
            yield together
            together, size = [], 0
        together.append((number, file))
        size, last = size + file.entry.file_size_in_bytes, place
    if together:
        yield together
