"""Tables and queries as PostgreSQL describes them: the catalog for tables, a result for queries."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.columns import RawColumn
from ingestion_runtime.endpoints.jdbc.dialect import RawTable, fetch
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_names import text
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_types import UNCHECKED
from ingestion_runtime.model.schema import ListedTable, Listing
from ingestion_runtime.model.spec import TableSpec

_DESCRIBE = """
WITH RECURSIVE listed(oid, place, name, typid, mod, filled) AS ({listed}), base(oid, place, typid, mod) AS (
  SELECT oid, place, typid, mod FROM listed
  UNION ALL
  SELECT b.oid, b.place, t.typbasetype, t.typtypmod
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd'
)
SELECT l.oid, l.name, pg_catalog.format_type(l.typid, l.mod), pg_catalog.format_type(b.typid, b.mod), l.filled,
       CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname::text ELSE '' END,
       pg_catalog.current_setting('server_encoding') = 'SQL_ASCII', l.place
FROM listed l JOIN base b ON b.oid = l.oid AND b.place = l.place JOIN pg_catalog.pg_type t ON t.oid = b.typid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype <> 'd' ORDER BY l.oid, l.place
"""

_ATTRIBUTES = (
    "SELECT attrelid::bigint, attnum::int, attname::text, atttypid, atttypmod, attnotnull FROM pg_catalog.pg_attribute"
    " WHERE attrelid IN ({oids}) AND attnum > 0 AND NOT attisdropped"
)

# Rows of foreign tables and of subscriptions are written by transactions that this server does not show.
# The size is that of the last ANALYZE or VACUUM: pg_table_size would wait for the lock of whoever alters one of the tables,
# and with it the description of all of them.
_RELATIONS = """
SELECT n.nspname::text, c.relname::text, c.oid::bigint, c.reltuples::bigint, CASE
         WHEN c.relkind = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
           JOIN pg_catalog.pg_class f ON f.oid = i.inhrelid WHERE i.inhparent = c.oid AND f.relkind = 'f')
         THEN 'a foreign table, or has one for a part'
         WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = c.oid)
         THEN 'filled by a subscription' ELSE '' END,
       CASE WHEN c.relkind IN ('r', 'm') AND c.relpages > 0
         THEN (c.relpages::bigint + coalesce(t.relpages, 0)) * pg_catalog.current_setting('block_size')::bigint END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
WHERE (n.nspname::text, c.relname::text) IN ({names}) AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
"""

_KEYS = """
SELECT i.indrelid::bigint, a.attname::text FROM pg_catalog.pg_index i
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid IN ({oids}) AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY i.indrelid, k.place
"""

# Parts of a partitioned table are read through it, and what an extension brought is its own. Names that begin with pg_ are
# reserved for the server. What may be read in part only is listed: better an error than a table that nobody misses.
_LISTED = """
SELECT n.nspname::text, c.relname::text, c.relkind IN ('v', 'm'), c.reltuples::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition
AND n.nspname <> 'information_schema' AND pg_catalog.left(n.nspname::text, 3) <> 'pg_'
AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


def describe_tables(connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, RawTable]:
    """Return the descriptions of tables and views by ``schema.table``, by three queries; what is not there is left out."""
    names = ", ".join(f"({text(table.schema)}, {text(table.table)})" for table in tables)
    found = {(schema, name): rest for schema, name, *rest in fetch(connection, _RELATIONS.format(names=names))}
    oids = ", ".join(str(rest[0]) for rest in found.values())
    columns = _columns(connection, _ATTRIBUTES.format(oids=oids)) if found else {}
    keys: dict[int, list[str]] = {}
    for oid, name in fetch(connection, _KEYS.format(oids=oids)) if found else ():
        keys.setdefault(oid, []).append(name)
    return {
        table.name: _raw_table(columns, keys, *found[table.schema, table.table])
        for table in tables
        if (table.schema, table.table) in found
    }


def describe_query(connection: Any, sql: str) -> RawTable:
    """Return the columns that a query gives; ``sql`` may stand after FROM."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {sql} LIMIT 0")
    result, names = cursor.pgresult, [column.name for column in cursor.description]
    rows = [
        f"(0::bigint, {place}, {text(name)}, {result.ftype(place)}::oid, {result.fmod(place)}, false)"
        for place, name in enumerate(names)
    ]
    cursor.close()
    listed = f"VALUES {', '.join(rows)}"
    return RawTable(_columns(connection, listed)[0] if rows else (), (), None)


def table_names(connection: Any) -> list[str]:
    """Return tables and views as ``schema.table``, 10,000 of them at most."""
    rows = fetch(
        connection,
        "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') LIMIT 10000",
    )
    return [name for (name,) in rows]


def list_relations(connection: Any, schema: str | None) -> Listing:
    """Return tables and views of one schema, or of all that are not the server's own."""
    rows = fetch(connection, _LISTED + (f"AND n.nspname = {text(schema)}" if schema is not None else ""))
    tables = tuple(
        ListedTable(owner, name, "view" if view else "table", estimate if estimate > 0 else None)
        for owner, name, view, estimate in rows
    )
    return Listing(tables, ignores_case=False)


def _columns(connection: Any, listed: str) -> dict[int, tuple[RawColumn, ...]]:
    """Return the columns by the oid of their relation; 0 stands for a query."""
    columns: dict[int, list[RawColumn]] = {}
    for oid, name, native, base, filled, kind, unchecked, place in fetch(connection, _DESCRIBE.format(listed=listed)):
        modifiers = re.search(r"\((\d+)(?:,(-?\d+))?\)", base) if kind == "numeric" else None
        arguments = tuple(int(part) for part in modifiers.groups() if part) if modifiers else ()
        base_kind = UNCHECKED + kind if unchecked else kind
        # The number of a column is its own for good: it survives a rename, and a column made anew gets another one.
        identity = f"{oid}.{place}" if oid else None
        columns.setdefault(oid, []).append(RawColumn(name, native, base_kind, arguments, not filled, identity))
    return {oid: tuple(listed) for oid, listed in columns.items()}


def _raw_table(
    columns: Mapping[int, tuple[RawColumn, ...]],
    keys: Mapping[int, Sequence[str]],
    oid: int,
    estimate: int,
    elsewhere: str,
    size: int | None,
) -> RawTable:
    # -1: never analysed, and 0 is what a fresh table and a view say.
    rows = estimate if estimate > 0 else None
    return RawTable(columns.get(oid, ()), tuple(keys.get(oid, ())), rows, elsewhere, size or None)
