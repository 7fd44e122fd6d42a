"""What the parts of a configuration file share: strictness, and the values that occur everywhere."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def _whole_number_or_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise PydanticCustomError("configuration", "must be a string or a whole number")


def _text_or_texts(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise PydanticCustomError("configuration", "must be a string or a list of strings that is not empty")


NumberOrText = Annotated[
    str, PlainValidator(_whole_number_or_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]


TextOrTexts = Annotated[
    str | tuple[str, ...],
    PlainValidator(_text_or_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


Text = Annotated[str, Field(min_length=1)]


Hours = Annotated[int, Field(ge=1, le=876_000)]


Days = Annotated[int, Field(ge=0, le=36_500)]


MebiBytes = Annotated[int, Field(ge=1, le=4096)]


Seconds = Annotated[int, Field(ge=0, le=3_155_760_000)]


Rows = Annotated[int, Field(ge=1, le=10**15)]


class FilePart(BaseModel):
    """An object of the file. ``placeholders`` stand in for required keys that are wrong: the rest is still checked."""

    # The texts under the fields are for the JSON Schema: `schema.py` finds them. Pydantic would parse this file each time.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
    placeholders: ClassVar[Mapping[str, object]] = {}
