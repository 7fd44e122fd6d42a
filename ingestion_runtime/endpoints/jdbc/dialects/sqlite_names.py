"""Names and texts as they stand in a statement for SQLite."""

from ingestion_runtime.endpoints.jdbc.dialects.shared_names import refuse_nul

_NO_PLACE = "which no SQLite literal can"


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    refuse_nul(name, _NO_PLACE)
    # Not double quotes: SQLite takes an unknown name in double quotes for a string.
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    refuse_nul(value, _NO_PLACE)
    return "'" + value.replace("'", "''") + "'"
