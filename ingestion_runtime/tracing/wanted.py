"""Which row is asked for: the arguments behind a table's name, read as values of its key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tracing.values import read_value, show

_NULL: Final = "NULL"

#: Columns and what they shall hold, as it was typed; None: NULL.
Spoken = tuple[tuple[str, str | None], ...]


class KeyTypeError(ConfigError):
    """A value that its column cannot hold: no such row can be anywhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """A column and its value, typed; None: NULL."""

    column: str
    kind: pa.DataType
    value: Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that is asked for: its key, or for a table without one any columns; and by ``version`` which of its versions."""

    key: tuple[Part, ...]
    version: tuple[Part, ...] = ()

    @property
    def has_null(self) -> bool:
        """Whether a part of the key is NULL."""
        return any(part.value is None for part in self.key)

    def spelled(self) -> str:
        """Return the key for people."""
        return ", ".join(f"{part.column}={show(part.value)}" for part in self.key)


def speak_key(arguments: Sequence[str], keys: Sequence[str], table: str) -> Spoken:
    """Return the columns that the arguments name, in the order of the primary key, with their texts.

    The values in the key's order, or NAME=VALUE for each of its columns, or one argument: JSON (an array or an object), or
    the values with commas between them. NULL is NULL, unless JSON says that it is a text. A table without a key takes
    NAME=VALUE of any columns. Raises ConfigError where that gives no whole key.
    """
    if len(arguments) == 1:
        spoken = _from_json(arguments[0], keys)
        if spoken is not None:
            return spoken
    named = _named(arguments, keys)
    if named is not None:
        return named
    if not keys:
        raise ConfigError(
            f"{table} has no primary_keys: its rows are asked for by their columns.",
            remedy=f"Write NAME=VALUE for one or more of them: ingestion why-missing {table} name=value.",
            table=table,
        )
    values = arguments[0].split(",") if len(arguments) == 1 < len(keys) else arguments
    if len(values) != len(keys):
        given = "1 value is" if len(values) == 1 else f"{len(values)} values are"
        raise ConfigError(
            f"The key of {table} is ({', '.join(keys)}), and {given} given.",
            remedy="Give each as an argument of its own, in this order; or NAME=VALUE for each; or one JSON array.",
            table=table,
            keys=tuple(keys),
        )
    return tuple((name, None if value == _NULL else value) for name, value in zip(keys, values, strict=True))


def speak_version(items: Sequence[str]) -> Spoken:
    """Return columns and values of ``NAME=VALUE`` items; raises ConfigError for one without a name."""
    pairs = [item.partition("=") for item in items]
    for name, sign, _ in pairs:
        if not name or not sign:
            raise ConfigError(f"--with {name!r} names no value.", remedy="Write it as NAME=VALUE.")
    return tuple((name, None if value == _NULL else value) for name, _, value in pairs)


def understand(key: Spoken, version: Spoken, kinds: Mapping[str, pa.DataType], table: str) -> Wanted:
    """Return the row that is asked for, typed by the columns of the table.

    Raises KeyTypeError for a value that its column cannot hold, ConfigError for a column that there is not.
    """
    return Wanted(_parts(key, kinds, table), _parts(version, kinds, table))


def _parts(spoken: Spoken, kinds: Mapping[str, pa.DataType], table: str) -> tuple[Part, ...]:
    unknown = [name for name, _ in spoken if name not in kinds]
    if unknown:
        raise ConfigError(
            f"{table} has no column {', '.join(unknown)}.", remedy=f"Its columns are: {', '.join(kinds)}.", table=table
        )
    return tuple(Part(name, kinds[name], _value(name, text, kinds[name], table)) for name, text in spoken)


def _value(name: str, text: str | None, kind: pa.DataType, table: str) -> Any:
    if text is None:
        return None
    try:
        return read_value(text, kind)
    except ValueError:
        raise KeyTypeError(
            f"{show(text)!r} is no value of the column {name!r} of {table}, which holds {kind}: no row can have it.",
            remedy=f"Write it as a value of {kind}.",
            table=table,
            column=name,
        ) from None


def _from_json(text: str, keys: Sequence[str]) -> Spoken | None:
    """Return what a JSON array or object of the right shape says; None for everything else, which is a value."""
    if text[:1] not in ("[", "{"):
        return None
    try:
        said = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    if isinstance(said, list) and len(said) == len(keys) > 0:
        said = dict(zip(keys, said, strict=True))
    if not isinstance(said, dict) or not said or (keys and set(said) != set(keys)):
        return None
    if any(isinstance(value, dict | list) for value in said.values()):
        return None
    return tuple((name, _json_text(said[name])) for name in (keys or said))


def _json_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _named(arguments: Sequence[str], keys: Sequence[str]) -> Spoken | None:
    """Return the values by name, where every argument names another column of the key, and all of them are named."""
    pairs = {}
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if not sign or not name or name in pairs:
            return None
        pairs[name] = None if value == _NULL else value
    if not pairs or (keys and set(pairs) != set(keys)):
        return None
    return tuple((name, pairs[name]) for name in (keys or pairs))
