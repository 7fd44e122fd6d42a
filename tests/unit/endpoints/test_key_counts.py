"""Keys are counted alike with and without SQL, and as Spark compares them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints import key_counts
from ingestion_runtime.endpoints.iceberg.counts import Counts
from ingestion_runtime.endpoints.key_counts import count_keys
from ingestion_runtime.tools.local_sql import LocalSql

AT = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = {
    "integers": ["i"],
    "texts": ["s"],
    "bytes": ["b"],
    "decimals": ["d"],
    "days": ["day"],
    "instants": ["at"],
    "several": ["i", "s", "day"],
    "fractions": ["f"],
}
ROWS = pa.table(
    {
        "i": pa.array([1, 1, None, 2, 1], pa.int32()),
        "s": ["a", "a", "A", "a\x00", "a "],
        "b": [b"a", b"a", None, b"a\x00", b""],
        "d": pa.array([Decimal("1.0"), Decimal("1.00"), None, Decimal("-1"), Decimal(0)], pa.decimal128(38, 2)),
        "day": [date(1, 1, 1), date(1, 1, 1), None, date(9999, 12, 31), date(1970, 1, 1)],
        "at": pa.array([AT, AT, None, AT.replace(microsecond=1), AT.replace(year=1)], pa.timestamp("us", "UTC")),
        "f": [0.0, -0.0, None, float("nan"), float("nan")],
    }
)
EXPECTED = {"integers": Counts(5, 2, 1), "texts": Counts(5, 4, 0), "several": Counts(5, 3, 1), "fractions": Counts(5, 2, 1)}


@pytest.mark.parametrize("way", ["few", "at once", "in portions"])
@pytest.mark.parametrize("kind", KEYS)
def test_distinct_keys_and_rows_without_one(kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several files; a key with a NULL in it is none. NaN equals NaN and 0.0 equals -0.0."""
    paths = [str(tmp_path / "read=0" / "a.parquet"), str(tmp_path / "read=1" / "b.parquet")]
    for path, rows in zip(paths, (ROWS.slice(0, 1), ROWS.slice(1)), strict=True):
        Path(path).parent.mkdir()
        pq.write_table(rows, path)
    if way != "few":
        monkeypatch.setattr(key_counts, "_FEW_ROWS", 0)
    if way == "in portions":
        monkeypatch.setattr(key_counts, "_GROUP_BYTES", 64 * 2**20)  # a portion for each row

    assert count_keys(LocalSql(64, str(tmp_path)), paths, KEYS[kind]) == EXPECTED.get(kind, Counts(5, 3, 1))


def test_without_a_key_every_row_is_one(tmp_path: Path) -> None:
    """Nothing is read but footers."""
    pq.write_table(ROWS, tmp_path / "a.parquet")

    assert count_keys(LocalSql(64, str(tmp_path)), [str(tmp_path / "a.parquet")], ()) == Counts(5, 5, 0)
    assert count_keys(LocalSql(64, str(tmp_path)), [], ["i"]) == Counts(0, 0, 0)


def test_more_keys_are_counted_than_fit_into_the_memory(tmp_path: Path) -> None:
    """Five million numbers, some of them twice, within 32 MiB: at once the table by which they are found takes more."""
    numbers = pa.array(range(4_500_000), pa.int64())
    pq.write_table(pa.table({"id": pa.concat_arrays([numbers, numbers.slice(0, 500_000)])}), tmp_path / "a.parquet")

    found = count_keys(LocalSql(32, str(tmp_path)), [str(tmp_path / "a.parquet")], ["id"])

    assert found == Counts(5_000_000, 4_500_000, 0)
