"""Keys at a source, without a server: hashes as published spellings demand, and what is refused."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.jdbc.columns import RawColumn, SourceColumn
from ingestion_runtime.endpoints.jdbc.dialects import dialect_for
from ingestion_runtime.endpoints.jdbc.keys import count_buckets, in_buckets, read_buckets, refuse_unfit_keys
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.keys import KeyBucket
from ingestion_runtime.model.spec import TableSpec

TABLE = TableSpec("shop", "orders", "scd1", "source", primary_keys=("region", "number"), source_filter="number < 100")
SQLITE = dialect_for("sqlite")
COLUMNS = (
    SQLITE.column(RawColumn("region", "TEXT", "text", (), True)),
    SQLITE.column(RawColumn("number", "INTEGER", "int", (), True)),
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            "CREATE TABLE orders (region TEXT, number INTEGER);"
            "INSERT INTO orders VALUES ('ü', 1), ('', -7), ('north', 100), (NULL, 3), ('north', NULL);"
        )
    with closing(SQLITE.connect(ConnectionSpec("source", "sqlite", str(path)))) as connection:
        yield connection


def test_buckets_are_the_md5_of_the_documented_spelling(shop: sqlite3.Connection) -> None:
    """Text is led by its length, numbers are followed by a comma; NULL keys and filtered rows take no part."""
    expected: dict[str, KeyBucket] = {}
    for spelled in ("1:ü1,", "0:-7,"):
        digest = hashlib.md5(spelled.encode(), usedforsecurity=False).hexdigest()
        expected[digest[11:15]] = KeyBucket(1, int(digest[:11], 16))
    assert len(expected) == 2

    found = read_buckets(shop.execute(count_buckets(SQLITE, TABLE, COLUMNS)).fetchall())

    assert found == expected


def test_a_driver_without_hashes_reads_all_keys() -> None:
    """SQLite's JDBC driver has no hash function: no condition may name one."""
    condition = in_buckets(SQLITE, COLUMNS, ["00ff"])

    assert "md5" not in condition
    assert condition == "`region` IS NOT NULL AND `number` IS NOT NULL"


def test_few_buckets_are_named_and_many_are_not() -> None:
    """A list of a seventh of all buckets is the longest."""
    postgresql = dialect_for("postgresql")
    columns = (postgresql.column(RawColumn("id", "bigint", "int8", (), False)),)

    assert in_buckets(postgresql, columns, ["00ff", "0001"]).endswith("IN ('0001', '00ff')")
    assert in_buckets(postgresql, columns, [f"{n:04x}" for n in range(10_001)]) == '"id" IS NOT NULL'


def test_floating_point_keys_are_refused() -> None:
    """Two spellings of one double would be two keys: the column and the remedy are named."""
    column = SourceColumn("weight", "double precision", True, '"weight"', "DOUBLE", pa.float64())

    with pytest.raises(TerminalError, match="'weight' is double precision") as refused:
        refuse_unfit_keys([column], TABLE)

    assert '"deletes": "ignore"' in refused.value.remedy
