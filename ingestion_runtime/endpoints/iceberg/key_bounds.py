"""Which files of a snapshot can hold keys of a batch, by the bounds in their manifests. No file is opened."""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.schema import Schema
from pyiceberg.types import BooleanType, DateType, DoubleType, FloatType, NestedField, TimestampType, TimestamptzType

from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PASSING = "ingest_bounds"


def add_files(
    sql: "DuckDBPyConnection", name: str, schema: Schema, keys: Sequence[int], files: Sequence[SnapshotFile]
) -> None:
    """Make a table of files: ``number``, ``path``, and for each key column ``low`` and ``high`` with its place in the schema
    behind them, NULL where the bound is not known."""
    columns = {
        "number": pa.array(range(len(files)), pa.int32()),
        "path": pa.array([file.path for file in files], pa.string()),
    }
    for place in keys:
        field, kind = schema.fields[place], written_columns(schema).field(place).type
        columns[f"low{place}"] = _bounds(field, kind, [file.entry.lower_bounds for file in files])
        columns[f"high{place}"] = _bounds(field, kind, [file.entry.upper_bounds for file in files])
    sql.register(_PASSING, pa.table(columns))
    sql.execute(f"CREATE OR REPLACE TABLE {name} AS FROM {_PASSING}")
    sql.unregister(_PASSING)


def files_in_bounds(sql: "DuckDBPyConnection", files: str, wanted: str, keys: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of the files within whose bounds there is a value of each key column in the table ``wanted``.

    Asked column by column, by a join that walks through both in order: a file may be named for nothing, none is missed.
    """
    query = f"SELECT number FROM {files}"
    for place in keys:
        values = f"(SELECT DISTINCT c{place} AS value FROM {wanted})"
        inside = (
            f"SELECT number FROM {files} ASOF JOIN {values} ON low{place} <= value WHERE value <= high{place} "
            f"UNION ALL SELECT number FROM {files} WHERE (low{place} IS NULL OR high{place} IS NULL) "
            f"AND EXISTS (FROM {wanted})"
        )
        query += f" INTERSECT ({inside})"
    return tuple(sorted(number for (number,) in sql.execute(query).fetchall()))


def _bounds(field: NestedField, kind: pa.DataType, known: Sequence[dict[int, bytes] | None]) -> pa.Array:
    values = [file_bound(field, (bounds or {}).get(field.field_id)) for bounds in known]
    if isinstance(field.field_type, DateType):
        return pa.array(values, pa.int32()).cast(kind)
    if isinstance(field.field_type, TimestampType | TimestamptzType):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def file_bound(field: NestedField, value: bytes | None) -> Any:
    """Return a bound from a manifest as Iceberg counts (days and microseconds as numbers); None: any value is possible."""
    # Bounds of floating-point numbers say nothing of NaN; those of truths are not worth a look.
    if value is None or isinstance(field.field_type, FloatType | DoubleType | BooleanType):
        return None
    try:
        return from_bytes(field.field_type, value)  # type: ignore[arg-type]  # of a primitive type, or it would not land
    except (ValueError, struct.error):  # written by someone who knows other bounds: any value is possible
        return None
