"""What changed between a snapshot and the live table, and whether that is allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.model.columns import is_ingest_column
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.schema import TableSnapshot
from ingestion_runtime.model.spec import SchemaPolicy, TableSpec


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column and the type in which it lands, as pyarrow spells it."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A column that lands in another type than before."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} ({self.before} -> {self.after})"


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A column whose name changed in upper and lower case only."""

    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """How a live table differs from its snapshot. A column in ``recased`` is in none of the others."""

    added: tuple[ColumnType, ...] = ()
    missing: tuple[ColumnType, ...] = ()
    retyped: tuple[TypeChange, ...] = ()
    recased: tuple[CaseChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.missing or self.retyped or self.recased)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy let pass: ``missing_allowed`` are the columns that arrive as NULL, as nullable fields."""

    missing_allowed: tuple[pa.Field, ...] = ()


def compare_schema(snapshot: TableSnapshot, live: pa.Schema) -> SchemaDifference:
    """Return how ``live`` differs from ``snapshot`` in names and landed types.

    Order and nullability are not compared, and columns starting with ``_ingest_`` are ignored on both sides. Names are
    compared with their case; a column that differs in nothing else is reported as recased.
    """
    return _compare(landed_types(snapshot), {field.name: str(field.type) for field in live})


def compare_snapshots(before: TableSnapshot, after: TableSnapshot) -> SchemaDifference:
    """Return how one snapshot differs from an earlier one, by the rules of `compare_schema`."""
    return _compare(landed_types(before), landed_types(after))


def landed_types(snapshot: TableSnapshot) -> dict[str, str]:
    """Return the snapshot's landed types by column name."""
    return {column.name: column.landed_type for column in snapshot.columns}


def judge(difference: SchemaDifference, policy: SchemaPolicy, table: TableSpec) -> Verdict:
    """Return what may pass under ``policy``; raises TerminalError naming every column that may not, and the remedy.

    Whatever the policy says, a primary key or the incremental column cannot be missing (nothing could be merged by a
    NULL), and a change of case alone is refused: the engine and the target tables cannot hold both spellings.
    """
    vital = {*table.primary_keys, *([table.incremental_column] if table.incremental_column else [])}
    lost = [c for c in difference.missing if c.name in vital]
    gone = [c for c in difference.missing if c.name not in vital]
    complaints = [
        _complaint("missing key or incremental column", lost, "Restore it at the source"),
        _complaint("renamed in case only", difference.recased, "Restore the name, or give it in query_sql"),
    ]
    if not policy.allow_missing_columns:
        remedy = "Restore it at the source, or let it arrive as NULL with metadata.schema_policy.allow_missing_columns: true"
        complaints.append(_complaint("missing", gone, remedy))
    if not policy.allow_new_columns:
        complaints.append(
            _complaint("new", difference.added, "Let it pass with metadata.schema_policy.allow_new_columns: true")
        )
    if not policy.allow_type_changes:
        complaints.append(
            _complaint(
                "type changed", difference.retyped, "Let it pass with metadata.schema_policy.allow_type_changes: true"
            )
        )
    _refuse([c for c in complaints if c], table)
    return Verdict(tuple(pa.field(c.name, parse_arrow_type(c.type), nullable=True) for c in gone))


def _compare(before: Mapping[str, str], after: Mapping[str, str]) -> SchemaDifference:
    old = {name: kind for name, kind in before.items() if not is_ingest_column(name)}
    new = {name: kind for name, kind in after.items() if not is_ingest_column(name)}
    fresh = {name.casefold(): name for name in new if name not in old}
    recased = {name: fresh[name.casefold()] for name in old if name not in new and name.casefold() in fresh}
    renamed = set(recased.values())
    return SchemaDifference(
        added=tuple(ColumnType(n, t) for n, t in new.items() if n not in old and n not in renamed),
        missing=tuple(ColumnType(n, t) for n, t in old.items() if n not in new and n not in recased),
        retyped=tuple(TypeChange(n, t, new[n]) for n, t in old.items() if n in new and new[n] != t),
        recased=tuple(CaseChange(before, after) for before, after in recased.items()),
    )


def _complaint(what: str, columns: Sequence[object], remedy: str) -> tuple[str, str] | None:
    return (f"{what}: {', '.join(map(str, columns))}", remedy) if columns else None


def _refuse(complaints: Sequence[tuple[str, str]], table: TableSpec) -> None:
    if not complaints:
        return
    reasons = tuple(reason for reason, _ in complaints)
    raise TerminalError(
        f"The columns of {table.name} are not those of its snapshot ({'; '.join(reasons)}).",
        remedy=f"{'. '.join(remedy for _, remedy in complaints)}.",
        table=table.name,
        reasons=reasons,
    )
