"""What a table may say."""

from typing import Any

import pytest

from ingestion_runtime.model.spec import Deletes, PartitionField, PartitionRead


def change(**values: object) -> Any:
    return lambda c: c["tables"][0].update(values)


def change_full(**values: object) -> Any:
    return lambda c: c["tables"][1].update(values)


@pytest.mark.parametrize("key", ["primary_keys", "incremental_column", "incr_col_type"])
def test_scd1_needs_key_cursor_and_its_type(desk: Any, key: str) -> None:
    """Without them nothing can be merged."""
    found = desk.refuse(lambda c: c["tables"][0].pop(key))
    assert found == {f"/tables/0/{key}": f"mode 'scd1' needs '{key}'"}


def test_scd1_needs_iceberg(desk: Any) -> None:
    """A directory of Parquet files cannot be merged into."""
    assert set(desk.refuse(change(sink="parquet"))) == {"/tables/0/sink"}


def test_iceberg_needs_a_catalog(desk: Any) -> None:
    """Every table with that sink says so, and only those."""

    def edit(c: dict[str, Any]) -> None:
        del c["runtime"]["intermediate"]
        c["tables"].append({"schema": "s", "table": "t", "mode": "full", "sink": "parquet"})

    assert set(desk.refuse(edit)) == {"/tables/0/sink", "/tables/1/sink"}


def test_a_broken_catalog_is_not_a_missing_one(desk: Any) -> None:
    """One mistake, one message."""
    assert set(desk.refuse(lambda c: c["runtime"].update(intermediate=[]))) == {"/runtime/intermediate"}


def test_the_same_table_twice_is_refused_whatever_its_letter_case(desk: Any) -> None:
    """Both would own the same folders and the same receipt."""
    found = desk.refuse(change_full(schema="PUBLIC", table="Orders"))
    assert "same schema and table as /tables/0" in found["/tables/1"]


def test_two_tables_with_one_iceberg_name_are_refused(desk: Any) -> None:
    """A pattern that drops the schema makes them meet."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"]["intermediate"]["table_pattern"] = "lake.{table}"
        c["tables"][1] |= {"schema": "other", "table": "ORDERS"}

    assert "same Iceberg name as /tables/0" in desk.refuse(edit)["/tables/1"]


def test_a_dot_in_a_name_is_refused_for_iceberg_only(desk: Any) -> None:
    """An Iceberg name has two parts; folders do not mind."""
    assert "namespace.table" in desk.refuse(change_full(table="a.b"))["/tables/1"]
    assert desk.load(change_full(table="a.b", sink="parquet")).tables[1].table == "a.b"


@pytest.mark.parametrize(
    "name",
    [".", "..", ".x", "_x", "a/b", "a\\b", "a=b", "a\0b", "a\nb", " a", "a ", "", "a:b", "a]b", "a%2f", "ü" * 101],
)
@pytest.mark.parametrize("key", ["schema", "table"])
def test_names_that_cannot_be_folders_are_refused(desk: Any, key: str, name: str) -> None:
    """Schema and table become folder names in raw, staging and the warehouse."""
    assert set(desk.refuse(change(**{key: name}))) == {f"/tables/0/{key}"}


@pytest.mark.parametrize("name", ["Orders", "order items", "bestellungen_ä", "2024", "o-x", "it's"])
def test_other_names_are_accepted(desk: Any, name: str) -> None:
    """Letter case, blanks inside and other scripts are kept."""
    assert desk.load(change(table=name)).tables[0].table == name


def test_a_key_named_twice_is_refused(desk: Any) -> None:
    """Letter case does not count."""
    assert set(desk.refuse(change(primary_keys=["a", "b", "A"]))) == {"/tables/0/primary_keys/2"}


def test_ingest_columns_are_neither_keys_nor_cursors(desk: Any) -> None:
    """They do not exist at the source."""
    found = desk.refuse(change(primary_keys=["_ingest_run_id"], incremental_column="_INGEST_LOADED_AT"))
    assert set(found) == {"/tables/0/primary_keys/0", "/tables/0/incremental_column"}


@pytest.mark.parametrize("name", ["a/b", "a=b", "..", "a\0", "", " "])
def test_a_cursor_that_cannot_be_part_of_a_folder_is_refused(desk: Any, name: str) -> None:
    """Its name is part of the staging path."""
    assert set(desk.refuse(change(incremental_column=name))) == {"/tables/0/incremental_column"}


@pytest.mark.parametrize(
    ("kind", "text", "canonical"),
    [
        ("timestamp", "2024-02-29", "2024-02-29 00:00:00.000000"),
        ("timestamp", "2024-01-31T23:59", "2024-01-31 23:59:00.000000"),
        ("timestamp", "2024-01-31 23:59:01.5", "2024-01-31 23:59:01.500000"),
        ("date", "2024-01-31", "2024-01-31"),
        ("epoch_millis", 1700000000000, "1700000000000"),
        ("int", "007", "7"),
        ("int", -5, "-5"),
        ("text", "Ä x", "Ä x"),
    ],
)
def test_an_initial_watermark_is_kept_in_canonical_spelling(desk: Any, kind: str, text: object, canonical: str) -> None:
    """Whatever was written, comparisons see one spelling."""
    values = {"incr_col_type": kind, "initial_watermark": text}
    watermark = desk.load(change(**values)).tables[0].initial_watermark
    assert watermark is not None
    assert (watermark.type, watermark.literal) == (kind, canonical)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("timestamp", "2024-13-01"),
        ("timestamp", "2024-01-01 00:00:00+02:00"),
        ("timestamp", "2024-01-01 00:00:00Z"),
        ("timestamp", "2024-W01-1"),
        ("timestamp", "yesterday"),
        ("timestamp", ""),
        ("date", "2023-02-29"),
        ("date", "2024-01-01 00:00:00"),
        ("epoch_seconds", "1.5"),
        ("int", "9223372036854775808"),
        ("int", "1_000"),
        ("int", "٣"),
        ("text", "a\0"),
        ("int", 1.5),
        ("int", True),
    ],
)
def test_an_initial_watermark_that_its_type_does_not_know_is_refused(desk: Any, kind: str, text: object) -> None:
    """Offsets are refused: which clock a timestamp follows is the column's business."""
    found = desk.refuse(change(incr_col_type=kind, initial_watermark=text))
    assert set(found) == {"/tables/0/initial_watermark"}


def test_an_initial_watermark_needs_a_type(desk: Any) -> None:
    """Else nobody could read it."""
    assert set(desk.refuse(change_full(initial_watermark="0"))) == {"/tables/1/initial_watermark"}


def test_a_lag_is_not_negative_and_has_no_meaning_for_cursors_that_are_no_clock(desk: Any) -> None:
    """A text cursor is never computed with."""
    assert desk.load(change(lag_seconds=0)).tables[0].lag_seconds == 0
    assert set(desk.refuse(change(lag_seconds=-1))) == {"/tables/0/lag_seconds"}
    for kind in ("text", "int"):
        assert set(desk.refuse(change(lag_seconds=60, incr_col_type=kind))) == {"/tables/0/lag_seconds"}


def test_an_int_cursor_has_a_lag_of_its_own(desk: Any) -> None:
    """In the cursor's own units; a clock's lag is in seconds."""
    assert desk.load(change(incr_col_type="int", lag=1000)).tables[0].lag == 1000
    assert set(desk.refuse(change(incr_col_type="int", lag=-1))) == {"/tables/0/lag"}
    for kind in ("timestamp", "epoch_seconds", "text"):
        assert set(desk.refuse(change(incr_col_type=kind, lag=1))) == {"/tables/0/lag"}


def test_a_zone_belongs_to_a_cursor_that_is_a_wall_clock(desk: Any) -> None:
    """And has to exist."""
    for kind in ("timestamp", "date"):
        assert desk.load(change(incr_col_type=kind, cursor_timezone="Europe/Berlin")).tables[0].cursor_timezone
    for kind in ("epoch_millis", "int", "text"):
        assert set(desk.refuse(change(incr_col_type=kind, cursor_timezone="UTC"))) == {"/tables/0/cursor_timezone"}
    found = desk.refuse(change(cursor_timezone="Europe/Berlni"))
    assert "Europe/Berlin" in found["/tables/0/cursor_timezone"]


def test_a_table_takes_its_connections_horizon_unless_it_has_its_own(desk: Any) -> None:
    """Strict where neither says anything."""

    def of_connection(policy: str, **table: object) -> Any:
        def edit(c: dict[str, Any]) -> None:
            for connection in c["connections"].values():
                connection["horizon"] = policy
            c["tables"][0].update(table)

        return edit

    assert desk.load().tables[0].horizon == "strict"
    assert desk.load(of_connection("off")).tables[0].horizon == "off"
    assert desk.load(of_connection("off", horizon="strict")).tables[0].horizon == "strict"
    assert set(desk.refuse(change(horizon="none"))) == {"/tables/0/horizon"}


def test_a_horizon_covered_by_a_lag_needs_a_cursor_that_can_have_one(desk: Any) -> None:
    """A text has none, and an int cursor has to name it."""
    assert set(desk.refuse(change(horizon="lag", incr_col_type="text"))) == {"/tables/0/horizon"}
    assert set(desk.refuse(change(horizon="lag", incr_col_type="int"))) == {"/tables/0/horizon"}
    assert desk.load(change(horizon="lag", incr_col_type="int", lag=1)).tables[0].horizon == "lag"


def test_a_merge_filter_needs_a_merge(desk: Any) -> None:
    """A full refresh replaces; it would be ignored silently."""
    found = desk.refuse(change_full(intermediate={"merge_filter": "a = 1"}))
    assert set(found) == {"/tables/1/intermediate/merge_filter"}


@pytest.mark.parametrize(
    ("text", "transform", "width"),
    [
        ("identity", "identity", None),
        ("year", "year", None),
        ("months", "month", None),
        ("days", "day", None),
        ("bucket:16", "bucket", 16),
        ("truncate:10", "truncate", 10),
    ],
)
def test_partition_transforms(desk: Any, text: str, transform: str, width: int | None) -> None:
    """Singular and plural are the same; bucket and truncate carry a width."""
    loaded = desk.load(change(intermediate={"partition": [{"column": "c", "transform": text}]}))
    assert loaded.tables[0].partition == (PartitionField("c", transform, width),)


@pytest.mark.parametrize("text", ["hour", "bucket", "bucket:0", "bucket:-1", "bucket:x", "month:2", "truncate(4)", ""])
def test_other_transforms_are_refused(desk: Any, text: str) -> None:
    """The message lists those that exist."""
    found = desk.refuse(change(intermediate={"partition": [{"column": "c", "transform": text}]}))
    assert set(found) == {"/tables/0/intermediate/partition/0/transform"}


def test_partitioning_twice_by_the_same_time_is_refused(desk: Any) -> None:
    """Iceberg refuses year and month of one column."""
    fields = [{"column": "d", "transform": "year"}, {"column": "D", "transform": "month"}]
    assert set(desk.refuse(change(intermediate={"partition": fields}))) == {"/tables/0/intermediate/partition/1"}


def test_partitions_need_iceberg(desk: Any) -> None:
    """The parquet sink has none."""
    found = desk.refuse(change_full(sink="parquet", intermediate={"partition": [{"column": "c"}]}))
    assert set(found) == {"/tables/1/intermediate/partition"}


def test_a_partitioned_read_keeps_its_bounds_as_text(desk: Any) -> None:
    """Numbers, dates and timestamps alike."""
    read = {"partitionColumn": "id", "lowerBound": 1, "upperBound": "900", "numPartitions": 4}
    assert desk.load(change(partition_read=read)).tables[0].partition_read == PartitionRead("id", "1", "900", 4)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lowerBound", 900), ("lowerBound", ""), ("upperBound", []), ("numPartitions", 0), ("partitionColumn", "")],
)
def test_a_partitioned_read_that_cannot_work_is_refused(desk: Any, key: str, value: object) -> None:
    """Empty ranges, no partitions, no column."""
    read = {"partitionColumn": "id", "lowerBound": 1, "upperBound": 900, "numPartitions": 4} | {key: value}
    assert set(desk.refuse(change(partition_read=read))) == {f"/tables/0/partition_read/{key}"}


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"source_filter": "1 = 1; DROP TABLE x"}, "/source_filter"),
        ({"source_filter": ["a = 1", "b = 1 --"]}, "/source_filter/1"),
        ({"source_filter": []}, "/source_filter"),
        ({"source_filter": ["a", 1]}, "/source_filter"),
        ({"query_sql": "DELETE FROM orders"}, "/query_sql"),
        ({"intermediate": {"merge_filter": "a IN (SELECT 1)"}}, "/intermediate/merge_filter"),
    ],
)
def test_sql_that_the_guard_refuses_is_told_at_its_place(desk: Any, values: dict[str, object], pointer: str) -> None:
    """Each text by itself."""
    assert set(desk.refuse(change(**values))) == {f"/tables/0{pointer}"}


def test_a_filter_is_judged_in_the_dialect_of_its_connection(desk: Any) -> None:
    """GLOB and [brackets] are SQLite's; ~ is PostgreSQL's."""
    assert desk.load(change(source_filter="a ~ '^x'")).tables[0].source_filter == "a ~ '^x'"

    def sqlite(c: dict[str, Any]) -> None:
        c["connections"]["sales"] = {"dialect": "sqlite", "database": "x.db"}
        c["tables"][0]["source_filter"] = "[my column] GLOB 'x*'"

    assert desk.load(sqlite).tables[0].source_filter == "[my column] GLOB 'x*'"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sink", "delta"),
        ("null_keys", "drop"),
        ("null_cursor", "x"),
        ("fetch_size", 0),
        ("primary_keys", "a"),
        ("mode", None),
    ],
)
def test_wrong_values_are_refused_at_their_key(desk: Any, key: str, value: object) -> None:
    """One message at one place."""
    assert set(desk.refuse(change(**{key: value}))) == {f"/tables/0/{key}"}


def test_deletes_are_ignored_unless_asked_for(desk: Any) -> None:
    """And a tenth of the rows is the most that may go in one batch."""
    table = desk.load().tables[0]
    assert (table.deletes, table.max_delete_fraction) == (Deletes.IGNORE, 0.1)
    table = desk.load(change(deletes="soft", max_delete_fraction=0)).tables[0]
    assert (table.deletes, table.max_delete_fraction) == (Deletes.SOFT, 0)


def test_deletes_belong_to_merged_tables(desk: Any) -> None:
    """A full refresh replaces the whole table, deleted rows included."""
    assert "mode 'full'" in desk.refuse(change_full(deletes="hard"))["/tables/1/deletes"]


def test_a_fraction_of_deletes_needs_deletes(desk: Any) -> None:
    """It would look like a guard and be none."""
    assert set(desk.refuse(change(max_delete_fraction=0.5))) == {"/tables/0/max_delete_fraction"}
    assert set(desk.refuse(change(deletes="hard", max_delete_fraction=1.5))) == {"/tables/0/max_delete_fraction"}
    wrong = desk.refuse(change(deletes="hard", max_delete_fraction="0.5"))
    assert wrong == {"/tables/0/max_delete_fraction": "must be a number"}
