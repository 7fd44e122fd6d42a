"""From patterns to tables: what the sources list, without what is excluded or has an entry of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ingestion_runtime.config.issues import IssueLog, Location, configuration_error
from ingestion_runtime.config.known import DIALECTS
from ingestion_runtime.config.names import NamePattern, is_glob, name_problem
from ingestion_runtime.config.unique import Placed, check_unique
from ingestion_runtime.model.schema import ListedTable, Listing
from ingestion_runtime.model.spec import Configuration, TablePattern, TableSpec, Unfit

# Enough to see what is meant; the others are counted.
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class TableShape:
    """Columns and primary key of a table at its source."""

    columns: frozenset[str]
    primary_keys: tuple[str, ...]


class SourceCatalog(Protocol):
    """What the catalogs of the sources say; raises what connecting to them raises."""

    def listing(self, connection: str, schema: str | None) -> Listing:
        """Return the tables of a connection, or of one schema of it."""
        ...

    def shapes(self, connection: str, tables: Sequence[TableSpec]) -> Mapping[str, TableShape]:
        """Return the shapes of tables by ``schema.table``; those that are not there are left out."""
        ...


def resolve_patterns(configuration: Configuration, catalog: SourceCatalog) -> Configuration:
    """Return the configuration with the tables of its patterns among its tables, each where its pattern stands.

    Each source is asked once for its tables. A table with an entry of its own is none of a pattern's, whichever of them
    comes first; else the earlier pattern has it. Raises one ConfigError with every problem: a pattern that matches nothing,
    tables that do not fit its mode, names that cannot be in the lake or meet there.
    """
    log = IssueLog()
    sources: dict[str, _Source] = {}
    placed: list[list[Placed]] = [[] for _ in range(len(configuration.tables) + 1)]
    resolved: list[TablePattern] = []
    for pattern in configuration.patterns:
        name = pattern.like.connection
        if name not in sources:
            sources[name] = _Source.look(configuration, name, catalog)
        found, skipped = _tables_of(pattern, sources[name], catalog, log)
        placed[pattern.place] += [Placed(_at(pattern), table, by_pattern=True) for table in found]
        matched = tuple(table.name for table in found)
        resolved.append(replace(pattern, matched=matched, skipped=tuple(skipped)))
    ordered = _in_order(configuration, placed)
    check_unique(ordered, configuration.runtime.catalog, log)
    if log.issues:
        raise configuration_error(configuration.path, log.issues)
    return replace(configuration, tables=tuple(item.table for item in ordered), patterns=tuple(resolved))


@dataclass(slots=True)
class _Source:
    """What a connection lists, and which of it is spoken for. Without ``schemas`` (SQLite) a table's own name tells it."""

    connection: str
    listing: Listing
    schemas: bool
    taken: set[tuple[str, ...]] = field(default_factory=set)

    @classmethod
    def look(cls, configuration: Configuration, name: str, catalog: SourceCatalog) -> "_Source":
        """Ask for the tables once, for all patterns of the connection; those with an entry of their own are spoken for."""
        wanted = {pattern.like.schema for pattern in configuration.patterns if pattern.like.connection == name}
        schemas = DIALECTS[configuration.connection(name).dialect].server
        one = next(iter(wanted)) if schemas and len(wanted) == 1 and not any(map(is_glob, wanted)) else None
        source = cls(name, catalog.listing(name, one), schemas)
        source.taken = {source.key(table) for table in configuration.tables if table.connection == name}
        return source

    def under(self, schema: str) -> list[ListedTable]:
        """Return everything that is listed, under this schema where the source knows none."""
        return [table if self.schemas else replace(table, schema=schema) for table in self.listing.tables]

    def key(self, table: ListedTable | TableSpec) -> tuple[str, ...]:
        """Return by what the source tells the table from others."""
        names = (table.schema, table.table) if self.schemas else (table.table,)
        return tuple(name.casefold() for name in names) if self.listing.ignores_case else names


def _in_order(configuration: Configuration, placed: Sequence[Sequence[Placed]]) -> list[Placed]:
    """Return all tables in the order of the entries that brought them; ``placed`` are the patterns', by their place."""
    by_patterns = {pattern.entry for pattern in configuration.patterns}
    entries = iter(n for n in range(len(configuration.tables) + len(by_patterns)) if n not in by_patterns)
    ordered = list(placed[0])
    for table, behind in zip(configuration.tables, placed[1:], strict=True):
        ordered += [Placed(("tables", next(entries)), table), *behind]
    return ordered


def _at(pattern: TablePattern) -> Location:
    return ("tables", pattern.entry)


def _tables_of(
    pattern: TablePattern, source: _Source, catalog: SourceCatalog, log: IssueLog
) -> tuple[list[TableSpec], list[TableSpec]]:
    """Return the tables of a pattern, and those that it skips because they do not fit."""
    wanted: list[TableSpec] = []
    for listed in _match(pattern, source, log):
        if source.key(listed) in source.taken:
            continue
        source.taken.add(source.key(listed))
        table = replace(pattern.like, schema=listed.schema, table=listed.table)
        problem = name_problem(table.schema) or name_problem(table.table)
        if problem:
            log.add(_at(pattern), f"matches {table.name!r}, whose name {problem}; exclude it")
        else:
            wanted.append(table)
    return _fit(pattern, wanted, catalog, log)


def _match(pattern: TablePattern, source: _Source, log: IssueLog) -> list[ListedTable]:
    ignores_case = source.listing.ignores_case
    schema = NamePattern(pattern.like.schema, ignores_case=ignores_case)
    table = NamePattern(pattern.like.table, ignores_case=ignores_case)
    listed = [t for t in source.under(pattern.like.schema) if schema.matches(t.schema) and table.matches(t.table)]
    kept = [t for t in listed if not is_excluded(pattern, t.schema, t.table, ignores_case=ignores_case)]
    matched = [t for t in kept if pattern.views or t.kind == "table"]
    if not matched and not pattern.allow_empty:
        log.add(_at(pattern), _nothing(source, listed, kept))
    return matched


def is_excluded(pattern: TablePattern, schema: str, table: str, *, ignores_case: bool) -> bool:
    """Whether the pattern leaves out what it would match. An exclusion without a dot is one of tables in every schema."""
    return any(
        NamePattern(text, ignores_case=ignores_case).matches(f"{schema}.{table}" if "." in text else table)
        for text in pattern.exclude
    )


def _nothing(source: _Source, listed: Sequence[ListedTable], kept: Sequence[ListedTable]) -> str:
    if kept:
        views = "a view" if len(kept) == 1 else f"{len(kept)} views"
        return f'matches no table of connection {source.connection!r}, but {views}; take views with "views": true'
    if listed:
        return f"matches no table of connection {source.connection!r} that 'exclude' does not leave out"
    seen = "" if source.listing.tables else ", of which its user may see no table at all"
    case = "" if source.listing.ignores_case else " (letter case counts)"
    return (
        f"matches no table of connection {source.connection!r}{seen}{case}; correct schema and table, grant the reading of"
        ' it, or allow it with "allow_empty": true'
    )


def _fit(
    pattern: TablePattern, tables: list[TableSpec], catalog: SourceCatalog, log: IssueLog
) -> tuple[list[TableSpec], list[TableSpec]]:
    """Give tables their keys, and find those that lack what the pattern's mode needs."""
    like = pattern.like
    if not tables or (like.mode == "full" and not like.primary_keys):
        return tables, []
    shapes = catalog.shapes(like.connection, tables)
    fitting: list[TableSpec] = []
    lacking: dict[str, list[TableSpec]] = {}
    for table in tables:
        shape = shapes.get(table.name)
        if shape is None:
            continue  # dropped at this very moment
        keys = like.primary_keys or (shape.primary_keys if like.mode == "scd1" else ())
        lack = _lack(replace(table, primary_keys=keys), shape)
        if lack:
            lacking.setdefault(lack, []).append(table)
        fitting += [] if lack else [replace(table, primary_keys=keys)]
    unfit = [table for group in lacking.values() for table in group]
    if pattern.unfit is Unfit.SKIP:
        return fitting, unfit
    if pattern.otherwise is not None:
        loaded = [replace(pattern.otherwise, schema=table.schema, table=table.table) for table in unfit]
        return sorted([*fitting, *loaded], key=lambda table: (table.schema, table.table)), []
    for lack, group in lacking.items():
        ways = "exclude them, give them entries of their own, or say with 'unfit' what becomes of them"
        log.add(_at(pattern), f"matches tables {lack}: {_listed(group)}; {ways}")
    return fitting, []


def _lack(table: TableSpec, shape: TableShape) -> str:
    """Return what a table lacks for its mode, in words; nothing where it fits."""
    if table.mode == "scd1" and not table.primary_keys:
        return "that have no primary key"
    wanted = (*table.primary_keys, *filter(None, [table.incremental_column]))
    gone = [name for name in wanted if name not in shape.columns]
    return f"without the column {', '.join(map(repr, gone))}" if gone else ""


def _listed(tables: Sequence[TableSpec]) -> str:
    names = ", ".join(table.name for table in tables[:_MOST_NAMED])
    return names + (f" and {len(tables) - _MOST_NAMED} more" if len(tables) > _MOST_NAMED else "")
