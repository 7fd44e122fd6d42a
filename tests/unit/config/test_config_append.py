"""What a table of mode append may say."""

from typing import Any

import pytest

from ingestion_runtime.model.spec import NullCursor

LOG: dict[str, Any] = {
    "schema": "web",
    "table": "visits",
    "mode": "append",
    "incremental_column": "at",
    "incr_col_type": "timestamp",
}


def with_log(**values: object) -> Any:
    return lambda c: c["tables"].append({key: value for key, value in {**LOG, **values}.items() if value is not None})


def test_append_takes_what_scd1_takes_but_for_the_key(desk: Any) -> None:
    """A lag, a first watermark, partitions and the policy for rows without a cursor mean what they mean elsewhere."""
    partition = {"partition": [{"column": "at", "transform": "day"}]}
    table = desk.load(
        with_log(lag_seconds=60, initial_watermark="2026-01-01", null_cursor="ignore", intermediate=partition)
    ).tables[2]
    assert (table.mode, table.primary_keys, table.lag_seconds) == ("append", (), 60)
    assert (table.null_cursor, len(table.partition)) == (NullCursor.IGNORE, 1)


@pytest.mark.parametrize(
    ("values", "pointer", "words"),
    [
        ({"incremental_column": None}, "incremental_column", "mode 'append' needs 'incremental_column'"),
        ({"incr_col_type": None}, "incr_col_type", "mode 'append' needs 'incr_col_type'"),
        ({"incr_col_type": "text"}, "incr_col_type", "a number, a date or a time"),
        ({"primary_keys": ["id"]}, "primary_keys", "knows no key; leave it out, or use 'scd1'"),
        ({"sink": "parquet"}, "sink", "mode 'append' needs the sink 'iceberg'"),
        ({"deletes": "soft"}, "deletes", "has no key by which a row could be found to be gone"),
        ({"intermediate": {"merge_filter": "at > 1"}}, "intermediate/merge_filter", "only mode 'scd1'"),
        ({"incr_col_type": "int", "horizon": "lag"}, "horizon", "needs the key 'lag' above 0"),
    ],
)
def test_what_append_cannot_have_is_refused(desk: Any, values: dict[str, Any], pointer: str, words: str) -> None:
    """Each by itself, with what to do."""
    found = desk.refuse(with_log(**values))
    assert set(found) == {f"/tables/2/{pointer}"}
    assert words in found[f"/tables/2/{pointer}"]
