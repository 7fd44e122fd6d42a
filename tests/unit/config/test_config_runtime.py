"""Paths, Spark settings and the other keys of the runtime section."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("hdfs:///raw", "must look like hdfs://"),
        ("hdfs://nn:8020", "must look like hdfs://"),
        ("hdfs://nn:8020/", "must look like hdfs://"),
        ("hdfs://nn:x/raw", "must look like hdfs://"),
        ("hdfs://nn/a//raw", "must look like hdfs://"),
        ("hdfs://me:hunter2@nn/raw", "neither a user"),
        ("hdfs://nn/raw?x", "neither a user"),
        ("hdfs://nn/ra*w", "may hold neither"),
        ("s3://bucket/raw", "not supported yet"),
        ("file://host/raw", "file:///path"),
        ("file:raw", "file:///path"),
        ("~/raw", "'~' is not expanded"),
        ("${HOME}/raw", "variables are not expanded"),
        ("raw?x", "may hold neither"),
        ("raw\nx", "may hold neither"),
        ("ra*w", "may hold neither"),
        ("a\0b", "may hold neither"),
        ("  ", "must not be empty"),
        ("", "must not be empty"),
    ],
)
def test_paths_that_cannot_be_used_are_refused(desk: Any, path: str, message: str) -> None:
    """Foreign schemes, unexpanded shorthands, and characters that file systems or drivers take for something else."""
    found = desk.refuse(lambda c: c["runtime"].update(raw_root=path))
    assert message in found["/runtime/raw_root"]


def test_raw_staging_and_warehouse_may_be_on_hdfs(desk: Any) -> None:
    """A name service without a port is fine too; staging lies beside raw where the file does not say otherwise."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"].update(raw_root="hdfs://nn:8020/lake/x/../raw/", state={"database": "state.db"})
        c["runtime"]["intermediate"]["warehouse"] = "hdfs://cluster/warehouse"
        c["metadata"]["cache_path"] = "cache"

    runtime = desk.load(edit).runtime

    assert runtime.raw_root == "hdfs://nn:8020/lake/raw"
    assert runtime.staging.root == "hdfs://nn:8020/lake/staging"
    assert runtime.catalog.warehouse == "hdfs://cluster/warehouse"
    assert runtime.state_database == str(desk.directory / "state.db")


def test_what_needs_a_local_disk_says_so(desk: Any) -> None:
    """State and cache have no place beside a raw_root on HDFS, and the parquet sink has no links there."""
    found = desk.refuse(lambda c: c["runtime"].update(raw_root="hdfs://nn/raw", final_root="hdfs://nn/final"))
    assert set(found) == {"/runtime/final_root", "/runtime/state/database", "/metadata/cache_path"}
    assert "symbolic link" in found["/runtime/final_root"]
    assert "must be given" in found["/runtime/state/database"]


def test_roots_on_hdfs_inside_one_another_are_refused(desk: Any) -> None:
    """As on a local disk."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"].update(raw_root="hdfs://nn/a", staging={"root": "hdfs://nn/a/b"}, state={"database": "s.db"})
        c["metadata"]["cache_path"] = "cache"

    assert set(desk.refuse(edit)) == {"/runtime/staging/root"}


def test_a_catalog_may_be_in_postgresql(desk: Any) -> None:
    """By the name of a connection of the same file; the database is left out."""
    place = {"connection": "sales", "warehouse": "data/warehouse"}

    catalog = desk.load(lambda c: c["runtime"].update(intermediate=place)).runtime.catalog

    assert catalog.database is None
    assert catalog.connection.name == "sales"


def test_a_hadoop_catalog_lies_in_its_warehouse(desk: Any) -> None:
    """It has neither a database nor a connection."""
    place = {"catalog_type": "hadoop", "warehouse": "hdfs://nn/warehouse"}

    catalog = desk.load(lambda c: c["runtime"].update(intermediate=place)).runtime.catalog

    assert (catalog.database, catalog.connection) == (None, None)


@pytest.mark.parametrize(
    ("place", "at", "message"),
    [
        ({"warehouse": "w"}, "", "needs either 'database'"),
        ({"warehouse": "w", "database": "c.db", "connection": "sales"}, "", "both are given, leave one out"),
        ({"warehouse": "w", "connection": "sale"}, "/connection", "there is no such connection"),
        ({"warehouse": "w", "connection": "file"}, "/connection", "must be a postgresql connection"),
        ({"catalog_type": "hadoop", "warehouse": "w"}, "/warehouse", "loses acknowledged commits"),
        ({"catalog_type": "hadoop", "warehouse": "hdfs://nn/w", "database": "c.db"}, "/database", "leave it out"),
        ({"catalog_type": "hadoop", "warehouse": "hdfs://nn/w", "connection": "sales"}, "/connection", "leave it out"),
    ],
)
def test_catalogs_that_cannot_work_are_refused(desk: Any, place: dict[str, Any], at: str, message: str) -> None:
    """Nothing or too much to keep the tables' names in, and a Hadoop catalog on a disk without atomic renames."""

    def edit(c: dict[str, Any]) -> None:
        c["connections"]["file"] = {"dialect": "sqlite", "database": "x.db"}
        c["tables"] = [{**table, "connection": "sales"} for table in c["tables"]]
        c["runtime"]["intermediate"] = place

    found = desk.refuse(edit)

    assert message in found[f"/runtime/intermediate{at}"]


def test_roots_inside_one_another_are_refused(desk: Any) -> None:
    """Their contents would be mixed up, and cleaning one would empty another."""
    found = desk.refuse(lambda c: c["runtime"].update(final_root="data/raw/final", staging={"root": "data/raw"}))
    assert set(found) == {"/runtime/raw_root", "/runtime/final_root", "/runtime/staging/root"}


@pytest.mark.parametrize("url", ["webhdfs://namenode:9870/logs", "webhdfs://nn.example.com:9870/a/b"])
def test_the_outbox_may_be_on_webhdfs(desk: Any, url: str) -> None:
    """The URL is handed on as it is."""
    assert desk.load(lambda c: c["runtime"].update(hdfs_outbox_root=url)).runtime.hdfs_outbox_root == url


def test_the_outbox_may_be_a_directory(desk: Any) -> None:
    """A relative path is taken from the configuration file."""
    loaded = desk.load(lambda c: c["runtime"].update(hdfs_outbox_root="outbox"))
    assert loaded.runtime.hdfs_outbox_root == str(desk.directory / "outbox")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hdfs://namenode:8020/logs", "use webhdfs://host:port/path"),
        ("ftp://host/logs", "must be a path or webhdfs"),
        ("webhdfs://namenode/logs", "must look like"),
        ("webhdfs://namenode:99999/logs", "must look like"),
        ("webhdfs://[broken:1/logs", "must look like"),
        ("webhdfs://me:hunter2@namenode:9870/logs", "neither a user"),
        ("webhdfs://namenode:9870/logs?delegation=hunter2", "neither a user"),
    ],
)
def test_other_outbox_urls_are_refused(desk: Any, url: str, message: str) -> None:
    """The outbox is written without a JVM, so hdfs:// is out of its reach; credentials do not belong into a URL."""
    found = desk.refuse(lambda c: c["runtime"].update(hdfs_outbox_root=url))
    assert message in found["/runtime/hdfs_outbox_root"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "key",
    [
        "spark.sql.catalog.lake",
        "spark.sql.catalog.lake.uri",
        "spark.sql.extensions",
        "spark.sql.session.timeZone",
        "spark.sql.ansi.enabled",
        "spark.jars",
        "spark.jars.packages",
        "spark.driver.extraClassPath",
        "spark.redaction.regex",
        "SPARK.SQL.EXTENSIONS",
    ],
)
def test_spark_settings_that_the_runtime_owns_are_refused(desk: Any, key: str) -> None:
    """Changing them would break the catalog, the time zone or the redaction of secrets."""
    found = desk.refuse(lambda c: c["runtime"].update(spark={"conf": {key: "x"}}))
    assert found.keys() <= {f"/runtime/spark/conf/{key}", "/runtime/spark/conf"}


@pytest.mark.parametrize(
    ("spark", "pointer"),
    [
        ({"conf": {"spark.master": "local"}}, "/runtime/spark/conf/spark.master"),
        ({"conf": {"spark.driver.memory": "1g"}}, "/runtime/spark/conf/spark.driver.memory"),
        ({"conf": {"spark.hadoop.fs.s3a.secret.key": "hunter2"}}, "/runtime/spark/conf/spark.hadoop.fs.s3a.secret.key"),
        ({"conf": {"sql.shuffle": "1"}}, "/runtime/spark/conf"),
        ({"conf": {"spark.x": 1}}, "/runtime/spark/conf/spark.x"),
        ({"conf": {"spark.x": "a\nb"}}, "/runtime/spark/conf/spark.x"),
        ({"master": "localhost"}, "/runtime/spark/master"),
        ({"driver_memory": "lots"}, "/runtime/spark/driver_memory"),
    ],
)
def test_spark_settings_in_the_wrong_place_are_refused(desk: Any, spark: object, pointer: str) -> None:
    """Keys with a field of their own, secrets, and values that Spark would not understand."""
    found = desk.refuse(lambda c: c["runtime"].update(spark=spark))
    assert set(found) == {pointer}
    assert "hunter2" not in str(found)


def test_further_spark_settings_are_handed_on(desk: Any) -> None:
    """Whatever the runtime does not own may be set."""
    loaded = desk.load(lambda c: c["runtime"].update(spark={"conf": {"spark.sql.shuffle.partitions": "8"}}))
    assert loaded.runtime.spark.conf == (("spark.sql.shuffle.partitions", "8"),)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../UTC", "/etc/localtime", "Europe", "a\0b", "CET+1", "x" * 5000])
def test_unknown_time_zones_are_refused(desk: Any, zone: str) -> None:
    """Only names of the IANA database count."""
    found = desk.refuse(lambda c: c["runtime"].update(timezone=zone))
    assert "IANA" in found["/runtime/timezone"]


@pytest.mark.parametrize(
    ("pattern", "accepted"),
    [
        ("{schema}.{table}", True),
        ("sales.{schema}__{table}", True),
        ("{table}", False),
        ("lake.{schema}", False),
        ("a.b.{table}", False),
        ("{name}.{table}", False),
        ("{schema.__class__}.{table}", False),
        ("a b.{table}", False),
    ],
)
def test_a_table_pattern_is_namespace_and_table(desk: Any, pattern: str, accepted: bool) -> None:
    """Two parts, only the two placeholders, and the table in it."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"]["intermediate"]["table_pattern"] = pattern

    if accepted:
        assert desk.load(edit).runtime.catalog.name_pattern == pattern
    else:
        assert "/runtime/intermediate/table_pattern" in desk.refuse(edit)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("job_name", "a/b"),
        ("max_parallel_tables", 0),
        ("max_parallel_tables", True),
        ("max_parallel_tables", 2.0),
        ("max_parallel_tables", 10**30),
        ("write_format", "orc"),
        ("compression", "lzo"),
        ("finalize_full_refresh", "true"),
        ("state_flush_every", 0),
        ("state_flush_age_seconds", None),
        ("scd1_slicing", {"max_count": 0}),
        ("logging", {"level": "loud"}),
        ("intermediate", {"database": "c.db", "warehouse": "w", "name": "spark_catalog"}),
        ("intermediate", {"database": "c.db", "warehouse": "w", "name": "my lake"}),
        ("intermediate", {"database": "c.db"}),
        ("intermediate", 5),
        ("staging", []),
    ],
)
def test_values_of_the_wrong_type_or_size_are_refused(desk: Any, key: str, value: object) -> None:
    """Nothing is converted silently: "true" is not true, 2.0 is not 2."""
    found = desk.refuse(lambda c: c["runtime"].update({key: value}))
    assert all(pointer.startswith(f"/runtime/{key}") for pointer in found)
