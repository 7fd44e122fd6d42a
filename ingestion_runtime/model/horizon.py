"""How far a source may be read so that nothing commits below it later: the safe horizon."""

from dataclasses import dataclass
from enum import StrEnum

from ingestion_runtime.model.cursor import Watermark

_NAMED = 3  # transactions in a message


class HorizonPolicy(StrEnum):
    """What keeps an incremental table from passing over rows of open transactions.

    ``strict``: the safe horizon, and a source that does not show it is refused. ``lag``: the lag alone. ``off``: nothing.
    """

    STRICT = "strict"
    LAG = "lag"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Horizon:
    """What one look at a source's open transactions found, in a transaction of its own.

    Moments are microseconds since 1970-01-01 UTC by the source's clock. ``now`` was taken before the look. ``moment``:
    no transaction that may still commit began before it, so clock values strictly below it are complete; None: nothing
    above what has been read is known to be. ``oldest`` is the start of the oldest open transaction (None: there is
    none) and ``holder`` says which one it is. ``prepared`` names transactions that wait for a COMMIT PREPARED. ``blind``
    says why open transactions cannot be seen (empty: they can), ``grant`` what would show them.
    """

    now: int
    moment: int | None
    oldest: int | None = None
    holder: str = ""
    prepared: tuple[str, ...] = ()
    blind: str = ""
    grant: str = ""

    def over(self, began: int) -> bool:
        """Return whether every transaction that was open at ``began`` has ended, as far as this look can tell."""
        return not self.blind and not self.prepared and (self.oldest is None or self.oldest > began)

    @property
    def reason(self) -> str:
        """What holds the horizon back, in words for people."""
        if self.prepared:
            listed = ", ".join(self.prepared[:_NAMED]) + (", ..." if len(self.prepared) > _NAMED else "")
            return f"prepared transactions wait for a commit or rollback: {listed}"
        return self.holder or "the last moments wait until their transactions are seen"


@dataclass(frozen=True, slots=True)
class CursorClock:
    """How an incremental column tells time.

    ``zoned``: its values mean a moment; else a wall clock in a zone that only the configuration knows. ``resolution`` is
    the number of microseconds to which a value may have been cut or rounded on its way into the column.
    """

    zoned: bool
    resolution: int


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How far a window may reach: up to ``bound`` (inclusive). Rows above it wait; those above ``now`` (None: the source's
    own, asked when they are counted) are later than the source's clock."""

    bound: Watermark
    now: Watermark | None = None


@dataclass(frozen=True, slots=True)
class CursorSample:
    """The largest value of a cursor that is no clock, seen before ``taken_at`` (microseconds, the source's clock).

    It bounds what is complete once every transaction has ended that was open at that moment. ``reading`` is a digest of
    how the table was read: a sample of another filter or column says nothing.
    """

    taken_at: int
    value: Watermark
    reading: str
