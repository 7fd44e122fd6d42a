"""One key in the Parquet files of staging and raw: in which batch, slice and file it lies, and in which row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.model.batch import Batch, SchemaField
from ingestion_runtime.model.columns import LOADED_AT_COLUMN
from ingestion_runtime.model.cursor import Watermark
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import Chain, Link, LinkState, slice_ordinal
from ingestion_runtime.staging import Staging
from ingestion_runtime.tools.files import is_hdfs
from ingestion_runtime.tools.local_sql import file_list, quote
from ingestion_runtime.tracing.evidence import LakeFinding, Place, Quarantined, Sighting
from ingestion_runtime.tracing.values import cursor_of, is_same
from ingestion_runtime.tracing.wanted import Wanted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What one batch can hold of one key: ties of an append table, or a source that never forgets a version.
_MOST_ROWS = 1000
_PLACES = {LinkState.ABANDONED: Place.ABANDONED, LinkState.OPEN: Place.LANDED}
# DuckDB's names for a row's file and place, which a column of the source may bear too.
_INDEX, _ROW = "file_index", "file_row_number"
_STAMP = {LOADED_AT_COLUMN: INGEST_TYPES[LOADED_AT_COLUMN]}


_FILES_AT_ONCE = 200

_Kinds = tuple[tuple[str, pa.DataType], ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to look through, with the types of its columns, and whose it is."""

    path: str
    kinds: _Kinds
    place: Place
    batch: Batch
    slice: int
    tombstones: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """A row in one of the files that were looked through."""

    path: str
    row: int | None
    cursor: Watermark | None
    at: datetime | None
    fits: bool


class LakeLook:
    """Looks a key up in files on a local disk. Reads only; other files are named as not read."""

    def __init__(self, sql: "DuckDBPyConnection", table: TableSpec, wanted: Wanted) -> None:
        self._sql = sql
        self._table = table
        self._wanted = wanted
        self._unread: list[str] = []

    def look(self, chain: Chain, raw: RawZone, staging: Staging, opened: Batch | None) -> LakeFinding:
        """Return what raw holds, and the slices that an open batch has staged."""
        links = [(Place.REPLACED, link) for link in chain.earlier]
        links += [(Place.PUBLISHED, link) for link in chain.links]
        links += [(_PLACES[link.state], link) for link in chain.loose]
        links.sort(key=lambda pair: (pair[1].sequence, pair[1].load_date))
        jobs = [job for place, link in links for job in self._of_link(place, link)]
        if opened is not None and opened.id not in {link.batch_id for _, link in links}:
            jobs += self._of_staging(staging, opened)
        sightings = self._in_files(jobs)
        aside = self._set_aside(raw) if self._wanted.has_null else ()
        return LakeFinding(
            sightings=tuple(sightings),
            quarantined=tuple(aside),
            batches=len(links),
            gaps=tuple(map(str, chain.gaps)),
            unread=(*map(str, (*chain.unreadable, *chain.misplaced)), *dict.fromkeys(self._unread)),
        )

    def _of_link(self, place: Place, link: Link) -> Iterator[_Job]:
        manifest = link.raw.manifest
        for files, tombstones in ((manifest.files, False), (manifest.tombstones, True)):
            kinds = self._kinds(manifest.fields, tombstones=tombstones)
            for path in (link.path(file) for file in files if file.rows):
                yield _Job(path, kinds, place, link.batch, _ordinal(path), tombstones)

    def _of_staging(self, staging: Staging, batch: Batch) -> Iterator[_Job]:
        for piece in batch.plan.slices:
            found = staging.find(self._table, batch, piece)
            if found is None:
                continue
            kinds = self._kinds(found.manifest.fields, tombstones=piece.tombstones)
            for path in (f"{found.directory}/{file.path}" for file in found.manifest.files if file.rows):
                yield _Job(path, kinds, Place.STAGED, batch, piece.ordinal, piece.tombstones)

    def _kinds(self, fields: Sequence[SchemaField], *, tombstones: bool) -> _Kinds:
        kinds = {field.name: parse_arrow_type(field.type) for field in fields if _is_known(field.type)}
        if tombstones:  # they hold the key, and the batch may have no rows to tell its types
            kinds = {part.column: kinds.get(part.column, part.kind) for part in self._wanted.key} | _STAMP
        return tuple(kinds.items())

    def _in_files(self, jobs: Sequence[_Job]) -> list[Sighting]:
        """Return what the files hold, in the order of the batches. Files of one schema are read together: one by one, 9,000
        of them would take a minute."""
        alike: dict[tuple[_Kinds, bool], list[str]] = {}
        for job in jobs:
            alike.setdefault((job.kinds, job.tombstones), []).append(job.path)
        found: dict[str, list[_Found]] = {}
        for (kinds, tombstones), paths in alike.items():
            for start in range(0, len(paths), _FILES_AT_ONCE):
                for one in self._search(paths[start : start + _FILES_AT_ONCE], dict(kinds), tombstones=tombstones):
                    found.setdefault(one.path, []).append(one)
        return [_sighting(job, one) for job in jobs for one in found.get(job.path, ())]

    def _search(self, paths: Sequence[str], kinds: Mapping[str, pa.DataType], *, tombstones: bool) -> list[_Found]:
        """Return the rows of the key in files of one schema; what cannot be read is told."""
        lacking = next((part.column for part in self._wanted.key if part.column not in kinds), None)
        # Where the column came later, or had another name, nobody can say whether the row is there.
        problem = None if lacking is None else f"has no column {lacking}"
        problem = "lies on HDFS" if problem is None and paths and is_hdfs(paths[0]) else problem
        if problem is not None:
            self._unread.extend(f"{path.rpartition('/')[0]} {problem}" for path in paths)
            return []
        conditions = [part.condition(kinds[part.column]) for part in self._wanted.key]
        if not paths or None in conditions:
            return []
        present = [name for name in self._asked() if name in kinds] if not tombstones else []
        named = "".join(f", {quote(name)}" for name in present)
        has_time = LOADED_AT_COLUMN in kinds
        taken = {name.lower() for name in kinds} & {_INDEX, _ROW}
        if taken and len(paths) > 1:  # one after the other: only so it is known in which of them a row lies
            return self._search_each(paths, kinds, tombstones=tombstones)
        index, row = ("NULL", "NULL") if taken else (_INDEX, _ROW)
        where = " AND ".join(filter(None, conditions))
        query = (
            f"SELECT {index}, {row}, {LOADED_AT_COLUMN if has_time else 'NULL'}{named} FROM read_parquet("
            f"{file_list(paths)}, hive_partitioning = false) WHERE {where} LIMIT {_MOST_ROWS}"
        )
        try:
            rows: pa.Table = self._sql.sql(query).to_arrow_table()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the others still tell something
            if len(paths) > 1:
                return self._search_each(paths, kinds, tombstones=tombstones)
            self._unread.append(f"{paths[0].rpartition('/')[0]} cannot be read ({str(error).partition(chr(10))[0]})")
            return []
        found = [self._found(paths, present, list(values)) for values in _tuples(rows)]
        return sorted(found, key=lambda one: (one.path, one.row or 0))

    def _search_each(self, paths: Sequence[str], kinds: Mapping[str, pa.DataType], *, tombstones: bool) -> list[_Found]:
        return [one for path in paths for one in self._search([path], kinds, tombstones=tombstones)]

    def _found(self, paths: Sequence[str], present: Sequence[str], values: list[Any]) -> _Found:
        index, row, at, *rest = values
        named = dict(zip(present, rest, strict=True))
        path = paths[int(index)] if index is not None else paths[0]
        fits = all(part.column in named and is_same(named[part.column], part.value) for part in self._wanted.version)
        return _Found(path, None if row is None else int(row), self._cursor(named), at, fits)

    def _cursor(self, named: Mapping[str, Any]) -> Watermark | None:
        column, kind = self._table.incremental_column, self._table.incr_col_type
        if column is None or kind is None or column not in named:
            return None
        try:
            return cursor_of(named[column], kind)
        except TerminalError:
            return None

    def _asked(self) -> list[str]:
        cursor = [self._table.incremental_column] if self._table.incremental_column else []
        return list(dict.fromkeys([*cursor, *(part.column for part in self._wanted.version)]))

    def _set_aside(self, raw: RawZone) -> Iterator[Quarantined]:
        """Yield what was set aside of the key; also of batches that brought nothing else, and are not in raw."""
        for directory in raw.quarantined():
            try:
                manifest = raw.read(directory).manifest
            except TerminalError as error:
                self._unread.append(error.message.rstrip("."))
                continue
            paths = [f"{directory}/{file.path}" for file in manifest.files]
            found = self._search(paths, dict(self._kinds(manifest.fields, tombstones=False)), tombstones=False)
            if found:
                yield Quarantined(manifest.batch.id, manifest.batch.load_date, len(found), directory)


def _sighting(job: _Job, found: _Found) -> Sighting:
    return Sighting(
        place=job.place,
        batch_id=job.batch.id,
        sequence=job.batch.sequence,
        load_date=job.batch.load_date,
        write=job.batch.write,
        slice=job.slice,
        file=job.path,
        row=found.row,
        cursor=found.cursor,
        at=found.at,
        tombstone=job.tombstones,
        fits=found.fits,
        columns=tuple(name for name, _ in job.kinds),
    )


def _tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in rows.columns]
    return zip(*columns, strict=True)


def _is_known(kind: str) -> bool:
    try:
        parse_arrow_type(kind)
    except TerminalError:
        return False
    return True


def _ordinal(path: str) -> int:
    try:
        return slice_ordinal(path)
    except ValueError:
        return 0
