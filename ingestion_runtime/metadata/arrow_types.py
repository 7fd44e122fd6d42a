"""The landed types as text, and back: the inverse of ``str(pyarrow type)``."""

import re

import pyarrow as pa

from ingestion_runtime.model.errors import TerminalError

_PLAIN: dict[str, pa.DataType] = {
    str(kind): kind
    for kind in (
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
    )
}
_DECIMAL = re.compile(r"decimal128\(([0-9]{1,2}), (-?[0-9]{1,2})\)")


def parse_arrow_type(text: str) -> pa.DataType:
    """Return the pyarrow type that spells itself ``text``; raises TerminalError for a type that never lands here."""
    plain = _PLAIN.get(text)
    if plain is not None:
        return plain
    match = _DECIMAL.fullmatch(text)
    # pyarrow holds at most 38 digits and refuses none at all.
    if match and 1 <= int(match[1]) <= 38:  # noqa: PLR2004
        return pa.decimal128(int(match[1]), int(match[2]))
    raise TerminalError(
        f"{text!r} is no type in which columns land.",
        remedy="Remove the table's snapshot from the metadata directory; the next run takes a new one.",
        type=text,
    )
