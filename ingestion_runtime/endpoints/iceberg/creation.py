"""New Iceberg tables, how the partition spec of one differs from the configured one, and how it gets that.

Imported only when metadata is written: pyiceberg costs 1.2 s.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, count

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.partitioning import PartitionField as IcebergPartitionField
from pyiceberg.schema import Schema
from pyiceberg.table import CreateTableTransaction, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import AddPartitionSpecUpdate, SetDefaultSpecUpdate, TableUpdate
from pyiceberg.transforms import parse_transform

from ingestion_runtime.endpoints.iceberg.growth import numbered_schema
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import PartitionField, TableSpec

PROPERTIES = {
    "format-version": "2",
    # Only rows that differ are written: 300,000 changes in 3 million rows took 4.5 s this way, 10.7 s copy-on-write.
    "write.merge.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.delete.mode": "merge-on-read",
    # Commits on branches may meet a compaction on main; eight writers lost 9 of 80 commits with the default of 4 tries.
    "commit.retry.num-retries": "20",
    "commit.retry.min-wait-ms": "50",
}


@dataclass(frozen=True, slots=True)
class Creation:
    """A table that is about to be: what the catalog would be told, and the table as it would stand there, empty."""

    transaction: CreateTableTransaction
    table: Table


def plan_creation(
    catalog: Catalog,
    identifier: tuple[str, ...],
    location: str | None,
    schema: pa.Schema,
    partition: Sequence[PartitionField],
    codec: str,
) -> Creation:
    """Return an empty table with its partition spec, of which the catalog knows nothing yet."""
    properties = {**PROPERTIES, "write.parquet.compression-codec": codec}
    columns = numbered_schema(schema)
    transaction = catalog.create_table_transaction(
        identifier,
        schema=columns,
        location=location,
        partition_spec=_partition_spec(columns, partition),
        properties=properties,
    )
    # pyiceberg shows what the metadata will be, but not where the table will lie.
    return Creation(transaction, transaction._table)


def _partition_spec(schema: Schema, partition: Sequence[PartitionField]) -> PartitionSpec:
    fields = [
        IcebergPartitionField(
            source_id=schema.find_field(field.column).field_id,
            field_id=PARTITION_FIELD_ID_START + place,
            transform=parse_transform(_transform(field)),
            name=_partition_name(field),
        )
        for place, field in enumerate(partition)
    ]
    return PartitionSpec(*fields) if fields else UNPARTITIONED_PARTITION_SPEC


def create(catalog: Catalog, creation: Creation) -> Table:
    """Create the table in one commit; another creator's table is returned as it is."""
    try:
        return creation.transaction.commit_transaction()
    except (TableAlreadyExistsError, CommitFailedException):
        return catalog.load_table(creation.table.name())


def partition_difference(
    table: Table, partition: Sequence[PartitionField], renamed: Sequence[tuple[str, str]] = ()
) -> str | None:
    """Return how the table's partition spec differs from the configured one; None when it does not. ``renamed`` are columns
    that are about to be: (name before, name after)."""
    after = dict(renamed)
    names = {field.field_id: after.get(field.name, field.name) for field in table.schema().fields}
    present = [(names.get(field.source_id), str(field.transform)) for field in table.spec().fields]
    wanted = [(field.column, str(parse_transform(_transform(field)))) for field in partition]
    return None if present == wanted else f"{_spell(present)} in the table, {_spell(wanted)} in the configuration"


def require_partition(table: Table, spec: TableSpec, renamed: Sequence[tuple[str, str]]) -> None:
    """Raise TerminalError for a table whose partition spec is not the configured one, and would not be once columns are
    ``renamed``: (name before, name after)."""
    difference = partition_difference(table, spec.partition, renamed)
    if difference is not None:
        raise TerminalError(
            f"{spec.name}: the partition spec differs: {difference}.",
            remedy="Restore intermediate.partition, or give the table the new one with --maintenance-mode apply.",
            table=spec.name,
        )


def require_partition_columns(schema: pa.Schema, spec: TableSpec) -> None:
    """Raise TerminalError where the partition names a column that is not among those of the source."""
    for field in spec.partition:
        if field.column not in schema.names:
            raise TerminalError(
                f"{spec.name}: the partition column {field.column} is not a column of the source.",
                remedy=f"Choose one of {', '.join(schema.names)} in intermediate.partition.",
                table=spec.name,
            )


def respecified(metadata: TableMetadata, partition: Sequence[PartitionField]) -> tuple[TableUpdate, ...]:
    """Return the updates that make the configured partition the table's for what is written from then on.

    A partition that the table had before is taken up again, and so are the ids of its fields. Raises TerminalError for a
    column that the table does not have.
    """
    spec = _evolved_spec(metadata, partition)
    former = next((known for known in metadata.partition_specs if known.fields == spec.fields), None)
    if former is not None:
        return (SetDefaultSpecUpdate.model_validate({"spec-id": former.spec_id}),)
    return (AddPartitionSpecUpdate(spec=spec), SetDefaultSpecUpdate.model_validate({"spec-id": spec.spec_id}))


def _evolved_spec(metadata: TableMetadata, partition: Sequence[PartitionField]) -> PartitionSpec:
    schema = metadata.schema()
    known = [field for spec in metadata.partition_specs for field in spec.fields]
    # A name that stands for another field in an earlier spec would be two columns of one name to whoever reads both.
    taken = {field.name for field in known} | {field.name for field in schema.fields}
    last = max([PARTITION_FIELD_ID_START - 1, metadata.last_partition_id or 0, *(field.field_id for field in known)])
    fields: list[IcebergPartitionField] = []
    for wanted in partition:
        source, transform = _source(schema, wanted.column), parse_transform(_transform(wanted))
        field = next((f for f in known if f.source_id == source and f.transform == transform), None)
        if field is None:
            last += 1
            name = _free_name(wanted, taken)
            field = IcebergPartitionField(source_id=source, field_id=last, transform=transform, name=name)
        fields.append(field)
        taken.add(field.name)
    return PartitionSpec(*fields, spec_id=1 + max(spec.spec_id for spec in metadata.partition_specs))


def _source(schema: Schema, column: str) -> int:
    found = next((field for field in schema.fields if field.name == column), None)
    if found is None:
        raise TerminalError(
            f"The partition column {column} is not a column of the table.",
            remedy=f"Choose one of {', '.join(schema.column_names)} in intermediate.partition.",
        )
    return found.field_id


def _free_name(field: PartitionField, taken: Collection[str]) -> str:
    """Return a name for a partition field; one by the values themselves bears the column's."""
    name = _partition_name(field)
    if field.transform == "identity" or name not in taken:
        return name
    wider = name if field.width is None else f"{name}_{field.width}"
    numbered = (f"{wider}_{number}" for number in count(2))
    return next(free for free in chain((wider,), numbered) if free not in taken)


def _transform(field: PartitionField) -> str:
    return field.transform if field.width is None else f"{field.transform}[{field.width}]"


def _spell(fields: Sequence[tuple[str | None, str]]) -> str:
    return ", ".join(f"{transform}({column})" for column, transform in fields) or "none"


def _partition_name(field: PartitionField) -> str:
    return field.column if field.transform == "identity" else f"{field.column}_{field.transform}"
