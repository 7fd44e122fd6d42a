"""Names and texts as they stand in a statement for MySQL and MariaDB."""

from ingestion_runtime.model.errors import TerminalError


def quoted(name: str) -> str:
    """Return an identifier; raises TerminalError for a NUL in it."""
    _refuse_nul(name)
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """Return a text literal; raises TerminalError for a NUL in it."""
    _refuse_nul(value)
    # Every session of ours takes a backslash for an escape.
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _refuse_nul(value: str) -> None:
    if "\0" in value:
        raise TerminalError(
            f"{value!r} holds a NUL character, which no name can and no cursor should.",
            remedy="Correct the name or the watermark.",
        )
