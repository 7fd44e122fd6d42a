"""Names of tables for a shell that completes them: out of the file that ``--config`` names on the same line.

Asked at every press of a key: the file is read as plain JSON, and whatever is wrong with it, nothing is offered and nothing
is said.
"""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

PROGRAM: Final = "ingestion"
VARIABLE: Final = "_INGESTION_COMPLETE"  # by which the shell's script asks for completions; click's own name for it
_LINE: Final = "COMP_WORDS"
# A shell would take these apart, or replace them: such a name has to be typed, and quoted, by hand.
_NEEDS_QUOTES: Final = re.compile(r"[\s'\"\\$`*?\[\]{}()<>|&;!#~]")


def complete_tables(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the ways in which a list of tables can go on: every configured name that fits and is not listed yet.

    Letter case does not count, as in the lists themselves.
    """
    listed, comma, begun = incomplete.rpartition(",")
    named = {name.strip().casefold() for name in listed.split(",")}
    head, begun = f"{listed}{comma}", begun.strip().casefold()
    names = [name for name in _configured(context) if name.casefold() not in named]
    return [CompletionItem(f"{head}{name}") for name in names if name.casefold().startswith(begun)]


def complete_table(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the configured tables whose names begin so."""
    begun = incomplete.strip().casefold()
    return [CompletionItem(name) for name in _configured(context) if name.casefold().startswith(begun)]


def _configured(context: click.Context) -> list[str]:
    """Return the tables of the configuration on this line; none where it cannot be read."""
    path = context.params.get("config_path") or next(_configs_behind(), None)
    if path is None:
        return []
    names = list(_names(_read(Path(os.path.expandvars(path)).expanduser())))
    return [name for name in dict.fromkeys(names) if not _NEEDS_QUOTES.search(name)]


def _configs_behind() -> Iterator[str]:
    """Yield what ``--config`` names anywhere on the line: it may stand behind the list that is being completed."""
    words = [word for word in split_arg_string(os.environ.get(_LINE, "")) if word != "="]
    for word, following in pairwise([*words, ""]):
        option, sign, value = word.partition("=")
        if option == "--config" and (value or following):
            yield value if sign else following


def _read(path: Path) -> Any:
    import json

    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _names(document: Any) -> Iterator[str]:
    """Yield ``schema.table`` of every entry that names one; a pattern names none."""
    tables = document.get("tables") if isinstance(document, dict) else None
    for entry in tables if isinstance(tables, list) else ():
        schema, table = (entry.get("schema"), entry.get("table")) if isinstance(entry, dict) else (None, None)
        if isinstance(schema, str) and isinstance(table, str) and schema and table:
            yield f"{schema}.{table}"


class _Bash(BashComplete):
    """Bash hands ``--only-tables=x`` over as three words; an option and its value may as well stand apart."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        return [word for word in args if word != "="], "" if incomplete == "=" else incomplete


class _Whole:
    """Zsh and fish replace the whole word: what completes the value of ``--option=value`` has to begin with the option."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found: list[CompletionItem[str]] = super().get_completions(args, incomplete)  # type: ignore[misc]  # of the class beside
        option, sign, _ = incomplete.partition("=")
        if not sign or not option.startswith("--"):
            return found
        return [CompletionItem(f"{option}={item.value}", item.type, item.help) for item in found]


class _Zsh(_Whole, ZshComplete):
    pass


class _Fish(_Whole, FishComplete):
    pass


def register_shells() -> None:
    """Let click complete for our shells by the classes above."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)
