"""From a JSON object to a strict model, with every problem told in words and the sound rest kept for further checks."""

import re
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ingestion_runtime.config.issues import IssueLog, Location, did_you_mean
from ingestion_runtime.config.known import CONNECTION_URL_KEYS, UNBUILT_KEYS, UNBUILT_VALUES
from ingestion_runtime.config.models.connections import ConnectionFile
from ingestion_runtime.config.models.parts import FilePart

P = TypeVar("P", bound=FilePart)
Fault = tuple[Location, str]

MESSAGES = {
    "missing": "this key is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
PRINTABLE_KEY = re.compile(r"[\w$.-]{1,64}")


def parse_part(kind: type[P], raw: object, at: Location, log: IssueLog) -> P | None:
    """Return ``raw`` as ``kind`` and record what is wrong with it.

    Where something is wrong, the result holds the sound keys (``log.clean`` tells which); None: nothing is left.
    """
    if not isinstance(raw, dict):
        log.add(at, "must be an object")
        return None
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
    for fault in found:
        _tell(kind, raw, fault, at, log)
    rest = _sound_rest(kind, raw, [(fault["loc"], fault["type"]) for fault in found])
    try:
        return None if rest is None else kind.model_validate(rest)
    except ValidationError:
        return None


def tell_unknown_key(key: str, kind: type[BaseModel], at: Location, log: IssueLog) -> None:
    """Record a key that ``kind`` does not have: unbuilt, a URL where fields belong, or misspelt."""
    if not PRINTABLE_KEY.fullmatch(key):
        log.add(at, "holds an unknown key, which is not a plain name")
    elif kind is ConnectionFile and key.casefold() in CONNECTION_URL_KEYS:
        fields = "dialect, host, port, database, user, password, tls"
        log.add((*at, key), f"a connection is written as fields ({fields}), never as a URL")
    elif key in UNBUILT_KEYS:
        log.add((*at, key), f"'{key}' is not supported yet; leave it out")
    else:
        log.add((*at, key), f"unknown key '{key}'{did_you_mean(key, keys_of(kind))}")


def keys_of(kind: type[BaseModel]) -> list[str]:
    """Return the keys that an object of this kind may have."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def _tell(kind: type[FilePart], raw: dict[str, object], fault: Any, at: Location, log: IssueLog) -> None:
    location: Location = fault["loc"]
    match fault["type"]:
        case "extra_forbidden":
            owner = _kind_at(kind, location[:-1])
            tell_unknown_key(str(location[-1]), owner, at + location[:-1], log)
        case "literal_error":
            log.add(at + location, _choice(raw, location, fault["ctx"]["expected"]))
        case "greater_than_equal":
            log.add(at + location, f"must be at least {fault['ctx']['ge']}")
        case "less_than_equal":
            log.add(at + location, f"must be at most {fault['ctx']['le']}")
        case "configuration":
            log.add(at + location, fault["msg"])
        case other:
            log.add(at + location, MESSAGES.get(other, "is not valid here"))


def _choice(raw: object, location: Location, expected: str) -> str:
    value = _value_at(raw, location)
    key = str(location[-1])
    if not isinstance(value, str):
        return f"must be {expected}"
    if value in UNBUILT_VALUES.get(key, ()):
        return f"{key} '{value}' is not supported yet; it must be {expected}"
    choices = re.findall(r"'([^']+)'", expected)
    return f"must be {expected}{did_you_mean(value, choices)}"


def _value_at(raw: object, location: Location) -> object:
    for step in location:
        if isinstance(raw, (dict, list)):
            raw = raw[step]  # type: ignore[index]
    return raw


def _kind_at(kind: type[FilePart], location: Location) -> type[FilePart]:
    keyed = False
    for step in location:
        if isinstance(step, int) or keyed:
            keyed = False  # the name of an entry: what is below is described as all of them are
            continue
        annotation = _annotation(kind, step)
        kind = _model_in(annotation) or kind
        keyed = get_origin(annotation) is dict
    return kind


def _annotation(kind: type[FilePart], key: str) -> Any:
    return next(field.annotation for name, field in kind.model_fields.items() if (field.alias or name) == key)


def _model_in(annotation: Any) -> type[FilePart] | None:
    if isinstance(annotation, type) and issubclass(annotation, FilePart):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _sound_rest(kind: type[FilePart], raw: dict[str, object], faults: list[Fault]) -> dict[str, object] | None:
    """Return ``raw`` without its faulty parts, or None where a required key is wrong and has no placeholder."""
    rest = dict(raw)
    for key in {str(location[0]) for location, _ in faults}:
        below = [(location[1:], type_) for location, type_ in faults if location[0] == key]
        value = rest.pop(key, None)
        if isinstance(value, dict) and all(location for location, _ in below):
            if get_origin(_annotation(kind, key)) is dict:
                wrong = {location[0] for location, _ in below}
                rest[key] = {name: entry for name, entry in value.items() if name not in wrong}
            elif (sound := _sound_rest(_kind_at(kind, (key,)), value, below)) is not None:
                rest[key] = sound
        elif key in kind.placeholders:
            rest[key] = kind.placeholders[key]
        elif ((), "missing") in below:
            return None
    return rest
