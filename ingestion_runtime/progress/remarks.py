"""What failed in a run, and what to do about it, as lines of a terminal."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from ingestion_runtime.progress.view import TableView
from ingestion_runtime.progress.wording import printable

_NAMED: Final = 3
_SHORT: Final = 1
_INDENT: Final = "  "


def failure_lines(console: Console, tables: Sequence[TableView], room: int | None) -> list[Text]:
    """Return what failed, equal failures once, each with its remedy: at most ``room`` lines as wide as the console.

    Sentences are told whole where there is room for all of them, else as much as fits on a line. For None each is one line,
    however long: in a log, or in a pipe to grep, it stays whole.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for table in tables:
        if (failure := table.failure) is not None:
            # The message may name the table, and is then another one for every table.
            reason = failure.reason.removeprefix(f"{table.name}: ")
            found.setdefault((failure.error_type, reason, failure.remedy), []).append(table.name)
    kinds = [(*kind, names) for kind, names in found.items()]
    if room is None:
        return [line for kind in kinds for line in _sentences(*kind)]
    for most in (None, _SHORT):
        blocks = [_block(console, _sentences(*kind), most) for kind in kinds]
        if sum(map(len, blocks)) <= room:
            return [line for block in blocks for line in block]
    return _as_many_as_fit(blocks, room)


def _as_many_as_fit(blocks: Sequence[Sequence[Text]], room: int) -> list[Text]:
    """Return the first blocks, and a last line that says how many are not shown."""
    lines: list[Text] = []
    for shown, block in enumerate(blocks):
        if len(lines) + len(block) + 1 > room:
            left = len(blocks) - shown
            words = (
                f"{'and ' if shown else ''}{left:,} {'more ' if shown else ''}{'kind' if left == 1 else 'kinds'} of failures"
            )
            return [*lines, Text(words, "bold red")]
        lines += block
    return lines


def _sentences(kind: str, reason: str, remedy: str, names: Sequence[str]) -> list[Text]:
    """Return a failure in two or three lines: what and where, why, and what to do."""
    listed = ", ".join(printable(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    title = Text.assemble((f"✗ {printable(kind) or 'failed'}", "bold red"), (f" {listed}{more}", "bold"))
    lines = [title, Text(f"{_INDENT}{printable(reason)}")]
    return [*lines, Text(f"{_INDENT}→ {printable(remedy)}", "green")] if remedy else lines


def _block(console: Console, sentences: Sequence[Text], most: int | None) -> list[Text]:
    """Return the lines of a failure as wide as the console; the title is cut off, and a sentence after ``most`` lines."""
    title, *others = sentences
    title.truncate(max(console.width, 1), overflow="ellipsis")
    return [title, *(line for sentence in others for line in _wrapped(console, sentence, most))]


def _wrapped(console: Console, sentence: Text, most: int | None) -> list[Text]:
    width = max(console.width - len(_INDENT), 1)
    bare = sentence[len(_INDENT) :]
    lines = list(bare.wrap(console, width, overflow="fold"))
    if most is not None and len(lines) > most:
        bare.truncate(width, overflow="ellipsis")
        lines = [bare]
    return [Text.assemble(_INDENT, line) for line in lines]
