"""How an Iceberg table follows its source in place: renamed and new columns, and types that Iceberg may widen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.schema import Schema
from pyiceberg.table import Table
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

from ingestion_runtime.model.columns import CURSOR_RANK, DELETED_AT, NEXT_PREFIX, is_ingest_column
from ingestion_runtime.model.errors import PublishRaceError, RefusedBatchError
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import Deletes, TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.tools.parquet_writer import numbered

Columns = tuple[tuple[str, IcebergType], ...]

#: The field id of the one column that staged files have and no table: out of any table's reach.
CURSOR_RANK_ID = 2_147_480_000

_LANDED: dict[type[IcebergType], pa.DataType] = {
    BooleanType: pa.bool_(),
    IntegerType: pa.int32(),
    LongType: pa.int64(),
    FloatType: pa.float32(),
    DoubleType: pa.float64(),
    StringType: pa.string(),
    BinaryType: pa.binary(),
    DateType: pa.date32(),
    TimestampType: pa.timestamp("us"),
    TimestamptzType: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Growth:
    """What must be committed before a payload fits: (name before, name after), columns to add and to widen, and columns
    that an earlier attempt left."""

    renamed: tuple[tuple[str, str], ...]
    added: Columns
    widened: Columns
    left_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.renamed or self.added or self.widened or self.left_over)


def landed_columns(table: Table) -> pa.Schema:
    """Return the table's data columns in the types in which rows land; columns of types that never land are left out."""
    fields = [(field.name, _landed(field.field_type)) for field in table.schema().fields if not is_ingest_column(field.name)]
    return pa.schema([pa.field(name, kind) for name, kind in fields if kind is not None])


def written_columns(schema: Schema) -> pa.Schema:
    """Return all columns as files of the table have them: in the types in which rows land, with their field ids.

    Raises TypeError for a type that never lands.
    """
    ids = [{"PARQUET:field_id": str(field.field_id)} for field in schema.fields]
    fields = zip(schema.fields, ids, strict=True)
    return pa.schema([pa.field(field.name, _landed(field.field_type), metadata=number) for field, number in fields])


def predicted_ids(table: Table | None, schema: pa.Schema, renamed: Mapping[str, str], *, marks: bool) -> dict[str, int]:
    """Return by name the ids that columns have, or will get when a batch of them is prepared; see ``plan_growth``.

    ``renamed`` gives the name in the table by the name in ``schema``; ``marks``: the table has or gets ``DELETED_AT``.
    """
    columns = {name: kind for name, kind in iceberg_types(schema).items() if name != CURSOR_RANK}
    fields = {} if table is None else {field.name: field for field in table.schema().fields}
    last = 0 if table is None else table.metadata.last_column_id
    found: dict[str, int] = {}
    new = []
    for name, kind in columns.items():
        former = renamed.get(name, name)
        field = fields.get(name) or fields.get(former)
        if field is None:
            new.append(name)
        elif holds(field.field_type, kind) or holds(kind, field.field_type):
            found[name] = field.field_id
        else:
            sister = fields.get(NEXT_PREFIX + name)
            if sister is not None and sister.field_type == kind:
                found[name] = sister.field_id
    if marks and DELETED_AT not in fields and DELETED_AT not in columns:
        new.append(DELETED_AT)
    new += [name for name in columns if name not in found and name not in new]  # the sisters, which come last
    numbered = {name: last + place for place, name in enumerate(new, start=1) if name in columns}
    return {**found, **numbered, CURSOR_RANK: CURSOR_RANK_ID}


def has_marks(table: Table) -> bool:
    """Whether the table has the column in which rows are marked as deleted."""
    return any(field.name == DELETED_AT for field in table.schema().fields)


def marks_deletes(table: Table | None, spec: TableSpec) -> bool:
    """Whether deleted rows are marked in the table, or were once."""
    return (table is not None and has_marks(table)) or spec.deletes is Deletes.SOFT


def grown_columns(table: Table | None, payload: Payload, spec: TableSpec) -> pa.Schema:
    """Return the columns of the table (None: of a new one) after this payload: tombstones alone change none."""
    if payload.files or table is None:
        schema = pa.schema([field for field in payload.schema if field.name != CURSOR_RANK])
    else:
        schema = table.schema().as_arrow()
    if marks_deletes(table, spec) and DELETED_AT not in schema.names:
        schema = schema.append(pa.field(DELETED_AT, pa.timestamp("us", tz="UTC")))
    return schema


def plan_growth(
    table: Table,
    schema: pa.Schema,
    policy: SchemaPolicy,
    renamed: Sequence[tuple[str, str]] = (),
    *,
    replaces: bool = False,
) -> Growth:
    """Return what the table lacks for ``schema``; ``renamed`` are (name now, name in the table).

    Where the payload ``replaces`` the whole table and the policy lets types evolve, a column that cannot hold its new type
    gets a sister for it, under ``NEXT_PREFIX``: empty, and nobody's business until the publish puts it in its place.

    The columns have been judged when they were read. This is the backstop for what changed since, or could not be judged
    without a snapshot: raises RefusedBatchError, naming the columns, for types that Iceberg cannot widen or the policy
    does not let grow, and, where the policy refuses dropped columns, for those that the source no longer has.
    """
    name = ".".join(table.name())
    present = {field.name: field.field_type for field in table.schema().fields}
    moves = tuple((old, new) for new, old in renamed if old in present and new not in present)
    for old, new in moves:
        present[new] = present.pop(old)
    wanted = iceberg_types(schema)
    missing = [column for column in present if column not in wanted and not is_ingest_column(column)]
    if missing and policy.dropped is OnChange.FAIL:
        raise RefusedBatchError(
            f"{name}: the source no longer has the columns {', '.join(missing)}.",
            remedy='Restore them at the source, or set "allow_missing_columns": true to let them arrive as NULL.',
            table=name,
            columns=tuple(missing),
        )
    replaceable = replaces and policy.retyped is OnChange.EVOLVE
    sisters = {
        NEXT_PREFIX + column: kind
        for column, kind in wanted.items()
        if replaceable and column in present and not holds(present[column], kind) and not holds(kind, present[column])
    }
    left_over = tuple(c for c in present if c.startswith(NEXT_PREFIX) and sisters.get(c) != present[c])
    wanted = {c: kind for c, kind in wanted.items() if NEXT_PREFIX + c not in sisters} | sisters
    added = tuple((c, kind) for c, kind in wanted.items() if c not in present or c in left_over)
    return Growth(moves, added, _widened(name, present, wanted, policy), left_over)


def swapped_schema(table: Table, replaced: Sequence[str]) -> Schema:
    """Return the table's columns after each of ``replaced`` has given its name and place to its sister."""
    fields = {field.name: field for field in table.schema().fields}
    sisters = {name: fields[NEXT_PREFIX + name] for name in replaced}
    kept = [field for field in table.schema().fields if not field.name.startswith(NEXT_PREFIX)]
    placed = [
        NestedField(field_id=sisters[f.name].field_id, name=f.name, field_type=sisters[f.name].field_type, required=False)
        if f.name in sisters
        else f
        for f in kept
    ]
    return Schema(*placed, schema_id=1 + max(schema.schema_id for schema in table.metadata.schemas))


def replaced_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that get another type with the next publish."""
    names = (column.name for column in table.schema().fields)
    return tuple(name.removeprefix(NEXT_PREFIX) for name in names if name.startswith(NEXT_PREFIX))


def _widened(name: str, present: dict[str, IcebergType], wanted: dict[str, IcebergType], policy: SchemaPolicy) -> Columns:
    widened = []
    for column, wanted_type in wanted.items():
        if column in present and not holds(present[column], wanted_type):
            if not holds(wanted_type, present[column]) or policy.widened is not OnChange.EVOLVE:
                raise RefusedBatchError(
                    f"{name}: column {column} is {present[column]} in the table and {wanted_type} at the source.",
                    remedy="Cast it in query_sql, or drop the table and run with --reload.",
                    table=name,
                    column=column,
                )
            widened.append((column, wanted_type))
    return tuple(widened)


def apply_growth(table: Table, growth: Growth) -> None:
    """Commit a growth. A nullable column more is harmless to readers, so it may become visible before the batch does.

    A renamed column keeps its field id and with it all its values: readers see the new name, and nothing else changes.
    Raises RefusedBatchError for what Iceberg does not allow, such as a column that is called like a field of a partition.
    """
    if not growth:
        return
    try:
        if growth.left_over:
            with table.update_schema(allow_incompatible_changes=True) as update:
                for column in growth.left_over:
                    update.delete_column((column,))
        with table.transaction() as transaction:
            # First, and by itself: the name of a renamed column may be that of an added one by now.
            with transaction.update_schema() as update:
                for old, new in growth.renamed:
                    update.rename_column((old,), new)  # a path: a name may hold dots
            with transaction.update_schema() as update:
                for column, kind in growth.added:
                    update.add_column((column,), kind)
                for column, kind in growth.widened:
                    update.update_column((column,), kind)
    except ValueError as error:
        name = ".".join(table.name())
        raise RefusedBatchError(
            f"{name}: the table cannot get the columns of the source ({error}).",
            remedy="Leave the column out (exclude_columns), or give it another name at the source or in query_sql.",
            table=name,
        ) from error
    except CommitFailedException as error:
        raise PublishRaceError(
            f"{'.'.join(table.name())}: the table moved while its columns were changed ({error}).",
            remedy="Nothing was published; run again.",
        ) from error


def _landed(kind: IcebergType) -> pa.DataType | None:
    return pa.decimal128(kind.precision, kind.scale) if isinstance(kind, DecimalType) else _LANDED.get(type(kind))


def iceberg_types(schema: pa.Schema) -> dict[str, IcebergType]:
    """Return the Iceberg type of every column."""
    return {field.name: _iceberg_type(field.type) for field in schema}


def numbered_schema(schema: pa.Schema) -> Schema:
    """Return the columns as a new table gets them: with ids from 1 in their order, required where no NULL may be."""
    return Schema(
        *(
            NestedField(field_id=place, name=field.name, field_type=_iceberg_type(field.type), required=not field.nullable)
            for place, field in enumerate(schema, start=1)
        )
    )


@lru_cache
def _iceberg_type(kind: pa.DataType) -> IcebergType:
    # pyiceberg walks through a whole schema (1 ms for 17 columns), several times a table: each type is asked for once.
    column = numbered(pa.schema([pa.field("column", kind)]), {"column": 1})
    (field,) = pyarrow_to_schema(column).fields
    return field.field_type


def holds(holder: IcebergType, held: IcebergType) -> bool:
    """Whether every value of ``held`` is a value of ``holder`` without any change, by Iceberg's promotion rules."""
    if holder == held:
        return True
    if isinstance(holder, DecimalType) and isinstance(held, DecimalType):
        return holder.scale == held.scale and holder.precision >= held.precision
    return (isinstance(holder, LongType) and isinstance(held, IntegerType)) or (
        isinstance(holder, DoubleType) and isinstance(held, FloatType)
    )
