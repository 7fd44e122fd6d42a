"""Data files of a table written anew in its present partition, with the rows that they have: small ones put together, dead
rows left behind. Nothing is committed here. Imported only when rows are written in this process: pyiceberg costs 1.2 s.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from ingestion_runtime.endpoints.iceberg.adoption import Entries, read_footer
from ingestion_runtime.endpoints.iceberg.attempts import Attempt
from ingestion_runtime.endpoints.iceberg.dead_rows import DeadRows, dead_in
from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.parquet_rows import ParquetRows
from ingestion_runtime.endpoints.iceberg.partitions import splitter, stored_values
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile
from ingestion_runtime.model.maintenance import SpecMode
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tools.parquet_writer import ParquetSettings, ParquetWriter, WrittenFile

# Two threads keep two cores busy; each holds a row group that is written and a batch that is read.
_THREADS = 2
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files that are written anew one after the other. ``partition``: that of all rows; None: they have to be split."""

    files: tuple[SnapshotFile, ...]
    partition: Record | None

    @property
    def size(self) -> int:
        """The bytes of the files."""
        return sum(file.entry.file_size_in_bytes for file in self.files)


class BundlePlan:
    """Which files of a snapshot are written anew, and which of them together."""

    def __init__(self, spec: TableSpec, spec_id: int, dead: Mapping[str, int]) -> None:
        """``spec_id`` is the partition spec that is written; ``dead`` counts the dead rows of files that have some."""
        settings = spec.maintenance
        self._target = settings.target_file_mb * _MIB
        self._small = min(self._target, settings.small_file_mb * _MIB)
        self._least = settings.min_small_files
        self._moves = spec.spec_mode is SpecMode.REPLACE
        self._partitioned = bool(spec.partition)
        self._spec_id = spec_id
        self._dead = dead

    def is_small(self, file: DataFile) -> bool:
        """Whether a file is below the size from which on it stays as it is."""
        return file.file_size_in_bytes < self._small

    def is_former(self, file: DataFile) -> bool:
        """Whether a file follows another partition than the one that is written."""
        return file.spec_id != self._spec_id

    def bundles(self, files: Sequence[SnapshotFile]) -> list[Bundle]:
        """Return what is written anew, the oldest files first; each file once."""
        places: dict[tuple[int, str], list[SnapshotFile]] = {}
        moving: list[SnapshotFile] = []
        for file in reversed(files):  # a snapshot lists its newest files first
            if self._moves and self.is_former(file.entry):
                moving.append(file)
            else:
                places.setdefault((file.entry.spec_id, repr(file.entry.partition)), []).append(file)
        found = [bundle for place in places.values() for bundle in self._of_place(place)]
        return [*found, *self._moved(moving)]

    def joined(self, files: Sequence[SnapshotFile]) -> list[Bundle]:
        """Return what of files that were just written belongs together: to split rows leaves many small files."""
        places: dict[str, list[SnapshotFile]] = {}
        for file in files:
            places.setdefault(repr(file.entry.partition), []).append(file)
        return [
            Bundle(tuple(part), part[0].entry.partition) for of in places.values() for part in self._packed(of) if part[1:]
        ]

    def _of_place(self, files: Sequence[SnapshotFile]) -> Iterator[Bundle]:
        small = [file for file in files if self.is_small(file.entry)]
        joins = 0 < self._least <= len(small)
        chosen = [file for file in files if file.path in self._dead or (joins and self.is_small(file.entry))]
        for part in self._packed(chosen):
            if part[1:] or part[0].path in self._dead:
                yield Bundle(tuple(part), None if self.is_former(part[0].entry) else part[0].entry.partition)

    def _moved(self, files: Sequence[SnapshotFile]) -> Iterator[Bundle]:
        if not self._partitioned:
            yield from (Bundle(tuple(part), Record()) for part in self._packed(files))
            return
        # As few streams as there are threads: each of them may write a file for every partition.
        portion = -(-sum(file.entry.file_size_in_bytes for file in files) // _THREADS)
        yield from (Bundle(tuple(part), None) for part in _pack(files, portion, self._living_bytes))

    def _packed(self, files: Sequence[SnapshotFile]) -> Iterator[list[SnapshotFile]]:
        return _pack(files, self._target, self._living_bytes)

    def _living_bytes(self, file: SnapshotFile) -> int:
        rows = file.entry.record_count
        return file.entry.file_size_in_bytes * (rows - self._dead.get(file.path, 0)) // max(1, rows)


class Compaction:
    """Writes bundles of one table's files as files of an attempt."""

    def __init__(self, table: Table, spec: TableSpec, settings: ParquetSettings, attempt: Attempt, plan: BundlePlan) -> None:
        """``table`` as it will be: what is written follows its default partition spec."""
        self._spec = spec
        self._settings = replace(settings, file_bytes=spec.maintenance.target_file_mb * _MIB)
        self._columns = written_columns(table.schema())
        self._split = splitter(spec.partition, self._columns)
        self._entries = Entries(table)
        self._attempt = attempt
        self._plan = plan
        self._batch_bytes = max(1, settings.group_bytes // 4)
        self._lock = threading.Lock()  # one session of SQL for all threads
        self._going = True

    def write(self, bundles: Sequence[Bundle], dead: DeadRows) -> list[DataFile]:
        """Write the living rows of all bundles; return the entries of the files."""
        written = self._write_all("a", bundles, dead)
        split = [file for bundle, files in zip(bundles, written, strict=True) if bundle.partition is None for file in files]
        joined = self._plan.joined(split)
        again = self._write_all("b", joined, DeadRows(None, ()))
        gone = {file.path for bundle in joined for file in bundle.files}
        for path in gone:
            Path(path).unlink()
        return [file.entry for files in (*written, *again) for file in files if file.path not in gone]

    def _write_all(self, lead: str, bundles: Sequence[Bundle], dead: DeadRows) -> list[list[SnapshotFile]]:
        with ThreadPoolExecutor(_THREADS, "compact") as pool:
            jobs = [pool.submit(self._write, f"{lead}{n:05d}", bundle, dead) for n, bundle in enumerate(bundles)]
            try:
                return [job.result() for job in jobs]
            except BaseException:
                self._going = False  # the others stop at their next batch
                raise

    def _write(self, name: str, bundle: Bundle, dead: DeadRows) -> list[SnapshotFile]:
        split = self._split if bundle.partition is None else None
        writer = ParquetWriter(self._attempt.folder, name, self._columns, self._settings, split)
        with writer:
            for file in bundle.files:
                for rows in self._living(file, dead) if self._going else ():
                    writer.write(rows)
            return list(self._listed(writer.close(), bundle.partition))

    def _living(self, file: SnapshotFile, dead: DeadRows) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc

        with self._lock:
            gone = dead.places(file)
        with closing(ParquetRows.by_id(file.path, self._columns, self._batch_bytes)) as opened:
            for start, batch in opened.batches():
                if not self._going:
                    return
                living = batch.filter(pc.invert(dead_in(gone, start, batch.num_rows))) if len(gone) else batch
                if living.num_rows:
                    yield living

    def _listed(self, written: Iterable[WrittenFile], partition: Record | None) -> Iterator[SnapshotFile]:
        for file in written:
            place = partition
            if place is None:
                key = file.part if isinstance(file.part, tuple) else ()
                place = Record(*stored_values(self._spec.partition, self._columns, key))
            location = f"{self._attempt.location}/{Path(file.path).name}"
            yield SnapshotFile(file.path, self._entries.entry(read_footer(file.path), location, place), ())


def _pack(files: Sequence[SnapshotFile], most: int, size_of: Callable[[SnapshotFile], int]) -> Iterator[list[SnapshotFile]]:
    """Cut a row of files into parts of at most so many bytes, or of one file."""
    part: list[SnapshotFile] = []
    size = 0
    for file in files:
        more = size_of(file)
        if part and size + more > most:
            yield part
            part, size = [], 0
        part.append(file)
        size += more
    if part:
        yield part
