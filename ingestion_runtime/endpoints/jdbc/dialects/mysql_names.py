"""Names and texts as they stand in a statement for MySQL and MariaDB."""

from ingestion_runtime.endpoints.jdbc.dialects.shared_names import refuse_nul

_NO_PLACE = "which no name can and no cursor should"


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    refuse_nul(name, _NO_PLACE)
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    refuse_nul(value, _NO_PLACE)
    # Every session of ours takes a backslash for an escape.
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
