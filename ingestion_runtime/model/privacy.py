"""Columns that are kept out of the lake, and values that are masked before anything is written."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from ingestion_runtime.model.errors import ConfigError

if TYPE_CHECKING:
    from ingestion_runtime.model.connection import Secret

#: Bytes below which a salt can be found by trial, given one value and its hash.
LEAST_SALT = 16
_EXCLUDED, _MASKED = "exclude ", "mask "


class MaskMethod(StrEnum):
    """What becomes of a value: HMAC-SHA-256 of its text in hex, its first characters, or nothing."""

    HASH = "hash"
    TRUNCATE = "truncate"
    NULL = "null"


class Salt:
    """The key of hashes. Read once a process, so that what a receipt says of it holds for every value that it has hashed.

    ``str()`` and ``repr()`` show the reference, never the value.
    """

    def __init__(self, reference: "Secret") -> None:
        self._reference = reference

    @cached_property
    def key(self) -> bytes:
        """The value; raises ConfigError when it cannot be read, or is too short to keep what it is for."""
        found = self._reference.resolve().encode()
        if len(found) < LEAST_SALT:
            raise ConfigError(
                f"The salt {self} is shorter than {LEAST_SALT} bytes: whoever knows one value can find it by trial.",
                remedy="Make a long one, such as `openssl rand -hex 32` prints, and keep it: another gives other hashes.",
                reference=str(self),
            )
        return found

    def __str__(self) -> str:
        return str(self._reference)

    def __repr__(self) -> str:
        return f"Salt('{self._reference}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Salt) and self._reference == other._reference

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Columns that are never read, by name or glob; letter case does not count. ``required``: there must be one."""

    pattern: str
    required: bool = True

    def matches(self, name: str) -> bool:
        """Whether a column is meant."""
        folded, pattern = name.casefold(), self.pattern.casefold()
        return folded == pattern or fnmatchcase(folded, pattern)


@dataclass(frozen=True, slots=True)
class Mask:
    """What becomes of the values of a column; letter case does not count. ``required``: the column must be there.

    ``length`` are the characters that ``truncate`` keeps, ``salt`` is the key of ``hash``.
    """

    column: str
    method: MaskMethod
    length: int | None = None
    salt: Salt | None = None
    required: bool = True

    def matches(self, name: str) -> bool:
        """Whether a column is meant."""
        return name.casefold() == self.column.casefold()

    def mark(self) -> str:
        """Return 16 hex characters that change with everything that changes values; raises ConfigError for the salt."""
        salt = hmac.digest(self.salt.key, b"which salt is this", "sha256") if self.salt else b""
        return hashlib.sha256(repr((self.method.value, self.length, salt)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Privacy:
    """What a table keeps out of the lake."""

    exclusions: tuple[Exclusion, ...] = ()
    masks: tuple[Mask, ...] = ()

    def excludes(self, name: str) -> bool:
        """Whether a column is never read."""
        return any(exclusion.matches(name) for exclusion in self.exclusions)

    def mask_of(self, name: str) -> Mask | None:
        """Return how the values of a column are masked, None where they are not, or are not read at all."""
        return None if self.excludes(name) else next((mask for mask in self.masks if mask.matches(name)), None)

    def marks(self) -> tuple[tuple[str, str], ...]:
        """Return what a receipt keeps of it, to be asked by ``treatment``; raises ConfigError for a salt."""
        excluded = [(f"{_EXCLUDED}{exclusion.pattern.casefold()}", "") for exclusion in self.exclusions]
        return (*excluded, *((f"{_MASKED}{mask.column.casefold()}", mask.mark()) for mask in self.masks))


def is_mark(name: str) -> bool:
    """Whether an entry of a reading is one of ``Privacy.marks``."""
    return name.startswith((_EXCLUDED, _MASKED))


def treatment(marks: Mapping[str, str], column: str) -> str:
    """Return what marks say of a column: ``excluded``, its mask's digest, or nothing."""
    patterns = [name.removeprefix(_EXCLUDED) for name in marks if name.startswith(_EXCLUDED)]
    if any(Exclusion(pattern).matches(column) for pattern in patterns):
        return "excluded"
    return marks.get(f"{_MASKED}{column.casefold()}", "")
