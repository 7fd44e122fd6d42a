"""DuckDB and Spark spell and hash every value that can land as the definition says, and answer alike about rows.

What they must say comes from ``tests/values/hashing.py``, in plain Python.
"""

import math
import random
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.comparing import LocalIcebergRows
from ingestion_runtime.endpoints.iceberg.spark_comparing import SparkIcebergRows
from ingestion_runtime.endpoints.spelling import spelled
from ingestion_runtime.model.comparison import (
    Basis,
    Checksum,
    ComparedColumn,
    ComparedRows,
    Grouping,
    KeyFaults,
    RowBucket,
    Stand,
    TargetRows,
)
from ingestion_runtime.model.spec import TableSpec
from tests.targets import IcebergPlace, local_tools
from tests.values.hashing import key_hash, row_hash, spell, totals

TABLE = TableSpec("shop", "every_type", "full", "source", primary_keys=("number", "name"))
ROWS = 600
DAY, LAST = date(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001 - a clock reading
TEXTS = (
    "",
    " ",
    "trailing  ",
    "NULL",
    "~",
    "3:abc",
    "a,b:c",
    'it\'s "quoted" `so`',
    "\t\n\r\\n",
    "é",
    "e\u0301",
    "\u212b\u00c5",
    "straße STRASSE \u017f",
    "🚲" * 40,
    "\U0010ffff\ufeff\u200b",
    "[red]mark-up[/red]",
    "\x01\x7f",
    "x" * 100_000,
    "日本" * 50_000,
)
DOUBLES = (
    0.0,
    -0.0,
    math.nan,
    struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0],
    math.inf,
    -math.inf,
    5e-324,
    -5e-324,
    sys.float_info.min,
    sys.float_info.max,
    -sys.float_info.max,
    0.1,
    1 / 3,
    1e22,
    1e23,
    2.0**53 + 2,
    2.2250738585072011e-308,
)
SINGLES = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.401298464324817e-45, 3.4028234663852886e38, 0.10000000149011612)
INSTANTS = (datetime(1, 1, 1), datetime(1582, 10, 10, 12), datetime(1969, 12, 31, 23, 59, 59, 999999), LAST)  # noqa: DTZ001
DAYS = (date(1, 1, 1), date(1582, 10, 4), date(1582, 10, 10), date(1582, 10, 15), date(1900, 2, 28), date.max)
NINES = "9" * 38


def any_double(source: random.Random) -> float:
    """Any pattern of bits, or what people write."""
    if source.random() < 0.5:
        return float(struct.unpack(">d", source.randbytes(8))[0])
    return round(source.uniform(-1e6, 1e6), source.randint(0, 6))


def any_single(source: random.Random) -> float:
    return float(struct.unpack(">f", source.randbytes(4))[0])


def any_moment(source: random.Random) -> datetime:
    return datetime(1, 1, 1) + source.random() * (LAST - datetime(1, 1, 1))  # noqa: DTZ001 - a clock reading


def any_text(source: random.Random) -> str:
    alphabet = "abc XYZ,:~'\"`é\u0301🚲\n"
    return "".join(source.choice(alphabet) for _ in range(source.randint(0, 30)))


def exact(source: random.Random, precision: int, scale: int) -> Decimal:
    return Decimal(source.randint(1 - 10**precision, 10**precision - 1)).scaleb(-scale)


def columns() -> pa.Table:
    """Every type that lands, with its edges first and NULLs among the rest; the key's columns are among them.

    Some are called like what the engines' queries call their own columns.
    """
    source = random.Random(20260701)  # noqa: S311 - a sample, no secret
    made = {
        "number": (pa.int32(), [-(2**31), 2**31 - 1, 0, -1], lambda: source.randint(-(2**31), 2**31 - 1)),
        "name": (pa.string(), list(TEXTS), lambda: any_text(source)),
        "flag": (pa.bool_(), [True, False], lambda: source.random() < 0.5),
        "digest": (pa.int64(), [-(2**63), 2**63 - 1, 0], lambda: source.randint(-(2**63), 2**63 - 1)),
        "ingest_name": (pa.float32(), list(SINGLES), lambda: any_single(source)),
        "ingest_key_hash": (pa.float64(), list(DOUBLES), lambda: any_double(source)),
        "bucket": (pa.decimal128(9, 2), _decimals("0", "-0.01", "9999999.99", ".5"), lambda: exact(source, 9, 2)),
        "one": (pa.decimal128(38, 0), _decimals(NINES, f"-{NINES}", "0"), lambda: exact(source, 38, 0)),
        "k0": (pa.decimal128(38, 38), _decimals(f"0.{NINES}", "-0.5", f"1e-{38}"), lambda: exact(source, 38, 38)),
        "c0": (pa.decimal128(20, 10), _decimals("0", "-0.0000000001", "1e-10"), lambda: exact(source, 20, 10)),
        "h0": (pa.binary(), [b"", b"\x00\xff", b"\x00" * 3, "é".encode()], lambda: source.randbytes(9)),
        "day": (pa.date32(), list(DAYS), lambda: DAY + timedelta(source.randint(-700_000, 2_900_000))),
        "local": (pa.timestamp("us"), list(INSTANTS), lambda: any_moment(source)),
        "zoned": (
            pa.timestamp("us", tz="UTC"),
            [moment.replace(tzinfo=UTC) for moment in INSTANTS],
            lambda: any_moment(source).replace(tzinfo=UTC),
        ),
        'odd "name` of, a [red]column': (pa.string(), ["x"], lambda: any_text(source)),
    }
    listed = {}
    for name, (kind, edges, more) in made.items():
        nulls = 0 if name in TABLE.primary_keys else 0.05
        rest = [None if source.random() < nulls else more() for _ in range(ROWS - len(edges))]
        listed[name] = pa.array([*edges, *rest], kind)
    return pa.table(listed)


def _decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Iterator[IcebergPlace]:
    """One table with every type, two files of it, one key in both of them, and two rows with no key."""
    place = IcebergPlace(tmp_path_factory.mktemp("rows"), spark)
    place.make_foreign(TABLE, columns())
    twins = columns().slice(1, 2).to_pylist()
    place.rewrite(TABLE, pa.Table.from_pylist([*twins, {"number": 1}, {"name": "no number"}], columns().schema))
    yield place
    place.close()


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def rows(request: pytest.FixtureRequest, place: IcebergPlace) -> Iterator[ComparedRows]:
    """The table's rows, opened by each engine."""
    catalog = IcebergCatalog(place.spec, place.tool.session)
    local = LocalIcebergRows(catalog, TABLE, local_tools(place.root).sql)
    with view_of(local if request.param == "duckdb" else SparkIcebergRows(catalog, TABLE, place.session)) as opened:
        yield opened
    catalog.close()


@contextmanager
def view_of(target: TargetRows) -> Iterator[ComparedRows]:
    stand = target.stand()
    assert stand is not None
    with target.view(stand, basis_of(stand, TABLE.primary_keys)) as opened:
        yield opened


def basis_of(stand: Stand, keys: tuple[str, ...]) -> Basis:
    """All columns, with the key's first."""
    named = {field.name: ComparedColumn(field.name, field.name, field.type) for field in stand.columns}
    return Basis(tuple(named[key] for key in keys), tuple(named.values()))


@pytest.fixture(scope="module")
def known(place: IcebergPlace) -> list[dict[str, Any]]:
    """The rows as pyiceberg reads them."""
    return place.load(TABLE).scan().to_arrow().to_pylist()


KINDS = columns().schema
KEY_KINDS = [KINDS.field(name).type for name in TABLE.primary_keys]


def key_of(row: dict[str, Any]) -> str | None:
    return key_hash([row[name] for name in TABLE.primary_keys], KEY_KINDS)


def hash_of(row: dict[str, Any]) -> str:
    return row_hash([row[name] for name in KINDS.names], KINDS.types)


def spellings(row: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(spell(row[name], KINDS.field(name).type) for name in KINDS.names)


def test_every_value_is_spelled_as_defined(rows: ComparedRows, known: list[dict[str, Any]]) -> None:
    """Row by row and column by column, so that what is wrong is named."""
    keys = {digest for row in known if (digest := key_of(row))}
    expected = sorted((digest, spellings(row)) for row in known if (digest := key_of(row)))

    found = sorted(rows.values(keys), key=lambda pair: (pair[0], [text or "" for text in pair[1]]))

    differing = [
        (name, was, now)
        for (_, wanted), (_, told) in zip(expected, found, strict=True)
        for name, was, now in zip(KINDS.names, wanted, told, strict=True)
        if was != now
    ]
    assert not differing, differing[:9]
    assert [digest for digest, _ in found] == [digest for digest, _ in expected]


def test_every_row_and_every_key_is_hashed_as_defined(rows: ComparedRows, known: list[dict[str, Any]]) -> None:
    """The sixteen buckets of one digit hold all rows but those with a NULL in the key."""
    found = Counter((row.key, row.key_hash, row.row_hash) for row in rows.hashes([f"{digit:x}" for digit in range(16)]))

    assert found == Counter(
        ((str(row["number"]), row["name"]), digest, hash_of(row)) for row in known if (digest := key_of(row))
    )


def test_checksums_are_the_sums_of_the_hashes(rows: ComparedRows, known: list[dict[str, Any]]) -> None:
    """Over whole rows, those without a key among them, and for each column alone."""
    assert rows.count() == len(known) == ROWS + 4
    assert rows.checksum() == Checksum(*totals(map(hash_of, known)))
    assert rows.column_checksums() == {
        field.name: Checksum(*totals(row_hash([row[field.name]], [field.type]) for row in known)) for field in KINDS
    }


def test_buckets_hold_the_rows_of_their_keys(rows: ComparedRows, known: list[dict[str, Any]]) -> None:
    """All buckets of four digits; and of five, those within two of one digit."""

    def expected(digits: int, within: tuple[str, ...] = ("",)) -> dict[str, RowBucket]:
        found = defaultdict(list)
        for row in known:
            digest = key_of(row)
            if digest is not None and digest[11:].startswith(within):
                found[digest[11 : 11 + digits]].append(int(hash_of(row)[:11], 16))
        return {name: RowBucket(len(numbers), sum(numbers)) for name, numbers in found.items()}

    assert rows.buckets(4) == expected(4)
    assert rows.buckets(5, within=["3", "c"]) == expected(5, ("3", "c"))
    assert rows.buckets(5, within=[]) == {}


def test_rows_are_counted_by_groups(rows: ComparedRows, known: list[dict[str, Any]]) -> None:
    """By a whole spelling, and by its first characters: NULL is a group of its own."""
    flag, zoned = (ComparedColumn(name, name, KINDS.field(name).type) for name in ("flag", "zoned"))

    found = rows.group_counts([Grouping(flag), Grouping(zoned, 4)])

    assert found == Counter(
        (spell(row["flag"], flag.kind), (spell(row["zoned"], zoned.kind) or "")[:4] or None) for row in known
    )
    assert rows.group_counts([]) == {(): ROWS + 4}


def test_keys_that_several_rows_bear_are_found(rows: ComparedRows) -> None:
    """With the rows that bear them, as many examples as were asked for, and the rows with a NULL in the key."""
    twins = {key_hash(key, KEY_KINDS): f"{key[0]}, {key[1]}" for key in ((2**31 - 1, " "), (0, "trailing  "))}
    listed = tuple(twins[digest] for digest in sorted(twins, key=str))

    assert rows.key_faults(9) == KeyFaults(2, 4, 2, listed)
    assert rows.key_faults(1).examples == listed[:1]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_a_nan_in_a_file_is_one_whatever_the_files_statistics_say(kind: pa.DataType, tmp_path: Path) -> None:
    """They leave it out, and DuckDB takes isnan() for false where they speak of more than one value."""
    values = [0.5, -0.0, math.nan, -math.nan, math.inf, -math.inf, None, 5e-324 if kind == pa.float64() else 1e-45]
    column = pa.array(values, kind)
    for listed in (column, column.slice(0, 3), column.slice(1, 2)):
        pq.write_table(pa.table({"x": listed}), tmp_path / "x.parquet")
        with duckdb.connect() as sql:
            found = sql.execute(f"SELECT {spelled('x', kind)} FROM read_parquet('{tmp_path}/x.parquet')").fetchall()
        assert [text for (text,) in found] == [spell(value, kind) for value in listed.to_pylist()]
