"""Tables and queries as MySQL, MariaDB and SingleStore describe them: the catalog for tables, a result for queries."""

from collections.abc import Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.columns import RawColumn
from ingestion_runtime.endpoints.jdbc.dialect import RawTable, fetch
from ingestion_runtime.endpoints.jdbc.dialects.mysql_names import quoted, text
from ingestion_runtime.endpoints.jdbc.dialects.mysql_types import text_kind
from ingestion_runtime.model.schema import ListedTable, Listing
from ingestion_runtime.model.spec import TableSpec

_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys', 'memsql', 'cluster')"
# Sequences have no rows to speak of.
_LISTED_KINDS = "('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')"
# Their transactions, or those of the servers behind them, are not in innodb_trx.
_UNSHOWN = frozenset({"rocksdb", "tokudb", "spider", "federated", "connect", "ndbcluster", "s3"})
_UNSIGNED, _ENUM, _SET = 32, 256, 2048  # flags of a result's field
_BINARY = 63  # the number of the character set that is none
_NUMBERS = {1: "tinyint", 2: "smallint", 9: "mediumint", 3: "int", 8: "bigint"}
_KINDS = {4: "float", 5: "double", 7: "timestamp", 10: "date", 11: "time", 12: "datetime", 13: "year", 245: "json"}
_KINDS |= {255: "geometry"}
_BIT, _DECIMAL, _CHAR = 16, 246, 254
_STRINGS = frozenset({15, 247, 248, 249, 250, 251, 252, 253, 254})


def describe_relations(connection: Any, tables: Sequence[TableSpec]) -> dict[str, RawTable]:
    """Return the descriptions of tables and views by ``schema.table``; those that are not there are left out.

    Three queries a schema: the catalog finds a table by both names, and else looks through the whole schema once.
    """
    described: dict[str, RawTable] = {}
    for schema in dict.fromkeys(table.schema for table in tables):
        asked = [table for table in tables if table.schema == schema]
        names = ", ".join(text(table.table) for table in asked)
        among = f"= {names}" if len(asked) == 1 else f"IN ({names})"
        described |= _describe_schema(connection, asked, f"WHERE TABLE_SCHEMA = {text(schema)} AND TABLE_NAME {among}")
    return described


def _describe_schema(connection: Any, tables: Sequence[TableSpec], where: str) -> dict[str, RawTable]:
    relations = fetch(
        connection,
        f"SELECT TABLE_NAME, TABLE_ROWS, ENGINE, DATA_LENGTH FROM information_schema.TABLES {where}",
    )
    columns = fetch(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, CHARACTER_SET_NAME,"
        f" IS_NULLABLE FROM information_schema.COLUMNS {where} ORDER BY TABLE_NAME, ORDINAL_POSITION",
    )
    keys = fetch(
        connection,
        f"SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS {where} AND INDEX_NAME = 'PRIMARY'"
        " ORDER BY TABLE_NAME, SEQ_IN_INDEX",
    )
    # The catalog compares names without regard to case; the server itself, as it was set up.
    listed = {row[0]: row[1:] for row in relations}
    inexact = [table for table in tables if table.table not in listed]
    folded = {name.casefold(): name for name in listed} if inexact and listed and _ignores_case(connection) else {}
    described = {}
    for table in tables:
        name = table.table if table.table in listed else folded.get(table.table.casefold())
        if name is None:
            continue
        estimate, engine, size = listed[name]
        described[table.name] = RawTable(
            tuple(_raw_column(*row[1:]) for row in columns if row[0] == name),
            tuple(key for owner, key in keys if owner == name),
            int(estimate or 0) or None,  # 0 is what a fresh table says, NULL a view
            f"kept by the engine {engine}" if str(engine or "").lower() in _UNSHOWN else "",
            int(size or 0) or None,
        )
    return described


def describe_fields(connection: Any, sql: str) -> tuple[RawColumn, ...]:
    """Return the columns of a query, which is not run; ``sql`` is its text in parentheses, with a name."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {sql} LIMIT 0")
    fields = cursor._result.fields  # the public description has neither flags nor character sets
    cursor.close()
    texts = [field.name for field in fields if field.type_code in _STRINGS and field.charsetnr != _BINARY]
    charsets = {}
    if texts:
        # A result is told in our own character set; only the server knows from which one it converts.
        asked = ", ".join(f"CHARSET((SELECT {quoted(name)} FROM {sql} LIMIT 0))" for name in texts)
        charsets = dict(zip(texts, fetch(connection, f"SELECT {asked}")[0], strict=True))
    return tuple(_field_column(field, charsets.get(field.name)) for field in fields)


def list_relations(connection: Any, schema: str | None) -> Listing:
    """Return tables and views of one database, or of all that are not the server's own."""
    one = f" AND TABLE_SCHEMA = {text(schema)}" if schema is not None else ""
    rows = fetch(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, @@lower_case_table_names FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA NOT IN {_SYSTEM} AND TABLE_TYPE IN {_LISTED_KINDS}{one}",
    )
    ignores_case = any(int(row[4]) != 0 for row in rows)
    # The catalog compares names without regard to case; the server itself, as it was set up.
    tables = tuple(
        ListedTable(owner, name, "view" if kind == "VIEW" else "table", int(estimate or 0) or None)
        for owner, name, kind, estimate, _ in rows
        if schema is None or ignores_case or owner == schema
    )
    return Listing(tables, ignores_case)


def relation_names(connection: Any) -> list[str]:
    """Return tables and views that the user may see, as ``schema.table``."""
    rows = fetch(
        connection,
        f"SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {_SYSTEM} LIMIT 10000",
    )
    return [f"{schema}.{table}" for schema, table in rows]


def _ignores_case(connection: Any) -> bool:
    ((setting,),) = fetch(connection, "SELECT @@lower_case_table_names")
    return int(setting) != 0


def _raw_column(
    name: str, native: str, kind: str, precision: int | None, scale: int | None, charset: str | None, nullable: str
) -> RawColumn:
    kind = kind.lower()
    unsigned = " unsigned" if kind in _NUMBERS.values() and "unsigned" in native.lower() else ""
    arguments: tuple[int, ...] = (int(precision or 0), int(scale or 0)) if kind == "decimal" else ()
    if kind == "bit":
        arguments = (int(precision or 1),)
    return RawColumn(name, native, text_kind(kind, charset) + unsigned, arguments, nullable == "YES")


def _field_column(field: Any, charset: str | None) -> RawColumn:
    kind, arguments = _field_kind(field)
    words = arguments or ((field.scale,) if kind in ("datetime", "timestamp", "time") and field.scale else ())
    native = f"{kind}({','.join(map(str, words))})" if words else kind
    return RawColumn(field.name, native, text_kind(kind, charset), arguments, nullable=True)


def _field_kind(field: Any) -> tuple[str, tuple[int, ...]]:
    code, unsigned = field.type_code, bool(field.flags & _UNSIGNED)
    if code in _NUMBERS:
        return _NUMBERS[code] + (" unsigned" if unsigned else ""), ()
    if code == _DECIMAL:
        # The length is that of the longest spelling: digits, a point, a sign.
        return "decimal", (field.length - (field.scale > 0) - (not unsigned), field.scale)
    if code == _BIT:
        return "bit", (field.length,)
    if code in _STRINGS:
        return _string_kind(field), ()
    return _KINDS.get(code, ""), ()


def _string_kind(field: Any) -> str:
    if field.charsetnr == _BINARY:
        return "varbinary"
    if field.flags & (_ENUM | _SET):
        return "enum"
    return "char" if field.type_code == _CHAR else "varchar"
