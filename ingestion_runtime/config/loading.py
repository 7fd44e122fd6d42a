"""Loads a configuration file: reads, checks every part, tells every problem at once."""

from dataclasses import replace
from pathlib import Path

from ingestion_runtime.config.connections import build_connection, is_connection_name
from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.known import DIALECTS
from ingestion_runtime.config.models import ConfigurationFile, ConnectionFile, MetadataFile, RuntimeFile, TableFile
from ingestion_runtime.config.parsing import keys_of, parse_part, tell_unknown_key
from ingestion_runtime.config.paths import PathResolver
from ingestion_runtime.config.reading import read_json_object
from ingestion_runtime.config.runtime import Connections, build_metadata, build_runtime
from ingestion_runtime.config.tables import TableContext, build_table
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.horizon import HorizonPolicy
from ingestion_runtime.model.spec import (
    CatalogSpec,
    Configuration,
    ConnectionSpec,
    MetadataSpec,
    RuntimeSpec,
    TableSpec,
)


def load_configuration(path: Path) -> Configuration:
    """Return the configuration in the file, validated, with absolute paths and every default filled in.

    Raises ConfigError that lists every problem on a line of its own; ``values["issues"]`` holds them as ConfigIssue.
    Nothing but the file is read: secrets stay references, directories need not exist.
    """
    log = IssueLog()
    raw = read_json_object(path, log)
    paths = PathResolver(path.parent, log)
    _check_root(raw, log)
    connections = _load_connections(raw.get("connections"), paths, log)
    named = Connections(connections, _dialects(raw.get("connections")))
    runtime = _load_runtime(raw, path, paths, log, named)
    metadata = _load_metadata(raw.get("metadata"), runtime, paths, log)
    tables = _load_tables(raw, runtime, metadata, log)
    log.raise_if_any(path)
    if runtime is None or metadata is None:
        raise ConfigError(f"The configuration {path} is incomplete.", remedy="Check its sections.", issues=())
    return Configuration(
        path=Path(paths.base / path.name), connections=connections, runtime=runtime, metadata=metadata, tables=tables
    )


def _check_root(raw: dict[str, object], log: IssueLog) -> None:
    known = keys_of(ConfigurationFile)
    for key in raw:
        if key not in known:
            tell_unknown_key(key, ConfigurationFile, (), log)
    for key in ("connections", "runtime", "tables"):
        if key not in raw:
            log.add((key,), "this key is required")
    if not isinstance(raw.get("$schema", ""), str):
        log.add(("$schema",), "must be a string")


def _load_connections(raw: object, paths: PathResolver, log: IssueLog) -> tuple[ConnectionSpec, ...]:
    if raw is None and not log.clean(("connections",)):
        return ()
    if not isinstance(raw, dict) or not raw:
        log.add(("connections",), "must be an object that names at least one connection")
        return ()
    built = []
    for number, (name, value) in enumerate(raw.items(), start=1):
        if not is_connection_name(name):
            signs = "a letter, then letters, digits, '_' and '-'"
            log.add(("connections",), f"the name of connection number {number} must be {signs}")
            continue
        at: Location = ("connections", name)
        file = parse_part(ConnectionFile, value, at, log)
        if file is not None:
            built.append(build_connection(name, file, at, paths, log))
    return tuple(built)


def _load_runtime(
    raw: dict[str, object], path: Path, paths: PathResolver, log: IssueLog, connections: Connections
) -> RuntimeSpec | None:
    if "runtime" not in raw:
        return None
    file = parse_part(RuntimeFile, raw["runtime"], ("runtime",), log)
    return None if file is None else build_runtime(file, path, paths, log, connections)


def _load_metadata(raw: object, runtime: RuntimeSpec | None, paths: PathResolver, log: IssueLog) -> MetadataSpec | None:
    file = parse_part(MetadataFile, {} if raw is None else raw, ("metadata",), log)
    return None if file is None else build_metadata(file, runtime.raw_root if runtime else "", paths, log)


def _load_tables(
    raw: dict[str, object], runtime: RuntimeSpec | None, metadata: MetadataSpec | None, log: IssueLog
) -> tuple[TableSpec, ...]:
    values = raw.get("tables")
    if values is None and not log.clean(("tables",)):
        return ()
    if not isinstance(values, list) or not values:
        log.add(("tables",), "must be a list of at least one table")
        return ()
    connections = raw.get("connections")
    context = TableContext(_dialects(connections), _has_catalog(raw.get("runtime")), log, _horizons(connections))
    if metadata is not None:
        context = replace(context, policy=metadata.policy, guardrails=metadata.guardrails)
    built: dict[int, TableSpec] = {}
    for index, value in enumerate(values):
        file = parse_part(TableFile, value, ("tables", index), log)
        if file is not None:
            built[index] = build_table(file, ("tables", index), context)
    _check_unique(built, runtime.catalog if runtime else None, log)
    return tuple(built.values())


def _dialects(raw: object) -> dict[str, str | None]:
    """Connection names with their dialects, also of connections in which something else is wrong."""
    if not isinstance(raw, dict):
        return {}
    found: dict[str, str | None] = {}
    for name, value in raw.items():
        dialect = value.get("dialect") if isinstance(value, dict) else None
        found[name] = dialect if isinstance(dialect, str) and dialect in DIALECTS else None
    return found


def _horizons(raw: object) -> dict[str, str]:
    """Connection names with their horizon policies, where they name one that exists."""
    values = raw.items() if isinstance(raw, dict) else ()
    named = {name: value.get("horizon") for name, value in values if isinstance(value, dict)}
    return {name: policy for name, policy in named.items() if isinstance(policy, str) and policy in set(HorizonPolicy)}


def _has_catalog(raw: object) -> bool:
    """Whether a catalog is given, right or wrong; assumed where the whole section cannot be read."""
    return not isinstance(raw, dict) or raw.get("intermediate") is not None


def _check_unique(tables: dict[int, TableSpec], catalog: CatalogSpec | None, log: IssueLog) -> None:
    names: dict[str, int] = {}
    targets: dict[str, int] = {}
    for index, table in tables.items():
        at: Location = ("tables", index)
        if not log.clean((*at, "schema")) or not log.clean((*at, "table")):
            continue
        first = names.setdefault(table.name.casefold(), index)
        if first != index:
            log.add(at, f"is the same schema and table as /tables/{first} (letter case does not count)")
        elif catalog is not None and table.sink == "iceberg" and log.clean(("runtime", "intermediate")):
            _check_target(table, catalog, at, targets, log)


def _check_target(table: TableSpec, catalog: CatalogSpec, at: Location, targets: dict[str, int], log: IssueLog) -> None:
    pieces = [part.replace("{schema}", table.schema) for part in catalog.name_pattern.split(".")]
    target = ".".join(part.replace("{table}", table.table) for part in pieces)
    if target.count(".") != 1:
        log.add(at, "schema and table may not hold a '.' here: an Iceberg name is namespace.table")
        return
    index = int(at[1])
    first = targets.setdefault(target.casefold(), index)
    if first != index:
        log.add(at, f"gets the same Iceberg name as /tables/{first}; change runtime.intermediate.table_pattern")
