"""How PostgreSQL's tables are built, by its catalog: four queries, whatever the number of tables; no row is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.design import (
    Activity,
    ColumnDesign,
    IndexDesign,
    TableDesign,
    clocks_in_new_row,
)
from ingestion_runtime.endpoints.jdbc.dialect import ServerFacts, fetch
from ingestion_runtime.endpoints.jdbc.dialects.postgresql_names import text
from ingestion_runtime.model.spec import TableSpec

_NAMED = "(n.nspname::text, c.relname::text) IN ({names})"

# A generated column's expression stands where others have their default.
_COLUMNS = f"""
SELECT n.nspname::text, c.relname::text, a.attname::text,
       CASE WHEN a.attgenerated = '' THEN coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END,
       a.attidentity <> '', s.null_frac
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
  AND s.inherited = (c.relkind = 'p')
WHERE {_NAMED}
"""

# Not those over a part of the rows or over expressions, nor those that are checked at the end of a transaction only.
_INDEXES = f"""
SELECT n.nspname::text, c.relname::text, x.relname::text, i.indisunique AND i.indimmediate, a.attname::text
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE {_NAMED} AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree'
AND k.place <= i.indnkeyatts ORDER BY x.oid, k.place
"""

# Enabled ones, for each row (1), before (2) every update (16), whatever was updated.
_TRIGGERS = f"""
SELECT n.nspname::text, c.relname::text, t.tgname::text, p.prosrc, pg_catalog.encode(t.tgargs, 'escape')
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
WHERE {_NAMED} AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 19 = 19
AND t.tgqual IS NULL AND t.tgattr::text = '' ORDER BY t.tgname
"""

_ACTIVITY = f"""
SELECT n.nspname::text, c.relname::text, c.relkind = 'p', s.n_tup_ins, s.n_tup_upd, s.n_tup_del
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid WHERE {_NAMED}
"""

_SERVER = """
SELECT pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery(),
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint,
       coalesce((SELECT s.version FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid() AND s.ssl), '')
"""

# The extension's function takes the column's name as its argument.
_MODDATETIME = "moddatetime"


def describe_designs(connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
    """Return the designs of tables by ``schema.table``; what is not there is left out."""
    names = ", ".join(f"({text(table.schema)}, {text(table.table)})" for table in tables)
    kept = _kept(connection, names)
    columns: dict[tuple[str, str], dict[str, ColumnDesign]] = {}
    for schema, table, column, default, identity, nulls in fetch(connection, _COLUMNS.format(names=names)):
        counted = identity or default.startswith("nextval(")
        by, as_ = kept.get((schema, table, column), ("", ""))
        design = ColumnDesign(default, counted, by, as_, None if nulls is None else float(nulls))
        columns.setdefault((schema, table), {})[column] = design
    indexes = _indexes(connection, names)
    activities = {(row[0], row[1]): row[2:] for row in fetch(connection, _ACTIVITY.format(names=names))}
    return {
        table.name: _design(columns[place], indexes.get(place, ()), *activities[place])
        for table in tables
        if (place := (table.schema, table.table)) in columns and place in activities
    }


def describe_server(connection: Any) -> ServerFacts:
    """Return what the server says of itself and of this connection."""
    ((version, standby, now, protocol),) = fetch(connection, _SERVER)
    return ServerFacts(f"PostgreSQL {version.split()[0]}", int(now), protocol, bool(standby))


def _design(
    columns: Mapping[str, ColumnDesign],
    indexes: tuple[IndexDesign, ...],
    partitioned: bool,
    inserted: int | None,
    updated: int | None,
    deleted: int | None,
) -> TableDesign:
    # A partitioned table counts nothing: its parts do.
    counts = None if partitioned or inserted is None else Activity(inserted, updated or 0, deleted or 0)
    return TableDesign(columns, indexes, partitioned, counts)


def _indexes(connection: Any, names: str) -> dict[tuple[str, str], tuple[IndexDesign, ...]]:
    found: dict[tuple[str, str], dict[str, IndexDesign]] = {}
    for schema, table, index, unique, column in fetch(connection, _INDEXES.format(names=names)):
        known = found.setdefault((schema, table), {})
        columns = (*known[index].columns, column) if index in known else (column,)
        known[index] = IndexDesign(index, columns, unique)
    return {place: tuple(known.values()) for place, known in found.items()}


def _kept(connection: Any, names: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    kept: dict[tuple[str, str, str], tuple[str, str]] = {}
    for schema, table, trigger, body, arguments in fetch(connection, _TRIGGERS.format(names=names)):
        clocks = clocks_in_new_row(body)
        if body == _MODDATETIME:
            clocks = {arguments.split("\\000")[0]: "now()"}
        kept |= {(schema, table, column): (f"trigger {trigger}", as_) for column, as_ in clocks.items()}
    return kept
