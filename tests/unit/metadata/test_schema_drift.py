"""What changed, and what may."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ingestion_runtime.metadata.drift import (
    CaseChange,
    ColumnType,
    SchemaDifference,
    TypeChange,
    compare_schema,
    judge,
)
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import SchemaPolicy, TableSpec

TABLE = TableSpec(
    schema="shop", table="orders", mode="scd1", connection="c", primary_keys=("id",), incremental_column="changed"
)
STRICT = SchemaPolicy(allow_new_columns=False, allow_missing_columns=False, allow_type_changes=False)
LENIENT = SchemaPolicy(allow_new_columns=True, allow_missing_columns=True, allow_type_changes=True)


def snapshot(**columns: str) -> TableSnapshot:
    """Return a snapshot of these columns and landed types."""
    described = tuple(ColumnSnapshot(name, "native", landed, True) for name, landed in columns.items())
    return TableSnapshot("shop", "orders", described, ("id",), None, datetime(2024, 1, 1, tzinfo=UTC))


def test_equal_schemas_have_no_difference() -> None:
    """Order, nullability and ingest columns do not count."""
    live = pa.schema(
        [pa.field("b", pa.string(), nullable=False), ("a", pa.decimal128(10, 2)), ("_ingest_run_id", pa.string())]
    )
    difference = compare_schema(snapshot(a="decimal128(10, 2)", b="string", _ingest_slice="string"), live)
    assert difference == SchemaDifference()
    assert not difference


def test_every_kind_of_change_is_told_apart() -> None:
    """New, missing, retyped, and a change of case alone."""
    live = pa.schema([("id", pa.int64()), ("Amount", pa.int32()), ("when", pa.date32()), ("new", pa.bool_())])
    difference = compare_schema(snapshot(id="int32", amount="int32", when="date32[day]", gone="string"), live)
    assert difference == SchemaDifference(
        added=(ColumnType("new", "bool"),),
        missing=(ColumnType("gone", "string"),),
        retyped=(TypeChange("id", "int32", "int64"),),
        recased=(CaseChange("amount", "Amount"),),
    )


def test_two_columns_that_differ_in_case_are_two_columns() -> None:
    """Where both are there, one that goes is missing, not recased."""
    difference = compare_schema(snapshot(a="int32", A="int32"), pa.schema([("a", pa.int32())]))
    assert difference == SchemaDifference(missing=(ColumnType("A", "int32"),))


def test_an_allowed_missing_column_becomes_a_nullable_field() -> None:
    """With the type in which it landed before."""
    difference = SchemaDifference(missing=(ColumnType("price", "decimal128(10, 2)"),))
    verdict = judge(difference, LENIENT, TABLE)
    assert verdict.missing_allowed == (pa.field("price", pa.decimal128(10, 2), nullable=True),)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            SchemaDifference(missing=(ColumnType("price", "double"),)),
            ["missing: price (double)", "metadata.schema_policy.allow_missing_columns: true"],
        ),
        (
            SchemaDifference(added=(ColumnType("x", "bool"), ColumnType("y", "string"))),
            ["new: x (bool), y (string)", "metadata.schema_policy.allow_new_columns: true"],
        ),
        (
            SchemaDifference(retyped=(TypeChange("n", "int32", "string"),)),
            ["type changed: n (int32 -> string)", "metadata.schema_policy.allow_type_changes: true"],
        ),
    ],
)
def test_what_the_policy_forbids_is_refused(difference: SchemaDifference, words: list[str]) -> None:
    """The message names table, columns and types, and what to do; the lenient policy lets the same pass."""
    with pytest.raises(TerminalError, match=r"shop\.orders") as caught:
        judge(difference, STRICT, TABLE)
    assert all(word in str(caught.value) for word in words)
    judge(difference, LENIENT, TABLE)


def test_all_complaints_come_at_once() -> None:
    """One run is enough to learn everything."""
    difference = SchemaDifference(added=(ColumnType("x", "bool"),), missing=(ColumnType("y", "bool"),))
    with pytest.raises(TerminalError) as caught:
        judge(difference, STRICT, TABLE)
    assert caught.value.values["reasons"] == ("missing: y (bool)", "new: x (bool)")


@pytest.mark.parametrize("name", ["id", "changed"])
def test_a_key_or_cursor_is_never_allowed_to_be_missing(name: str) -> None:
    """NULL in its place could not be merged, or would end every incremental read."""
    with pytest.raises(TerminalError, match="missing key or incremental column"):
        judge(SchemaDifference(missing=(ColumnType(name, "int64"),)), LENIENT, TABLE)


def test_a_change_of_case_is_always_refused() -> None:
    """The target cannot hold the old column as NULL beside the new one."""
    with pytest.raises(TerminalError, match="renamed in case only: amount -> Amount"):
        judge(SchemaDifference(recased=(CaseChange("amount", "Amount"),)), LENIENT, TABLE)


def test_no_difference_passes_the_strictest_policy() -> None:
    """There is nothing to judge."""
    assert judge(SchemaDifference(), STRICT, TABLE).missing_allowed == ()
