"""The part ``metadata``, and what tables say of their columns."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ingestion_runtime.config.models.parts import FilePart, Text

OnChangeWord = Literal["evolve", "ignore", "fail"]


GuardrailWord = Literal["fail", "warn", "text"]


class SchemaPolicyFile(FilePart):
    """What happens when the source's columns change."""

    require_snapshot: bool | None = None
    """Refuse a table that has no snapshot; false where left out."""
    added: OnChangeWord | None = None
    """A new column: it is added, left out, or stops the table; evolve where left out."""
    dropped: OnChangeWord | None = None
    """A column that is gone: it arrives as NULL, keeps what it has, or stops the table; fail where left out."""
    narrowed: OnChangeWord | None = None
    """A type within the former one; evolve where left out."""
    widened: OnChangeWord | None = None
    """A type around the former one: it grows, or every value must fit, or it stops the table; evolve where left out."""
    renamed: OnChangeWord | None = None
    """A column of another name: renamed, taken for a dropped and an added one, or stops the table; fail where left out."""
    retyped: OnChangeWord | None = None
    """Any other change of type; evolve where left out."""
    nullability: OnChangeWord | None = None
    """NOT NULL came or went; evolve where left out."""
    allow_new_columns: bool | None = None
    """The coarse form of added: true is evolve, false is fail."""
    allow_missing_columns: bool | None = None
    """The coarse form of dropped."""
    allow_type_changes: bool | None = None
    """The coarse form of narrowed, widened and retyped."""


class GuardrailsFile(FilePart):
    """What happens to numbers that do not fit the type in which they should land."""

    policy: GuardrailWord = "fail"
    """fail: the table is refused; warn: the column lands as text, with a warning; text: the same without one."""
    unbounded: Text | None = None
    """Type for exact numbers that no decimal is declared for: decimal(p,s). Left out: they land as text."""


class ColumnFile(FilePart):
    """How a column should land."""

    placeholders: ClassVar[Mapping[str, object]] = {"type": "string"}

    type: Text
    """decimal(p,s), string, int, long, float or double; a profile must confirm that the values fit."""
    guardrail: GuardrailWord | None = None
    """What happens when they do not; as metadata.precision_guardrails.policy where left out."""


class MetadataFile(FilePart):
    """The cache of catalog snapshots."""

    enabled: bool = True
    cache_path: Text | None = None
    """Directory; 'metadata' beside raw_root where left out."""
    ttl_hours: Annotated[int, Field(ge=0, le=876_000)] = 24
    """0: describe at every run."""
    schema_policy: SchemaPolicyFile = Field(default_factory=SchemaPolicyFile)
    precision_guardrails: GuardrailsFile = Field(default_factory=GuardrailsFile)
