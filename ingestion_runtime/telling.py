"""How people are told things: figures in words, foreign texts on one line, and the console on which all of it is printed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_FILE_WIDTH = 160  # columns of a table where no terminal says how wide it is


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return so many things in words: ``1 file``, ``2,000 files``; ``many`` where that is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def visible(text: str) -> str:
    """Return text on one line, without what would move a terminal's cursor."""
    plain = " ".join(text.split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in plain)


def open_console() -> "Console":
    """Return the console of stderr: as wide as its terminal, and in a file at least as wide as a table needs."""
    from rich.console import Console

    # Emoji off: a name such as a:x:b is to be shown as it is.
    console = Console(stderr=True, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    return console


def say(console: "Console", sentence: "Text | str") -> None:
    """Print a sentence; a plain string may hold rich's markup.

    It is left to the terminal to wrap it: in a log, or in a pipe to grep, it is one line.
    """
    console.print(sentence, highlight=False, soft_wrap=True)
