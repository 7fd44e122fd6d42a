"""Names and texts as they stand in a statement for SQLite."""

from ingestion_runtime.model.errors import TerminalError


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    _refuse_nul(name)
    # Not double quotes: SQLite takes an unknown name in double quotes for a string.
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    _refuse_nul(value)
    return "'" + value.replace("'", "''") + "'"


def _refuse_nul(value: str) -> None:
    if "\0" in value:
        raise TerminalError(
            f"{value!r} holds a NUL character, which no SQLite literal can.",
            remedy="Correct the name or the watermark.",
        )
