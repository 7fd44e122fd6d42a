"""An Iceberg catalog in PostgreSQL: loaded, changed, idle; its password is nowhere but in the file that holds it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyspark.sql import SparkSession

from ingestion_runtime.config import load_configuration
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.model.errors import TerminalError
from tests.faults.gaps import Hold, Process
from tests.faults.shop import ORDERS, STOCK, Row, Shop, make_lake
from tests.lake import Lake
from tests.servers.postgresql import PostgresDatabase

PASSWORD = "do-not-tell-7391"
DAY = "2026-07-01"  # that of runs in this process


def role_of(postgres: PostgresDatabase) -> str:
    """The role that owns the catalog; roles belong to the whole server."""
    return f"keeper_{postgres.database}"


@pytest.fixture
def lake(postgres: PostgresDatabase, tmp_path: Path) -> tuple[Lake, Shop]:
    """A shop whose catalog is in a database of its own, under a role with a password that is unmistakable."""
    role = role_of(postgres)
    postgres.psql(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';"
        f' GRANT ALL ON DATABASE "{postgres.database}" TO {role}; GRANT ALL ON SCHEMA public TO {role}',
        superuser=True,
    )
    lake, shop = make_lake(tmp_path, ORDERS, STOCK)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    lake.document["connections"]["metastore"] = {
        "dialect": "postgresql",
        "host": postgres.host,
        "port": postgres.port,
        "database": postgres.database,
        "user": role,
        "password": f"${{file:{secret}}}",
    }
    lake.document["tables"] = [{**table, "connection": "source"} for table in lake.document["tables"]]
    place = lake.document["runtime"]["intermediate"]
    del place["database"]
    place["connection"] = "metastore"
    lake.save()
    return lake, shop


@pytest.mark.timeout(400)
def test_a_catalog_in_postgresql_serves_loads_changes_and_idle_runs(
    spark: SparkSession, postgres: PostgresDatabase, lake: tuple[Lake, Shop]
) -> None:
    """Both modes and a second run give the source's rows; a run without work starts no JVM; nothing tells the password."""
    configuration, shop = lake
    hold = Hold(configuration.root, "before-publish", "shop.orders")
    with Process(configuration.command("--output", "json", "--load-date", DAY), [hold]) as process:
        process.wait_until(lambda: hold.reached, "the first batch waits to be published")
        assert not [line for line in _command_lines() if PASSWORD in line]
        hold.let_go()
        ended = process.end()
    assert ended.code == 0, ended.stderr
    shop.change("UPDATE orders SET amount = -5, updated_at = '2026-06-03 07:00:00' WHERE id = 4")
    assert configuration.run(spark).exit_code == 0
    logs = set((configuration.root / "logs").iterdir())

    idle = configuration.call("--output", "json", "--load-date", DAY)

    assert idle.code == 0, idle.stderr
    assert not [path for path in set((configuration.root / "logs").iterdir()) - logs if path.name.startswith("spark-")]
    for name in ("shop.orders", "shop.stock"):
        assert _ordered(_rows(postgres, configuration, name)) == _ordered(shop.due(name))
    told = [path for path in _written(configuration.root) if PASSWORD.encode() in path.read_bytes()]
    assert told == []
    assert PASSWORD not in ended.stdout + ended.stderr + idle.stdout + idle.stderr


def test_a_wrong_password_of_the_catalog_ends_the_run_before_its_first_effect(lake: tuple[Lake, Shop]) -> None:
    """Exit code 2, as for a source: nothing is read, no JVM is started, no state is made."""
    configuration, _ = lake
    (configuration.root / "secret").write_text("wrong")

    ended = configuration.call()

    assert ended.code == 2
    assert "metastore" in ended.stderr
    assert "wrong" not in ended.stderr + ended.stdout
    assert not (configuration.root / "state.db").exists()


def test_a_catalog_role_that_may_not_create_tables_is_told_what_to_grant(
    postgres: PostgresDatabase, lake: tuple[Lake, Shop]
) -> None:
    """Not a statement of SQL and not a stack; after the grant the same catalog works."""
    role = role_of(postgres)
    postgres.psql(f"REVOKE CREATE ON SCHEMA public FROM {role}", superuser=True)
    spec = load_configuration(lake[0].path).runtime.catalog
    assert spec is not None
    catalog = IcebergCatalog(spec)
    try:
        with pytest.raises(TerminalError, match=r"metastore.*permission denied.*GRANT CREATE ON SCHEMA public") as refused:
            catalog.create_namespace(("shop", "orders"))
        assert "CREATE TABLE" not in str(refused.value)
        postgres.psql(f"GRANT CREATE ON SCHEMA public TO {role}", superuser=True)
        catalog.create_namespace(("shop", "orders"))
        assert catalog.location(("shop", "orders")) is None
    finally:
        catalog.close()


def _rows(postgres: PostgresDatabase, lake: Lake, name: str) -> list[Row]:
    uri = f"postgresql+psycopg://{role_of(postgres)}:{PASSWORD}@{postgres.host}:{postgres.port}/{postgres.database}"
    catalog = SqlCatalog("lake", uri=uri, warehouse=str(lake.root / "warehouse"))
    try:
        found = catalog.load_table(name).scan().to_arrow()
    finally:
        catalog.engine.dispose()
    rows: list[Row] = found.select([c for c in found.column_names if not c.startswith("_ingest_")]).to_pylist()
    return rows


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row.get("id", row.get("sku"))))


def _command_lines() -> Iterator[str]:
    listed = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True)  # noqa: S607
    yield from listed.stdout.splitlines()


def _written(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names if name != "secret")
