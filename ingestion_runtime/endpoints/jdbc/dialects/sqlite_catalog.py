"""The tables of an SQLite file, as it lists them."""

from typing import Any

from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.model.schema import ListedTable, Listing

#: The schema under which SQLite itself knows the tables of the file that was opened.
MAIN = "main"

# Shadow tables hold what a virtual table is made of; names that begin with sqlite_ are reserved.
_TABLES = r"""
SELECT name, type FROM pragma_table_list
WHERE schema = 'main' AND type IN ('table', 'view', 'virtual') AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
"""


def list_relations(connection: Any, schema: str | None) -> Listing:
    """Return tables and views under the schema's name: it is a label, which the file does not know."""
    estimates = _estimates(connection)
    tables = tuple(
        ListedTable(schema or MAIN, name, "view" if kind == "view" else "table", estimates.get(name))
        for name, kind in fetch(connection, _TABLES)
    )
    return Listing(tables, ignores_case=True)


def _estimates(connection: Any) -> dict[str, int]:
    """Return the rows of tables that ANALYZE has counted."""
    if not fetch(connection, "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"):
        return {}
    counted: dict[str, int] = {}
    for name, stat in fetch(connection, "SELECT tbl, stat FROM sqlite_stat1"):
        if stat:
            counted[name] = max(int(stat.split()[0]), counted.get(name, 0))
    return counted
