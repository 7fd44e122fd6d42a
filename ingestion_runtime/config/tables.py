"""From the tables of the file to TableSpec, with the checks that need more than one key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingestion_runtime.config.connections import is_connection_name
from ingestion_runtime.config.cursors import canonical_watermark
from ingestion_runtime.config.issues import IssueLog, Location, did_you_mean
from ingestion_runtime.config.known import DIALECTS
from ingestion_runtime.config.maintenance import build_table_maintenance
from ingestion_runtime.config.models.tables import PartitionFieldFile, PartitionReadFile, TableFile
from ingestion_runtime.config.names import check_names, check_pattern, is_pattern
from ingestion_runtime.config.policies import build_policy, build_wishes
from ingestion_runtime.config.privacy import Standing, build_privacy
from ingestion_runtime.config.reconciliation import build_reconciliation
from ingestion_runtime.config.runtime import check_timezone
from ingestion_runtime.config.sql_text import SqlRefusedError
from ingestion_runtime.model.columns import INGEST_PREFIX
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.horizon import HorizonPolicy
from ingestion_runtime.model.maintenance import SpecMode, TableMaintenance
from ingestion_runtime.model.policy import Guardrails, SchemaPolicy
from ingestion_runtime.model.reconciliation import Reconciliation
from ingestion_runtime.model.spec import (
    Deletes,
    Engine,
    NullCursor,
    NullKeys,
    PartitionField,
    PartitionRead,
    SinkFormat,
    TableSpec,
)

TRANSFORM = re.compile(r"(identity|year|month|day)|(years|months|days)|(bucket|truncate):(\d{1,7})", re.ASCII)
TIME_TRANSFORMS = ("year", "month", "day")
DEFAULT_DELETE_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class TableContext:
    """What a table is checked against: dialects by connection name (None: not known), whether a catalog is given, and the
    horizon policies by connection name. ``policy``, ``guardrails`` and ``maintenance`` hold for tables that say nothing
    else; ``standing`` says where the table stands."""

    dialects: Mapping[str, str | None]
    has_catalog: bool
    log: IssueLog
    horizons: Mapping[str, str] = field(default_factory=dict)
    policy: SchemaPolicy = field(default_factory=SchemaPolicy)
    guardrails: Guardrails = field(default_factory=Guardrails)
    maintenance: TableMaintenance = field(default_factory=TableMaintenance)
    standing: Standing = field(default_factory=lambda: Standing(Path(), lambda _: False))
    reconciliation: Reconciliation = field(default_factory=Reconciliation)


def build_table(file: TableFile, at: Location, context: TableContext) -> TableSpec:
    """Return the table, or for a pattern what its tables are like; problems are recorded."""
    log = context.log
    connection = _connection(file, at, context)
    if is_pattern(file):
        check_pattern(file, at, context.dialects.get(connection), log)
    else:
        check_names(file, at, log)
    _check_keys(file, at, log)
    _check_columns(file, at, log)
    _check_mode(file, at, context)
    _check_sql(file, at, context.dialects.get(connection), log)
    return TableSpec(
        schema=file.schema_name,
        table=file.table,
        mode=file.mode or "full",
        connection=connection,
        sink=SinkFormat(file.sink),
        primary_keys=tuple(file.primary_keys),
        incremental_column=file.incremental_column,
        incr_col_type=None if file.incr_col_type is None else CursorType(file.incr_col_type),
        initial_watermark=_watermark(file, at, log),
        lag_seconds=file.lag_seconds,
        source_filter=_joined(file.source_filter),
        query_sql=file.query_sql,
        partition_read=_partition_read(file.partition_read, (*at, "partition_read"), log),
        fetch_size=file.fetch_size,
        engine=None if file.engine is None else Engine(file.engine),
        partition=_partition(file.intermediate.partition, (*at, "intermediate", "partition"), log),
        merge_filter=file.intermediate.merge_filter,
        null_keys=NullKeys(file.null_keys),
        null_cursor=NullCursor(file.null_cursor),
        policy=build_policy(file.schema_policy, context.policy, (*at, "schema_policy"), log),
        guardrails=build_wishes(file.columns, file.incremental_column, context.guardrails, (*at, "columns"), log),
        deletes=Deletes(file.deletes),
        max_delete_fraction=DEFAULT_DELETE_FRACTION if file.max_delete_fraction is None else file.max_delete_fraction,
        horizon=_horizon(file, at, connection, context),
        cursor_timezone=_cursor_timezone(file, (*at, "cursor_timezone"), log),
        lag=_lag(file, (*at, "lag"), log),
        max_shrink_fraction=file.max_shrink_fraction,
        privacy=build_privacy(file, at, context.standing, log),
        reconciliation=build_reconciliation(file.reconciliation, context.reconciliation, (*at, "reconciliation"), log),
        spec_mode=SpecMode(file.intermediate.spec_mode),
        maintenance=build_table_maintenance(file.maintenance, context.maintenance, (*at, "maintenance"), log),
    )


def _connection(file: TableFile, at: Location, context: TableContext) -> str:
    names = list(context.dialects)
    if file.connection is None:
        if len(names) > 1 and context.log.clean((*at, "connection")):
            context.log.add((*at, "connection"), "is required where there are several connections")
        return names[0] if names else ""
    if file.connection not in context.dialects:
        hint = did_you_mean(file.connection, filter(is_connection_name, names))
        context.log.add((*at, "connection"), f"there is no connection of this name{hint}")
    return file.connection


def _check_keys(file: TableFile, at: Location, log: IssueLog) -> None:
    seen: set[str] = set()
    for index, name in enumerate(file.primary_keys):
        if name.casefold() in seen:
            log.add((*at, "primary_keys", index), "this column is named twice (letter case does not count)")
        seen.add(name.casefold())


def _check_columns(file: TableFile, at: Location, log: IssueLog) -> None:
    columns: list[tuple[Location, str | None]] = [((*at, "incremental_column"), file.incremental_column)]
    columns += [((*at, "primary_keys", index), name) for index, name in enumerate(file.primary_keys)]
    for place, name in columns:
        if name is None:
            continue
        if name.casefold().startswith(INGEST_PREFIX):
            log.add(place, f"columns that start with {INGEST_PREFIX} are added by the runtime; name one of the source")
        _check_column(name, place, log)
    cursor = file.incremental_column or ""
    if any(sign in cursor for sign in "/\\=") or cursor in (".", ".."):
        log.add((*at, "incremental_column"), "becomes part of a folder name: no / \\ or =")


def _check_column(name: str, at: Location, log: IssueLog) -> None:
    if not name.isprintable() or not name.strip():
        log.add(at, "must be a column name without control characters")


def _check_mode(file: TableFile, at: Location, context: TableContext) -> None:
    log = context.log

    def need(key: str, message: str) -> None:
        if log.clean((*at, key)):
            log.add((*at, key), message)

    if file.sink == "iceberg" and not context.has_catalog and log.clean((*at, "sink")):
        log.add((*at, "sink"), "the sink 'iceberg' (the default) needs runtime.intermediate; give it, or use 'parquet'")
    if file.mode is None and log.clean((*at, "mode")):
        log.add((*at, "mode"), "this key is required, here or in defaults")
    if file.mode == "scd1":
        for key in ("primary_keys", "incremental_column", "incr_col_type"):
            # The tables of a pattern have each their own key, which the source's catalog knows.
            if not getattr(file, key) and not (key == "primary_keys" and is_pattern(file)):
                need(key, f"mode 'scd1' needs '{key}'")
        if file.sink != "iceberg":
            need("sink", "mode 'scd1' needs the sink 'iceberg'")
    if file.mode == "append":
        _check_append(file, at, log)
    if file.incr_col_type in ("text", "int") and file.lag_seconds:
        log.add((*at, "lag_seconds"), f"has no meaning for a cursor of type {file.incr_col_type}; leave it out")
    _check_deletes(file, at, log)
    _check_intermediate(file, at, log)


def _check_append(file: TableFile, at: Location, log: IssueLog) -> None:
    for key in ("incremental_column", "incr_col_type"):
        if not getattr(file, key) and log.clean((*at, key)):
            log.add((*at, key), f"mode 'append' needs '{key}'")
    if file.incr_col_type == "text":
        log.add((*at, "incr_col_type"), "mode 'append' needs a cursor that is a number, a date or a time")
    if file.primary_keys:
        log.add((*at, "primary_keys"), "mode 'append' adds rows as they come and knows no key; leave it out, or use 'scd1'")
    if file.sink != "iceberg" and log.clean((*at, "sink")):
        log.add((*at, "sink"), "mode 'append' needs the sink 'iceberg': a directory is only ever replaced as a whole")


def _check_deletes(file: TableFile, at: Location, log: IssueLog) -> None:
    if file.deletes != "ignore" and file.mode == "full" and log.clean((*at, "mode")):
        log.add((*at, "deletes"), "mode 'full' replaces the whole table, deleted rows go with it; leave it out")
    if file.deletes != "ignore" and file.mode == "append":
        log.add((*at, "deletes"), "mode 'append' has no key by which a row could be found to be gone; leave it out")
    if file.deletes == "ignore" and file.max_delete_fraction is not None and log.clean((*at, "deletes")):
        log.add((*at, "max_delete_fraction"), "has no meaning without 'deletes': 'soft' or 'hard'; leave it out")


def _horizon(file: TableFile, at: Location, connection: str, context: TableContext) -> HorizonPolicy:
    policy = HorizonPolicy(file.horizon or context.horizons.get(connection) or HorizonPolicy.STRICT)
    place = (*at, "horizon")
    if policy is HorizonPolicy.LAG and file.mode in ("scd1", "append") and context.log.clean(place):
        if file.incr_col_type == "text":
            context.log.add(place, "a text cursor has no lag; use 'strict' or 'off' for this table")
        elif file.incr_col_type == "int" and not file.lag:
            context.log.add(place, "'lag' for a cursor of type int needs the key 'lag' above 0, in the cursor's own units")
    return policy


def _cursor_timezone(file: TableFile, at: Location, log: IssueLog) -> str | None:
    name = file.cursor_timezone
    if name is None:
        return None
    check_timezone(name, at, log)
    if file.incr_col_type not in (None, "timestamp", "date"):
        log.add(at, f"has no meaning for a cursor of type {file.incr_col_type}; leave it out")
    return name


def _lag(file: TableFile, at: Location, log: IssueLog) -> int | None:
    if file.lag is not None and file.incr_col_type not in (None, "int"):
        log.add(at, "is for cursors of type int; a clock takes 'lag_seconds', a text has none")
    return file.lag


def _check_intermediate(file: TableFile, at: Location, log: IssueLog) -> None:
    inner = (*at, "intermediate")
    known = log.clean((*at, "mode")) and log.clean((*at, "sink"))
    merged = file.mode == "scd1" and file.sink == "iceberg"
    if known and file.intermediate.merge_filter is not None and not merged:
        log.add((*inner, "merge_filter"), "only mode 'scd1' with the sink 'iceberg' merges; leave it out")
    if log.clean((*at, "sink")) and file.intermediate.partition and file.sink != "iceberg":
        log.add((*inner, "partition"), "only the sink 'iceberg' has partitions; leave it out")
    if log.clean((*at, "sink")) and "spec_mode" in file.intermediate.model_fields_set and file.sink != "iceberg":
        log.add((*inner, "spec_mode"), "only the sink 'iceberg' has partitions; leave it out")


def _check_sql(file: TableFile, at: Location, dialect: str | None, log: IssueLog) -> None:
    grammar = DIALECTS[dialect].sqlglot if dialect is not None else None
    texts = file.source_filter if isinstance(file.source_filter, tuple) else ()
    places: list[tuple[Location, str]] = [((*at, "source_filter", i), text) for i, text in enumerate(texts)]
    if isinstance(file.source_filter, str):
        places.append(((*at, "source_filter"), file.source_filter))
    try_each = [(place, text, grammar) for place, text in places]
    if file.intermediate.merge_filter is not None:
        try_each.append(((*at, "intermediate", "merge_filter"), file.intermediate.merge_filter, "spark"))
    for place, text, language in try_each:
        _guard(text, language, place, log, query=False)
    if file.query_sql is not None:
        _guard(file.query_sql, grammar, (*at, "query_sql"), log, query=True)


def _guard(text: str, grammar: str | None, at: Location, log: IssueLog, *, query: bool) -> None:
    if grammar is None:
        return
    from ingestion_runtime.config import sql_guard  # a quarter of a second, for files with SQL only

    try:
        (sql_guard.check_query if query else sql_guard.check_filter)(text, grammar)
    except SqlRefusedError as error:
        log.add(at, str(error))


def _joined(source_filter: str | tuple[str, ...] | None) -> str | None:
    if isinstance(source_filter, tuple):
        return " AND ".join(f"({text})" for text in source_filter)
    return source_filter


def _watermark(file: TableFile, at: Location, log: IssueLog) -> Watermark | None:
    if file.incr_col_type is None:
        if file.initial_watermark is not None and log.clean((*at, "incr_col_type")):
            log.add((*at, "initial_watermark"), "needs 'incr_col_type'")
        return None
    if file.initial_watermark is None:
        return None  # everything the source has
    try:
        return canonical_watermark(CursorType(file.incr_col_type), file.initial_watermark)
    except ValueError as error:
        log.add((*at, "initial_watermark"), str(error))
        return None


def _partition_read(file: PartitionReadFile | None, at: Location, log: IssueLog) -> PartitionRead | None:
    if file is None:
        return None
    _check_column(file.column, (*at, "partitionColumn"), log)
    for key, text in (("lowerBound", file.lower), ("upperBound", file.upper)):
        if text is not None and (not text or not text.isprintable()):
            log.add((*at, key), "must be a number, a date or a timestamp")
    lower, upper = _number(file.lower), _number(file.upper)
    if lower is not None and upper is not None and lower >= upper:
        log.add((*at, "lowerBound"), "must be below upperBound")
    return PartitionRead(column=file.column, lower=file.lower, upper=file.upper, partitions=file.partitions)


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d{1,19}", text, re.ASCII) else None


def _partition(fields: list[PartitionFieldFile], at: Location, log: IssueLog) -> tuple[PartitionField, ...]:
    built: list[PartitionField] = []
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(fields):
        _check_column(item.column, (*at, index, "column"), log)
        transform = _transform(item.column, item.transform)
        if transform is None:
            allowed = "identity, year(s), month(s), day(s), bucket:N or truncate:N with N above 0"
            log.add((*at, index, "transform"), f"must be {allowed}")
            continue
        family = "time" if transform.transform in TIME_TRANSFORMS else transform.transform
        if (item.column.casefold(), family) in seen:
            log.add((*at, index), "this column is already partitioned in this way")
        seen.add((item.column.casefold(), family))
        built.append(transform)
    return tuple(built)


def _transform(column: str, text: str) -> PartitionField | None:
    found = TRANSFORM.fullmatch(text)
    if found is None:
        return None
    singular, plural, sized, width = found.groups()
    if sized:
        return PartitionField(column, sized, int(width)) if int(width) > 0 else None
    return PartitionField(column, singular or plural.removesuffix("s"))
