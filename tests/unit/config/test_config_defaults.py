"""Defaults of the configuration and of its connections: which value a table gets, and where a wrong one is told."""

import copy
from typing import Any

import pytest

from ingestion_runtime.model.digest import reading, work_digest
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.spec import Deletes, TableSpec

CURSOR = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "updated_at", "incr_col_type": "timestamp"}


def common(**values: object) -> Any:
    """Two bare tables, one of which is full, with these defaults at the top."""

    def edit(c: dict[str, Any]) -> None:
        c["defaults"] = values
        c["tables"] = [{"schema": "s", "table": "a"}, {"schema": "s", "table": "b", "mode": "full"}]

    return edit


def of_connection(c: dict[str, Any], **values: object) -> None:
    c["connections"]["sales"]["defaults"] = values


def test_a_table_gets_what_it_does_not_say_itself(desk: Any) -> None:
    """From the defaults at the top; the mode too."""
    first, second = desk.load(common(**CURSOR, fetch_size=7)).tables
    assert (first.mode, first.primary_keys, first.incremental_column) == ("scd1", ("id",), "updated_at")
    assert [table.fetch_size for table in (first, second)] == [7, 7]


def test_what_stands_nearer_wins(desk: Any) -> None:
    """Table, then connection, then the top, then what is built in."""

    def edit(c: dict[str, Any]) -> None:
        common(mode="full", fetch_size=1, max_shrink_fraction=0.1)(c)
        of_connection(c, fetch_size=2, sink="parquet")
        c["tables"][1]["fetch_size"] = 3

    first, second = desk.load(edit).tables
    assert [(table.fetch_size, table.sink, table.max_shrink_fraction) for table in (first, second)] == [
        (2, "parquet", 0.1),
        (3, "parquet", 0.1),
    ]
    assert first.null_keys == "refuse"


def test_each_connection_has_its_own_defaults(desk: Any) -> None:
    """A table has those of the connection it names, or of the one that the defaults at the top name."""

    def edit(c: dict[str, Any]) -> None:
        common(mode="full", connection="crm")(c)
        c["connections"]["crm"] = copy.deepcopy(c["connections"]["sales"])
        of_connection(c, fetch_size=1)
        c["connections"]["crm"]["defaults"] = {"fetch_size": 2}
        c["tables"][1]["connection"] = "sales"

    assert [(table.connection, table.fetch_size) for table in desk.load(edit).tables] == [("crm", 2), ("sales", 1)]


def test_objects_are_merged_key_by_key_and_lists_replaced(desk: Any) -> None:
    """So that one key of a table's own does not lose the others."""

    def edit(c: dict[str, Any]) -> None:
        wished = {"amount": {"type": "decimal(9,2)"}, "rate": {"type": "double", "guardrail": "warn"}}
        split = {"partitionColumn": "id", "numPartitions": 4}
        partition = [{"column": "day", "transform": "day"}]
        common(columns=wished, partition_read=split, primary_keys=["id"], intermediate={"partition": partition})(c)
        own = {"columns": {"rate": {"type": "float"}}, "partition_read": {"numPartitions": 8}, "primary_keys": ["a", "b"]}
        c["tables"] = [{"schema": "s", "table": "t", **CURSOR, **own, "intermediate": {"merge_filter": "day > 1"}}]

    (table,) = desk.load(edit).tables
    assert [(wish.column, wish.type, wish.guardrail) for wish in table.guardrails.wishes] == [
        ("rate", "float", "warn"),
        ("amount", "decimal128(9, 2)", "fail"),
    ]
    assert table.partition_read is not None
    assert (table.partition_read.column, table.partition_read.partitions) == ("id", 8)
    assert (table.primary_keys, table.merge_filter) == (("a", "b"), "day > 1")
    assert [item.column for item in table.partition] == ["day"]


def test_null_takes_a_default_back(desk: Any) -> None:
    """At the table, and for all tables of a connection."""

    def edit(c: dict[str, Any]) -> None:
        common(mode="full", source_filter="a = 1", sink="parquet", max_shrink_fraction=0.1)(c)
        of_connection(c, max_shrink_fraction=None)
        c["tables"][1] |= {"source_filter": None, "sink": None}

    found = [(table.source_filter, table.sink, table.max_shrink_fraction) for table in desk.load(edit).tables]
    assert found == [("a = 1", "parquet", None), (None, "iceberg", None)]


def test_policies_are_built_up_in_layers(desk: Any) -> None:
    """A fine key below decides against a coarse one above, which in one object would be a contradiction."""

    def edit(c: dict[str, Any]) -> None:
        c["metadata"]["schema_policy"] = {"dropped": "evolve"}
        common(mode="full", schema_policy={"allow_new_columns": False})(c)
        of_connection(c, schema_policy={"renamed": "evolve"})
        c["tables"][1]["schema_policy"] = {"added": "ignore"}

    first, second = (table.policy for table in desk.load(edit).tables)
    assert (first.added, first.dropped, first.renamed) == (OnChange.FAIL, OnChange.EVOLVE, OnChange.EVOLVE)
    assert (second.added, second.dropped, second.renamed) == (OnChange.IGNORE, OnChange.EVOLVE, OnChange.EVOLVE)


@pytest.mark.parametrize(
    ("defaults", "own"),
    [
        (CURSOR | {"initial_watermark": "2024-01-01", "lag_seconds": 9, "null_cursor": "ignore"}, {"mode": "full"}),
        ({"deletes": "hard", "max_delete_fraction": 0.5, "horizon": "lag"}, {"mode": "full"}),
        ({"deletes": "hard", "max_delete_fraction": 0.5}, CURSOR | {"deletes": "ignore"}),
        ({"lag_seconds": 60, "cursor_timezone": "Europe/Berlin"}, CURSOR | {"incr_col_type": "text"}),
        ({"lag_seconds": 60, "cursor_timezone": "UTC"}, CURSOR | {"incr_col_type": "int"}),
        ({"lag": 60}, CURSOR),
        ({"intermediate": {"partition": [{"column": "day"}], "merge_filter": "a > 1"}}, {"mode": "full", "sink": "parquet"}),
        ({"intermediate": {"merge_filter": "a > 1"}}, {"mode": "full"}),
    ],
)
def test_a_default_without_a_meaning_is_left_out(desk: Any, defaults: dict[str, Any], own: dict[str, Any]) -> None:
    """The table is the one that it would be without it: so tables of several modes can share one set of defaults."""

    def table(**given: Any) -> TableSpec:
        def edit(c: dict[str, Any]) -> None:
            c["defaults"] = given
            c["tables"] = [{"schema": "s", "table": "t", **own}]

        (loaded,) = desk.load(edit).tables
        assert isinstance(loaded, TableSpec)
        return loaded

    kept = {key: value for key, value in defaults.items() if key == "primary_keys"}
    assert table(**defaults) == table(**kept)


def test_what_stands_in_the_table_itself_is_never_left_out(desk: Any) -> None:
    """There it is an error, as before."""

    def edit(c: dict[str, Any]) -> None:
        common(mode="full")(c)
        c["tables"][0]["deletes"] = "hard"

    assert set(desk.refuse(edit)) == {"/tables/0/deletes"}


def test_equal_settings_are_equal_wherever_they_are_written(desk: Any) -> None:
    """The digest of a table's work, and what it was read by, do not change when a setting moves into defaults."""

    def written_out(c: dict[str, Any]) -> None:
        c["tables"] = [{"schema": "s", "table": "t", **CURSOR, "deletes": "soft", "source_filter": "a = 1"}]

    def in_defaults(c: dict[str, Any]) -> None:
        c["defaults"] = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "updated_at"}
        of_connection(c, incr_col_type="timestamp", deletes="soft", source_filter="a = 1")
        c["tables"] = [{"schema": "s", "table": "t"}]

    first, second = desk.load(written_out), desk.load(in_defaults)
    ((one,), (other,)) = first.tables, second.tables
    connection = first.connection("sales")
    assert one == other
    assert work_digest(one, connection) == work_digest(other, second.connection("sales"))
    assert reading(one, connection) == reading(other, second.connection("sales"))


def test_the_digest_of_a_table_without_defaults_is_what_it_was(desk: Any) -> None:
    """A batch that the version before defaults left open is gone on with: the digests are those that it wrote."""
    configuration = desk.load()
    connection = configuration.connection("sales")
    digests = [work_digest(table, connection) for table in configuration.tables]
    assert digests == ["d029d28172265caa", "a1c28d0401b8fadc"]


def test_the_shrink_guard_is_not_in_the_digest(desk: Any) -> None:
    """It decides whether what was staged is published, not what is staged."""
    configuration = desk.load(lambda c: c["tables"][0].update(max_shrink_fraction=0.5))
    guarded, connection = configuration.tables[0], configuration.connection("sales")
    assert guarded.max_shrink_fraction == 0.5
    assert work_digest(guarded, connection) == work_digest(desk.load().tables[0], connection)


def test_a_wrong_default_is_told_once_and_where_it_stands(desk: Any) -> None:
    """Not once for each of hundreds of tables."""

    def edit(c: dict[str, Any]) -> None:
        c["defaults"] = {"mode": "sdc1", "fetch_size": "7", "source_filter": "DROP TABLE x", "primary_keys": ["ID", "id"]}
        of_connection(c, incr_col_type="timestmp", connection="sales", schema="x")
        c["tables"] = [{"schema": "s", "table": f"t{n}"} for n in range(30)]

    found = desk.refuse(edit)
    assert "did you mean 'scd1'" in found["/defaults/mode"]
    assert found["/defaults/fetch_size"] == "must be a whole number"
    assert "(for /tables/0 and 29 more)" in found["/defaults/source_filter"]
    assert found["/defaults/primary_keys/1"].endswith("(for /tables/0 and 29 more)")
    assert "did you mean 'timestamp'" in found["/connections/sales/defaults/incr_col_type"]
    assert {key for key in found if key.startswith("/connections/sales/defaults/")} == {
        "/connections/sales/defaults/incr_col_type",
        "/connections/sales/defaults/connection",
        "/connections/sales/defaults/schema",
    }
    assert not [key for key in found if key.startswith("/tables")]


def test_a_default_that_one_table_cannot_have_names_the_table(desk: Any) -> None:
    """The value stands in the defaults, and the table is where to decide otherwise."""

    def edit(c: dict[str, Any]) -> None:
        c["defaults"] = {"horizon": "lag", "lag_seconds": 60}
        c["tables"] += [c["tables"][0] | {"table": "texts", "incr_col_type": "text"}]

    assert desk.refuse(edit) == {
        "/defaults/horizon": "a text cursor has no lag; use 'strict' or 'off' for this table (for /tables/2)"
    }


@pytest.mark.parametrize("wrong", [[], "x", 1, {"mode": {}}])
def test_defaults_that_are_none_are_told_and_nothing_else(desk: Any, wrong: object) -> None:
    """At the top and in a connection, each at its own place."""

    def edit(c: dict[str, Any]) -> None:
        c["defaults"] = wrong
        c["connections"]["sales"]["defaults"] = wrong

    assert all(key.startswith(("/defaults", "/connections/sales/defaults")) for key in desk.refuse(edit))


def test_a_mode_is_needed_from_somewhere(desk: Any) -> None:
    """From the table, or from defaults."""
    assert desk.refuse(lambda c: c["tables"][1].pop("mode")) == {
        "/tables/1/mode": "this key is required, here or in defaults"
    }


def test_a_default_for_deletes_reaches_the_tables_that_merge(desk: Any) -> None:
    """And its bound with it."""
    first, second = desk.load(common(**CURSOR, deletes="soft", max_delete_fraction=0.5)).tables
    assert (first.deletes, first.max_delete_fraction) == (Deletes.SOFT, 0.5)
    assert (second.deletes, second.max_delete_fraction) == (Deletes.IGNORE, 0.1)
