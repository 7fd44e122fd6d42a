"""What a terminal shows, as a picture that needs no network."""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text


def save_svg(shown: str, width: int, title: str, path: Path) -> None:
    """Write a terminal's text, with its colours, as an SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    for line in shown.rstrip("\n").split("\n"):
        console.print(Text.from_ansi(line), soft_wrap=True)
    drawn = console.export_svg(title=title)
    # rich names a font on the network; a picture in a repository opens without one.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), encoding="utf-8")
