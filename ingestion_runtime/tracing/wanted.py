"""Which row is asked for: the arguments behind a table's name, read as values of its key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tools.local_sql import quote
from ingestion_runtime.tracing.values import describe_kind, read_value, show, sql_value

_NULL: Final = "NULL"
_SHOWN: Final = 80

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

    def condition(self, kind: pa.DataType) -> str | None:
        """Return DuckDB's condition for rows that hold it in a column of a type; None where none of them can."""
        name, value = quote(self.column), self.value
        if value is None:
            return f"{name} IS NULL"
        if kind != self.kind:
            # The column had another type when these rows landed: as its text the value is the same one.
            try:
                value = read_value(value.hex() if isinstance(value, bytes) else str(value), kind)
            except ValueError:
                return None
            if pa.types.is_integer(kind) and str(value) != str(self.value):
                return None  # 01 is another text than 1
        if pa.types.is_floating(kind):
            # By its statistics DuckDB leaves row groups out in which there is a NaN.
            return f"CASE WHEN {name} IS NULL THEN false ELSE {name} = {sql_value(value, kind)} END"
        return f"{name} = {sql_value(value, kind)}"


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
            f"{_cut(text)!r} is no value of the column {name!r} of {table}, which holds {describe_kind(kind)}: no row can"
            " have it.",
            remedy="Write the value so; see that the values of a key stand in the order of primary_keys.",
            table=table,
            column=name,
        ) from None


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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
