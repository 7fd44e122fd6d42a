"""Reads a JSON file strictly: one object, no key twice, no NaN, only text that can be printed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ingestion_runtime.config.issues import ConfigIssue, IssueLog, Location, configuration_error
from ingestion_runtime.model.errors import ConfigError


class _Repeating(dict[str, object]):
    """An object in which a key occurs twice."""

    repeated: tuple[str, ...] = ()


def read_json_object(path: Path, log: IssueLog) -> dict[str, object]:
    """Return the object in the file and record keys that occur twice.

    Raises ConfigError when the file cannot be read, or is not JSON, or is not one object.
    """
    text = _read_text(path)
    try:
        tree = json.loads(text, object_pairs_hook=_collect, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _broken(path, f"not JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise _broken(path, "nested too deeply") from None
    except ValueError:
        raise _broken(path, "not JSON: it holds a number that JSON does not know (NaN, Infinity or too long)") from None
    if not isinstance(tree, dict):
        raise _broken(path, "must hold one JSON object")
    for location, value in _walk(tree, ()):
        _inspect(path, location, value, log)
    return tree


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"The configuration file {path} does not exist.", remedy="Check --config.", path=str(path), issues=()
        ) from None
    except UnicodeDecodeError:
        raise _broken(path, "not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a usable path"
        raise ConfigError(
            f"The configuration file {path} cannot be read: {reason}.",
            remedy="Check --config and the file's permissions.",
            path=str(path),
            issues=(),
        ) from None


def _broken(path: Path, message: str) -> ConfigError:
    return configuration_error(path, (ConfigIssue("", message),))


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


def _collect(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    keys = [key for key, _ in pairs]
    repeating = _Repeating(result)
    repeating.repeated = tuple(key for key in result if keys.count(key) > 1)
    return repeating


def _walk(value: object, at: Location) -> Iterator[tuple[Location, object]]:
    stack: list[tuple[Location, object]] = [(at, value)]
    while stack:
        location, item = stack.pop()
        yield location, item
        if isinstance(item, dict):
            stack.extend(((*location, str(key)), child) for key, child in item.items())
        elif isinstance(item, list):
            stack.extend(((*location, index), child) for index, child in enumerate(item))


def _inspect(path: Path, location: Location, value: object, log: IssueLog) -> None:
    words = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
    if not all(_printable(word) for word in words):
        raise _broken(path, "holds half of a surrogate pair (\\ud800 to \\udfff), which is not text")
    if isinstance(value, _Repeating):
        for key in value.repeated:
            log.add((*location, key), "this key occurs twice in its object; keep one")


def _printable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
