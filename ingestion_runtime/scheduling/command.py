"""The command that a scheduler runs, and the secrets that it needs to find."""

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from ingestion_runtime.config import SecretReference
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration, TableSpec


def execution_command(configuration: Configuration, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the arguments that run this configuration with these options, from any directory and without a shell.

    Raises ConfigError where one of them is not printable text: schedulers would not pass it on as it is.
    """
    command = (*_program(), "--config", str(configuration.path), *options)
    for argument in command:
        if not argument.isprintable():
            raise ConfigError(
                f"A scheduler cannot pass {argument!r} on: it holds control characters or is not UTF-8 text.",
                remedy="Give the file or folder another name.",
            )
    return command


def secret_references(configuration: Configuration, tables: Sequence[TableSpec]) -> tuple[str, ...]:
    """Return the references to the secrets that a run of these tables may resolve, sorted; never a value."""
    used = {table.connection for table in tables}
    connections = [connection for connection in configuration.connections if connection.name in used]
    return tuple(sorted({str(found) for found in _secrets((connections, configuration.runtime, tables))}))


def _program() -> tuple[str, ...]:
    """The program of this installation; the interpreter with its module where it was installed without programs."""
    program = Path(sysconfig.get_path("scripts"), "ingestion")
    if os.access(program, os.X_OK):
        return (str(program),)
    # -P: a file of this name in the directory from which it is started must not win.
    return (sys.executable, "-P", "-m", "ingestion")


def _secrets(value: object) -> Iterator[SecretReference]:
    """Walk through the parts of a configuration."""
    if isinstance(value, SecretReference):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _secrets(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from _secrets(tuple(value.values()))
    elif isinstance(value, (tuple, list, set, frozenset)):
        for item in value:
            yield from _secrets(item)
