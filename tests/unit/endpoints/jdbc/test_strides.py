"""Partition conditions: every row falls into exactly one, whatever the bounds."""

import sqlite3

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.strides import stride_conditions
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.spec import PartitionRead

POSTGRES = dialect_for("postgresql")


def column(kind: str, *arguments: int) -> SourceColumn:
    return POSTGRES.column(RawColumn("p", kind, kind, arguments, True))


def test_strides_cut_evenly_between_the_bounds() -> None:
    assert stride_conditions(POSTGRES, column("int8"), PartitionRead("p", "0", "100", 4)) == (
        "ingest_part < (25) OR ingest_part IS NULL",
        "ingest_part >= (25) AND ingest_part < (50)",
        "ingest_part >= (50) AND ingest_part < (75)",
        "ingest_part >= (75)",
    )


def test_dates_and_timestamps_are_cut_in_their_own_literals() -> None:
    day = PartitionRead("p", "2024-02-28", "2024-03-01", 2)
    assert stride_conditions(POSTGRES, column("date"), day)[1] == "ingest_part >= DATE '2024-02-29'"
    zoned = stride_conditions(POSTGRES, column("timestamptz"), day)
    assert zoned[1] == "ingest_part >= TIMESTAMPTZ '2024-02-29 00:00:00.000000+00'"
    plain = stride_conditions(POSTGRES, column("timestamp"), day)
    assert plain[1] == "ingest_part >= TIMESTAMP '2024-02-29 00:00:00.000000'"


def test_a_column_without_a_line_to_cut_is_refused() -> None:
    with pytest.raises(TerminalError, match="cannot split a read"):
        stride_conditions(POSTGRES, column("text"), PartitionRead("p", "1", "2", 2))


def test_bounds_that_are_no_values_of_the_column_are_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="'a; DROP TABLE t'"):
        stride_conditions(POSTGRES, column("int4"), PartitionRead("p", "a; DROP TABLE t", "2", 2))


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-50, 50))),
    low=st.integers(-60, 60),
    high=st.integers(-60, 60),
    partitions=st.integers(1, 9),
)
def test_every_row_falls_into_exactly_one_partition(values: list[int | None], low: int, high: int, partitions: int) -> None:
    whole = SourceColumn("p", "int", True, "p", "INT", pa.int32(), cursors=column("int4").cursors)
    conditions = stride_conditions(POSTGRES, whole, PartitionRead("p", str(low), str(high), partitions))
    assert len(conditions) <= partitions
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (ingest_part INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    counted = sum(connection.execute(f"SELECT count(*) FROM t WHERE {c}").fetchone()[0] for c in conditions)
    connection.close()
    assert counted == len(values)
