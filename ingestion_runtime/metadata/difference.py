"""How a live table differs from what was accepted before: columns compared, renames recognised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from ingestion_runtime.metadata.arrow_types import parse_arrow_type
from ingestion_runtime.metadata.promotion import type_change
from ingestion_runtime.model.columns import is_ingest_column
from ingestion_runtime.model.policy import ChangeKind
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot


@dataclass(frozen=True, slots=True)
class Change:
    """One column that differs. ``before`` is None for an added one, ``after`` for a dropped one."""

    kind: ChangeKind
    before: ColumnSnapshot | None
    after: ColumnSnapshot | None

    @property
    def name(self) -> str:
        """The column's name, the present one where it still has one."""
        column = self.after or self.before
        return column.name if column else ""


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes; ``recased`` and ``swapped`` are (name before, name after) and are in no change of another kind.

    ``remade`` are names that another column of the source bears now: the one that had it was dropped.
    """

    changes: tuple[Change, ...] = ()
    recased: tuple[tuple[str, str], ...] = ()
    swapped: tuple[tuple[str, str], ...] = ()
    remade: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.recased or self.swapped or self.remade)

    def of(self, kind: ChangeKind) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(change for change in self.changes if change.kind is kind)


def follow(known: TableSnapshot | None, live: TableSnapshot) -> TableSnapshot:
    """Return ``live`` with the names under which its columns were known before.

    A rename is recognised by the column's identity at the source. Where the source gives none, it is one if as many
    columns are there as before and, at the place of a name that is gone, a new name stands with the very same type.
    """
    if known is None:
        return live
    old = {column.name: column for column in _data(known.columns)}
    there = [column for column in _data(known.columns) if not column.gone]
    renamed = _renames(there, _data(live.columns))
    return replace(live, columns=tuple(_with_former(column, renamed, old) for column in live.columns))


def compare(before: TableSnapshot, live: TableSnapshot) -> Difference:
    """Return how ``live``, as `follow` returns it, differs from ``before`` in names, landed types and nullability.

    Order is not compared, columns starting with ``_ingest_`` are ignored on both sides. Names are compared with their
    case; a column that differs in nothing else is reported as recased.
    """
    return _Comparison(_by_name(before), _by_name(live)).result()


def as_published(known: TableSnapshot | None, published: pa.Schema, live: TableSnapshot) -> TableSnapshot:
    """Return the published columns as what was accepted before: their types are the target's.

    What the source said of them (type in its words, identity, nullability) is taken from ``known``. A column of which
    nothing is known is as nullable as the live one, so that no change is seen where none can be.
    """
    described = {column.name: column for column in (known.columns if known else ())}
    for column in known.columns if known else ():
        for former in column.former:
            described.setdefault(former, replace(column, name=former))
    present = {column.name: column for column in live.columns}

    def published_column(item: pa.Field) -> ColumnSnapshot:
        told = described.get(item.name)
        if told is None:
            same = present.get(item.name)
            told = ColumnSnapshot(item.name, "", "", same.nullable if same else True)
        return replace(told, landed_type=str(item.type))

    return replace(live, columns=tuple(published_column(item) for item in published if not is_ingest_column(item.name)))


@dataclass(slots=True)
class _Comparison:
    old: Mapping[str, ColumnSnapshot]
    new: Mapping[str, ColumnSnapshot]
    found: list[Change] = field(default_factory=list)

    def result(self) -> Difference:
        recased = self._recased()
        again = set(recased.values())
        fresh = {name: column for name, column in self.new.items() if name not in self.old and name not in again}
        gone = {name: column for name, column in self.old.items() if name not in self.new and name not in recased}
        for name, column in list(fresh.items()):
            former = next((f for f in column.former if f in gone), None)
            if former is not None:
                self._add(ChangeKind.RENAMED, gone.pop(former), fresh.pop(name))
                self._compare_one(self.old[former], column)
        for column in fresh.values():
            self._add(ChangeKind.ADDED, None, column)
        for column in gone.values():
            self._add(ChangeKind.DROPPED, column, None)
        for name, column in self.old.items():
            if name in self.new:
                self._compare_one(column, self.new[name])
        return Difference(tuple(self.found), tuple(recased.items()), self._swapped(), self._remade())

    def _add(self, kind: ChangeKind, before: ColumnSnapshot | None, after: ColumnSnapshot | None) -> None:
        self.found.append(Change(kind, before, after))

    def _compare_one(self, before: ColumnSnapshot, after: ColumnSnapshot) -> None:
        kind = type_change(parse_arrow_type(before.landed_type), parse_arrow_type(after.landed_type))
        if kind is not None:
            self._add(kind, before, after)
        if before.nullable != after.nullable:
            self._add(ChangeKind.NULLABILITY, before, after)

    def _recased(self) -> dict[str, str]:
        fresh = {name.casefold(): name for name in self.new if name not in self.old}
        return {name: fresh[name.casefold()] for name in self.old if name not in self.new and name.casefold() in fresh}

    def _swapped(self) -> tuple[tuple[str, str], ...]:
        """Columns that left their name to another one, or took another one's: by name alone nothing would be noticed."""
        bearers = {column.identity: name for name, column in self.old.items() if column.identity}
        pairs = [(bearers.get(c.identity, name), name) for name, c in self.new.items() if c.identity]
        # Of a column whose former name is free it is a rename; of one that is new at its own name, nothing.
        taken = [(before, after) for before, after in pairs if before in self.new or after in self.old]
        return tuple((before, after) for before, after in taken if before != after)

    def _remade(self) -> tuple[str, ...]:
        """Columns that were dropped and made anew under the same name, in the same relation."""
        living = {column.identity for column in self.new.values()}
        pairs = [(name, self.old[name].identity, column.identity) for name, column in self.new.items() if name in self.old]
        return tuple(
            name
            for name, before, after in pairs
            if before and after and before not in living and _relation(before) == _relation(after)
        )


def _relation(identity: str) -> str:
    return identity.rpartition(".")[0]


def _with_former(column: ColumnSnapshot, renamed: Mapping[str, str], old: Mapping[str, ColumnSnapshot]) -> ColumnSnapshot:
    former = renamed.get(column.name)
    if former is not None:
        return replace(column, former=(former, *old[former].former))
    same = old.get(column.name)
    return replace(column, former=same.former) if same else column


def _renames(old: Sequence[ColumnSnapshot], new: Sequence[ColumnSnapshot]) -> dict[str, str]:
    """Return the former names of renamed columns by their new ones."""
    before, after = {c.name for c in old}, {c.name for c in new}
    cased = {name.casefold() for name in before}
    fresh = [(i, c) for i, c in enumerate(new) if c.name not in before and c.name.casefold() not in cased]
    gone = {c.identity: c.name for c in old if c.identity and c.name not in after}
    found = {c.name: gone[c.identity] for _, c in fresh if c.identity in gone}
    if len(old) == len(new):
        found |= {c.name: old[i].name for i, c in fresh if old[i].name not in after and _alike(old[i], c)}
    return found


def _alike(before: ColumnSnapshot, after: ColumnSnapshot) -> bool:
    nameless = before.identity is None and after.identity is None
    return nameless and (before.native_type, before.landed_type) == (after.native_type, after.landed_type)


def _by_name(snapshot: TableSnapshot) -> dict[str, ColumnSnapshot]:
    return {column.name: column for column in _data(snapshot.columns)}


def _data(columns: Sequence[ColumnSnapshot]) -> tuple[ColumnSnapshot, ...]:
    return tuple(column for column in columns if not is_ingest_column(column.name))
