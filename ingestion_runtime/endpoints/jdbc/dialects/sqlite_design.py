"""How the tables of an SQLite file are built, as the file says it; no row is read."""

import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.design import ColumnDesign, IndexDesign, TableDesign, clocks_in_update
from ingestion_runtime.endpoints.jdbc.dialect import ServerFacts, fetch
from ingestion_runtime.endpoints.jdbc.dialects.sqlite_names import text
from ingestion_runtime.model.spec import TableSpec

_BODY = re.compile(r"\bbegin\b(.*)\bend\b", re.IGNORECASE | re.DOTALL)
# WHEN and UPDATE OF fire it for some updates only.
_ALWAYS = re.compile(r"\bafter\s+update\s+on\b", re.IGNORECASE)
_CONDITION = re.compile(r"\bwhen\b", re.IGNORECASE)
_UPDATE = re.compile(r"\s*update\s+(?:or\s+\w+\s+)?(?:\"([^\"]+)\"|`([^`]+)`|\[([^\]]+)\]|(\w+))", re.IGNORECASE)
_MICROS = 1_000_000


def describe_designs(connection: Any, tables: Sequence[TableSpec]) -> dict[str, TableDesign]:
    """Return the designs of tables by ``schema.table``; what is not there is left out."""
    designs = {table.name: _describe(connection, table.table, text(table.table)) for table in tables}
    return {name: design for name, design in designs.items() if design.columns}


def describe_server(connection: Any) -> ServerFacts:  # noqa: ARG001 - the library is the server
    """Return what there is to say: the library's version, and the clock of this machine."""
    return ServerFacts(f"SQLite {sqlite3.sqlite_version}", int(time.time() * _MICROS), protocol=None, standby=False)


def _describe(connection: Any, owner: str, table: str) -> TableDesign:
    rows = fetch(connection, f"SELECT name, type, dflt_value, pk FROM pragma_table_xinfo({table})")
    keys = [row for row in rows if row[3]]
    # One column, of just this type: it is the row's own number.
    counted = {row[0] for row in keys if len(keys) == 1 and str(row[1]).upper() == "INTEGER"}
    kept = _kept(connection, owner, table)
    columns = {
        name: ColumnDesign(str(default or ""), name in counted, *kept.get(name.casefold(), ("", "")))
        for name, _, default, _ in rows
    }
    indexes = [IndexDesign(f"the key {name}", (name,), unique=True) for name in counted]
    for name, unique in fetch(connection, f'SELECT name, "unique" FROM pragma_index_list({table}) WHERE NOT partial'):
        parts = fetch(
            connection,
            "SELECT name FROM pragma_index_xinfo(" + "'" + name.replace("'", "''") + "') WHERE key ORDER BY seqno",
        )
        if all(part is not None for (part,) in parts):
            indexes.append(IndexDesign(name, tuple(part for (part,) in parts), bool(unique)))
    return TableDesign(columns, tuple(indexes))


def _kept(connection: Any, owner: str, table: str) -> Mapping[str, tuple[str, str]]:
    kept: dict[str, tuple[str, str]] = {}
    for name, sql in fetch(
        connection,
        f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = {table} COLLATE NOCASE ORDER BY name",
    ):
        body = _BODY.search(sql)
        if body is None or not _ALWAYS.search(sql[: body.start()]) or _CONDITION.search(sql[: body.start()]):
            continue
        for statement in body[1].split(";"):
            target = _UPDATE.match(statement)
            # An update of another table, such as a log of changes, keeps nothing here.
            if target and next(part for part in target.groups() if part).casefold() == owner.casefold():
                clocks = clocks_in_update(statement)
                kept |= {column.casefold(): (f"trigger {name}", as_) for column, as_ in clocks.items()}
    return kept
