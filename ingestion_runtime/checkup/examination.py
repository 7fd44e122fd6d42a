"""The whole examination: the machine and the places first, side by side with the sources; then what the sources serve."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ingestion_runtime.checkup.catalog import catalog_check
from ingestion_runtime.checkup.engine import engine_checks
from ingestion_runtime.checkup.findings import Finding, Findings
from ingestion_runtime.checkup.machine import capacity_checks, machine_checks
from ingestion_runtime.checkup.places import Room, place_checks
from ingestion_runtime.checkup.runner import PATIENCE, Check, carry_out
from ingestion_runtime.checkup.sources import SourceCheckup
from ingestion_runtime.checkup.state import state_check
from ingestion_runtime.config import SecretReference, load_configuration
from ingestion_runtime.endpoints.resolving import resolve
from ingestion_runtime.model.connection import ConnectionSpec, Secret
from ingestion_runtime.model.errors import ConfigError, IngestionError
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.tools.jars import default_cache_directory

_OTHERS_MAY_READ = 0o004


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an examination takes from around it."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cache: Path = field(default_factory=default_cache_directory)
    room: Room = field(default_factory=Room)
    clock: Callable[[], float] = time.time
    patience: float = PATIENCE


def examine(
    path: Path, select: Callable[[Configuration], tuple[TableSpec, ...]], around: Surroundings
) -> tuple[Finding, ...]:
    """Return the findings about a configuration and about where it is to run.

    ``select`` picks the tables that are looked at, and may raise ConfigError. Nothing is written that stays; whatever does
    not answer is given up after a bounded time.
    """
    machine = machine_checks(around.environment)
    findings = Findings("configuration")
    try:
        configuration = load_configuration(path)
    except ConfigError as error:
        findings.error(error)
        return (*findings.close(), *carry_out(machine, around.patience))
    with ExitStack() as stack:
        used = _used(configuration, select)
        sources = [SourceCheckup(connection, around.clock) for connection in used]
        for source in sources:
            stack.callback(source.close)
        first = carry_out(
            (
                *machine,
                *capacity_checks(configuration),
                *(Check(f"secret {spec.name}", _secret(spec.password)) for spec in used if spec.password),
                *place_checks(configuration, around.room),
                *(source.first() for source in sources),
            ),
            around.patience,
        )
        tables = _tables(configuration, select, findings, sources)
        second = carry_out(tuple(_second(configuration, tables, sources, around)), around.patience)
    return (*findings.close(), *first, *second)


def _used(
    configuration: Configuration, select: Callable[[Configuration], tuple[TableSpec, ...]]
) -> tuple[ConnectionSpec, ...]:
    """Return the connections that the selected tables, patterns or the catalog use: a run opens no other."""
    try:
        tables = select(configuration)
    except ConfigError:  # names of tables that only patterns bring, or of none at all: told later
        tables = configuration.tables
    names = {table.connection for table in tables}
    names |= {pattern.like.connection for pattern in configuration.patterns}
    catalog = configuration.runtime.catalog
    if catalog is not None and catalog.connection is not None:
        names.add(catalog.connection.name)
    return tuple(spec for spec in configuration.connections if spec.name in names)


def _tables(
    configuration: Configuration,
    select: Callable[[Configuration], tuple[TableSpec, ...]],
    findings: Findings,
    sources: Sequence[SourceCheckup],
) -> tuple[TableSpec, ...]:
    """Return the tables to look at; those of patterns are asked of sources that answer."""
    count = len(configuration.tables)
    told = f"{configuration.path}: valid, {count} {'table' if count == 1 else 'tables'}"
    if configuration.patterns:
        silent = {source.name for source in sources if not source.reached}
        missing = sorted({pattern.like.connection for pattern in configuration.patterns} & silent)
        if missing:
            told += f"; its {len(configuration.patterns)} patterns cannot be resolved without {', '.join(missing)}"
        else:
            try:
                configuration = resolve(configuration)
            except IngestionError as error:
                findings.error(error)
            else:
                told += f", {len(configuration.tables) - count} more by {len(configuration.patterns)} patterns"
    findings.green(told)
    try:
        return select(configuration)
    except ConfigError as error:
        findings.error(error)
        return ()


def _second(
    configuration: Configuration, tables: tuple[TableSpec, ...], sources: Sequence[SourceCheckup], around: Surroundings
) -> Iterator[Check]:
    keys = frozenset(target_key(configuration.runtime, table) for table in tables)
    yield state_check(configuration, keys)
    catalog = configuration.runtime.catalog
    if catalog is not None:
        reachable = catalog.connection is None or any(
            source.reached for source in sources if source.name == catalog.connection.name
        )
        if reachable:
            yield catalog_check(catalog, next(iter(tables), None))
    yield from engine_checks(configuration, tables, around.cache, around.environment)
    for source in sources:
        yield from source.rest([table for table in tables if table.connection == source.name])


def _secret(secret: Secret) -> Callable[[Findings], None]:
    def look(findings: Findings) -> None:
        secret.resolve()
        file = secret.file if isinstance(secret, SecretReference) else None
        if file is not None and file.stat().st_mode & _OTHERS_MAY_READ:
            findings.yellow(f"{secret}: everybody on this machine may read the file", f"chmod 600 {file}")
        else:
            findings.green(f"{secret} can be read")

    return look
