"""Which row is asked for: arguments become typed values, or are refused before anything is looked at."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tracing.values import read_value, show, sql_value
from ingestion_runtime.tracing.wanted import KeyTypeError, speak_key, speak_version, understand

PAIR = ("region", "id")


@pytest.mark.parametrize(
    ("arguments", "spoken"),
    [
        (["eu", "5"], {"region": "eu", "id": "5"}),
        (["id=5", "region=eu"], {"region": "eu", "id": "5"}),
        (["eu,5"], {"region": "eu", "id": "5"}),
        (['["eu", 5]'], {"region": "eu", "id": "5"}),
        (['{"id": 5.50, "region": null}'], {"region": None, "id": "5.50"}),
        (["NULL", "5"], {"region": None, "id": "5"}),
        (['["NULL", true]'], {"region": "NULL", "id": "true"}),
        (["region=eu", "x=5"], {"region": "region=eu", "id": "x=5"}),
        (["id=5", "id=6"], {"region": "id=5", "id": "id=6"}),
        (["", ""], {"region": "", "id": ""}),
    ],
)
def test_a_key_of_two_columns_is_said_in_these_ways(arguments: list[str], spoken: dict[str, str | None]) -> None:
    """In order, by name, with a comma, as JSON; whatever is none of these is taken as the values themselves."""
    assert dict(speak_key(arguments, PAIR, "shop.t")) == spoken
    assert [name for name, _ in speak_key(arguments, PAIR, "shop.t")] == list(PAIR)


@pytest.mark.parametrize("text", ["a,b", '["a"', '["a", "b"]', '{"x": 1}', "[[1]]", '{"id": {}}', "x=1", "[", ""])
def test_a_single_key_is_its_text_unless_that_is_json_of_the_key_s_shape(text: str) -> None:
    """Nothing is read into a value that could have been meant as it is."""
    assert speak_key([text], ("id",), "shop.t") == (("id", text),)


@pytest.mark.parametrize("arguments", [["1", "2", "3"], ["1"], ["1,2,3"], ["[1]"], ['{"id": 1}']])
def test_a_key_that_is_not_whole_is_refused(arguments: list[str]) -> None:
    """With the columns that it has."""
    with pytest.raises(ConfigError, match=r"The key of shop.t is \(region, id\), and \d values? (is|are) given"):
        speak_key(arguments, PAIR, "shop.t")


def test_a_table_without_a_key_is_asked_by_any_columns() -> None:
    """By name, or as a JSON object."""
    assert speak_key(["a=1", "b=NULL"], (), "shop.log") == (("a", "1"), ("b", None))
    assert speak_key(['{"a": 1}'], (), "shop.log") == (("a", "1"),)
    with pytest.raises(ConfigError, match=r"shop.log has no primary_keys"):
        speak_key(["1"], (), "shop.log")


def test_a_version_is_said_by_name() -> None:
    """The first sign parts name and value."""
    assert speak_version(["status=a=b", "note=", "gone=NULL"]) == (("status", "a=b"), ("note", ""), ("gone", None))
    for bad in ("status", "=x", ""):
        with pytest.raises(ConfigError, match="names no value"):
            speak_version([bad])


VALUES = [
    ("5", pa.int64(), 5, "5"),
    ("+5", pa.int32(), 5, "5"),
    (" -7 ", pa.int64(), -7, "-7"),
    ("12.5", pa.decimal128(8, 2), Decimal("12.50"), "CAST('12.50' AS DECIMAL(8,2))"),
    ("it's", pa.string(), "it's", "'it''s'"),
    ("a\0b", pa.string(), "a\0b", "'a' || chr(0) || 'b'"),
    (" ", pa.string(), " ", "' '"),
    ("2024-05-01", pa.date32(), date(2024, 5, 1), "DATE '2024-05-01'"),
    ("2024-05-01 10:00:00", pa.timestamp("us"), datetime(2024, 5, 1, 10), "TIMESTAMP '2024-05-01 10:00:00'"),  # noqa: DTZ001
    (
        "2024-05-01T10:00:00+02:00",
        pa.timestamp("us", tz="UTC"),
        datetime(2024, 5, 1, 8, tzinfo=UTC),
        "TIMESTAMPTZ '2024-05-01 08:00:00+00:00'",
    ),
    ("TRUE", pa.bool_(), True, "true"),
    ("0x00ff", pa.binary(), b"\x00\xff", "from_hex('00ff')"),
    ("1.5", pa.float64(), 1.5, "CAST('1.5' AS DOUBLE)"),
]


@pytest.mark.parametrize(("text", "kind", "value", "sql"), VALUES)
def test_a_text_is_read_as_its_column_s_type(text: str, kind: pa.DataType, value: Any, sql: str) -> None:
    """The value as it lands, and as SQL in this process."""
    assert read_value(text, kind) == value
    assert sql_value(read_value(text, kind), kind) == sql


@pytest.mark.parametrize(("text", "kind", "value", "sql"), VALUES)
def test_sql_of_a_value_means_the_value(text: str, kind: pa.DataType, value: Any, sql: str) -> None:
    """Asked of the engine that is given it."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(f"SELECT {sql} AS v").to_arrow_table()["v"][0].as_py()
    assert found == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("abc", pa.int64()),
        ("1.0", pa.int64()),
        ("", pa.int64()),
        ("3000000000", pa.int32()),
        ("9" * 50, pa.int64()),
        ("12.555", pa.decimal128(8, 2)),
        ("1e3", pa.decimal128(8, 2)),
        ("NaN", pa.decimal128(8, 2)),
        ("2024-02-30", pa.date32()),
        ("2024-05-01 10:00:00+00:00", pa.timestamp("us")),
        ("yesterday", pa.timestamp("us")),
        ("yes", pa.bool_()),
        ("xyz", pa.binary()),
        ("one", pa.float64()),
        ("\udc80", pa.string()),
    ],
)
def test_a_text_that_its_column_cannot_hold_is_a_wrong_question(text: str, kind: pa.DataType) -> None:
    """No row can have such a key, and the column and its type are named."""
    with pytest.raises(KeyTypeError, match=r"is no value of the column 'id' of shop.t, which holds") as told:
        understand((("id", text),), (), {"id": kind}, "shop.t")
    assert str(kind) not in told.value.message or str(kind) == "string", "in words that an operator knows"


def test_a_column_that_there_is_not_is_named() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"shop.t has no column nope. Its columns are: id"):
        understand((("id", "1"),), (("nope", "1"),), {"id": pa.int64()}, "shop.t")


def test_values_are_shown_on_one_line_and_not_without_end() -> None:
    """Line ends and other signs that move a cursor are spelled, long texts cut."""
    assert [show(value) for value in (None, b"\x01", "a\x1b[2Jb", "é")] == ["NULL", "01", r"a\x1b[2Jb", "é"]
    assert [show(value) for value in ("NULL", "", "a ")] == ["'NULL'", "''", "'a '"]
    assert show("x" * 200) == "x" * 77 + "..."
