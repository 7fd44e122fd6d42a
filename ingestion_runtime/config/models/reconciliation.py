"""How targets are compared with their sources."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ingestion_runtime.config.models.parts import FilePart, Text

CheckWord = Literal["plain_count", "group_count", "pk_uniqueness", "checksum", "bisect"]


UnitWord = Literal["day", "month", "year"]


class GroupFile(FilePart):
    """A column by which rows are counted."""

    placeholders: ClassVar[Mapping[str, object]] = {"column": "x"}

    column: Text
    """Name of the column, at the source or in the target."""
    unit: UnitWord | None = None
    """To what a day or a moment is cut."""


def _named_column(value: object) -> object:
    if isinstance(value, str) and value:
        return {"column": value}
    if isinstance(value, dict):
        return value
    raise PydanticCustomError("configuration", "must name a column: a string, or an object with 'column' and 'unit'")


GroupOrName = Annotated[
    GroupFile,
    BeforeValidator(_named_column),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {
                        "column": {"type": "string", "minLength": 1},
                        "unit": {"enum": ["day", "month", "year", None]},
                    },
                    "required": ["column"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


AllowedRows = Annotated[int, Field(ge=0, le=10**15)]


AllowedPercent = Annotated[float, Field(ge=0, le=100)]


class ThresholdFile(FilePart):
    """Which difference a check lets pass."""

    absolute: AllowedRows | None = None
    """So many rows; as the block's where left out."""
    percent: AllowedPercent | None = None
    """Or so many per cent of the source's rows; as the block's where left out."""


class ThresholdsFile(FilePart):
    """Which differences single checks let pass."""

    plain_count: ThresholdFile | None = None
    group_count: ThresholdFile | None = None
    pk_uniqueness: ThresholdFile | None = None
    checksum: ThresholdFile | None = None
    bisect: ThresholdFile | None = None


class ReconciliationFile(FilePart):
    """How the target is compared with its source."""

    checks: Annotated[list[CheckWord], Field(min_length=1)] | None = None
    """What is compared; plain_count, pk_uniqueness and checksum where left out."""
    group_by: Annotated[list[GroupOrName], Field(min_length=1)] | None = None
    """By which columns group_count counts; by the day of the cursor where left out."""
    absolute: AllowedRows | None = None
    """A difference of so many rows is let pass; 0 where left out."""
    percent: AllowedPercent | None = None
    """And so is one of so many per cent of the source's rows."""
    thresholds: ThresholdsFile | None = None
    """The same for single checks."""
    max_keys: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How many differing keys bisect lists, of all that it counts; 1000 where left out."""
    before_publish: list[Literal["plain_count", "checksum"]] | None = None
    """What every batch must pass against its source before anything of it is published; nothing where left out."""
