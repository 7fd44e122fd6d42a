"""The Iceberg catalog: can it be read, and may it be written."""

from pathlib import Path

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.runner import Check
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.model.spec import CatalogSpec, TableSpec

# What the catalog's user may do where the runtime makes its tables, and to those that are there.
_RIGHTS = """
SELECT pg_catalog.has_schema_privilege(pg_catalog.current_schema(), 'CREATE'),
       bool_and(pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
                AND pg_catalog.has_table_privilege(c.oid, 'DELETE')), count(*)
FROM pg_catalog.pg_class c
WHERE c.oid IN (pg_catalog.to_regclass('iceberg_tables'), pg_catalog.to_regclass('iceberg_namespace_properties'))
"""
_BOTH = 2


def catalog_check(spec: CatalogSpec, table: TableSpec | None) -> Check:
    """Return the check of a catalog; ``table`` is one that is looked up in it."""
    return Check("catalog", lambda findings: _look(findings, spec, table))


def _look(findings: Findings, spec: CatalogSpec, table: TableSpec | None) -> None:
    if spec.database is None and spec.connection is None:
        findings.green(f"a hadoop catalog, in the warehouse {spec.warehouse}")
        return
    place = f"connection {spec.connection.name!r}" if spec.connection else spec.database
    if spec.database is not None and not Path(spec.database).exists():
        findings.green(f"{place} is not there yet: the first run makes it")
        return
    catalog = IcebergCatalog(spec, read_only=True)
    try:
        found = catalog.location(catalog.identifier(table)) if table is not None else None
    finally:
        catalog.close()
    if spec.connection is not None and not _may_write(findings, spec):
        return
    told = "" if table is None else f"; {table.name} is {'published' if found else 'not published yet'}"
    findings.green(f"{place} can be read{told}")


def _may_write(findings: Findings, spec: CatalogSpec) -> bool:
    assert spec.connection is not None  # noqa: S101 - asked of catalogs in a database
    database = Database(spec.connection, dialect_for(spec.connection.dialect))
    try:
        ((creates, writes, tables),) = database.rows(_RIGHTS)
    finally:
        database.close()
    if tables == _BOTH and not writes:
        findings.red(
            f"the user of connection {spec.connection.name!r} may not write the catalog's tables",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON iceberg_tables, iceberg_namespace_properties TO it.",
        )
        return False
    if tables < _BOTH and not creates:
        findings.red(
            f"the user of connection {spec.connection.name!r} may not create the catalog's tables",
            "GRANT CREATE ON SCHEMA public TO it, or let an administrator create them.",
        )
        return False
    return True
