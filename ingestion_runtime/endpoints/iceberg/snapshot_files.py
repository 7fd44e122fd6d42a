"""The files of one snapshot on local disk, and their living rows as SQL for DuckDB.

Imported only when rows are read in this process: pyiceberg costs 1.2 s.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.delete_file_index import DeleteFileIndex
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from ingestion_runtime.endpoints.iceberg.manifests import entries_of, manifests_of
from ingestion_runtime.model.errors import LostFileError, TerminalError
from ingestion_runtime.tools.local_sql import file_list, quote, text

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: The columns that ``relation`` adds: a row's file, and its place in it, from 0. No column of a source is called so.
FILE_COLUMN, PLACE_COLUMN = "_ingest_path", "_ingest_pos"
_PLACE = f"{FILE_COLUMN}, {PLACE_COLUMN}"

_FORMAT_VERSION = 2
_TYPES: Mapping[type[IcebergType], str] = MappingProxyType(
    {
        BooleanType: "BOOLEAN",
        IntegerType: "INTEGER",
        LongType: "BIGINT",
        FloatType: "FLOAT",
        DoubleType: "DOUBLE",
        StringType: "VARCHAR",
        BinaryType: "BLOB",
        DateType: "DATE",
        TimestampType: "TIMESTAMP",
        TimestamptzType: "TIMESTAMPTZ",
    }
)
# Iceberg reserves these field ids for the columns of position deletes.
_DELETED_FILE, _DELETED_PLACE = 2147483546, 2147483545
_LOCAL = re.compile(r"file:/+|/+")


class UnfitSnapshot(Exception):  # noqa: N818 - no error: the caller takes the engine that can read it
    """A snapshot that only Spark can read; ``reason`` says why, to follow "because"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Storage(Protocol):
    """Where the data files of a table lie, and how this process looks at them."""

    def path(self, location: str) -> str:
        """Return a location as one absolute path, however it is spelled; raises UnfitSnapshot for one that is elsewhere."""
        ...

    def footer(self, path: str) -> "pq.FileMetaData":
        """Return the footer of a Parquet file; raises OSError or ArrowInvalid."""
        ...


class LocalDisk:
    """A local disk. Implements ``Storage``."""

    def path(self, location: str) -> str:
        """Return a local path; see ``local_path``."""
        return local_path(location)

    def footer(self, path: str) -> "pq.FileMetaData":
        """Return the footer of a file."""
        import pyarrow.parquet as pq

        try:
            return pq.read_metadata(path)
        except UnicodeDecodeError as error:  # in a name of the footer, where somebody has spoilt it
            raise pa.ArrowInvalid(f"its footer is no UTF-8: {error}") from error


_LOCAL_DISK = LocalDisk()


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A data file: its absolute path, its entry in the manifest, and the absolute paths of the position-delete files that
    may name it."""

    path: str
    entry: DataFile
    deletes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotFiles:
    """The data files of a snapshot, and all of its position-delete files."""

    files: tuple[SnapshotFile, ...]
    position_deletes: tuple[DataFile, ...]


def list_files(
    table: Table, snapshot_id: int, without: Collection[str] = (), storage: Storage = _LOCAL_DISK
) -> SnapshotFiles:
    """Return the files of a snapshot, but for those at the paths ``without``. Opens every data file's footer (0.1 ms each).

    Raises UnfitSnapshot for equality deletes, deletion vectors and whatever else format 3 brings, and for files that are
    not Parquet, not in ``storage``, or without field ids; LostFileError for a file that is not there.
    """
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise TerminalError(
            f"{'.'.join(table.name())}: snapshot {snapshot_id} is gone.",
            remedy="Something else expires snapshots of this table while it is written; run again.",
        )
    if table.metadata.format_version > _FORMAT_VERSION:
        raise UnfitSnapshot(f"the table has format {table.metadata.format_version}")
    data: list[ManifestEntry] = []
    deletes: list[DataFile] = []
    index = DeleteFileIndex()
    for manifest in manifests_of(table, snapshot):
        for entry in entries_of(table, manifest):
            if entry.data_file.file_format != FileFormat.PARQUET:
                raise UnfitSnapshot(f"the table holds {entry.data_file.file_format.name} files")
            if without and storage.path(entry.data_file.file_path) in without:
                continue
            if manifest.content == ManifestContent.DATA:
                data.append(entry)
            elif entry.data_file.content == DataFileContent.POSITION_DELETES:
                deletes.append(entry.data_file)
                index.add_delete_file(entry, partition_key=_partition_key(entry.data_file))
            else:
                raise UnfitSnapshot("the table holds equality deletes")
    return SnapshotFiles(tuple(_listed(data, index, storage)), tuple(deletes))


def relation(schema: Schema, files: Sequence[SnapshotFile], columns: Sequence[str], root: str = "/") -> str:
    """Return what may stand after FROM in DuckDB: the living rows of the files, with the named columns of ``schema``,
    ``_ingest_path`` (the path as in ``SnapshotFile.path``) and ``_ingest_pos`` (BIGINT).

    ``root``: what stands in the paths of these files before what position deletes call them, less its scheme.

    Columns are read by field id, so that those which were renamed, added or widened later are right in old files too.
    Raises UnfitSnapshot for a column of a type that this runtime never lands.
    """
    fields = {field.name: field for field in schema.fields}
    read = [fields[name] for name in columns]
    clean = [file for file in files if not file.deletes]
    touched = [file for file in files if file.deletes]
    parts = [_scan(read, clean)] if clean else []
    if touched:
        removed = sorted({path for file in touched for path in file.deletes})
        rows, gone = _scan(read, touched), deleted_places(removed, root)
        parts.append(f"SELECT * FROM ({rows}) AS ingest_rows ANTI JOIN ({gone}) AS ingest_gone USING ({_PLACE})")
    return f"({' UNION ALL '.join(parts) if parts else _nothing(read)})"


def duck_type(kind: IcebergType) -> str:
    """Return DuckDB's type of the same values; raises UnfitSnapshot for one that never lands."""
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision},{kind.scale})"
    try:
        return _TYPES[type(kind)]
    except KeyError:
        raise UnfitSnapshot(f"the table has a column of type {kind}") from None


def local_path(location: str) -> str:
    """Return an absolute path for a location on local disk, however it is spelled (``file:///a``, ``file:/a``, ``/a``)."""
    lead = _LOCAL.match(location)
    if lead is None:
        raise UnfitSnapshot(f"its files are not on a local disk ({location.partition(':')[0]})")
    return "/" + location[lead.end() :]


def _listed(entries: Sequence[ManifestEntry], index: DeleteFileIndex, storage: Storage) -> Iterator[SnapshotFile]:
    for entry in entries:
        file = entry.data_file
        path = storage.path(file.file_path)
        if not _has_ids(path, storage):
            raise UnfitSnapshot(f"{path} has no field ids")
        found = index.for_data_file(entry.sequence_number or 0, file, partition_key=_partition_key(file))
        yield SnapshotFile(path, file, tuple(sorted(storage.path(delete.file_path) for delete in found)))


def _partition_key(file: DataFile) -> Record:
    """Return a file's partition as what it is found by: by its text, for a NaN in it would not equal itself."""
    return Record(repr(file.partition))


def _has_ids(path: str, storage: Storage) -> bool:
    """Whether every column has a field id. By id DuckDB would find nothing else, and read it as NULL without a word."""
    try:
        columns = storage.footer(path).schema.to_arrow_schema()
    except (OSError, pa.ArrowInvalid) as error:
        raise LostFileError(
            f"A file of the table cannot be read: {path} ({error}).",
            remedy="Restore it; or replace the table, from the source with --reload, or from raw with --maintenance-mode"
            " rebuild-from-raw.",
            path=path,
        ) from error
    return all(b"PARQUET:field_id" in (column.metadata or {}) for column in columns)


def _scan(read: Sequence[NestedField], files: Sequence[SnapshotFile]) -> str:
    """Return a query for the rows of files, deleted ones included."""
    named = [f"{_exposed(place, field.field_type)} AS {quote(field.name)}" for place, field in enumerate(read)]
    # Under names of our own: a column may be called like one of DuckDB's.
    schema = _schema((field.field_id, f"c{place}", duck_type(field.field_type)) for place, field in enumerate(read))
    # hive_partitioning: a directory called region=eu must not become a column.
    return (
        f"SELECT {''.join(item + ', ' for item in named)}{FILE_COLUMN}, file_row_number AS {PLACE_COLUMN} FROM read_parquet("
        f"{file_list(file.path for file in files)}, schema = {schema}, filename = {text(FILE_COLUMN)}, "
        "file_row_number = true, hive_partitioning = false)"
    )


def _exposed(place: int, kind: IcebergType) -> str:
    # Parquet's statistics leave NaN out, and DuckDB 2.0 skips row groups by them all the same: where a key is NaN, or a
    # condition asks for it, the row would not be found. Through an expression that it cannot see through it reads them.
    if isinstance(kind, FloatType | DoubleType):
        return f"CASE WHEN file_row_number = -1 THEN NULL ELSE c{place} END"
    return f"c{place}"


def deleted_places(paths: Sequence[str], root: str = "/") -> str:
    """Return a query for the rows that position-delete files name: ``_ingest_path``, below ``root``, and ``_ingest_pos``."""
    schema = _schema([(_DELETED_FILE, "c0", "VARCHAR"), (_DELETED_PLACE, "c1", "BIGINT")])
    return (
        f"SELECT {text(root)} || regexp_replace(c0, '^(file:/+|hdfs://|/+)', '') AS {FILE_COLUMN}, c1 AS {PLACE_COLUMN} "
        f"FROM read_parquet({file_list(paths)}, schema = {schema}, hive_partitioning = false)"
    )


def _schema(columns: Sequence[tuple[int, str, str]] | Iterator[tuple[int, str, str]]) -> str:
    listed = [f"{number}: {{'name': '{name}', 'type': '{kind}', 'default_value': NULL}}" for number, name, kind in columns]
    # Without a column no struct: the map would have no type.
    return f"MAP {{{', '.join(listed)}}}" if listed else _schema([(0, "c", "BOOLEAN")])


def _nothing(read: Sequence[NestedField]) -> str:
    columns = [f"CAST(NULL AS {duck_type(field.field_type)}) AS {quote(field.name)}" for field in read]
    place = [f"CAST(NULL AS VARCHAR) AS {FILE_COLUMN}", f"CAST(NULL AS BIGINT) AS {PLACE_COLUMN}"]
    return f"SELECT {', '.join(columns + place)} WHERE false"
