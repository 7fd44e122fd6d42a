"""Names and texts as they stand in a statement for PostgreSQL."""

from ingestion_runtime.model.errors import TerminalError


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    _refuse_nul(name)
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    _refuse_nul(value)
    # E'' spells backslashes in one way whatever standard_conforming_strings says.
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _refuse_nul(value: str) -> None:
    if "\0" in value:
        raise TerminalError(
            f"{value!r} holds a NUL character, which PostgreSQL knows in no text.",
            remedy="Correct the name or the watermark.",
        )
