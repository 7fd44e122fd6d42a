"""Initial watermarks: from what people write to the canonical spelling."""

import re
from datetime import date, datetime

from ingestion_runtime.model.cursor import CursorType, Watermark

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?", re.ASCII)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
SMALLEST, LARGEST = -(2**63), 2**63 - 1


def canonical_watermark(kind: CursorType, text: str) -> Watermark:
    """Return the watermark that ``text`` spells; raises ValueError saying how this type is written."""
    match kind:
        case CursorType.TIMESTAMP:
            return Watermark(kind, _timestamp(text))
        case CursorType.DATE:
            return Watermark(kind, _date(text))
        case CursorType.TEXT:
            if not text.isprintable():
                raise ValueError("may not hold control characters")
            return Watermark(kind, text)
        case _:
            return Watermark(kind, _integer(text))


def _timestamp(text: str) -> str:
    try:
        if TIMESTAMP.fullmatch(text):
            return datetime.fromisoformat(text).isoformat(sep=" ", timespec="microseconds")
    except ValueError:
        pass
    raise ValueError("must be a timestamp without an offset, as in 2024-01-31 23:59:00")


def _date(text: str) -> str:
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise ValueError("must be a date, as in 2024-01-31")


def _integer(text: str) -> str:
    if INTEGER.fullmatch(text) and SMALLEST <= int(text) <= LARGEST:
        return str(int(text))
    raise ValueError("must be a whole number of at most 64 bits")
