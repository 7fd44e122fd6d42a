"""How an Iceberg table grows with its source: new columns, and types that Iceberg may widen in place."""

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, DoubleType, FloatType, IcebergType, IntegerType, LongType

from ingestion_runtime.model.errors import PublishRaceError, RefusedBatchError


@dataclass(frozen=True, slots=True)
class Growth:
    """What must be committed before a payload fits: columns to add and columns to widen."""

    added: tuple[tuple[str, IcebergType], ...]
    widened: tuple[tuple[str, IcebergType], ...]


def plan_growth(table: Table, schema: pa.Schema, *, allow_missing: bool) -> Growth:
    """Return what the table lacks for ``schema``.

    Raises RefusedBatchError, naming the columns, for types that Iceberg cannot widen and, unless ``allow_missing``, for
    columns of the table that the source no longer has.
    """
    present = {field.name: field.field_type for field in table.schema().fields}
    wanted = iceberg_types(schema)
    name = ".".join(table.name())
    missing = [column for column in present if column not in wanted]
    if missing and not allow_missing:
        raise RefusedBatchError(
            f"{name}: the source no longer has the columns {', '.join(missing)}.",
            remedy='Restore them at the source, or set "allow_missing_columns": true to let them arrive as NULL.',
            table=name,
            columns=tuple(missing),
        )
    widened = []
    for column, wanted_type in wanted.items():
        if column in present and not _holds(present[column], wanted_type):
            if not _holds(wanted_type, present[column]):
                raise RefusedBatchError(
                    f"{name}: column {column} is {present[column]} in the table and {wanted_type} at the source.",
                    remedy="Cast it in query_sql, or drop the table and run with --reload.",
                    table=name,
                    column=column,
                )
            widened.append((column, wanted_type))
    added = tuple((column, kind) for column, kind in wanted.items() if column not in present)
    return Growth(added, tuple(widened))


def apply_growth(table: Table, growth: Growth) -> None:
    """Commit a growth. A nullable column more is harmless to readers, so it may become visible before the batch does."""
    if not growth.added and not growth.widened:
        return
    try:
        with table.update_schema() as update:
            for column, kind in growth.added:
                update.add_column((column,), kind)  # a path: a name may hold dots
            for column, kind in growth.widened:
                update.update_column((column,), kind)
    except CommitFailedException as error:
        raise PublishRaceError(
            f"{'.'.join(table.name())}: the table moved while its columns were added ({error}).",
            remedy="Nothing was published; run again.",
        ) from error


def iceberg_types(schema: pa.Schema) -> dict[str, IcebergType]:
    """Return the Iceberg type of every column."""
    # The converter wants field ids and we want only types: the ids given here never leave this function.
    numbered = pa.schema(
        field.with_metadata({"PARQUET:field_id": str(number)}) for number, field in enumerate(schema, start=1)
    )
    return {field.name: field.field_type for field in pyarrow_to_schema(numbered).fields}


def _holds(holder: IcebergType, held: IcebergType) -> bool:
    """Whether every value of ``held`` is a value of ``holder`` without any change, by Iceberg's promotion rules."""
    if holder == held:
        return True
    if isinstance(holder, DecimalType) and isinstance(held, DecimalType):
        return holder.scale == held.scale and holder.precision >= held.precision
    return (isinstance(holder, LongType) and isinstance(held, IntegerType)) or (
        isinstance(holder, DoubleType) and isinstance(held, FloatType)
    )
