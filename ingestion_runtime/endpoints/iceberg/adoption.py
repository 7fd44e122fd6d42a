"""Parquet files that lie there already as files of an Iceberg table: may they be, and what does the table have to know?

Nothing is read but footers, and where a partition's value does not follow from them its columns. Imported only when rows
are written in this process: pyiceberg costs 1.2 s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    StatisticsCollector,
    StatsAggregator,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import BinaryType, DoubleType, FloatType, NestedField

from ingestion_runtime.endpoints.iceberg.growth import CURSOR_RANK_ID, iceberg_types
from ingestion_runtime.model.columns import CURSOR_RANK, NEXT_PREFIX
from ingestion_runtime.model.errors import TerminalError

_ID = b"PARQUET:field_id"
_UNCOUNTED = MetricsMode(MetricModeTypes.NONE)


@dataclass(frozen=True, slots=True)
class StagedFooter:
    """A staged file (absolute path, size in bytes) and what its footer says."""

    path: str
    size: int
    metadata: pq.FileMetaData

    @property
    def columns(self) -> pa.Schema:
        """The columns, with their field ids in the metadata of each."""
        return self.metadata.schema.to_arrow_schema()


def read_footer(path: str) -> StagedFooter:
    """Return a file's footer; raises TerminalError for a file that cannot be read."""
    try:
        with pa.OSFile(path, "rb") as stream:
            return StagedFooter(path, stream.size(), pq.read_metadata(stream))
    except (OSError, pa.ArrowInvalid) as error:
        raise TerminalError(
            f"A staged file cannot be read: {path} ({error}).",
            remedy="Run again; if it stays like this, run the table with --reload.",
            path=path,
        ) from error


def hindrance(columns: pa.Schema, schema: Schema) -> str | None:
    """Return why the table cannot take a file with these columns as it is; None when it can.

    Every column must have the id and the type that the table has under its name: by id alone a reader would find other
    values. What the file lacks is read as NULL, and so are the former values of a column that gets another type.
    """
    fields = {field.name.removeprefix(NEXT_PREFIX): field for field in sorted(schema.fields, key=_is_sister)}
    kinds = iceberg_types(columns)
    for column in columns:
        found = _field_id(column)
        if column.name == CURSOR_RANK:
            wanted, kind = CURSOR_RANK_ID, kinds[column.name]
        else:
            field = fields.get(column.name)
            if field is None:
                return f"the table has no column {column.name}"
            wanted, kind = field.field_id, field.field_type
        if found != wanted:
            return f"column {column.name} has the field id {found}, the table's is {wanted}"
        if kinds[column.name] != kind:
            return f"column {column.name} is {kinds[column.name]}, the table's is {kind}"
    return None


class Entries:
    """Entries of files that have no hindrance, for one table."""

    def __init__(self, table: Table) -> None:
        self._schema = table.schema()
        self._spec = table.metadata.default_spec_id
        self._plan = dict(compute_statistics_plan(self._schema, table.properties))
        self._plan[CURSOR_RANK_ID] = StatisticsCollector(CURSOR_RANK_ID, BinaryType(), _UNCOUNTED, CURSOR_RANK)

    def entry(self, footer: StagedFooter, location: str, partition: Record) -> DataFile:
        """Return the entry of a file, under ``location`` and with the bounds that its footer knows."""
        ids = {column.name: _field_id(column) for column in footer.columns}
        paths = {path: ids[path] for path in _paths(footer.metadata)}
        found = data_file_statistics_from_parquet_metadata(footer.metadata, self._plan, paths)  # type: ignore[arg-type]
        for number in _unbounded(footer.metadata, ids, self._schema):
            found.column_aggregates.pop(number, None)
        for aggregate in found.column_aggregates.values():
            if not _has_upper_bound(aggregate):
                aggregate.current_max = None
        found.column_sizes.pop(CURSOR_RANK_ID, None)
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=footer.size,
            sort_order_id=None,
            spec_id=self._spec,
            equality_ids=None,
            key_metadata=None,
            **found.to_serialized_dict(),
        )


def _paths(metadata: pq.FileMetaData) -> Sequence[str]:
    return [metadata.schema.column(place).path for place in range(metadata.num_columns)]


def _unbounded(metadata: pq.FileMetaData, ids: Mapping[str, int | None], schema: Schema) -> set[int]:
    """Return the ids of columns whose bounds the footer does not know for sure.

    A row group without bounds (values of over 4 KiB have none) makes those of the others worthless. And numbers with a
    fraction may hold NaN, which no bound tells of.
    """
    floats = {field.field_id for field in schema.fields if isinstance(field.field_type, FloatType | DoubleType)}
    unknown = set()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(metadata.num_columns)):
            if not _is_bounded(chunk.statistics, chunk.num_values):
                unknown.add(ids[chunk.path_in_schema])
    return {number for number in unknown if number is not None} | floats


def _has_upper_bound(aggregate: StatsAggregator) -> bool:
    """Whether a text's upper bound can be stored. One that is cut after U+D7FF ends, one higher, in half a character."""
    try:
        aggregate.max_as_bytes()
    except UnicodeEncodeError:
        return False
    return True


def _is_bounded(statistics: Any, values: int) -> bool:
    if statistics is None:
        return values == 0
    return bool(statistics.has_min_max or (statistics.has_null_count and statistics.null_count == values))


def _is_sister(field: NestedField) -> bool:
    return field.name.startswith(NEXT_PREFIX)


def _field_id(column: pa.Field) -> int | None:
    text = (column.metadata or {}).get(_ID)
    return None if text is None else int(text)
