"""Under which names a table is published, and known to state and leases."""

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.spec import CatalogSpec, RuntimeSpec, SinkFormat, TableSpec


def iceberg_identifier(catalog: CatalogSpec, table: TableSpec) -> tuple[str, ...]:
    """Return namespace and name of a table in its catalog, by the configured pattern."""
    # Split before the names go in: they may hold dots of their own.
    parts = catalog.name_pattern.split(".")
    return tuple(part.format(schema=table.schema, table=table.table) for part in parts)


def target_key(runtime: RuntimeSpec, table: TableSpec) -> TableKey:
    """Return the name under which state and leases know the table's target. Nothing is looked at."""
    if table.sink is SinkFormat.PARQUET or runtime.catalog is None:
        return TableKey(runtime.final_root, table.schema, table.table)
    *namespace, name = iceberg_identifier(runtime.catalog, table)
    return TableKey(runtime.catalog.name, ".".join(namespace), name)
