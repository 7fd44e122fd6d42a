"""Values of events as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import date


def plain(value: object) -> object:
    """Return what JSON can hold in place of ``value``; for the ``default`` of a JSON encoder.

    An unknown type becomes its text: an event must never be lost because of one odd field.
    """
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return str(value)


def to_json(value: object) -> str:
    """Return ``value`` as one line of JSON."""
    return json.dumps(value, default=plain)
