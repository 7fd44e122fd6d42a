"""How tables are maintained, and how long what they no longer need is kept."""

from typing import Any

import pytest

from ingestion_runtime.model.digest import work_digest
from ingestion_runtime.model.maintenance import Maintenance, SpecMode, TableMaintenance


def test_without_a_word_the_defaults_hold(desk: Any) -> None:
    """For the runtime and for every table."""
    configuration = desk.load()
    assert configuration.runtime.maintenance == Maintenance()
    assert {table.maintenance for table in configuration.tables} == {TableMaintenance()}
    assert {table.spec_mode for table in configuration.tables} == {SpecMode.REPLACE}


def test_a_table_overrides_the_runtime_key_by_key(desk: Any) -> None:
    """What stands nearer to the table wins; null takes a limit away."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"]["maintenance"] = {"raw_days": 90, "expire_days": 3, "wait_seconds": 0}
        c["connections"]["sales"]["defaults"] = {"maintenance": {"keep_snapshots": 5, "expire_days": 4}}
        c["tables"][0]["maintenance"] = {"raw_days": None, "expire_days": 0, "keep_backup": True}

    configuration = desk.load(edit)
    orders, products = (table.maintenance for table in configuration.tables)
    assert orders == TableMaintenance(raw_days=None, expire_days=0, keep_snapshots=5, keep_backup=True)
    assert products == TableMaintenance(raw_days=90, expire_days=4, keep_snapshots=5)
    assert configuration.runtime.maintenance.wait_seconds == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("target_file_mb", 0, "must be at least 1"),
        ("target_file_mb", 5000, "must be at most 4096"),
        ("keep_snapshots", 0, "must be at least 1"),
        ("orphan_hours", 0, "must be at least 1"),
        ("raw_days", -1, "must be at least 0"),
        ("expire_days", "7", "must be a whole number"),
        ("state_days", 0, "must be at least 1"),
        ("wait_seconds", -1, "must be at least 0"),
        ("small_file_mb", 200, "must be at most target_file_mb, which is 128"),
        ("target_file_mb", 16, "must be at least small_file_mb, which is 32"),
        ("expire", 7, "unknown key 'expire'; did you mean 'expire_days'?"),
    ],
)
def test_what_makes_no_sense_is_told_by_pointer(desk: Any, key: str, value: object, message: str) -> None:
    """Before anything is touched."""
    found = desk.refuse(lambda c: c["runtime"].update(maintenance={key: value}))
    assert found == {f"/runtime/maintenance/{key}": message}


def test_a_tables_own_sizes_must_fit_those_of_the_runtime(desk: Any) -> None:
    """The wrong value is the table's; a wrong one of the runtime is told once, and not at every table."""
    found = desk.refuse(lambda c: c["tables"][1].update(maintenance={"target_file_mb": 8}))
    assert found == {"/tables/1/maintenance/target_file_mb": "must be at least small_file_mb, which is 32"}
    found = desk.refuse(lambda c: c["tables"][1].update(maintenance={"state_days": 8}))
    assert set(found) == {"/tables/1/maintenance/state_days"}


def test_the_mode_of_a_new_partition_belongs_to_iceberg(desk: Any) -> None:
    """A parquet sink has no partitions; as a default it is left out there."""
    assert desk.load(lambda c: c["tables"][0].update(intermediate={"spec_mode": "append"})).tables[0].spec_mode is (
        SpecMode.APPEND
    )
    parquet = {"sink": "parquet", "intermediate": {"spec_mode": "append"}}
    found = desk.refuse(lambda c: c["tables"][1].update(parquet))
    assert found == {"/tables/1/intermediate/spec_mode": "only the sink 'iceberg' has partitions; leave it out"}

    def by_default(c: dict[str, Any]) -> None:
        c["defaults"] = {"intermediate": {"spec_mode": "append"}}
        c["tables"][1]["sink"] = "parquet"

    assert [table.spec_mode for table in desk.load(by_default).tables] == [SpecMode.APPEND, SpecMode.REPLACE]


def test_an_open_batch_does_not_care_how_its_table_is_maintained(desk: Any) -> None:
    """The digest of its settings stays: it is gone on with."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"]["maintenance"] = {"raw_days": 1}
        c["tables"][0]["maintenance"] = {"keep_backup": True}
        c["tables"][0]["intermediate"] = {"spec_mode": "append"}

    former, now = desk.load(), desk.load(edit)
    digests = [work_digest(c.tables[0], c.connections[0]) for c in (former, now)]
    assert digests[0] == digests[1]
