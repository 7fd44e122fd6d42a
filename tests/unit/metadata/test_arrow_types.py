"""Landed types survive as text."""

import pyarrow as pa
import pytest

from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.model.errors import TerminalError


@pytest.mark.parametrize(
    "kind",
    [
        pa.bool_(),
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.float32(),
        pa.float64(),
        pa.string(),
        pa.binary(),
        pa.date32(),
        pa.time64("us"),
        pa.timestamp("us"),
        pa.timestamp("us", tz="UTC"),
        pa.decimal128(1, 0),
        pa.decimal128(38, 38),
        pa.decimal128(10, -2),
    ],
    ids=str,
)
def test_a_landed_type_comes_back_from_its_text(kind: pa.DataType) -> None:
    """Parsing is the inverse of str()."""
    assert parse_arrow_type(str(kind)) == kind


@pytest.mark.parametrize("text", ["", "varchar", "decimal128(39, 2)", "decimal128(0, 0)", "timestamp[ns]", "int64 "])
def test_another_type_is_refused(text: str) -> None:
    """A snapshot edited by hand, or written by something else, is noticed."""
    with pytest.raises(TerminalError, match="no type in which columns land"):
        parse_arrow_type(text)
