"""What was found of one key, place by place: plain values, of which the verdict is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from ingestion_runtime.model.batch import Batch, Receipt, WriteMode
from ingestion_runtime.model.cursor import Watermark
from ingestion_runtime.model.state import BatchEnd, LastResult

#: The landed values of a row by column.
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row at the source. ``fits``: it is the version that was asked for, or none was."""

    values: Values
    cursor: Watermark | None
    fits: bool = True


@dataclass(frozen=True, slots=True)
class SourceFinding:
    """The rows of the key at the source, the newest first where their order is known.

    ``hidden`` are there too, but the table's filter or query does not let them through; ``near`` are keys that the source
    takes for the same and that are not. ``unfit`` says why a value cannot land; ``problem`` why the source did not answer,
    ``away``: because it could not be reached, and ``remedy`` what to do about it.
    """

    rows: tuple[SourceRow, ...] = ()
    hidden: tuple[SourceRow, ...] = ()
    near: tuple[str, ...] = ()
    unfit: str | None = None
    problem: str | None = None
    away: bool = True
    remedy: str = ""


class Place(StrEnum):
    """Where on its way into the table a row was found: in a slice of a batch under way, landed in raw and (as far as anybody
    says) not published, given up, published, or published into what the table was before it was replaced."""

    STAGED = "staged"
    LANDED = "landed"
    ABANDONED = "abandoned"
    PUBLISHED = "published"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A row, or a tombstone, of the key in one file of one batch. ``row`` counts from 0, None: nobody knows.

    ``fits``: it is the version that was asked for, or none was. ``columns`` are those that rows of the batch have.
    """

    place: Place
    batch_id: str
    sequence: int
    load_date: date
    write: WriteMode
    slice: int
    file: str
    row: int | None
    cursor: Watermark | None
    at: datetime | None
    tombstone: bool = False
    fits: bool = True
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Rows that were set aside for a NULL in the key, in one batch."""

    batch_id: str
    load_date: date
    rows: int
    directory: str


@dataclass(frozen=True, slots=True)
class LakeFinding:
    """What staging and raw hold of the key, in the order in which batches were made.

    ``batches`` of the table were looked through; ``gaps`` and ``unread`` name what could not be.
    """

    sightings: tuple[Sighting, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    batches: int = 0
    gaps: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def newest(self, *places: Place) -> Sighting | None:
        """Return the last sighting in one of these places."""
        return next((one for one in reversed(self.sightings) if one.place in places), None)


@dataclass(frozen=True, slots=True)
class Era:
    """A snapshot of the target in which the key came, went, or changed. ``batch`` wrote it (None: it does not say, as those
    that Spark wrote). ``ours``: the last publish of this runtime stands on it, or is it."""

    snapshot: str
    at: datetime
    operation: str
    batch: str | None
    there: bool
    ours: bool = True


@dataclass(frozen=True, slots=True)
class TargetFinding:
    """The target. ``rows`` are those that readers see, ``marked`` since when a row is marked as deleted.

    ``eras`` go back from now on; ``cut``: there were more snapshots than were looked at, or older ones have expired.
    ``published`` says whether the last publish of this runtime held the key, where readers see another snapshot than that.
    ``rewound``: what readers see is older than the last publish. ``problem`` says why the target could not be looked at;
    ``lacking`` is the column that was asked for and that it does not have, so that no row can be looked up.
    """

    exists: bool
    receipt: Receipt | None = None
    damage: str | None = None
    snapshot: str | None = None
    rows: tuple[Values, ...] = ()
    marked: datetime | None = None
    eras: tuple[Era, ...] = ()
    cut: bool = False
    published: bool | None = None
    rewound: bool = False
    problem: str | None = None
    lacking: str | None = None


class Reach(StrEnum):
    """What the next run would do with the cursor of the source's row."""

    READS = "reads"  # a window, or the re-read set, covers it
    HELD = "held"  # above the horizon: a transaction is open that may still write below it
    BEYOND = "beyond"  # later than the source's own now
    BELOW = "below"  # at or below the watermark, and not read again
    INITIAL = "initial"  # at or below initial_watermark
    IGNORED = "ignored"  # it has no cursor, and such rows are left out
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WindowFinding:
    """Where the table's reading stands, and what the next run would do with the row.

    ``watermark`` is the receipt's, ``reread_from`` where its lag begins; ``upper`` how far the next run would read.
    ``held_by`` is the reason of the horizon; ``refusal`` what would stop the next run; ``changed`` are the settings of
    reading that were others at the last publish; ``covered_by`` is the published batch whose window holds the cursor.
    """

    watermark: Watermark | None = None
    reread_from: Watermark | None = None
    upper: str | None = None
    reach: Reach = Reach.UNKNOWN
    held_by: str | None = None
    refusal: str | None = None
    changed: tuple[str, ...] = ()
    covered_by: str | None = None


@dataclass(frozen=True, slots=True)
class StateFinding:
    """What the state database knows: the last receipt, the open batch, how the table ended last, and its last batches.
    ``at_work`` is the run that holds the table at this moment."""

    receipt: Receipt | None = None
    opened: Batch | None = None
    last: LastResult | None = None
    ends: tuple[BatchEnd, ...] = ()
    at_work: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was found of one key. ``differing`` are the columns in which source and target are not equal, with
    both values as people read them (None: they are not shown)."""

    source: SourceFinding
    window: WindowFinding
    lake: LakeFinding
    target: TargetFinding
    state: StateFinding
    differing: tuple[tuple[str, str | None, str | None], ...] = ()
    compared: bool = field(default=False)
