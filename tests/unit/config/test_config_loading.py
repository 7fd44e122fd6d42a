"""What a user gets from a configuration file, right or wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestion_runtime.config import load_configuration
from ingestion_runtime.model.cursor import CursorType
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import PartitionField, SinkFormat

REPOSITORY = Path(__file__).parents[3]


def test_the_demo_configuration_is_valid() -> None:
    """The demo's five tables load, with every path made absolute."""
    configuration = load_configuration(REPOSITORY / "conf" / "demo.json")
    modes = {table.name: table.mode for table in configuration.tables}
    assert modes == {
        "shop.customers": "scd1",
        "shop.orders": "scd1",
        "shop.order_items": "scd1",
        "shop.products": "full",
        "shop.stores": "full",
    }
    assert configuration.connection("shop").database == str(REPOSITORY / ".demo" / "shop.db")
    assert configuration.tables[1].partition == (PartitionField("order_date", "month"),)
    assert configuration.tables[2].incr_col_type is CursorType.EPOCH_SECONDS
    assert configuration.tables[4].sink is SinkFormat.PARQUET


def test_the_postgresql_example_is_valid_without_its_secret() -> None:
    """The example loads although its password is not set: secrets are resolved late."""
    configuration = load_configuration(REPOSITORY / "conf" / "postgresql.example.json")
    connection = configuration.connection("sales")
    assert str(connection.password) == "${env:SALES_DB_PASSWORD}"
    assert connection.tls.mode == "verify-full"
    assert {table.mode for table in configuration.tables} == {"full", "scd1"}


def test_what_is_left_out_gets_the_documented_defaults(desk: Any) -> None:
    """State, staging and metadata lie beside raw_root; the job has the file's name; there is one connection."""
    configuration = desk.load()
    runtime = configuration.runtime
    data = desk.directory / "data"
    assert runtime.job_name == "run"
    assert runtime.state_database == str(data / "state" / "state.db")
    assert runtime.staging.root == str(data / "staging")
    assert configuration.metadata.cache_path == str(data / "metadata")
    assert (runtime.max_parallel_tables, runtime.compression, runtime.finalize_full_refresh) == (4, "zstd", True)
    assert (runtime.staging.ttl_hours, runtime.state_flush_every, runtime.state_flush_age_seconds) == (72, 50, 120)
    assert (runtime.slicing.max_count, runtime.slicing.max_partitions) == (10_000_000, 24)
    assert runtime.catalog is not None
    assert (runtime.catalog.name, runtime.catalog.name_pattern) == ("lake", "{schema}.{table}")
    assert {table.connection for table in configuration.tables} == {"sales"}
    assert configuration.connection("sales").port == 5432
    assert configuration.metadata.policy == SchemaPolicy(dropped=OnChange.FAIL, renamed=OnChange.FAIL)


def test_relative_paths_start_at_the_file_not_at_the_working_directory(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file gives the same paths from wherever it is loaded, also by a relative --config."""
    before = desk.load()
    monkeypatch.chdir(tmp_path)
    again = load_configuration(Path("run.json"))
    assert again.runtime == before.runtime
    assert again.runtime.raw_root == str(tmp_path / "data" / "raw")
    assert again.path == tmp_path / "run.json"


def test_a_file_url_is_a_path(desk: Any) -> None:
    """file:///path means /path."""
    loaded = desk.load(lambda c: c["runtime"].update(raw_root="file:///lake/raw%20files"))
    assert loaded.runtime.raw_root == "/lake/raw files"


def test_several_filters_are_joined_each_in_parentheses(desk: Any) -> None:
    """A list of filters is one condition; a single string stays as it is."""
    loaded = desk.load(lambda c: c["tables"][0].update(source_filter=["a = 1 OR b = 2", "c"]))
    assert loaded.tables[0].source_filter == "(a = 1 OR b = 2) AND (c)"
    assert desk.load(lambda c: c["tables"][0].update(source_filter="a = 1")).tables[0].source_filter == "a = 1"


def test_every_problem_is_told_at_once(desk: Any) -> None:
    """Errors in one connection, section or table do not hide those in another, nor those of other keys beside them."""

    def spoil(c: dict[str, Any]) -> None:
        c["colour"] = "green"
        c["connections"]["sales"]["port"] = "5432"
        c["connections"]["sales"]["host"] = "reader@db"
        c["runtime"]["timezone"] = "Europe/Berlim"
        c["runtime"]["staging"] = {"ttl_hours": 0, "root": "~/staging"}
        c["metadata"] = {"ttl_hours": -1}
        c["tables"][0] |= {"primay_keys": ["x"], "mode": "sdc1", "source_filter": "a = 1;", "lag_seconds": "1"}
        c["tables"][1] |= {"table": "a/b", "fetch_size": 0}
        c["tables"].append({"schema": "public", "mode": "scd1"})
        c["tables"].append(7)

    found = desk.refuse(spoil)
    assert set(found) == {
        "/colour",
        "/connections/sales/port",
        "/connections/sales/host",
        "/runtime/timezone",
        "/runtime/staging/ttl_hours",
        "/runtime/staging/root",
        "/metadata/ttl_hours",
        "/tables/0/primay_keys",
        "/tables/0/mode",
        "/tables/0/source_filter",
        "/tables/0/lag_seconds",
        "/tables/1/table",
        "/tables/1/fetch_size",
        "/tables/2/table",
        "/tables/2/primary_keys",
        "/tables/2/incremental_column",
        "/tables/2/incr_col_type",
        "/tables/3",
    }
    assert found["/tables/0/primay_keys"] == "unknown key 'primay_keys'; did you mean 'primary_keys'?"
    assert found["/tables/0/mode"] == "must be 'full', 'scd1' or 'append'; did you mean 'scd1'?"
    assert found["/runtime/timezone"].endswith("; did you mean 'Europe/Berlin'?")


def test_problems_come_in_the_order_of_the_file(desk: Any) -> None:
    """Connections, then runtime, then the tables by number: also the eleventh after the second."""

    def spoil(c: dict[str, Any]) -> None:
        c["tables"] = [{"schema": "s", "table": f"t{n}", "mode": "full", "x": 1} for n in range(12)]
        c["runtime"]["x"] = 1
        c["connections"]["sales"]["x"] = 1

    expected = ["/connections/sales/x", "/runtime/x", *(f"/tables/{n}/x" for n in range(12))]
    assert list(desk.refuse(spoil)) == expected


def test_pointers_are_escaped(desk: Any) -> None:
    """'/' and '~' in a key are written ~1 and ~0."""
    found = desk.refuse_text(json.dumps({"a/b~c": 1}))
    assert "(file): holds an unknown key" in str(found)
    found = desk.refuse_text('{"connections": {}, "a/b~c": 1, "a/b~c": 2}')
    assert "/a~1b~0c: this key occurs twice" in str(found)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    """It names the file and ends with exit code 2."""
    with pytest.raises(ConfigError, match=r"nowhere\.json does not exist") as caught:
        load_configuration(tmp_path / "nowhere.json")
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="cannot be read"):
        load_configuration(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_configuration(Path("a\0b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "not JSON at line 2, column 6"),
        ("", "not JSON at line 1, column 1"),
        ("[]", "must hold one JSON object"),
        ('{"a": NaN}', "number that JSON does not know"),
        ('{"a": ' + "9" * 5000 + "}", "number that JSON does not know"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": "\\ud800"}', "surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ('{"runtime": {"timezone": "UTC", "timezone": "UTC"}}', "/runtime/timezone: this key occurs twice"),
        ("{}", "/tables: this key is required"),
        ('{"connections": [], "runtime": 1, "tables": {}, "metadata": []}', "/runtime: must be an object"),
        ('{"connections": {}, "runtime": {}, "tables": []}', "/tables: must be a list of at least one table"),
        ('{"$schema": 1}', "/$schema: must be a string"),
    ],
)
def test_text_that_is_no_configuration_is_explained(desk: Any, text: str | bytes, message: str) -> None:
    """Whatever the file holds, the answer is one error that says where to look."""
    assert message in str(desk.refuse_text(text))


def test_a_byte_order_mark_is_accepted(desk: Any) -> None:
    """Some editors write one."""
    desk.load()
    desk.path.write_bytes(b"\xef\xbb\xbf" + desk.path.read_bytes())
    assert load_configuration(desk.path).runtime.timezone == "UTC"


@pytest.mark.parametrize("key", ["raw_root", "final_root", "timezone"])
def test_required_keys_of_the_runtime_are_required(desk: Any, key: str) -> None:
    """Each is named at its own place."""
    assert desk.refuse(lambda c: c["runtime"].pop(key)) == {f"/runtime/{key}": "this key is required"}


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("", "metastore_uri"),
        ("runtime", "finalize_strategy"),
        ("table", "finalize_strategy"),
    ],
)
def test_parts_that_are_not_built_yet_are_told_apart_from_misspellings(desk: Any, section: str, key: str) -> None:
    """A key of the specification whose part is not built yet is refused as such."""

    def add(c: dict[str, Any]) -> None:
        {"": c, "runtime": c["runtime"], "table": c["tables"][0]}[section][key] = {}

    ((_, message),) = desk.refuse(add).items()
    assert message == f"'{key}' is not supported yet; leave it out"


@pytest.mark.parametrize("value", ["hive", "rest"])
def test_catalogs_that_are_not_built_yet_say_so(desk: Any, value: str) -> None:
    """Only SQL and Hadoop catalogs are supported."""
    found = desk.refuse(lambda c: c["runtime"]["intermediate"].update(catalog_type=value))
    message = f"catalog_type '{value}' is not supported yet; it must be 'sql' or 'hadoop'"
    assert found == {"/runtime/intermediate/catalog_type": message}
