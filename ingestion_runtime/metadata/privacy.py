"""What is kept out of the lake, against what is in it already: rows of before must not stay beside those of now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from ingestion_runtime.model.columns import is_ingest_column
from ingestion_runtime.model.endpoint import Shape
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.privacy import treatment
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import TableSpec

Marks = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Apart:
    """A target's columns: those that are compared with the source's, and those that are kept out of the lake by now."""

    compared: pa.Schema | None
    hidden: tuple[pa.Field, ...]


def set_apart(table: TableSpec, published: pa.Schema | None) -> Apart:
    """Return the excluded columns apart from the others: whatever becomes of them at the source is nobody's business."""
    if published is None:
        return Apart(None, ())
    hidden = tuple(item for item in published if _is_excluded(table, item.name))
    return Apart(pa.schema([item for item in published if item not in hidden]), hidden)


def forget_excluded(table: TableSpec, known: TableSnapshot | None) -> TableSnapshot | None:
    """Return a snapshot of before without the columns that are excluded by now."""
    if known is None:
        return None
    return replace(known, columns=tuple(c for c in known.columns if not table.privacy.excludes(c.name)))


def refuse_former_values(
    table: TableSpec, live: TableSnapshot, published: pa.Schema | None, former: Marks, shape: Shape
) -> None:
    """Raise TerminalError where rows stay in the target whose columns were excluded or masked otherwise than they are now.

    ``former`` is what the last receipt says of it. A column that is new to both is nobody's former value.
    """
    if published is None:
        return
    before, now = dict(former), dict(table.privacy.marks())
    stands = {item.name for item in published}
    told = dict(shape.renamed)
    present = {told.get(column.name, column.name): column.name for column in live.columns}
    changed = [name for name in stands if treatment(before, name) != treatment(now, present.get(name, name))]
    changed += [name for name in present if name not in stands and treatment(before, name) and not treatment(now, name)]
    if changed:
        listed = ", ".join(sorted(changed))
        raise TerminalError(
            f"{table.name}: what is kept out of the lake has changed for {listed}. Rows that are in the target were written"
            " by the former settings (exclude_columns, mask and its salt), and would stay as they are.",
            remedy="Restore the former settings, or replace the table from the source with --reload"
            f" {table.name}. What older snapshots and the raw zone hold stays until it is removed there.",
            table=table.name,
            columns=tuple(sorted(changed)),
        )


def _is_excluded(table: TableSpec, name: str) -> bool:
    return not is_ingest_column(name) and table.privacy.excludes(name)
