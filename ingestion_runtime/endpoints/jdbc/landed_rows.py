"""The rows of an extract as they are written: every column landed, missing ones NULL, housekeeping columns behind them."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.landing import Land, lander
from ingestion_runtime.endpoints.jdbc.masking import masker
from ingestion_runtime.model.columns import (
    CURSOR_RANK,
    LOAD_DATE_COLUMN,
    LOADED_AT_COLUMN,
    RUN_COLUMN,
    SLICE_COLUMN,
    SOURCE_COLUMN,
)
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.tools.parquet_writer import numbered

# Never a column of a table, so an id that no table reaches: files then have ids on all of their columns.
_RANK_ID = 2_147_480_000


class LandedRows:
    """Makes record batches of one schema from those of one stream, whose columns come in the order of the extract's."""

    def __init__(self, extract: JdbcExtract, given: pa.Schema) -> None:
        self._ways = [_way(extract, given.field(place).type, column) for place, column in enumerate(extract.columns)]
        self._ranked = extract.ranked is not None
        self._missing = [item.type for item in extract.missing]
        self._constants = _housekeeping(extract)
        fields = [pa.field(column.name, extract.written_as(column)) for column in extract.columns]
        fields += [pa.field(item.name, item.type) for item in extract.missing]
        fields += [pa.field(CURSOR_RANK, pa.int64())] if self._ranked else []
        # Never NULL, and told so in the files: the columns of the table are required, as Spark makes them.
        fields += [pa.field(name, constant.type, nullable=False) for name, constant in self._constants.items()]
        ids = {**extract.field_ids, CURSOR_RANK: _RANK_ID} if extract.field_ids else {}
        self.schema = numbered(pa.schema(fields), ids)

    def land(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch as it is written; raises TerminalError for a value that its column cannot hold."""
        rows, width = batch.num_rows, len(self._ways)
        arrays = [way(batch.column(place)) for place, way in enumerate(self._ways)]
        arrays += [pa.nulls(rows, kind) for kind in self._missing]
        arrays += [batch.column(width).cast(pa.int64())] if self._ranked else []
        arrays += [constant.of(rows) for constant in self._constants.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _way(extract: JdbcExtract, given: pa.DataType, column: SourceColumn) -> Land:
    land, mask = lander(given, column), extract.masks.get(column.name)
    if mask is None:
        return land
    hide = masker(mask)
    return lambda array: hide(land(array))


class _Constant:
    """One value in every row. Texts come as dictionaries of one entry, which Parquet takes over without hashing a row."""

    def __init__(self, value: Any, kind: pa.DataType) -> None:
        text = pa.types.is_string(kind)
        self.type = pa.dictionary(pa.int32(), kind) if text else kind
        self._make: Callable[[int], pa.Array] = self._entries if text else self._values
        self._value = pa.scalar(value, kind)
        self._made = self._make(0)

    def of(self, rows: int) -> pa.Array:
        """Return an array of so many rows; its memory is shared with the others."""
        if len(self._made) < rows:
            self._made = self._make(rows)
        return self._made.slice(0, rows)

    def _entries(self, rows: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([self._value.as_py()]))

    def _values(self, rows: int) -> pa.Array:
        return pa.repeat(self._value, rows)


def _housekeeping(extract: JdbcExtract) -> dict[str, _Constant]:
    values = extract.ingest
    if values is None:
        return {}
    said = {
        RUN_COLUMN: values.run_id,
        LOAD_DATE_COLUMN: values.load_date,
        LOADED_AT_COLUMN: values.loaded_at,
        SOURCE_COLUMN: values.source,
        SLICE_COLUMN: values.slice,
    }
    return {name: _Constant(said[name], kind) for name, kind in INGEST_TYPES.items()}
