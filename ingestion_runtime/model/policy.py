"""What a configuration lets happen to columns: drift policies, wished types, precision guardrails."""

from dataclasses import dataclass, field
from enum import StrEnum


class ChangeKind(StrEnum):
    """How a column of the source can differ from what was accepted before. The values are keys of the configuration."""

    ADDED = "added"
    DROPPED = "dropped"
    NARROWED = "narrowed"
    WIDENED = "widened"
    RENAMED = "renamed"
    RETYPED = "retyped"
    NULLABILITY = "nullability"


class OnChange(StrEnum):
    """What becomes of a change: the target follows, the target stays as it is, or the table stops."""

    EVOLVE = "evolve"
    IGNORE = "ignore"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class SchemaPolicy:
    """One answer per kind of change; the fields are named as the values of ``ChangeKind``."""

    require_snapshot: bool = False
    added: OnChange = OnChange.EVOLVE
    dropped: OnChange = OnChange.FAIL
    narrowed: OnChange = OnChange.EVOLVE
    widened: OnChange = OnChange.EVOLVE
    renamed: OnChange = OnChange.FAIL
    retyped: OnChange = OnChange.EVOLVE
    nullability: OnChange = OnChange.EVOLVE

    def of(self, kind: ChangeKind) -> OnChange:
        """Return the answer to one kind of change."""
        answer: OnChange = getattr(self, kind.value)
        return answer


class Guardrail(StrEnum):
    """What happens to a column whose values do not fit the type in which it should land.

    Never does a changed value pass: ``fail`` refuses the table, ``warn`` lands the column as text and says so in a
    warning, ``text`` does the same without one.
    """

    FAIL = "fail"
    WARN = "warn"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ColumnWish:
    """The type (as pyarrow spells it) in which a column should land, if the profile confirms that its values fit."""

    column: str
    type: str
    guardrail: Guardrail


@dataclass(frozen=True, slots=True)
class Guardrails:
    """A table's precision guardrails.

    ``unbounded`` is the wish for exact numbers that no decimal is declared for (None: they land as text), ``wishes`` are
    the columns that have one of their own.
    """

    policy: Guardrail = Guardrail.FAIL
    unbounded: str | None = None
    wishes: tuple[ColumnWish, ...] = field(default=())
