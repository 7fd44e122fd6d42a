"""Loads a configuration file: reads, checks every part, tells every problem at once."""

from pathlib import Path

from ingestion_runtime.config.connections import build_connection, is_connection_name
from ingestion_runtime.config.entries import dialects_of, load_entries
from ingestion_runtime.config.issues import IssueLog, Location
from ingestion_runtime.config.models.configuration import ConfigurationFile
from ingestion_runtime.config.models.connections import ConnectionFile
from ingestion_runtime.config.models.metadata import MetadataFile
from ingestion_runtime.config.models.orchestration import OrchestrationFile
from ingestion_runtime.config.models.runtime import RuntimeFile
from ingestion_runtime.config.orchestration import build_orchestration
from ingestion_runtime.config.parsing import keys_of, parse_part, tell_unknown_key
from ingestion_runtime.config.paths import PathResolver
from ingestion_runtime.config.reading import read_json_object
from ingestion_runtime.config.runtime import Connections, build_metadata, build_runtime
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.orchestration import Orchestration, Schedule
from ingestion_runtime.model.spec import Configuration, MetadataSpec, RuntimeSpec


def load_configuration(path: Path) -> Configuration:
    """Return the configuration in the file, validated, with absolute paths and every default filled in.

    Raises ConfigError that lists every problem on a line of its own; ``values["issues"]`` holds them as ConfigIssue.
    Nothing but the file is read: secrets stay references, directories need not exist, and what the patterns among its
    tables match only their sources know (``endpoints.resolving``).
    """
    log = IssueLog()
    raw = read_json_object(path, log)
    paths = PathResolver(path.parent, log)
    _check_root(raw, log)
    connections = _load_connections(raw.get("connections"), paths, log)
    named = Connections(connections, dialects_of(raw.get("connections")))
    runtime = _load_runtime(raw, path, paths, log, named)
    metadata = _load_metadata(raw.get("metadata"), runtime, paths, log)
    entries = load_entries(raw, runtime, metadata, log, paths.base)
    orchestration = _load_orchestration(raw.get("orchestration"), runtime, log)
    log.raise_if_any(path)
    if runtime is None or metadata is None:
        raise ConfigError(f"The configuration {path} is incomplete.", remedy="Check its sections.", issues=())
    return Configuration(
        path=Path(paths.base / path.name),
        connections=connections,
        runtime=runtime,
        metadata=metadata,
        tables=entries.tables,
        orchestration=orchestration,
        patterns=entries.patterns,
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


def _load_orchestration(raw: object, runtime: RuntimeSpec | None, log: IssueLog) -> Orchestration:
    zone = runtime.timezone if runtime else "UTC"
    if raw is None:
        return Orchestration(schedule=Schedule(timezone=zone))
    file = parse_part(OrchestrationFile, raw, ("orchestration",), log)
    return Orchestration() if file is None else build_orchestration(file, zone, log)
