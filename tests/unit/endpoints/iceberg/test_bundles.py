"""Which files of a table are written anew, and which of them together."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from ingestion_runtime.endpoints.iceberg.compacting import BundlePlan
from ingestion_runtime.endpoints.iceberg.snapshot_files import SnapshotFile
from ingestion_runtime.model.maintenance import SpecMode, TableMaintenance
from ingestion_runtime.model.spec import PartitionField, TableSpec

MIB = 2**20
SETTINGS = TableMaintenance(target_file_mb=100, small_file_mb=30, min_small_files=3)
PLAIN = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",), maintenance=SETTINGS)
BY_DAY = replace(PLAIN, partition=(PartitionField("at", "day"),))


def file(name: str, mib: float, partition: tuple[int, ...] = (), spec: int = 0) -> SnapshotFile:
    entry = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=name,
        file_format=FileFormat.PARQUET,
        partition=Record(*partition),
        record_count=1000,
        file_size_in_bytes=int(mib * MIB),
    )
    entry.spec_id = spec  # as whoever reads a manifest sets it
    return SnapshotFile(name, entry, ())


def bundled(
    spec: TableSpec, *files: SnapshotFile, dead: Mapping[str, int] = MappingProxyType({}), spec_id: int = 0
) -> list[list[str]]:
    found = BundlePlan(spec, spec_id, dead).bundles(files)
    paths = [[item.path for item in bundle.files] for bundle in found]
    assert len([path for bundle in paths for path in bundle]) == len({path for bundle in paths for path in bundle})
    return paths


def test_small_files_go_together_up_to_the_target_the_oldest_first() -> None:
    """A snapshot lists its newest files first."""
    assert bundled(PLAIN, *(file(f"f{n}", 29) for n in range(5))) == [["f4", "f3", "f2"], ["f1", "f0"]]


def test_a_partition_with_too_few_small_files_stays_as_it_is() -> None:
    """Whatever lies in the others."""
    files = [file("a0", 1, (1,)), file("a1", 1, (1,)), *(file(f"b{n}", 1, (2,)) for n in range(3))]
    assert bundled(BY_DAY, *files) == [["b2", "b1", "b0"]]


@pytest.mark.parametrize("least", [0, 4])
def test_small_files_stay_below_the_number_that_is_configured_and_with_none(least: int) -> None:
    """Zero is never."""
    spec = replace(PLAIN, maintenance=replace(SETTINGS, min_small_files=least))
    assert bundled(spec, *(file(f"f{n}", 1) for n in range(3))) == []


def test_a_file_that_would_be_written_alone_and_as_it_is_stays() -> None:
    """What does not fit into a full bundle, and files that are as large as they may be."""
    assert bundled(PLAIN, file("last", 28), *(file(f"f{n}", 25) for n in range(4))) == [["f3", "f2", "f1", "f0"]]
    assert bundled(PLAIN, *(file(f"f{n}", 30) for n in range(9))) == []


def test_a_file_with_dead_rows_is_written_anew_however_large_it_is() -> None:
    """It counts with what lives of it."""
    assert bundled(PLAIN, file("large", 900), file("other", 900), dead={"large": 1}) == [["large"]]
    assert bundled(PLAIN, file("a", 90), file("b", 90), dead={"a": 800, "b": 800}) == [["b", "a"]]


def test_files_of_a_former_partition_all_move_or_only_with_what_is_put_together() -> None:
    """As spec_mode says; what moves has to be split."""
    files = [file("old0", 200), file("old1", 1), file("new", 200, (1,), spec=1)]
    assert sorted(bundled(BY_DAY, *files, spec_id=1)) == [["old0"], ["old1"]]
    append = replace(BY_DAY, spec_mode=SpecMode.APPEND)
    assert bundled(append, *files, spec_id=1) == []
    found = BundlePlan(append, 1, {}).bundles([file(f"old{n}", 1) for n in range(3)])
    assert [bundle.partition for bundle in found] == [None]


def test_a_small_size_beyond_the_target_writes_nothing_anew_for_ever() -> None:
    """Files that have reached the target are done."""
    spec = replace(PLAIN, maintenance=TableMaintenance(target_file_mb=10, small_file_mb=50, min_small_files=2))
    assert bundled(spec, *(file(f"f{n}", 11) for n in range(5))) == []
    assert bundled(spec, *(file(f"f{n}", 9) for n in range(5))) == []
