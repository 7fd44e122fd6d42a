"""A lake on HDFS: raw, staging and warehouse, with a reader of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from tests.faults.shop import Shop, make_lake
from tests.lake import IMPATIENT, Lake
from tests.servers.hdfs import HdfsServer


class HdfsLake:
    """A configuration whose raw, staging and warehouse are on HDFS, and a reader of its own.

    ``kind`` is the catalog's: ``sql``, ``hadoop``, or ``local``, a SQL catalog whose warehouse is on this machine.
    """

    def __init__(self, lake: Lake, server: HdfsServer, spark: SparkSession, kind: str) -> None:
        self.lake = lake
        self.root = server.new_root()
        runtime = lake.document["runtime"]
        runtime.update(raw_root=f"{self.root}/raw", staging={"root": f"{self.root}/staging"})
        place: dict[str, Any] = {"catalog_type": "sql", "name": "lake", "warehouse": f"{self.root}/warehouse"}
        if kind == "hadoop":
            place["catalog_type"] = kind
        else:
            place["database"] = str(lake.root / "catalog.db")
        if kind == "local":
            place["warehouse"] = str(lake.root / "warehouse")
        runtime["intermediate"] = place
        runtime["spark"]["conf"].update([IMPATIENT])
        lake.save()
        self._reader = spark.newSession()
        prefix = "spark.sql.catalog.lake"
        self._reader.conf.set(prefix, "org.apache.iceberg.spark.SparkCatalog")
        settings = {"type": "hadoop"} if kind == "hadoop" else {"type": "jdbc", "uri": f"jdbc:sqlite:{place['database']}"}
        for name, value in {**settings, "warehouse": place["warehouse"], "cache-enabled": "false"}.items():
            self._reader.conf.set(f"{prefix}.{name}", value)

    def has(self, name: str) -> bool:
        """Whether there is such a table."""
        return bool(self._reader.catalog.tableExists(f"lake.{name}"))

    def table(self, name: str) -> DataFrame:
        """A table as Spark reads it."""
        return self._reader.table(f"lake.{name}")

    def refs(self, name: str) -> set[str]:
        """The branches and tags of a table."""
        return {str(row["name"]) for row in self._reader.table(f"lake.{name}.refs").collect()}

    def sql(self, statement: str) -> None:
        """Do what anybody with Spark could do to a table, which is called lake.schema.name."""
        self._reader.sql(statement)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The data columns of a table."""
        found = self.table(name).toArrow()
        listed: list[dict[str, Any]] = found.select(
            [c for c in found.column_names if not c.startswith("_ingest_")]
        ).to_pylist()
        return listed


def make_hdfs(
    root: Path, server: HdfsServer, spark: SparkSession, kind: str, *tables: Mapping[str, Any]
) -> tuple[HdfsLake, Shop]:
    root.mkdir(exist_ok=True)
    lake, shop = make_lake(root, *tables)
    return HdfsLake(lake, server, spark, kind), shop
