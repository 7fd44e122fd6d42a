"""What a run tells of the patterns of its configuration: how many tables each stands for, and which have vanished."""

import logging
from collections.abc import Iterator
from dataclasses import replace

from ingestion_runtime.config.names import NamePattern
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.types.run import PatternResolved, TablesVanished
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.spec import Configuration, RuntimeSpec, TablePattern
from ingestion_runtime.state.buffered import BufferedState

_LOG = logging.getLogger(__name__)


def tell_patterns(configuration: Configuration, state: BufferedState, emitter: Emitter) -> None:
    """Emit what the patterns have become. It is for looking at: a state that cannot be read stops no table here."""
    for pattern in configuration.patterns:
        skipped = tuple(table.name for table in pattern.skipped)
        emitter.emit(PatternResolved(pattern.like.name, pattern.like.connection, len(pattern.matched or ()), skipped))
    try:
        vanished = find_vanished(configuration, state)
    except IngestionError as error:
        _LOG.warning("Whether tables have vanished from their sources is not known: %s", error)
        return
    if vanished:
        emitter.emit(TablesVanished(vanished))
        _LOG.warning(
            "No longer at the source, and left in the lake as they are: %s. If that is right, let the pattern exclude them.",
            ", ".join(vanished),
        )


def find_vanished(configuration: Configuration, state: BufferedState) -> tuple[str, ...]:
    """Return the targets that this configuration has published, that a pattern would match, and whose table is gone.

    They are told by the names under which they are published: a pattern for tables is one for these too.
    """
    runtime = configuration.runtime
    present = {target_key(runtime, table) for table in configuration.tables}
    present |= {target_key(runtime, table) for pattern in configuration.patterns for table in pattern.skipped}
    found: dict[str, None] = {}
    for pattern in configuration.patterns:
        known = state.known_tables(target_key(runtime, pattern.like).catalog)
        for key in known:
            if key not in present and _is_matched(key, runtime, pattern):
                head = state.head(key)
                ours = head is not None and head.receipt.owner == runtime.job_name
                if ours and head is not None and head.source_id == pattern.like.connection:
                    found[f"{key.schema}.{key.table}"] = None
    return tuple(found)


def _is_matched(key: TableKey, runtime: RuntimeSpec, pattern: TablePattern) -> bool:
    return _lies_in(key, target_key(runtime, pattern.like)) and not any(
        _lies_in(key, sought) for sought in _excluded(runtime, pattern)
    )


def _excluded(runtime: RuntimeSpec, pattern: TablePattern) -> Iterator[TableKey]:
    for text in pattern.exclude:
        schema, dot, table = text.partition(".")
        names = (schema, table) if dot else (pattern.like.schema, text)
        yield target_key(runtime, replace(pattern.like, schema=names[0], table=names[1]))


def _lies_in(key: TableKey, sought: TableKey) -> bool:
    pairs = ((key.schema, sought.schema), (key.table, sought.table))
    return key.catalog == sought.catalog and all(NamePattern(p, ignores_case=True).matches(name) for name, p in pairs)
