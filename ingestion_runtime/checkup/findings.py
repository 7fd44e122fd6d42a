"""What a check finds: graded lines, each with what to do about it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingestion_runtime.model.errors import IngestionError

# As a run weighs its tables: credentials concern all of it, and what a rerun does not mend outweighs what it may.
_PRECEDENCE = (2, 1, 3, 4)


class Grade(StrEnum):
    """How bad it is: a red finding would stop a run or some of its tables, a yellow one is worth a look."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``exit_code`` is what a run would end with for a red one, else 0."""

    check: str
    grade: Grade
    message: str
    remedy: str = ""
    exit_code: int = 0


class Findings:
    """Collects what one check finds, until it is closed. Safe to use from another thread than its reader's."""

    def __init__(self, check: str) -> None:
        self.check = check
        self._found: list[Finding] = []
        self._lock = threading.Lock()
        self._closed = False

    def green(self, message: str) -> None:
        """All is well."""
        self._add(Finding(self.check, Grade.GREEN, message))

    def yellow(self, message: str, remedy: str) -> None:
        """A run would do; something should be looked at."""
        self._add(Finding(self.check, Grade.YELLOW, message, remedy))

    def red(self, message: str, remedy: str, exit_code: int = 1) -> None:
        """A run, or some of its tables, would fail with this exit code."""
        self._add(Finding(self.check, Grade.RED, message, remedy, exit_code))

    def error(self, error: IngestionError) -> None:
        """A run would meet this error."""
        self.red(error.message, error.remedy.strip(), error.exit_code)

    @property
    def has_any(self) -> bool:
        """Whether something was found so far."""
        with self._lock:
            return bool(self._found)

    def close(self) -> tuple[Finding, ...]:
        """Return what was found; whatever comes later is dropped."""
        with self._lock:
            self._closed = True
            return tuple(self._found)

    def _add(self, finding: Finding) -> None:
        with self._lock:
            if not self._closed:
                self._found.append(finding)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 when nothing is red, else the exit code that a run would have."""
    codes = {finding.exit_code for finding in findings if finding.grade is Grade.RED}
    return next((code for code in _PRECEDENCE if code in codes), 0)
