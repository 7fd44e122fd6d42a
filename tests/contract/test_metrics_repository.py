"""What every repository of the metadata gateway must do."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from ingestion_runtime.metadata.gateway import MetadataGateway, runtime_of, volume_of
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.metrics import TableRun
from ingestion_runtime.model.state import Pruned
from ingestion_runtime.state.migrations import LATEST
from ingestion_runtime.state.sql import SqlStateStore
from ingestion_runtime.state.sqlite import sqlite_engine

AT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
RUN = TableRun(
    run_id="run-1",
    job_name="nightly",
    table="shop.orders",
    key=TableKey("lake", "shop", "orders"),
    source_id="crm",
    mode="scd1",
    load_date=date(2026, 3, 1),
    started=AT,
    ended=AT.replace(hour=3),
    status="done",
    seconds=3600.25,
    rows_read=2**40,
    rows_written=7,
    watermark="2026-02-28 23:59:59.999999",
    batch_id="b1",
    location="/lake/metadata/ördérs.json",
    engine="arrow",
)
BROKEN = replace(
    RUN, table="shop.items", key=TableKey("lake", "shop", "items"), status="failed", exit_code=3, error_type="E"
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "state.db")
    yield made
    made.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStateStore]:
    opened = SqlStateStore(lambda: sqlite_engine(tmp_path / "state.db"))
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def gateway(store: SqlStateStore) -> MetadataGateway:
    return MetadataGateway(store, volumes=True, runtimes=True)


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY table_name")).mappings()]


def test_records_hold_what_happened(gateway: MetadataGateway, engine: Engine) -> None:
    """Of a table that ended well and of one that failed, one record of each kind."""
    gateway.write([RUN, BROKEN])
    items, orders = rows(engine, "ingestion_volume")
    assert (orders["catalog"], orders["schema_name"], orders["source_table"]) == ("lake", "shop", "shop.orders")
    assert (orders["rows_read"], orders["rows_written"], orders["load_date"]) == (2**40, 7, "2026-03-01")
    assert (orders["batch_id"], orders["location"]) == ("b1", "/lake/metadata/ördérs.json")
    assert (orders["recorded_at"], items["status"]) == ("2026-03-01T03:30:00.000000+00:00", "failed")
    items, orders = rows(engine, "ingestion_runtime")
    assert (orders["started_at"], orders["ended_at"]) == ("2026-03-01T02:30:00.000000+00:00", orders["ended_at"])
    assert (orders["seconds"], orders["engine"], orders["exit_code"]) == (3600.25, "arrow", 0)
    assert (items["exit_code"], items["error_type"], items["job_name"]) == (3, "E", "nightly")


def test_a_record_is_kept_once_however_often_it_is_written(gateway: MetadataGateway, engine: Engine) -> None:
    """The answer to a write may have been lost: the second one adds what is missing and changes nothing."""
    gateway.write([RUN])
    gateway.write([replace(RUN, rows_written=99), BROKEN, BROKEN])
    assert [row["rows_written"] for row in rows(engine, "ingestion_volume")] == [7, 7]
    assert len(rows(engine, "ingestion_runtime")) == 2


def test_another_run_has_records_of_its_own(gateway: MetadataGateway, engine: Engine) -> None:
    """A rerun after a crash does not touch what the first one left."""
    gateway.write([RUN])
    gateway.write([replace(RUN, run_id="run-2")])
    assert sorted(row["run_id"] for row in rows(engine, "ingestion_volume")) == ["run-1", "run-2"]


def test_records_of_runs_long_over_are_pruned(gateway: MetadataGateway, store: SqlStateStore, engine: Engine) -> None:
    """A run's records go together, once the last of them is old."""
    gateway.write([RUN, BROKEN, replace(RUN, run_id="run-2", ended=AT.replace(hour=5))])
    assert store.prunable(AT.replace(hour=3)) == Pruned()
    assert store.prune(AT.replace(hour=4)) == Pruned(records=4)
    assert [row["run_id"] for table in ("ingestion_volume", "ingestion_runtime") for row in rows(engine, table)] == [
        "run-2"
    ] * 2


def test_a_run_that_has_not_ended_is_not_recorded(gateway: MetadataGateway, engine: Engine) -> None:
    """A record is written only of what happened."""
    gateway.write([replace(RUN, ended=None)])
    assert rows(engine, "ingestion_volume") == rows(engine, "ingestion_runtime") == []


@pytest.mark.parametrize(("volumes", "runtimes"), [(True, False), (False, True)])
def test_only_the_kinds_that_were_asked_for_are_kept(
    store: SqlStateStore, engine: Engine, volumes: bool, runtimes: bool
) -> None:
    MetadataGateway(store, volumes=volumes, runtimes=runtimes).write([RUN])
    assert len(rows(engine, "ingestion_volume")) == volumes
    assert len(rows(engine, "ingestion_runtime")) == runtimes


def test_a_write_is_all_or_nothing(store: SqlStateStore, engine: Engine) -> None:
    """A record that cannot be kept keeps the others out too, so that the whole may be tried again."""
    broken = replace(volume_of(BROKEN, AT), status=None)  # type: ignore[arg-type]
    with pytest.raises(IngestionError):
        store.append_metrics([volume_of(RUN, AT), broken], [runtime_of(RUN, AT)])
    assert rows(engine, "ingestion_volume") == rows(engine, "ingestion_runtime") == []


def test_several_threads_write_at_a_time(gateway: MetadataGateway, engine: Engine) -> None:
    """Every record is there, once."""

    def write(number: int) -> None:
        gateway.write([replace(RUN, run_id=f"run-{number % 3}"), replace(BROKEN, run_id=f"run-{number}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(rows(engine, "ingestion_volume")) == 3 + 9


def _drop(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def old(engine: Engine, store: SqlStateStore) -> Callable[[int], None]:
    """Turn the state database into one of an earlier version, with what it held."""

    def age(version: int) -> None:
        store.close()
        newer = {"ingestion_volume": 4, "ingestion_runtime": 4, "ingestion_runs": 3}
        present = inspect(engine).get_table_names()
        dropped = [f"DROP TABLE {name}" for name, since in newer.items() if since > version and name in present]
        _drop(engine, *dropped, f"DELETE FROM ingestion_schema_version WHERE version > {version}")

    return age


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_database_of_an_earlier_program_gets_the_tables(
    store: SqlStateStore, engine: Engine, old: Callable[[int], None], version: int
) -> None:
    """What it holds stays, and the records can be written at once."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ingestion_cursor_samples (catalog, schema_name, table_name, taken_at, document)"
                " VALUES ('lake', 'shop', 'orders', 1, '{}')"
            )
        )
    old(version)
    assert "ingestion_volume" not in inspect(engine).get_table_names()
    store.open()
    MetadataGateway(store, volumes=True, runtimes=True).write([RUN])
    assert len(rows(engine, "ingestion_volume")) == len(rows(engine, "ingestion_runtime")) == 1
    assert len(rows(engine, "ingestion_cursor_samples")) == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT max(version) FROM ingestion_schema_version")).scalar_one() == LATEST
