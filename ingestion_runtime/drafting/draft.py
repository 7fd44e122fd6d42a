"""From a database to a draft: which tables there are, what each of them becomes, and what its reader should know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from ingestion_runtime.drafting.cursors import CursorJudge, CursorRules
from ingestion_runtime.drafting.document import Frame, entry_of, problems_of
from ingestion_runtime.drafting.facts import Unreadable, gather, look_at_transactions
from ingestion_runtime.drafting.tables import DraftRules, TableDraft, TableDrafter, without_cursor
from ingestion_runtime.endpoints.jdbc.columns import did_you_mean
from ingestion_runtime.endpoints.jdbc.database import Database
from ingestion_runtime.endpoints.jdbc.listing import list_tables
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.horizon import Horizon
from ingestion_runtime.model.schema import ListedTable

_MANY_SCHEMAS = 20  # in a message


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tables are asked for: schemas (none: all that the reader may see), and names or globs of ``schema.table``."""

    schemas: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A table or view that is not in the configuration, and why."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draft:
    """The outcome: entries of the file with what is to be said of them, what was left out, and remarks for the reader."""

    entries: tuple[Mapping[str, Any], ...]
    tables: tuple[TableDraft, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...]


def draft_tables(database: Database, frame: Frame, selection: Selection, zone: str | None) -> Draft:
    """Return a draft for the selected tables. ``zone`` is what the operator says of clocks without a zone.

    Writes nothing and scans no large table. Raises ConfigError where nothing is found, and what connecting raises.
    """
    database.check()
    listed = _select(_list(database, selection.schemas), selection)
    look = look_at_transactions(database)
    blind = look.blind if look is not None else ""
    rules = DraftRules(blind, shows=look is not None, shares=database.dialect.shares_snapshots)
    judge = CursorJudge(database, CursorRules(zone, timeless=look is None), datetime.now(UTC))
    drafter = TableDrafter(database, judge, rules)
    left_out = [LeftOut(_name(view), "view", _VIEW) for view in listed if view.kind == "view"]
    entries: list[Mapping[str, Any]] = []
    tables: list[TableDraft] = []
    names: dict[str, str] = {}
    for facts in gather(database, [table for table in listed if table.kind == "table"]):
        drafted = facts if isinstance(facts, Unreadable) else drafter.draft(facts)
        if isinstance(drafted, Unreadable):
            left_out.append(LeftOut(_name(drafted.listed), "table", drafted.reason))
            continue
        first = names.setdefault(drafted.name.casefold(), drafted.name)
        if first != drafted.name:
            left_out.append(LeftOut(drafted.name, "table", f"differs from {first} by letter case only"))
            continue
        fitted = _fit(drafted, facts.listed, frame)
        if isinstance(fitted, LeftOut):
            left_out.append(fitted)
        else:
            tables.append(fitted)
            entries.append(entry_of(fitted, facts.listed.schema, facts.listed.table))
    return Draft(tuple(entries), tuple(tables), tuple(left_out), tuple(_remarks(tables, look, database)))


_VIEW = 'a view: what changes in it cannot be told; add it as "mode": "full" where it is wanted'


def _list(database: Database, schemas: Sequence[str]) -> list[ListedTable]:
    if not schemas:
        return list(list_tables(database))
    found = [table for schema in dict.fromkeys(schemas) for table in list_tables(database, schema)]
    empty = sorted(set(schemas) - {table.schema for table in found})
    if empty:
        known = sorted({table.schema for table in list_tables(database)})
        near = " ".join(filter(None, (did_you_mean(schema, known).strip() for schema in empty)))
        raise ConfigError(
            f"{database.place} shows no table in the schema {', '.join(empty)}.{' ' + near if near else ''}",
            remedy=f"Choose from: {', '.join(known[:_MANY_SCHEMAS]) or 'nothing that this user may read'}.",
        )
    return found


def _select(listed: Sequence[ListedTable], selection: Selection) -> list[ListedTable]:
    wanted = [name.casefold() for name in selection.names]
    chosen = [table for table in listed if not wanted or any(_matches(table, name) for name in wanted)]
    unknown = [name for name in wanted if not any(_matches(table, name) for table in listed)]
    if unknown:
        near = did_you_mean(unknown[0], [_name(table) for table in listed]) or did_you_mean(
            unknown[0], [table.table for table in listed]
        )
        raise ConfigError(
            f"--only-tables names {', '.join(unknown)}, which the database does not show.{near}",
            remedy="Write schema.table or table; * and ? stand for any letters.",
        )
    if not any(table.kind == "table" for table in chosen):
        views = f" ({len(chosen)} views)" if chosen else ""
        raise ConfigError(
            f"There is no table that this user may read{views}.",
            remedy="Check database and --schema, and grant the user SELECT (and USAGE on the schema).",
        )
    return chosen


def _matches(table: ListedTable, name: str) -> bool:
    return fnmatchcase(_name(table).casefold(), name) or fnmatchcase(table.table.casefold(), name)


def _name(table: ListedTable) -> str:
    return f"{table.schema}.{table.table}"


def _fit(draft: TableDraft, listed: ListedTable, frame: Frame) -> TableDraft | LeftOut:
    """Return the draft if a configuration takes it, else the same table without its cursor, else why it is left out."""
    issues = problems_of(entry_of(draft, listed.schema, listed.table), frame)
    if issues and draft.cursor is not None:
        draft = without_cursor(draft, f"{draft.cursor.column}: {issues[0].message}")
        issues = problems_of(entry_of(draft, listed.schema, listed.table), frame)
    if issues:
        return LeftOut(draft.name, "table", "; ".join(str(issue).lstrip("/") for issue in issues))
    return draft


def _remarks(tables: Iterable[TableDraft], look: Horizon | None, database: Database) -> Iterable[str]:
    drafted = list(tables)
    if look is not None and look.blind:
        then = f"{look.grant} Then run init again with --force." if look.grant else 'Else give them "horizon": "lag".'
        yield f"{database.place} does not show open transactions: {look.blind}. Every table is read whole. {then}"
    if any(draft.mode == "scd1" for draft in drafted):
        yield 'scd1 tables keep rows that the source deletes; "deletes": "soft" or "hard" follows them.'
    if any(one.zone for draft in drafted for one in draft.rejected):
        yield "Clocks without a zone are not guessed at: --cursor-timezone says which one they show, for all of them."
    if any(draft.large for draft in drafted):
        yield "Of large tables only the first rows were looked at."
