"""Who publishes a table, and by which settings it is read."""

from dataclasses import dataclass

from ingestion_runtime.model.privacy import is_mark


@dataclass(frozen=True, slots=True)
class Identity:
    """Who works on a table and how: the table's name, the configuration's owner, its reading (see ``spec.reading``), and a
    digest that changes with every setting."""

    table: str
    owner: str
    reading: tuple[tuple[str, str], ...]
    digest: str


def changed_reading(former: tuple[tuple[str, str], ...], present: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Return what differs between two readings, a phrase each; a former one without entries says nothing.

    Not what columns are kept out of the lake: which of them the table has is known when it is read.
    """
    now = dict(present)
    return tuple(
        f"{name} was {value}, now {now.get(name)}" if name == "source" else name
        for name, value in former
        if now.get(name) != value and not is_mark(name)
    )
