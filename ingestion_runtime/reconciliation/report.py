"""What a reconciliation found: a report per table, and what all of them mean for the process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingestion_runtime.model.comparison import LeftOut
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.reconciliation import Check

#: The gravest first: something is set up wrongly; rows differ; something cannot be reached, which the same command may mend.
PRECEDENCE = (2, 1, 3, 4, 5)
WARNED = 5


class Status(StrEnum):
    """How a check ended: no difference; one that its threshold lets pass; one beyond it; it has no meaning for the table; it
    could not be made."""

    EQUAL = "equal"
    WITHIN = "within"
    DIFFERS = "differs"
    SKIPPED = "skipped"
    ERROR = "error"


class KeyFault(StrEnum):
    """How a key differs: only the source has it; only the target has it; its rows differ; more rows bear it on one side."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something could not be compared, and the exit code that this stands for."""

    type: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: IngestionError) -> "Trouble":
        """Return what an error means."""
        return cls(type(error).__name__, str(error), error.exit_code)


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """A group whose rows are not as many on both sides, by the spellings of its columns; None: NULL."""

    values: tuple[str | None, ...]
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """A column in which two rows of one key differ, and how. The spelled values only where they are to be shown."""

    column: str
    how: str
    source: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """A key that differs. ``values`` are known of a few changed keys."""

    key: tuple[str | None, ...]
    fault: KeyFault
    values: tuple[ValueDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Bisection:
    """Which keys differ: how many in all by their fault, and those that are listed. ``moved`` rows came from both sides
    together to find them, of ``rows`` that these have."""

    counts: tuple[tuple[KeyFault, int], ...]
    keys: tuple[KeyDifference, ...]
    moved: int
    rows: int

    @property
    def total(self) -> int:
        """All keys that differ."""
        return sum(count for _, count in self.counts)

    @property
    def fraction(self) -> float:
        """The part of both sides' rows that was moved."""
        return self.moved / self.rows if self.rows else 0.0

    def count(self, fault: KeyFault) -> int:
        """How many keys differ in this way."""
        return dict(self.counts).get(fault, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``difference`` counts rows, for ``bisect`` keys; None: it is there, and nobody counted it.

    ``source`` and ``target`` are the numbers that were compared. ``detail`` says it in words. ``groups`` are those of the
    ``differing`` ones that are listed, ``columns`` those in which rows differ.
    """

    source: int | None = None
    target: int | None = None
    difference: int | None = 0
    detail: str = ""
    groups: tuple[GroupDifference, ...] = ()
    grouped_by: tuple[str, ...] = ()
    differing: int = 0
    columns: tuple[str, ...] = ()
    bisection: Bisection | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one table. ``trouble`` only where it could not be made."""

    check: Check
    status: Status
    finding: Finding
    seconds: float = 0.0
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class NotCompared:
    """A column whose values took no part, and why."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Of which moment a report speaks: what the target's receipt says, and the snapshot that was read."""

    batch: str | None
    watermark: str | None
    load_date: str | None
    snapshot: str | None


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table. ``remarks`` are what people should know beside the checks; ``trouble`` ended it before its checks."""

    table: str
    mode: str
    checks: tuple[CheckResult, ...] = ()
    moment: Moment | None = None
    left_out: LeftOut | None = None
    compared: tuple[str, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    trouble: Trouble | None = None

    @property
    def status(self) -> Status:
        """The gravest status of its checks."""
        if self.trouble is not None:
            return Status.ERROR
        found = {result.status for result in self.checks}
        order = (Status.ERROR, Status.DIFFERS, Status.WITHIN, Status.EQUAL)
        return next((status for status in order if status in found), Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole reconciliation; tables in the order of the configuration."""

    run_id: str
    job_name: str
    engine: str
    seconds: float
    exit_code: int
    tables: tuple[TableReport, ...]


def exit_code(tables: Sequence[TableReport], *, fail_on_warn: bool) -> int:
    """Return what the reports mean for the process: the gravest of 0, 1, 2, 3 and, with ``fail_on_warn``, 5."""
    found = {code for table in tables for code in _codes(table, fail_on_warn=fail_on_warn)}
    return next((code for code in PRECEDENCE if code in found), max(found, default=0))


def _codes(table: TableReport, *, fail_on_warn: bool) -> Iterable[int]:
    if table.trouble is not None:
        yield table.trouble.exit_code
    for result in table.checks:
        if result.trouble is not None:
            yield result.trouble.exit_code
        elif result.status is Status.DIFFERS:
            yield 1
        elif fail_on_warn and result.status in (Status.WITHIN, Status.SKIPPED):
            yield WARNED
