"""Partition values computed over columns are those that Iceberg computes value by value, and rows are split by them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.transforms import parse_transform

from ingestion_runtime.endpoints.iceberg.growth import iceberg_types
from ingestion_runtime.endpoints.iceberg.partitions import partition_key, splitter, stored_values
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.spec import PartitionField

KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    # Truncating the smallest integers leaves their range, and Iceberg's libraries differ in what that gives.
    pa.int32(): st.integers(-(2**31) + 1000, 2**31 - 1),
    pa.int64(): st.integers(-(2**63) + 1000, 2**63 - 1),
    pa.string(): st.text(max_size=6),
    pa.binary(): st.binary(max_size=6),
    pa.decimal128(38, 2): st.integers(-(10**37), 10**37).map(lambda digits: Decimal(digits).scaleb(-2)),
    pa.decimal128(7, 0): st.integers(-9_999_000, 9_999_999).map(Decimal),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes().map(lambda at: at.replace(tzinfo=UTC)),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(allow_nan=False).filter(lambda number: number != 0),
}
TRANSFORMS = [
    ("identity", None),
    ("year", None),
    ("month", None),
    ("day", None),
    ("bucket", 1),
    ("bucket", 16),
    ("truncate", 1),
    ("truncate", 7),
]
CASES = [
    (kind, PartitionField("c", transform, width))
    for kind in KINDS
    for transform, width in TRANSFORMS
    if parse_transform(transform if width is None else f"{transform}[{width}]").can_transform(
        iceberg_types(pa.schema([("c", kind)]))["c"]
    )
]


@st.composite
def columns(draw: st.DrawFn) -> tuple[PartitionField, pa.Array]:
    """Return a field and a column that it may partition."""
    kind, field = draw(st.sampled_from(CASES))
    return field, pa.array(draw(st.lists(st.none() | KINDS[kind], min_size=1, max_size=20)), kind)


@given(columns())
def test_every_row_lies_in_the_partition_that_iceberg_computes(drawn: tuple[PartitionField, pa.Array]) -> None:
    """All rows come out once, each part under one key, and the key's stored form is the transform of each of its values."""
    field, column = drawn
    batch = pa.record_batch({"c": column, "place": pa.array(range(len(column)))})
    split = splitter((field,), batch.schema)
    assert split is not None
    width = "" if field.width is None else f"[{field.width}]"
    transform = parse_transform(f"{field.transform}{width}").transform(iceberg_types(batch.schema)["c"])

    parts = list(split(batch))

    keys = [key for key, _ in parts]
    assert len(set(keys)) == len(keys)
    assert sorted(place for _, rows in parts for place in rows.column("place").to_pylist()) == list(range(len(column)))
    for key, rows in parts:
        assert isinstance(key, tuple)
        (stored,) = stored_values((field,), batch.schema, key)
        assert {stored} == {as_stored(transform(as_stored(value))) for value in rows.column("c").to_pylist()}
        assert partition_key((field,), rows) == key


def as_stored(value: Any) -> Any:
    """Return a value as Iceberg's transforms take it and partitions store it."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return (value - date(1970, 1, 1)).days if isinstance(value, date) else value


def test_nan_is_one_partition_and_the_zeros_are_two() -> None:
    """A reader takes the partition's value for that of its rows: it must be exactly that."""
    field = PartitionField("c", "identity")
    batch = pa.record_batch({"c": [float("nan"), 0.0, -0.0, float("nan"), None]})
    split = splitter((field,), batch.schema)
    assert split is not None

    stored = [repr(stored_values((field,), batch.schema, key)[0]) for key, _ in split(batch) if isinstance(key, tuple)]

    assert sorted(stored) == ["-0.0", "0.0", "None", "nan"]


def test_several_fields_together_tell_partitions_apart() -> None:
    """Each combination of values is a partition; a part of many fields is told by all of them."""
    fields = (PartitionField("a", "identity"), PartitionField("b", "bucket", 2), PartitionField("a", "truncate", 1))
    batch = pa.record_batch({"a": ["x", "xy", "x", None], "b": [1, 1, 1, None]})
    split = splitter(fields, batch.schema)
    assert split is not None

    parts = {key: rows.num_rows for key, rows in split(batch)}

    assert parts == {("x", 0, "x"): 2, ("xy", 0, "x"): 1, (None, None, None): 1}
    assert partition_key(fields, batch) is None


def test_a_column_of_few_values_may_come_as_a_dictionary() -> None:
    """The values decide, not how they are held."""
    kept = pa.array([date(2026, 6, 1), None, date(2026, 6, 1)]).dictionary_encode()
    split = splitter((PartitionField("c", "day"),), pa.schema([("c", kept.type)]))
    assert split is not None

    assert {key: rows.num_rows for key, rows in split(pa.record_batch({"c": kept}))} == {(20605,): 2, (None,): 1}


def test_a_column_that_cannot_be_partitioned_like_this_is_refused() -> None:
    """A missing column, and a type that the transform does not know, are named with what to do."""
    schema = pa.schema([("c", pa.bool_())])

    with pytest.raises(TerminalError, match="partition column d"):
        splitter((PartitionField("d", "identity"),), schema)
    with pytest.raises(ConfigError, match=r"bool, which Iceberg's transform bucket\[2\] does not know"):
        splitter((PartitionField("c", "bucket", 2),), schema)


def test_a_truncated_decimal_that_its_type_does_not_hold_is_refused_with_the_value() -> None:
    """The next multiple below the smallest number has one digit more."""
    smallest = Decimal("-9.9")
    batch = pa.record_batch({"c": pa.array([smallest], pa.decimal128(2, 1))})
    split = splitter((PartitionField("c", "truncate", 10),), batch.schema)
    assert split is not None

    with pytest.raises(TerminalError, match=r"-9\.9"):
        list(split(batch))
