"""Names and texts as they stand in a statement for PostgreSQL."""

from ingestion_runtime.endpoints.jdbc.dialects.shared_names import refuse_nul

_NO_PLACE = "which PostgreSQL knows in no text"


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    refuse_nul(name, _NO_PLACE)
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    refuse_nul(value, _NO_PLACE)
    # E'' spells backslashes in one way whatever standard_conforming_strings says.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
