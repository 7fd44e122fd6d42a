"""Whether a difference may pass, what it asks of the read, and how it is told to people."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.metadata.difference import Change, Difference
from ingestion_runtime.metadata.promotion import holds, in_the_lake
from ingestion_runtime.model.endpoint import Shape
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.policy import ChangeKind, OnChange
from ingestion_runtime.model.schema import ColumnChange, ColumnSnapshot
from ingestion_runtime.model.spec import Deletes, SinkFormat, TableSpec

_UNKNOWN = "unknown"
_CHANGES = {
    ChangeKind.ADDED: "new",
    ChangeKind.DROPPED: "missing",
    ChangeKind.NARROWED: "narrowed",
    ChangeKind.WIDENED: "widened",
    ChangeKind.RENAMED: "renamed",
    ChangeKind.RETYPED: "type changed",
    ChangeKind.NULLABILITY: "nullability",
}
_KEY = "missing key or incremental column"
_CASE = "renamed in case only"
_SWAP = "names exchanged"
_REMADE = "dropped and made anew"
_KEY_TYPE = "type of a key by which deletes are found"
_UNFIT = "type that the table cannot hold"
_TYPES = "let it pass with metadata.schema_policy.allow_type_changes: true ({0}: evolve)"
_ADVICE = {
    "new": "Let it pass with metadata.schema_policy.allow_new_columns: true (added: evolve), or leave it out with"
    " added: ignore",
    "missing": "Restore it at the source, or let it arrive as NULL with metadata.schema_policy.allow_missing_columns: true"
    " (dropped: evolve), or keep the values that the table has with dropped: ignore",
    "narrowed": f"Restore the type, or {_TYPES.format('narrowed')}",
    "widened": f"Restore the type, or {_TYPES.format('widened')}, or keep the table's type with widened: ignore",
    "renamed": "Restore the name, or rename the table's column with metadata.schema_policy.renamed: evolve; if it is"
    " another column, renamed: ignore takes it for a dropped and an added one",
    "type changed": f"Restore the type, cast it in query_sql, or {_TYPES.format('retyped')}",
    "nullability": "Restore it, or let it pass with metadata.schema_policy.nullability: evolve",
    _KEY: "Restore it at the source; if it was renamed, correct primary_keys or incremental_column and run with --reload",
    _CASE: "Restore the name, or give it in query_sql",
    _SWAP: "Restore the names, or read the table anew: drop the target and run with --reload",
    _REMADE: "Older rows would keep the values of the column that was dropped. Read the table anew with --reload, or let"
    " them keep these with dropped: ignore",
    _KEY_TYPE: "Cast it in query_sql to the table's type, or read the table anew with --reload",
    _UNFIT: "Cast it in query_sql to the table's type; or, with retyped: evolve, replace the table's column by a full"
    " refresh or --reload",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy let pass: everything that differs, as people are told of it, and what it asks of the read."""

    changes: tuple[ColumnChange, ...] = ()
    shape: Shape = field(default_factory=Shape)


def judge(difference: Difference, table: TableSpec, *, published: bool, replaces: bool) -> Verdict:
    """Return what may pass under the table's policy; raises TerminalError naming every column that may not.

    ``published``: the difference is one to the target, so that a type which it cannot hold is refused here (else only
    what was known of the source is compared). ``replaces``: the batch becomes the whole table. Whatever the policy says,
    a primary key or the incremental column cannot be missing (nothing could be merged by a NULL), and a change of case
    alone is refused: the engine and the target tables cannot hold both spellings. The error carries all ``changes``.
    """
    court = _Court(table, published=published, replaces=replaces)
    for change in _as_judged(difference, table):
        court.hear(change)
    for before, after in difference.recased:
        court.refuse(_CASE, ColumnChange(after, before, after, ChangeKind.RENAMED, OnChange.FAIL, refused=True))
    # Without a target there is no history to be mixed up.
    for before, after in difference.swapped if published else ():
        court.refuse(_SWAP, ColumnChange(after, before, after, ChangeKind.RENAMED, OnChange.FAIL, refused=True))
    if published and not replaces and table.policy.dropped is OnChange.FAIL:
        for name in difference.remade:
            told = ColumnChange(name, name, name, ChangeKind.DROPPED, OnChange.FAIL, refused=True)
            court.refuse(_REMADE, told, name)
    court.rise()
    return Verdict(tuple(court.told), court.shape())


def vital_columns(table: TableSpec) -> frozenset[str]:
    """Return the columns without which a table cannot be read or merged."""
    split = {table.partition_read.column} if table.partition_read else set()
    cursor = {table.incremental_column} if table.incremental_column else set()
    return frozenset({*table.primary_keys, *cursor, *split, *(part.column for part in table.partition)})


def _as_judged(difference: Difference, table: TableSpec) -> Iterable[Change]:
    """Yield the changes; an ignored rename is a dropped and an added column."""
    split = table.policy.renamed is OnChange.IGNORE
    for change in difference.changes:
        renamed = change.before is not None and change.after is not None and change.before.name != change.after.name
        if not (split and renamed):
            yield change
        elif change.kind is ChangeKind.RENAMED:
            yield Change(ChangeKind.DROPPED, change.before, None)
            yield Change(ChangeKind.ADDED, None, change.after)


class _Court:
    """Hears one change after the other. What it lets pass becomes a shape of the read."""

    def __init__(self, table: TableSpec, *, published: bool, replaces: bool) -> None:
        self.told: list[ColumnChange] = []
        self._table = table
        self._vital = vital_columns(table)
        self._published = published
        # A Parquet target is replaced as a whole each time: nothing in it can stay as it was.
        self._replaces = replaces or table.sink is SinkFormat.PARQUET
        self._complaints: dict[str, list[str]] = {}
        self._skipped: list[str] = []
        self._missing: list[pa.Field] = []
        self._landing: list[pa.Field] = []
        self._renamed: list[tuple[str, str]] = []
        self._replaced: list[str] = []

    def hear(self, change: Change) -> None:
        answer = self._table.policy.of(change.kind)
        reason = self._find_reason(change, answer)
        told = ColumnChange(
            change.name, _spell(change.before, change), _spell(change.after, change), change.kind, answer, reason is not None
        )
        if reason is None:
            self.told.append(told)
            self._admit(change, answer)
        else:
            self.refuse(reason, told, _brief(change))

    def refuse(self, reason: str, told: ColumnChange, brief: str = "") -> None:
        self._complaints.setdefault(reason, []).append(brief or f"{told.before} -> {told.after}")
        self.told.append(
            ColumnChange(
                told.column, told.before, told.after, told.change, told.policy, refused=True, advice=_ADVICE[reason]
            )
        )

    def rise(self) -> None:
        if not self._complaints:
            return
        reasons = tuple(f"{reason}: {', '.join(columns)}" for reason, columns in self._complaints.items())
        known = "target" if self._published else "snapshot"
        raise TerminalError(
            f"The columns of {self._table.name} are not those of its {known} ({'; '.join(reasons)}).",
            remedy=f"{'. '.join(_ADVICE[reason] for reason in self._complaints)}.",
            table=self._table.name,
            reasons=reasons,
            changes=tuple(self.told),
        )

    def shape(self) -> Shape:
        return Shape(
            skipped=tuple(self._skipped),
            missing=tuple(self._missing),
            landing=tuple(self._landing),
            renamed=tuple(self._renamed),
            replaced=tuple(self._replaced),
        )

    def _find_reason(self, change: Change, answer: OnChange) -> str | None:
        """Return why a change is refused, None where it passes."""
        if change.kind is ChangeKind.DROPPED and change.name in self._vital:
            return _KEY
        if answer is OnChange.FAIL:
            return _CHANGES[change.kind]
        hashed = change.name in self._table.primary_keys and self._table.deletes is not Deletes.IGNORE
        if hashed and self._published and change.kind is ChangeKind.RETYPED and not self._replaceable(change):
            return _KEY_TYPE
        unfit = self._published and change.kind is ChangeKind.RETYPED and answer is OnChange.EVOLVE
        if unfit and not self._replaceable(change) and not holds(*_types(change)):
            return _UNFIT
        return None

    def _replaceable(self, change: Change) -> bool:
        partitioned = any(part.column == change.name for part in self._table.partition)
        return self._replaces and not partitioned

    def _admit(self, change: Change, answer: OnChange) -> None:
        ignored = answer is OnChange.IGNORE
        match change.kind:
            case ChangeKind.ADDED if ignored and change.name not in self._vital:
                self._skipped.append(change.name)
            case ChangeKind.DROPPED if change.before and (self._replaces or not ignored):
                # Ignored, a merge does not touch it at all, and the target keeps what it has.
                self._missing.append(pa.field(change.name, parse_arrow_type(change.before.landed_type), nullable=True))
            case ChangeKind.RENAMED if change.before and self._published:
                self._renamed.append((change.name, change.before.name))
            case ChangeKind.WIDENED if ignored and self._published:
                self._keep_type(change)
            case ChangeKind.RETYPED if self._published:
                # A wish that came later is granted as soon as all rows are replaced.
                wished = any(wish.column == change.name for wish in self._table.guardrails.wishes)
                if not ignored and self._replaceable(change) and (wished or not holds(*_types(change))):
                    self._replaced.append(change.name)
                else:
                    self._keep_type(change)
            case _:
                pass

    def _keep_type(self, change: Change) -> None:
        holder, _ = _types(change)
        self._landing.append(pa.field(change.name, holder))


def _types(change: Change) -> tuple[pa.DataType, pa.DataType]:
    """Return (type before, type after) of a change that has both."""
    before, after = change.before, change.after
    assert before is not None and after is not None  # noqa: S101, PT018 - a change of type has both
    return parse_arrow_type(before.landed_type), parse_arrow_type(after.landed_type)


def lake_type(landed: str) -> str:
    """Return a landed type in the words of the lake: int, long, decimal(10,2), string ..."""
    kind = in_the_lake(parse_arrow_type(landed))
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _WORDS.get(kind, str(kind))


_WORDS: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
    pa.timestamp("us", tz="UTC"): "timestamptz",
}


def _spell(column: ColumnSnapshot | None, change: Change) -> str:
    if column is None:
        return ""
    native = column.native_type if column.native_type != _UNKNOWN else ""
    landed = lake_type(column.landed_type)
    words = landed if not native or native == landed else f"{native} ({landed})"
    if change.kind is ChangeKind.NULLABILITY:
        words += "" if column.nullable else " NOT NULL"
    return f"{column.name} {words}" if change.kind is ChangeKind.RENAMED else words


def _brief(change: Change) -> str:
    before, after = change.before, change.after
    if change.kind is ChangeKind.RENAMED and before and after:
        return f"{before.name} -> {after.name}"
    if change.kind is ChangeKind.NULLABILITY and after:
        return f"{after.name} ({'may' if after.nullable else 'may not'} be NULL)"
    types = [column.landed_type for column in (before, after) if column]
    return f"{change.name} ({' -> '.join(types)})"
