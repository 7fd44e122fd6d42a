"""What holds for names and texts in the statements of every dialect."""

from ingestion_runtime.model.errors import TerminalError


def refuse_nul(value: str, no_place: str) -> None:
    """Raise TerminalError for a NUL; ``no_place`` says of it where it has none."""
    if "\0" in value:
        raise TerminalError(
            f"{value!r} holds a NUL character, {no_place}.",
            remedy="Correct the name or the watermark.",
        )
