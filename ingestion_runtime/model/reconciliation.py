"""What is asked of a table when its target is compared with its source, and which difference is let pass."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

#: How many differing keys a report lists; all are counted.
MOST_KEYS = 1_000


class Check(StrEnum):
    """One question about a table. The values are those of the configuration and of ``--checks``.

    The rows of both sides; rows by group; keys that several rows bear, or none; sums of hashes of all values, which no order
    of rows changes; and which keys differ.
    """

    PLAIN_COUNT = "plain_count"
    GROUP_COUNT = "group_count"
    PK_UNIQUENESS = "pk_uniqueness"
    CHECKSUM = "checksum"
    BISECT = "bisect"


class TimeUnit(StrEnum):
    """To what days and moments are cut before rows are counted by them."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """A column by which rows are counted, by its name at the source or in the target."""

    column: str
    unit: TimeUnit | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Which difference is let pass: at most ``absolute`` rows, or at most ``percent`` % of the source's. None: not said."""

    absolute: int | None = None
    percent: float | None = None

    def over(self, base: "Threshold") -> "Threshold":
        """Return this one with what it does not say as ``base`` says it."""
        absolute = base.absolute if self.absolute is None else self.absolute
        return Threshold(absolute, base.percent if self.percent is None else self.percent)

    def allows(self, difference: int, rows: int) -> bool:
        """Whether a difference of so many rows passes, of so many at the source."""
        if difference <= (self.absolute or 0):
            return True
        # By the digits that were written: as a double 0.57 % of 10,000 rows is a little less than 57.
        return self.percent is not None and difference * 100 <= Decimal(repr(self.percent)) * rows


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The block ``reconciliation`` of a table, with its defaults.

    ``threshold`` holds for checks that have none of their own among ``thresholds``. ``before_publish`` are the checks that
    every batch must pass against its source before anything of it is published.
    """

    checks: tuple[Check, ...] = (Check.PLAIN_COUNT, Check.PK_UNIQUENESS, Check.CHECKSUM)
    group_by: tuple[GroupColumn, ...] = ()
    threshold: Threshold = field(default_factory=Threshold)
    thresholds: tuple[tuple[Check, Threshold], ...] = ()
    max_keys: int = MOST_KEYS
    before_publish: tuple[Check, ...] = ()

    def threshold_of(self, check: Check) -> Threshold:
        """Return what a check lets pass: key by key its own, else that of all."""
        own = dict(self.thresholds).get(check)
        return self.threshold if own is None else own.over(self.threshold)
