"""What a competent person writes with Spark alone: read over JDBC, write an Iceberg table, or MERGE what is newer into it.

``plain_spark.py JOB``; the job says where the source is, which tables, ``what`` ("full" or "delta"), ``partitions``,
``fetch_size`` (None: the driver's default) and how a MERGE writes. Several tables are worked on by four threads.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, DataFrameReader, SparkSession

THREADS = 4
MEMORY = "4g"


def url(at: dict[str, Any]) -> str:
    """Return the JDBC URL of a source."""
    match at["dialect"]:
        case "postgresql":
            return f"jdbc:postgresql://{at['host']}:{at['port']}/{at['database']}"
        case "mariadb":
            return f"jdbc:mysql://{at['host']}:{at['port']}/{at['database']}?permitMysqlScheme&sslMode=disable"
        case _:
            return f"jdbc:sqlite:{at['database']}"


DRIVERS = {"postgresql": "org.postgresql.Driver", "mariadb": "org.mariadb.jdbc.Driver", "sqlite": "org.sqlite.JDBC"}


def start(place: Path, jars: list[str]) -> SparkSession:
    """Start Spark with an Iceberg catalog in ``place``."""
    catalog = {
        "": "org.apache.iceberg.spark.SparkCatalog",
        ".type": "jdbc",
        ".uri": f"jdbc:sqlite:{place / 'catalog.db'}?busy_timeout=30000&journal_mode=WAL",
        ".jdbc.schema-version": "V1",
        ".warehouse": (place / "warehouse").as_uri(),
    }
    builder = SparkSession.builder.master("local[2]").appName("plain")
    builder = builder.config("spark.driver.memory", MEMORY).config("spark.driver.extraClassPath", ":".join(jars))
    builder = builder.config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.shuffle.partitions", "4")
    builder = builder.config("spark.sql.session.timeZone", "UTC")
    extensions = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
    builder = builder.config("spark.sql.extensions", extensions)
    for key, value in catalog.items():
        builder = builder.config(f"spark.sql.catalog.lake{key}", value)
    return builder.getOrCreate()


def read(spark: SparkSession, job: dict[str, Any], table: dict[str, Any], relation: str) -> DataFrame:
    """Return a table or a subquery of the source."""
    at = job["source"]
    reader = spark.read.format("jdbc").option("url", url(at)).option("driver", DRIVERS[at["dialect"]])
    reader = reader.option("dbtable", relation).option("preferTimestampNTZ", "true")
    if at["dialect"] != "sqlite":
        reader = reader.option("user", at["user"]).option("password", at["password"])
    if job["fetch_size"] is not None:
        reader = reader.option("fetchsize", job["fetch_size"])
    if job["partitions"] > 1:
        reader = reader.option("partitionColumn", table["keys"][0]).option("numPartitions", job["partitions"])
        reader = reader.option("lowerBound", table["low"]).option("upperBound", table["high"])
    return read_dates_as_text(reader) if at["dialect"] == "sqlite" else reader.load()


def read_dates_as_text(reader: DataFrameReader) -> DataFrame:
    """SQLite keeps dates and times as text. Its driver knows one format for both: it fails, or cuts the time of day off."""
    types = {field.name: field.dataType.typeName() for field in reader.load().schema}
    texts = {name: kind for name, kind in types.items() if kind.startswith(("date", "timestamp"))}
    rows = reader.option("customSchema", ", ".join(f"{name} STRING" for name in texts)).load()
    return rows.selectExpr(*(f"CAST({name} AS {texts[name]}) AS {name}" if name in texts else name for name in types))


def load(spark: SparkSession, job: dict[str, Any], table: dict[str, Any]) -> None:
    """Create the Iceberg table from the whole source table."""
    rows = read(spark, job, table, table["name"])
    writer = rows.writeTo(f"lake.public.{table['name']}").using("iceberg")
    writer.tableProperty("write.parquet.compression-codec", "zstd").createOrReplace()


def merge(spark: SparkSession, job: dict[str, Any], table: dict[str, Any]) -> None:
    """Merge the rows that are newer than the newest one of the Iceberg table; without any the table stays as it is."""
    target, cursor = f"lake.public.{table['name']}", table["cursor"]
    newest = spark.sql(f"SELECT CAST(max({cursor}) AS STRING) FROM {target}").collect()[0][0]
    delta = read(spark, job, table, f"(SELECT * FROM {table['name']} WHERE {cursor} > '{newest}') d")
    if delta.isEmpty():
        return
    for operation in ("merge", "update", "delete"):
        spark.sql(f"ALTER TABLE {target} SET TBLPROPERTIES ('write.{operation}.mode'='{job['write']}')")
    view = f"delta_{table['name']}"
    delta.createOrReplaceTempView(view)
    on = " AND ".join(f"t.{key} = s.{key}" for key in table["keys"])
    spark.sql(f"MERGE INTO {target} t USING {view} s ON {on} WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    spark = start(Path(job["place"]), job["jars"])
    spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.public")
    work = merge if job["what"] == "delta" else load
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, spark, job, table) for table in job["tables"]]:
            done.result()
    spark.stop()


if __name__ == "__main__":
    main()
