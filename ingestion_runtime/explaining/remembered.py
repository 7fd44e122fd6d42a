"""A configuration with the tables of its patterns as the last runs knew them: no source is asked."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ingestion_runtime.config import load_configuration
from ingestion_runtime.config.names import NamePattern
from ingestion_runtime.config.patterns import is_excluded
from ingestion_runtime.model.spec import Configuration, TablePattern, TableSpec
from ingestion_runtime.state.sqlite import sqlite_reader


def remembered_configuration(path: Path) -> Configuration:
    """Return the configuration in a file; its patterns stand for the tables that runs of this job have found by them.

    Before the first run a pattern stands for none. Raises ConfigError, and what the state database raises.
    """
    configuration = load_configuration(path)
    if not configuration.patterns:
        return configuration
    store = sqlite_reader(Path(configuration.runtime.state_database))
    store.open()
    try:
        names = store.remembered_tables(configuration.runtime.job_name)
    finally:
        store.close()
    known = {table.name for table in configuration.tables}
    found = [_find(configuration.patterns, name) for name in names if name not in known]
    return replace(configuration, tables=(*configuration.tables, *filter(None, found)))


def _find(patterns: Sequence[TablePattern], name: str) -> TableSpec | None:
    """Return the table that the first fitting pattern makes of a name; None where none fits any more."""
    for pattern in patterns:
        for schema, table in _readings(name):
            if _fits(pattern, schema, table):
                return replace(pattern.like, schema=schema, table=table)
    return None


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """Yield schema and table; which dot parts them is not said."""
    parts = name.split(".")
    yield from ((".".join(parts[:place]), ".".join(parts[place:])) for place in range(1, len(parts)))


def _fits(pattern: TablePattern, schema: str, table: str) -> bool:
    wanted = ((pattern.like.schema, schema), (pattern.like.table, table))
    matches = all(NamePattern(glob, ignores_case=True).matches(name) for glob, name in wanted)
    return matches and not is_excluded(pattern, schema, table, ignores_case=True)
