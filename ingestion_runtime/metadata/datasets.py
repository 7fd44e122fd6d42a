"""What tables are called in lineage: namespace and name, as OpenLineage's naming specification has them.

A table of a database is named by where the database answers, a table of the lake by where its files lie; under which name
a catalog knows it is an alias. So events of other tools about the same tables meet ours.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ingestion_runtime.config.paths import is_hdfs
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.spec import CatalogSpec, RuntimeSpec, SinkFormat, TableSpec


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A dataset's name within its namespace."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of a published table; ``type`` in the words of the table's format."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class OutputTable:
    """A published table: its dataset, its name in the catalog (None where there is no catalog), and its columns, none where
    they could not be looked up from here."""

    dataset: DatasetName
    alias: DatasetName | None = None
    columns: tuple[OutputColumn, ...] = ()


def source_dataset(table: TableSpec, connection: ConnectionSpec) -> DatasetName:
    """Return what a source table is called."""
    from openlineage.client.naming import dataset as naming

    if connection.dialect == "sqlite":
        return DatasetName(f"sqlite://{connection.database}", table.table)
    host, port = connection.host or "localhost", str(connection.port or "")
    found: naming.DatasetNaming
    if connection.dialect == "postgresql":
        found = naming.Postgres(host, port, connection.database, table.schema, table.table)
    else:  # a database of the MySQL family is what others call a schema; all of them answer as MySQL does
        found = naming.MySQL(host, port, table.schema, table.table)
    return DatasetName(found.get_namespace(), found.get_name())


def output_table(table: TableSpec, key: TableKey, runtime: RuntimeSpec, location: str | None) -> OutputTable:
    """Return what is known of a table's target. ``location`` is what state knows: the metadata file of an Iceberg table."""
    if table.mode == "full" and not runtime.finalize_full_refresh:
        return OutputTable(_place(f"{runtime.raw_root}/{table.schema}/{table.table}"))
    if table.sink is SinkFormat.PARQUET:
        folder = Path(runtime.final_root, table.schema, table.table)
        return OutputTable(_place(str(folder)), columns=_parquet_columns(folder))
    catalog = runtime.catalog
    if catalog is None:
        raise ValueError(f"{table.name} goes to Iceberg, and there is no catalog")
    metadata = _read_metadata(location)
    default = f"{catalog.warehouse.rstrip('/')}/{key.schema}/{key.table}"
    return OutputTable(
        _place(str(metadata.get("location") or _above_metadata(location) or default)),
        _catalog_name(catalog, key),
        _iceberg_columns(metadata),
    )


def _place(path: str) -> DatasetName:
    parts = urlsplit(path)
    if parts.scheme == "hdfs":
        return DatasetName(f"hdfs://{parts.netloc}", parts.path.rstrip("/"))
    # Not urlsplit's path: on a local disk a name may hold a question mark.
    return DatasetName("file", path.removeprefix("file://").rstrip("/"))


def _catalog_name(catalog: CatalogSpec, key: TableKey) -> DatasetName:
    """Return the table's name in its catalog, as OpenLineage's Spark integration spells it."""
    name = f"{key.schema}.{key.table}"
    connection = catalog.connection
    if connection is not None:
        return DatasetName(f"postgres://{connection.host}:{connection.port}", f"{connection.database}.{name}")
    warehouse = catalog.warehouse.rstrip("/")
    return DatasetName(warehouse if is_hdfs(warehouse) else f"file:{warehouse}", name)


def _above_metadata(location: str | None) -> str | None:
    folder, found, _ = (location or "").rpartition("/metadata/")
    return folder if found else None


def _read_metadata(location: str | None) -> dict[str, Any]:
    """Return an Iceberg table's metadata where that is a file on this machine; a JVM is not started for it."""
    if location is None or is_hdfs(location):
        return {}
    try:
        found = json.loads(Path(location.removeprefix("file://")).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _iceberg_columns(metadata: dict[str, Any]) -> tuple[OutputColumn, ...]:
    current = metadata.get("current-schema-id")
    fields = next((s.get("fields", ()) for s in metadata.get("schemas", ()) if s.get("schema-id") == current), ())
    return tuple(OutputColumn(field["name"], _type_name(field["type"])) for field in fields)


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else str(kind.get("type"))


def _parquet_columns(folder: Path) -> tuple[OutputColumn, ...]:
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(next(folder.glob("*.parquet")))
    except (OSError, ValueError, StopIteration):
        return ()
    return tuple(OutputColumn(field.name, str(field.type)) for field in schema)
