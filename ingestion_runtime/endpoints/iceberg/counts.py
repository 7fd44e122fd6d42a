"""What counting the keys of staged files says, whichever engine counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows in the staged files, distinct keys among them, and rows with a NULL key. Without a primary key every row is a
    key."""

    rows: int
    keys: int
    null_keys: int
