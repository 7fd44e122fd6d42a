"""The catalog's file, as it is made before Spark opens it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.model.spec import CatalogSpec


def test_a_new_catalog_has_a_write_ahead_log_before_anyone_else_connects(tmp_path: Path) -> None:
    """Several Spark sessions that switch the file at once refuse each other, and their tables fail."""
    path = tmp_path / "deep" / "catalog.db"
    catalog = IcebergCatalog(CatalogSpec("lake", str(path), f"file://{tmp_path}/warehouse"))

    catalog.pyiceberg()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    catalog.close()
