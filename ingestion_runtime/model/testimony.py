"""What a source said of rows in the very view in which they were read: by it, what was staged is judged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Testimony:
    """How many rows the source had for a slice; and the sums of two numbers of 44 bits from the hash of each, over
    ``columns``, as in ``comparison.Checksum``. None: only the rows were asked for."""

    rows: int
    high: int | None = None
    low: int | None = None
    columns: tuple[str, ...] = ()

    def joined(self, other: "Testimony") -> "Testimony":
        """Return what was said of two parts of a slice together."""
        high = None if self.high is None or other.high is None else self.high + other.high
        low = None if self.low is None or other.low is None else self.low + other.low
        return Testimony(self.rows + other.rows, high, low, self.columns)


@dataclass(frozen=True, slots=True)
class SliceTestimony:
    """What the source said of one slice of a batch, by its ordinal."""

    ordinal: int
    said: Testimony
