"""A draft for its readers: a table of what was chosen and why, or values for programs."""

from typing import Any

from ingestion_runtime.drafting.draft import Draft
from ingestion_runtime.drafting.tables import TableDraft
from ingestion_runtime.telling import open_console, say

_UNKNOWN = "many"


def draft_document(draft: Draft) -> dict[str, Any]:
    """Return the draft as JSON values."""
    return {
        "tables": [_table_document(table) for table in draft.tables],
        "left_out": [{"table": out.name, "kind": out.kind, "reason": out.reason} for out in draft.left_out],
        "remarks": list(draft.remarks),
    }


def print_draft(draft: Draft) -> None:
    """Print what was chosen for every table on stderr, what was left out, and what the reader should know."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    shown = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for header in ("table", "mode", "rows", "key", "cursor", "why"):
        shown.add_column(
            header,
            justify="right" if header == "rows" else "left",
            no_wrap=header in ("mode", "rows"),
            overflow="fold",
            ratio=1 if header == "why" else None,
        )
    for table in draft.tables:
        cells = (table.name, table.mode, _rows(table), ", ".join(table.key.columns), _cursor(table), _why(table))
        shown.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(shown)
    if draft.left_out:
        say(console, "Left out:")
    for out in draft.left_out:
        say(console, Text(visible(f"  {out.name}: {out.reason}")))
    for remark in draft.remarks:
        say(console, Text(visible(f"Note: {remark}")))


def _rows(table: TableDraft) -> str:
    if table.rows is None:
        return _UNKNOWN
    return f"~{table.rows:,}" if table.large else f"{table.rows:,}"


def _cursor(table: TableDraft) -> str:
    return "" if table.cursor is None else f"{table.cursor.column} ({table.cursor.kind.value})"


def _why(table: TableDraft) -> str:
    parts = list(table.reasons)
    if table.cursor is not None:
        parts.append(f"{table.cursor.column}: {', '.join(table.cursor.reasons)}")
    if table.key.reason != "primary key":
        parts.append(table.key.reason)
    parts += [f"not {one.column}: {one.reason}" for one in table.rejected]
    return "; ".join(parts)


def visible(text: str) -> str:
    """Return text on one line: names may hold anything, also what would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _table_document(table: TableDraft) -> dict[str, Any]:
    cursor = table.cursor
    return {
        "table": table.name,
        "mode": table.mode,
        "rows": table.rows,
        "rows_estimated": table.large,
        "primary_keys": list(table.key.columns),
        "key_reason": table.key.reason,
        "incremental_column": None if cursor is None else cursor.column,
        "incr_col_type": None if cursor is None else cursor.kind.value,
        "cursor_reasons": [] if cursor is None else list(cursor.reasons),
        "reasons": list(table.reasons),
        "rejected": [{"column": one.column, "reason": one.reason} for one in table.rejected],
    }
