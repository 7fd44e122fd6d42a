"""Which columns are compared, and what is said of the others."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ingestion_runtime.model.privacy import Exclusion, Mask, MaskMethod, Privacy
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.reconciliation.columns import Pairing, can_hold, pair_columns

TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("id",))


def pair(
    source: dict[str, pa.DataType],
    target: dict[str, pa.DataType],
    table: TableSpec = TABLE,
    former: dict[str, str] | None = None,
) -> Pairing:
    """Pair columns; ``former`` are names under which they were known before, by their present ones."""
    columns = tuple(
        ColumnSnapshot(name, str(kind), str(kind), nullable=True, former=(former[name],) if name in (former or {}) else ())
        for name, kind in source.items()
    )
    live = TableSnapshot("shop", "orders", columns, (), None, datetime.now(UTC))
    return pair_columns(table, pa.schema(list(source.items())), pa.schema(list(target.items())), live)


def left(pairing: Pairing) -> dict[str, str]:
    return {column.column: column.reason for column in pairing.left}


def test_columns_of_one_name_are_compared_as_the_target_spells_them() -> None:
    found = pair({"b": pa.float32(), "id": pa.int32()}, {"id": pa.int64(), "b": pa.float64(), "_ingest_run_id": pa.string()})
    assert [(c.source, c.target, c.kind) for c in found.basis.columns] == [
        ("id", "id", pa.int64()),
        ("b", "b", pa.float64()),
    ]
    assert [key.target for key in found.basis.keys] == ["id"]
    assert (found.left, found.keyless) == ((), None)


def test_a_column_that_only_one_side_has_is_named() -> None:
    found = pair({"id": pa.int64(), "new": pa.string()}, {"id": pa.int64(), "old": pa.string()})
    assert left(found) == {"old": "only in the target", "new": "only at the source"}
    assert found.why_not("NEW") == "only at the source"
    assert found.why_not("nobody") is None


def test_a_column_renamed_since_the_last_publish_is_compared_with_its_former_self() -> None:
    found = pair({"id": pa.int64(), "new": pa.string()}, {"id": pa.int64(), "old": pa.string()}, former={"new": "old"})
    assert [(c.source, c.target) for c in found.basis.columns] == [("id", "id"), ("new", "old")]
    assert found.find("new") == found.find("old")


def test_a_former_name_counts_only_where_the_present_one_is_free() -> None:
    """A column that has its new name in the target too is compared with that."""
    kinds = {"id": pa.int64(), "new": pa.string()}
    found = pair(kinds, {**kinds, "old": pa.string()}, former={"new": "old"})
    assert [(c.source, c.target) for c in found.basis.columns] == [("id", "id"), ("new", "new")]
    assert left(found) == {"old": "only in the target"}


def test_what_is_kept_out_of_the_lake_is_not_compared() -> None:
    privacy = Privacy((Exclusion("secret*"),), (Mask("name", MaskMethod.NULL),))
    columns = {"id": pa.int64(), "name": pa.string(), "secret_a": pa.string()}
    found = pair({"id": pa.int64()}, columns, replace(TABLE, privacy=privacy))
    assert left(found) == {
        "name": "masked: its values are not those of the source",
        "secret_a": "excluded: it is not read",
    }


def test_a_type_that_the_target_cannot_hold_is_not_compared() -> None:
    found = pair({"id": pa.int64(), "a": pa.string()}, {"id": pa.int64(), "a": pa.int64()})
    assert left(found) == {"a": "its type differs: string at the source, int64 in the target"}


def test_without_a_key_that_can_be_compared_there_is_no_key() -> None:
    columns = {"id": pa.int64(), "a": pa.string()}
    assert pair(columns, columns, replace(TABLE, primary_keys=())).keyless == "the table has no primary key"
    found = pair(columns, {"id": pa.int32(), "a": pa.string()})
    assert (found.basis.keys, found.keyless) == ((), "the key column id is not compared")


@pytest.mark.parametrize(
    ("target", "source", "holds"),
    [
        (pa.int64(), pa.int32(), True),
        (pa.int32(), pa.int64(), False),
        (pa.float64(), pa.float32(), True),
        (pa.float32(), pa.float64(), False),
        (pa.decimal128(12, 2), pa.decimal128(10, 2), True),
        (pa.decimal128(12, 4), pa.decimal128(10, 2), True),
        (pa.decimal128(11, 4), pa.decimal128(10, 2), False),
        (pa.decimal128(12, 2), pa.decimal128(12, 4), False),
        (pa.decimal128(10, 0), pa.int32(), True),
        (pa.decimal128(9, 0), pa.int32(), False),
        (pa.decimal128(19, 0), pa.int64(), True),
        (pa.large_string(), pa.string(), True),
        (pa.string(), pa.large_string(), True),
        (pa.timestamp("us", tz="UTC"), pa.timestamp("us"), False),
        (pa.timestamp("us"), pa.date32(), False),
        (pa.string(), pa.int64(), False),
        (pa.bool_(), pa.int32(), False),
    ],
    ids=str,
)
def test_a_type_holds_another_when_no_value_is_lost(target: pa.DataType, source: pa.DataType, holds: bool) -> None:
    assert can_hold(target, source) is holds
