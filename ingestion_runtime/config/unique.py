"""Tables that would meet in the lake, under one folder or one Iceberg name."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion_runtime.config.issues import IssueLog, Location, pointer_of
from ingestion_runtime.model.spec import CatalogSpec, SinkFormat, TableSpec


@dataclass(frozen=True, slots=True)
class Placed:
    """A table, the entry of the file that brought it, and whether that is a pattern, which brings others too."""

    at: Location
    table: TableSpec
    by_pattern: bool = False

    @property
    def subject(self) -> str:
        """How a message about it begins: a pattern's table has to be named."""
        return f"matches {self.table.name!r}, which " if self.by_pattern else ""

    @property
    def reference(self) -> str:
        """How a message about another table calls it."""
        return pointer_of(self.at) + (f" ({self.table.name!r})" if self.by_pattern else "")


def check_unique(tables: Sequence[Placed], catalog: CatalogSpec | None, log: IssueLog) -> None:
    """Record tables whose schema and name, or whose names in the catalog, differ by letter case at most."""
    names: dict[str, Placed] = {}
    targets: dict[str, Placed] = {}
    for placed in tables:
        first = names.setdefault(placed.table.name.casefold(), placed)
        if first is not placed:
            reason = f"is the same schema and table as {first.reference} (letter case does not count)"
            log.add(placed.at, placed.subject + reason + _remedy(placed))
        elif catalog is not None and placed.table.sink is SinkFormat.ICEBERG:
            _check_target(placed, catalog, targets, log)


def _check_target(placed: Placed, catalog: CatalogSpec, targets: dict[str, Placed], log: IssueLog) -> None:
    table = placed.table
    pieces = [part.replace("{schema}", table.schema) for part in catalog.name_pattern.split(".")]
    target = ".".join(part.replace("{table}", table.table) for part in pieces)
    if target.count(".") != 1:
        reason = "schema and table may not hold a '.' here: an Iceberg name is namespace.table"
        log.add(placed.at, f"matches {table.name!r}: {reason}; exclude it" if placed.by_pattern else reason)
        return
    first = targets.setdefault(target.casefold(), placed)
    if first is not placed:
        remedy = "change runtime.intermediate.table_pattern"
        reason = f"gets the same Iceberg name as {first.reference}; {remedy}"
        log.add(placed.at, placed.subject + reason + (", or exclude it" if placed.by_pattern else ""))


def _remedy(placed: Placed) -> str:
    return "; exclude one of them" if placed.by_pattern else ""
