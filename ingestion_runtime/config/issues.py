"""Problems of a configuration file, gathered so that all of them are told at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError

Location = tuple[str | int, ...]

SECTION_ORDER = ("", "$schema", "connections", "runtime", "metadata", "orchestration", "defaults", "tables")


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One problem: where (a JSON pointer, empty for the file as a whole) and what."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '(file)'}: {self.message}"


def pointer_of(location: Location) -> str:
    """Return a location as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in location)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word closest to ``word``, or nothing where none is close."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean '{by_folded[close[0]]}'?" if close else ""


class IssueLog:
    """Collects problems. Messages never repeat a value of the file: it may be a secret in the wrong place."""

    def __init__(self) -> None:
        self._found: dict[tuple[Location, str], dict[str, None]] = {}

    def add(self, location: Location, message: str, found_by: str = "") -> None:
        """Record a problem; an equal one is recorded once.

        ``found_by`` names what it is a problem for, where the value that stands at ``location`` serves others too.
        """
        self._found.setdefault((location, message), {})[found_by] = None

    def clean(self, location: Location) -> bool:
        """Whether nothing was recorded at ``location`` or below it."""
        return not any(found[: len(location)] == location for found, _ in self._found)

    @property
    def issues(self) -> tuple[ConfigIssue, ...]:
        """Everything recorded, in the order of the file's sections."""
        found = sorted(self._found.items(), key=lambda item: _rank(item[0][0]))
        return tuple(ConfigIssue(pointer_of(at), message + _for_whom(list(by))) for (at, message), by in found)

    def raise_if_any(self, path: Path) -> None:
        """Raise one ConfigError that tells every problem; do nothing when there is none."""
        if self.issues:
            raise configuration_error(path, self.issues)


def configuration_error(path: Path, issues: tuple[ConfigIssue, ...]) -> ConfigError:
    """Return the error for these problems, one line each; ``values["issues"]`` carries them."""
    count = "1 problem" if len(issues) == 1 else f"{len(issues)} problems"
    lines = "".join(f"\n  {issue}" for issue in issues)
    return ConfigError(
        f"The configuration {path} has {count}:{lines}",
        remedy="\nCorrect the file and run the command again; nothing was touched.",
        issues=issues,
        path=str(path),
    )


def _for_whom(found_by: list[str]) -> str:
    """Return for which of several a value is wrong; nothing where it is wrong in itself."""
    if "" in found_by:
        return ""
    others = f" and {len(found_by) - 1} more" if len(found_by) > 1 else ""
    return f" (for {found_by[0]}{others})"


def _rank(location: Location) -> tuple[int, int]:
    section = str(location[0]) if location else ""
    place = SECTION_ORDER.index(section) if section in SECTION_ORDER else len(SECTION_ORDER)
    item = location[1] if len(location) > 1 else 0
    return place, item if isinstance(item, int) else 0
