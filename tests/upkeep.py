"""One table of a lake as upkeep has it, and what must be true of the table before and afterwards."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.upkeep import TargetUpkeep
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from tests.lake import Lake
from tests.targets import tool_of


@contextmanager
def keeping(
    lake: Lake,
    name: str,
    *,
    spark: SparkSession | None = None,
    failpoints: str = "",
    clock: Callable[[], float] = time.time,
) -> Iterator[TargetUpkeep]:
    """Lend the upkeep of a table with clients of its own, as another process has them."""
    configuration = open_configuration(lake.path)
    (table,) = (table for table in configuration.tables if table.name == name)
    catalog = configuration.runtime.catalog
    assert catalog is not None
    tool = tool_of(catalog, lake.root, spark)
    factory = EndpointFactory(configuration, tool, PlacedFiles(LocalFiles(), HdfsFiles(tool.session)))
    points = Failpoints.from_environment({"INGESTION_FAILPOINTS": failpoints})
    try:
        yield factory.build_upkeep(table, tool.table_session(), points, clock)
    finally:
        factory.close()


def path_of(location: str) -> str:
    """The path of a file on the local disk, in its one true spelling."""
    return os.path.realpath("/" + location.removeprefix("file:").lstrip("/"))


def needed(table: Table) -> set[str]:
    """Every file that any snapshot of the table needs, by pyiceberg's own reading."""
    found: set[str] = set()
    for snapshot in table.metadata.snapshots:
        found.add(path_of(snapshot.manifest_list))
        for manifest in snapshot.manifests(table.io):
            found.add(path_of(manifest.manifest_path))
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.status != ManifestEntryStatus.DELETED:
                    found.add(path_of(entry.data_file.file_path))
    return found


def on_disk(table: Table) -> set[str]:
    """Every data, manifest and list file in the table's folder; metadata files left out."""
    root = Path(path_of(table.location()))
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.endswith((".json", ".crc")))
    return {os.path.realpath(path) for path in files}


def lost(table: Table) -> set[str]:
    """The files that some snapshot needs and that are not there."""
    return {path for path in needed(table) if not Path(path).exists()}
