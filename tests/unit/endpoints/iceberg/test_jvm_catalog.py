"""The catalog through the JVM, judged by pyiceberg's own client on the same SQLite file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import Table
from pyiceberg.table.update import AssertRefSnapshotId, SetPropertiesUpdate
from pyiceberg.types import LongType, StringType
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import catalog_properties
from ingestion_runtime.endpoints.iceberg.jvm import JvmCatalog, location_after
from ingestion_runtime.model.spec import CatalogSpec

NAME = ("shop", "orders")
SCHEMA = pa.schema([("id", pa.int32()), ("note", pa.string()), ("day", pa.date32())])


@pytest.fixture
def spec(tmp_path: Path) -> CatalogSpec:
    return CatalogSpec("lake", str(tmp_path / "catalog.db"), f"file://{tmp_path}/warehouse")


@pytest.fixture
def catalog(spec: CatalogSpec, spark: SparkSession) -> Iterator[JvmCatalog]:
    made = JvmCatalog(spec.name, lambda: catalog_properties(spec), lambda: spark)
    made.create_namespace("shop")
    yield made
    made.close()


@pytest.fixture
def witness(spec: CatalogSpec, catalog: JvmCatalog) -> Iterator[SqlCatalog]:
    """A client that has nothing to do with the JVM."""
    client = SqlCatalog("lake", uri=f"sqlite:///{spec.database}?timeout=30", warehouse=spec.warehouse)
    yield client
    client.engine.dispose()


def create(catalog: JvmCatalog) -> Table:
    """Create the table, partitioned, in one commit."""
    transaction = catalog.create_table_transaction(NAME, schema=SCHEMA, properties={"format-version": "2", "a": "1"})
    with transaction.update_spec() as spec:
        spec.add_field("day", "month", "day_month")
    return transaction.commit_transaction()


def set_property(catalog: JvmCatalog, key: str, value: str, *requirements: Any) -> str:
    """Commit one property; return the answered location."""
    updates = (SetPropertiesUpdate(updates={key: value}),)
    return str(catalog.commit_table(catalog.load_table(NAME), requirements, updates).metadata_location)


def test_a_created_table_has_its_columns_partitions_and_properties(catalog: JvmCatalog, witness: SqlCatalog) -> None:
    """Every other client sees them; a second creator is told that the table is there."""
    create(catalog)

    seen = witness.load_table(NAME)
    assert [(field.name, str(field.field_type)) for field in seen.schema().fields] == [
        ("id", "int"),
        ("note", "string"),
        ("day", "date"),
    ]
    assert [(field.name, str(field.transform)) for field in seen.spec().fields] == [("day_month", "month")]
    assert seen.properties["a"] == "1"
    assert seen.metadata_location == catalog.location(NAME) == catalog.load_table(NAME).metadata_location
    with pytest.raises(TableAlreadyExistsError):
        create(catalog)
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace("shop")


def test_a_table_that_is_not_there(catalog: JvmCatalog) -> None:
    """It has no location, and loading it says so."""
    assert catalog.location(NAME) is None
    with pytest.raises(NoSuchTableError):
        catalog.load_table(NAME)


def test_a_commit_answers_with_its_own_location(catalog: JvmCatalog, witness: SqlCatalog) -> None:
    """A location is remembered as "nothing has happened since": that of a later commit of someone else would hide it."""
    create(catalog)
    base = str(catalog.location(NAME))
    ours = set_property(catalog, "b", "1")
    with witness.load_table(NAME).transaction() as transaction:
        transaction.set_properties({"c": "1"})
    foreign = str(catalog.location(NAME))

    assert len({base, ours, foreign}) == 3
    assert location_after(witness.load_table(NAME).metadata, base, foreign) == ours


def test_a_requirement_that_does_not_hold_refuses_the_commit(catalog: JvmCatalog, witness: SqlCatalog) -> None:
    """Judged on the metadata as it is, and nothing is written."""
    create(catalog)
    before = catalog.location(NAME)

    with pytest.raises(CommitFailedException):
        set_property(catalog, "b", "1", AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": 7}))

    assert catalog.location(NAME) == before
    assert "b" not in witness.load_table(NAME).properties


def test_a_commit_of_nothing_writes_nothing(catalog: JvmCatalog) -> None:
    """Its requirements are judged all the same."""
    table = create(catalog)
    before = catalog.location(NAME)

    assert catalog.commit_table(table, (), ()).metadata_location == before
    assert catalog.location(NAME) == before


def test_columns_grow_through_pyiceberg_s_own_schema_updates(catalog: JvmCatalog, witness: SqlCatalog) -> None:
    """Added, widened, renamed and deleted columns keep or get the field ids that Iceberg gives them."""
    table = create(catalog)
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.add_column(("added",), StringType())
        update.update_column(("id",), LongType())
        update.rename_column(("note",), "remark")
    with catalog.load_table(NAME).update_schema(allow_incompatible_changes=True) as update:
        update.delete_column(("added",))
        update.add_column(("again",), StringType())

    fields = [(field.field_id, field.name, str(field.field_type)) for field in witness.load_table(NAME).schema().fields]
    assert fields == [(1, "id", "long"), (2, "remark", "string"), (3, "day", "date"), (5, "again", "string")]
