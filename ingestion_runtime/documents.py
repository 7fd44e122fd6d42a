"""Frozen dataclasses as JSON documents and back: receipts, manifests, plans."""

import json
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ingestion_runtime.model.errors import TerminalError

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_document(value: object) -> str:
    """Return ``value`` (a frozen dataclass) as one line of JSON."""
    kind: Any = type(value)
    text: str = _adapter(kind).dump_json(value).decode()
    return text


def as_values(value: object) -> Any:
    """Return ``value`` (a frozen dataclass) as JSON values, for a document that holds more than it."""
    return json.loads(dump_document(value))


def load_document(kind: type[T], text: str | bytes, origin: str) -> T:
    """Return the document in ``text``; raises TerminalError naming ``origin`` when it is not a whole ``kind``."""
    hashable: Any = kind
    try:
        value: T = _adapter(hashable).validate_json(text)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise TerminalError(
            f"{origin} holds no readable {kind.__name__} ({reasons}).",
            remedy="Restore it from a backup, or rerun the table with --reload.",
            origin=origin,
        ) from None
    return value
