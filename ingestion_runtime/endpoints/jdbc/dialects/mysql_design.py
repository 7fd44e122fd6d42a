"""How tables of MySQL, MariaDB and SingleStore are built, by information_schema: three queries a schema; no row is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from ingestion_runtime.endpoints.jdbc.design import ColumnDesign, IndexDesign, TableDesign, clocks_in_new_row
from ingestion_runtime.endpoints.jdbc.dialect import ServerFacts, fetch
from ingestion_runtime.endpoints.jdbc.dialects.mysql_names import text
from ingestion_runtime.model.spec import TableSpec

_ON_UPDATE = "on update "


def describe_designs(connection: Any, tables: Sequence[TableSpec]) -> Mapping[str, TableDesign]:
    """Return the designs of tables by ``schema.table``; what is not there is left out."""
    designs: dict[str, TableDesign] = {}
    for schema in dict.fromkeys(table.schema for table in tables):
        asked = {table.table: table.name for table in tables if table.schema == schema}
        names = ", ".join(map(text, asked))
        for table, design in _describe_schema(connection, text(schema), names).items():
            if table in asked:
                designs[asked[table]] = design
    return designs


def describe_server(connection: Any) -> ServerFacts:
    """Return what the server says of itself and of this connection."""
    ((version, now),) = fetch(connection, "SELECT VERSION(), CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)")
    told = fetch(connection, "SHOW SESSION STATUS LIKE 'Ssl_version'")
    name = "MariaDB" if "mariadb" in str(version).lower() else "MySQL"
    return ServerFacts(f"{name} {str(version).partition('-')[0]}", int(now), str(told[0][1]) if told else "", standby=False)


def _describe_schema(connection: Any, schema: str, names: str) -> dict[str, TableDesign]:
    kept = _kept(connection, schema, names)
    columns: dict[str, dict[str, ColumnDesign]] = {}
    for table, column, default, extra in fetch(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT, EXTRA FROM information_schema.COLUMNS"
        f" WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME IN ({names})",
    ):
        by, as_ = kept.get((table, column), ("", ""))
        told = str(extra or "")
        at = told.lower().find(_ON_UPDATE)
        if at >= 0:
            as_ = told[at + len(_ON_UPDATE) :].split(",", maxsplit=1)[0].strip()
            by = f"ON UPDATE {as_}"
        design = ColumnDesign(_default(default), "auto_increment" in told.lower(), by, as_)
        columns.setdefault(table, {})[column] = design
    indexes = _indexes(connection, schema, names)
    return {table: TableDesign(listed, indexes.get(table, ())) for table, listed in columns.items()}


def _default(value: object) -> str:
    # MariaDB spells the absence of a default as the word.
    text = value.decode() if isinstance(value, bytes) else str(value or "")
    return "" if text.upper() == "NULL" else text


def _indexes(connection: Any, schema: str, names: str) -> dict[str, tuple[IndexDesign, ...]]:
    found: dict[str, dict[str, list[tuple[str | None, bool]]]] = {}
    for table, index, column, duplicates, part in fetch(
        connection,
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, NON_UNIQUE, SUB_PART FROM information_schema.STATISTICS"
        f" WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME IN ({names}) AND INDEX_TYPE = 'BTREE'"
        " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
    ):
        # Over the beginning of a value, or over an expression: such an index says nothing of whole columns.
        whole = column if part is None else None
        found.setdefault(table, {}).setdefault(index, []).append((whole, not int(duplicates)))
    return {
        table: tuple(
            IndexDesign(index, tuple(str(name) for name, _ in parts), parts[0][1])
            for index, parts in named.items()
            if all(name is not None for name, _ in parts)
        )
        for table, named in found.items()
    }


def _kept(connection: Any, schema: str, names: str) -> dict[tuple[str, str], tuple[str, str]]:
    kept: dict[tuple[str, str], tuple[str, str]] = {}
    for table, trigger, body in fetch(
        connection,
        "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS"
        f" WHERE EVENT_OBJECT_SCHEMA = {schema} AND EVENT_OBJECT_TABLE IN ({names})"
        " AND ACTION_TIMING = 'BEFORE' AND EVENT_MANIPULATION = 'UPDATE' ORDER BY TRIGGER_NAME",
    ):
        kept |= {(table, column): (f"trigger {trigger}", as_) for column, as_ in clocks_in_new_row(str(body)).items()}
    return kept
