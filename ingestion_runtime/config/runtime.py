"""From the sections ``runtime`` and ``metadata`` of the file to RuntimeSpec and MetadataSpec."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from ingestion_runtime.config.issues import IssueLog, Location, did_you_mean
from ingestion_runtime.config.known import OWNED_SPARK_KEYS, SECRET_WORDS, SPARK_KEYS_WITH_A_FIELD
from ingestion_runtime.config.maintenance import build_maintenance
from ingestion_runtime.config.models.metadata import MetadataFile
from ingestion_runtime.config.models.runtime import IntermediateFile, RuntimeFile, SparkFile
from ingestion_runtime.config.notify import build_gateway, build_notify
from ingestion_runtime.config.paths import PathResolver, check_apart, is_hdfs, neighbour
from ingestion_runtime.config.policies import build_guardrails, build_policy
from ingestion_runtime.config.reconciliation import build_reconciliation
from ingestion_runtime.model.connection import ConnectionSpec
from ingestion_runtime.model.policy import SchemaPolicy
from ingestion_runtime.model.reconciliation import Reconciliation
from ingestion_runtime.model.spec import (
    CatalogSpec,
    Engine,
    LoggingSpec,
    MetadataSpec,
    RuntimeSpec,
    SlicingPolicy,
    SparkSpec,
    StagingSpec,
)

JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
CATALOG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
TABLE_PATTERN = re.compile(r"([A-Za-z0-9_]|\{schema\}|\{table\})+\.([A-Za-z0-9_]|\{schema\}|\{table\})+", re.ASCII)
MASTER = re.compile(r"local(\[(\d{1,4}|\*)(,\s*\d{1,3})?\])?|spark://\S+|yarn|k8s://\S+", re.ASCII)
MEMORY = re.compile(r"[1-9]\d{0,6}[kmgt]b?", re.ASCII | re.IGNORECASE)
SPARK_KEY = re.compile(r"spark\.[A-Za-z0-9._-]{1,150}", re.ASCII)

AT: Location = ("runtime",)
CATALOG: Location = (*AT, "intermediate")
LINKED = "the parquet sink publishes by moving a symbolic link, which HDFS does not have"


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of the file: those that could be built, and the dialects of all that are named, None if unknown."""

    built: tuple[ConnectionSpec, ...]
    dialects: Mapping[str, str | None]


def build_runtime(
    file: RuntimeFile, path: Path, paths: PathResolver, log: IssueLog, connections: Connections
) -> RuntimeSpec:
    """Return the runtime section with absolute paths and filled defaults; problems are recorded."""
    raw_root = paths.resolve_place(file.raw_root, (*AT, "raw_root"))
    final_root = paths.resolve(file.final_root, (*AT, "final_root"), local_because=LINKED)
    staging = _build_staging(file, raw_root, paths)
    catalog = _build_catalog(file.intermediate, paths, log, connections)
    check_timezone(file.timezone, (*AT, "timezone"), log)
    _check_roots(raw_root, final_root, staging, catalog, log)
    outbox = file.hdfs_outbox_root
    return RuntimeSpec(
        job_name=_job_name(file.job_name, path, log),
        raw_root=raw_root,
        final_root=final_root,
        timezone=file.timezone,
        catalog=catalog,
        staging=staging,
        state_database=_local(raw_root, "state/state.db", file.state.database, (*AT, "state", "database"), paths),
        max_parallel_tables=file.max_parallel_tables,
        lag_seconds=file.lag_seconds,
        compression=file.compression,
        engine=Engine(file.engine),
        memory_mb=file.memory_mb,
        finalize_full_refresh=file.finalize_full_refresh,
        slicing=SlicingPolicy(**file.scd1_slicing.model_dump()),
        spark=_build_spark(file.spark, log),
        logging=_build_logging(file, paths),
        state_flush_every=file.state_flush_every,
        state_flush_age_seconds=file.state_flush_age_seconds,
        hdfs_outbox_root=None if outbox is None else paths.resolve_outbox(outbox, (*AT, "hdfs_outbox_root")),
        notify=build_notify(file.notify, (*AT, "notify"), paths.base, log),
        gateway=build_gateway(file.metadata_gateway, (*AT, "metadata_gateway"), paths, log),
        reconciliation=build_reconciliation(
            file.reconciliation_defaults, Reconciliation(), (*AT, "reconciliation_defaults"), log
        ),
        maintenance=build_maintenance(file.maintenance, (*AT, "maintenance"), log),
    )


def build_metadata(file: MetadataFile, raw_root: str, paths: PathResolver, log: IssueLog) -> MetadataSpec:
    """Return the metadata section; the cache lies beside ``raw_root`` unless the file says where."""
    return MetadataSpec(
        enabled=file.enabled,
        cache_path=_local(raw_root, "metadata", file.cache_path, ("metadata", "cache_path"), paths),
        ttl_hours=file.ttl_hours,
        policy=build_policy(file.schema_policy, SchemaPolicy(), ("metadata", "schema_policy"), log),
        guardrails=build_guardrails(file.precision_guardrails, ("metadata", "precision_guardrails"), log),
    )


def _local(raw_root: str, default: str, text: str | None, at: Location, paths: PathResolver) -> str:
    return paths.beside(raw_root, default, at) if text is None else paths.resolve(text, at)


def _build_staging(file: RuntimeFile, raw_root: str, paths: PathResolver) -> StagingSpec:
    given = file.staging.root
    at = (*AT, "staging", "root")
    root = neighbour(raw_root, "staging") if given is None else paths.resolve_place(given, at)
    return StagingSpec(root=root, ttl_hours=file.staging.ttl_hours, enabled=file.staging.enabled)


def _build_logging(file: RuntimeFile, paths: PathResolver) -> LoggingSpec:
    sink = file.logging.event_sink
    return LoggingSpec(
        level=file.logging.level,
        emit_structured=file.logging.emit_structured,
        event_sink=None if sink is None else paths.resolve(sink, (*AT, "logging", "event_sink")),
    )


def _build_catalog(
    file: IntermediateFile | None, paths: PathResolver, log: IssueLog, connections: Connections
) -> CatalogSpec | None:
    if file is None:
        return None
    at = CATALOG
    if not CATALOG_NAME.fullmatch(file.name) or file.name.lower() == "spark_catalog":
        log.add((*at, "name"), "must be a letter, then letters, digits and _, and not Spark's own 'spark_catalog'")
    if not TABLE_PATTERN.fullmatch(file.table_pattern) or "{table}" not in file.table_pattern:
        allowed = "letters, digits, _, {schema} and {table}"
        log.add((*at, "table_pattern"), f"must be namespace.table made of {allowed}, with {{table}} in it")
    warehouse = paths.resolve_place(file.warehouse, (*at, "warehouse"))
    _check_kind(file, warehouse, log)
    return CatalogSpec(
        name=file.name,
        database=None if file.database is None else paths.resolve(file.database, (*at, "database")),
        warehouse=warehouse,
        name_pattern=file.table_pattern,
        connection=None if file.connection is None else _catalog_connection(file.connection, connections, log),
    )


def _check_kind(file: IntermediateFile, warehouse: str, log: IssueLog) -> None:
    given = [key for key in ("database", "connection") if getattr(file, key) is not None]
    if file.catalog_type == "hadoop":
        for key in given:
            log.add((*CATALOG, key), "a hadoop catalog lies in the warehouse and has no database; leave it out")
        if warehouse and not is_hdfs(warehouse):
            reason = "on a local disk a hadoop catalog loses acknowledged commits; use hdfs://, or catalog_type sql"
            log.add((*CATALOG, "warehouse"), reason)
    elif len(given) != 1 and log.clean((*CATALOG, "database")) and log.clean((*CATALOG, "connection")):
        surplus = "; both are given, leave one out" if given else ""
        log.add(
            CATALOG, f"a sql catalog needs either 'database' (an SQLite file) or 'connection' (a postgresql one){surplus}"
        )


def _catalog_connection(name: str, connections: Connections, log: IssueLog) -> ConnectionSpec | None:
    at = (*CATALOG, "connection")
    if name not in connections.dialects:
        log.add(at, f"there is no such connection{did_you_mean(name, connections.dialects)}")
    elif connections.dialects[name] not in (None, "postgresql"):
        log.add(at, f"must be a postgresql connection; {name!r} is {connections.dialects[name]}")
    return next((connection for connection in connections.built if connection.name == name), None)


def _check_roots(raw: str, final: str, staging: StagingSpec, catalog: CatalogSpec | None, log: IssueLog) -> None:
    roots: dict[Location, str] = {
        (*AT, "raw_root"): raw,
        (*AT, "final_root"): final,
        (*AT, "staging", "root"): staging.root,
    }
    if catalog is not None:
        roots[(*AT, "intermediate", "warehouse")] = catalog.warehouse
    check_apart(roots, log)


def check_timezone(name: str, at: Location, log: IssueLog) -> None:
    """Record a problem unless ``name`` is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        hint = did_you_mean(name, available_timezones())
        log.add(at, f"must be an IANA time zone such as Europe/Berlin or UTC{hint}")


def _job_name(name: str | None, path: Path, log: IssueLog) -> str:
    if name is None:
        return re.sub(r"[^A-Za-z0-9._-]|^[^A-Za-z0-9]", "-", path.stem).lstrip("-._")[:100] or "ingestion"
    if not JOB_NAME.fullmatch(name):
        log.add((*AT, "job_name"), "must be letters, digits, '.', '_' and '-', starting with a letter or digit")
    return name


def _build_spark(file: SparkFile, log: IssueLog) -> SparkSpec:
    at = (*AT, "spark")
    if not MASTER.fullmatch(file.master):
        log.add((*at, "master"), "must be local, local[N], local[*], spark://host:port, yarn or k8s://...")
    if not MEMORY.fullmatch(file.driver_memory):
        log.add((*at, "driver_memory"), "must be a size such as 512m or 2g")
    for key, value in file.conf.items():
        if not SPARK_KEY.fullmatch(key):
            log.add((*at, "conf"), "every key must be a Spark setting that starts with 'spark.'")
        elif problem := _spark_problem(key, value):
            log.add((*at, "conf", key), problem)
    return SparkSpec(master=file.master, driver_memory=file.driver_memory, conf=tuple(sorted(file.conf.items())))


def _spark_problem(key: str, value: str) -> str:
    folded = key.casefold()
    if key in SPARK_KEYS_WITH_A_FIELD:
        return f"write it under runtime.{SPARK_KEYS_WITH_A_FIELD[key]}"
    if any(_owns(owned.casefold(), folded) for owned in OWNED_SPARK_KEYS):
        return f"the runtime decides this setting itself; leave it out ({', '.join(OWNED_SPARK_KEYS)} are its own)"
    if any(word in folded for word in SECRET_WORDS):
        return "secrets are not accepted in Spark settings; give them to Spark by its own environment"
    return "" if value.isprintable() else "may not hold control characters"


def _owns(owned: str, key: str) -> bool:
    return key.startswith(owned[:-1]) if owned.endswith("*") else key == owned
