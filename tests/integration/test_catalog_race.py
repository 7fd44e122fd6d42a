"""The first tables of a new catalog: whoever else creates the catalog's own tables at this moment is no error."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.model.spec import CatalogSpec

CLIENTS, ROUNDS = 6, 10


def spec_in(folder: Path) -> CatalogSpec:
    return CatalogSpec("lake", str(folder / "catalog.db"), str(folder / "warehouse"))


def test_clients_that_open_a_new_catalog_at_once_all_get_it(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        together = Barrier(CLIENTS)

        def open_one(folder: Path = folder, together: Barrier = together) -> list[tuple[str, ...]]:
            catalog = IcebergCatalog(spec_in(folder))
            together.wait()
            found = catalog.pyiceberg().list_namespaces()
            catalog.close()
            return found

        with ThreadPoolExecutor(CLIENTS) as pool:
            assert [future.result() for future in [pool.submit(open_one) for _ in range(CLIENTS)]] == [[]] * CLIENTS


@pytest.mark.parametrize("others", [(), ("CREATE TABLE iceberg_tables (a int)",)], ids=["no table", "one of two"])
def test_a_catalog_has_its_tables_before_spark_may_open_it(tmp_path: Path, others: tuple[str, ...]) -> None:
    for statement in others:  # another client is at it
        with closing(sqlite3.connect(tmp_path / "catalog.db")) as database:
            database.execute(statement)
    catalog = IcebergCatalog(spec_in(tmp_path))
    catalog.prepare()
    catalog.close()
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"iceberg_tables", "iceberg_namespace_properties"}
