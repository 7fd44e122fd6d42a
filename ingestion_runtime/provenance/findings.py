"""What a proof finds: which batch, slice and file, and which rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingestion_runtime.model.errors import IngestionError


class ProofStatus(StrEnum):
    """How a table's proof ends.

    PROVEN: every row is where the published batches put it, and nothing else is. PARTLY: nothing speaks against it, and not
    everything could be looked at. BROKEN: something was lost, added or changed. NO_DATA: nothing was published so far.
    ERROR: the proof itself could not be carried out.
    """

    PROVEN = "proven"
    PARTLY = "partly"
    BROKEN = "broken"
    NO_DATA = "no_data"
    ERROR = "error"


class Kind(StrEnum):
    """What was found. UNPROVEN rows rest on a raw file that is not as it landed: nothing else can be said of them. NOTE
    is worth knowing and breaks nothing."""

    BATCH_MISSING = "batch_missing"
    MANIFEST_UNREADABLE = "manifest_unreadable"
    MANIFEST_CHANGED = "manifest_changed"
    RECORDS_DISAGREE = "records_disagree"
    RAW_FILE_MISSING = "raw_file_missing"
    RAW_FILE_CHANGED = "raw_file_changed"
    RAW_FILE_UNKNOWN = "raw_file_unknown"
    TABLE_DAMAGED = "table_damaged"
    TABLE_FILE_SPOILT = "table_file_spoilt"
    ROWS_LOST = "rows_lost"
    ROWS_ADDED = "rows_added"
    ROWS_CHANGED = "rows_changed"
    UNPROVEN = "unproven"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class RowExample:
    """One row: its key by column (of a table without one, all its columns), each value as it is spelled, None for NULL.

    ``columns`` are those whose values differ. ``run`` and ``slice`` are what the row that stands in the table says of its
    own origin; None where none stands there, or it says nothing.
    """

    key: Mapping[str, str | None]
    columns: tuple[str, ...] = ()
    run: str | None = None
    slice: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, in a sentence, and where it is.

    ``slice`` is the number of the slice in its batch, ``covers`` what of the source it holds; ``file`` an absolute path.
    ``rows`` is how many rows it is about, ``examples`` are a few of them.
    """

    kind: Kind
    message: str
    batch: str | None = None
    slice: int | None = None
    covers: str | None = None
    file: str | None = None
    rows: int | None = None
    examples: tuple[RowExample, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether a table with this finding is broken."""
        return self.kind not in (Kind.NOTE, Kind.UNPROVEN)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why something was not looked at; ``wished``: the caller wanted it so."""

    reason: str
    wished: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """What ended a proof: type and message of the error, and the exit code that it stands for."""

    type: str
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class TableProof:
    """What is known of one table.

    ``batch`` and ``sequence`` are those of its receipt, ``snapshot`` what readers saw at that moment. ``batches``, ``files``
    and ``bytes`` (of raw) were looked at; ``rows`` is how many the published batches add up to, None where rows were not
    compared. ``unseen`` says why something was not looked at.
    """

    table: str
    mode: str
    status: ProofStatus
    batch: str | None = None
    sequence: int | None = None
    snapshot: str | None = None
    watermark: str | None = None
    batches: int = 0
    files: int = 0
    bytes: int = 0
    rows: int | None = None
    findings: tuple[Finding, ...] = ()
    unseen: tuple[Hindrance, ...] = ()
    error: Stop | None = None
    seconds: float = 0.0

    @property
    def warns(self) -> bool:
        """Whether something was not looked at that the caller wanted to have looked at."""
        return self.status is ProofStatus.PARTLY and any(not hindrance.wished for hindrance in self.unseen)


def judge(findings: tuple[Finding, ...], unseen: tuple[Hindrance, ...]) -> ProofStatus:
    """Return how the proof of a published table ends."""
    if any(finding.breaks for finding in findings):
        return ProofStatus.BROKEN
    return ProofStatus.PARTLY if unseen else ProofStatus.PROVEN


def stopped(error: IngestionError, raised: Exception) -> Stop:
    """Return what a proof says of an error that ended it."""
    return Stop(type(raised).__name__, str(error), error.exit_code)
