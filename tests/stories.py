"""Random tables and what befalls them between two runs, as SQL: for tests that two ways of moving rows lead to one table.

Nothing here imports the program. A story depends on its seed and its name alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from tests.values import postgresql, sqlite
from tests.values.columns import Column
from tests.values.samples import quoted

RUNS = 3
_FIRST_DAY = date(2024, 1, 1)
# Types that need no extension, and every type in which rows land.
_USED = {
    "postgresql": "b i2 i4 i8 f4 f8 n5_2 n10 n38_0 n38_10 n38_38 n t v c5 y d ts ts0 tz tz3 tm iv g j ints",
    "sqlite": "i tiny big r dbl n12_2 n30 n38_10 b d at2 ts y vb t v c5 x tm",
}
_COLUMNS: dict[str, dict[str, Column]] = {
    "postgresql": {column.name: column for column in postgresql.columns("UTC")},
    "sqlite": {column.name: column for column in sqlite.columns("UTC")},
}
_INEXACT = frozenset({"float", "double"})
_WIDER = {"i4": "i8", "f4": "f8", "n5_2": "n5_2_wide"}
_COLUMNS["postgresql"]["n5_2_wide"] = Column(
    "n5_2_wide", "numeric(12,2)", "decimal(12, 2)", lambda source: f"{source.randint(-(10**9), 10**9)}.25"
)
_TRANSFORMS = {
    "boolean": ("identity",),
    "int": ("identity", "bucket:4", "truncate:10"),
    "long": ("identity", "bucket:4", "truncate:1000"),
    "decimal": ("identity", "bucket:3", "truncate:10"),
    "string": ("identity", "bucket:3", "truncate:2"),
    "binary": ("bucket:3",),
    "date": ("identity", "year", "month", "day", "bucket:4"),
    "timestamp": ("year", "month", "day", "bucket:4"),
    "timestamptz": ("year", "month", "day", "bucket:4"),
}
# (declared, incr_col_type, how tick n is written)
_Cursor = tuple[str, str, Callable[[int], str]]


def _moment(tick: int) -> str:
    return f"'2024-{1 + tick // 28 % 12:02}-{1 + tick % 28:02} 02:30:00.{tick % 7:06}'"


_CURSORS: dict[str, tuple[_Cursor, ...]] = {
    "postgresql": (
        ("timestamptz", "timestamp", _moment),
        ("bigint", "int", str),
        ("date", "date", lambda tick: quoted(str(_FIRST_DAY + timedelta(days=tick)))),
        ("text", "text", lambda tick: quoted(f"Wé {tick:04}")),
    ),
    "sqlite": (
        ("DATETIME", "timestamp", _moment),
        ("INTEGER", "int", str),
        ("DATE", "date", lambda tick: quoted(str(_FIRST_DAY + timedelta(days=tick)))),
        ("TEXT", "text", lambda tick: quoted(f"Wé {tick:04}")),
    ),
}


@dataclass(frozen=True)
class Story:
    """One table: its place in a configuration, what is done to it before each run, and the engine of each run where engines
    are mixed."""

    name: str
    spec: Mapping[str, Any]
    chapters: tuple[str, ...]
    engines: tuple[str, ...]
    reloads: bool

    def __str__(self) -> str:
        return f"{self.name} {dict(self.spec)}\nengines: {self.engines}, reloads: {self.reloads}\n" + "\n-- run\n".join(
            self.chapters
        )


@dataclass
class _Teller:
    """Makes up one story."""

    name: str
    dialect: str
    rng: Random
    merged: bool
    keys: tuple[str, ...] = ()
    columns: dict[str, Column] = field(default_factory=dict)
    pools: dict[str, list[str]] = field(default_factory=dict)
    partition: tuple[Mapping[str, str], ...] = ()
    cursor: _Cursor | None = None
    rows: list[int] = field(default_factory=list)
    null_keys: bool = False
    tick: int = 0
    born: int = 0

    def begin(self, exact_keys: bool) -> None:
        known = {name: _COLUMNS[self.dialect][name] for name in _USED[self.dialect].split()}
        listed = self.rng.sample(sorted(known), self.rng.randint(4, 8))
        fit = [name for name in listed if not exact_keys or known[name].lands not in _INEXACT]
        self.keys = tuple(fit[: self.rng.choice((1, 1, 2))])
        for name in listed:
            self._add(name, known[name])
        if self.merged:
            self.cursor = self.rng.choice(_CURSORS[self.dialect])
        for name in self.rng.sample(listed, self.rng.choice((0, 0, 1, 2))):
            transforms = _TRANSFORMS.get(known[name].lands.partition("(")[0])
            if transforms:
                self.partition += ({"column": name, "transform": self.rng.choice(transforms)},)

    def create(self) -> str:
        declared = [f"{name} {column.declared}" for name, column in self.columns.items()]
        if self.cursor:
            declared.append(f"changed {self.cursor[0]}")
        return f"CREATE TABLE {self.name} ({', '.join(declared)}, rid int);\n"

    def bring(self, count: int) -> str:
        """Insert rows; some of them with a key that another row has."""
        made: list[str] = []
        if not count:
            return ""
        for _ in range(count):
            self.born += 1
            values = [self._value(name) for name in self.columns]
            made.append(f"({', '.join([*values, *self._moved(), str(self.born)])})")
            self.rows.append(self.born)
        names = ", ".join([*self.columns, *(["changed"] if self.cursor else []), "rid"])
        return f"INSERT INTO {self.name} ({names}) VALUES\n  " + ",\n  ".join(made) + ";\n"

    def change(self, count: int, *, deletes: bool) -> str:
        said = []
        for number in self.rng.sample(self.rows, min(count, len(self.rows))):
            if deletes and self.rng.random() < 0.3:
                self.rows.remove(number)
                said.append(f"DELETE FROM {self.name} WHERE rid = {number};")
                continue
            names = [name for name in self.columns if name not in self.keys and self.rng.random() < 0.5]
            assigned = [f"{name} = {self._value(name)}" for name in names]
            assigned += [f"changed = {moment}" for moment in self._moved()]
            if assigned:
                said.append(f"UPDATE {self.name} SET {', '.join(assigned)} WHERE rid = {number};")
        return "\n".join(said) + "\n"

    def reshape(self) -> str:
        """Add, rename, widen or drop a column that is neither key nor partition."""
        bound = {*self.keys, *(item["column"] for item in self.partition)}
        free = [name for name in self.columns if name not in bound]
        said = []
        if self.rng.random() < 0.4:
            kind = self.rng.choice(_USED[self.dialect].split())
            self._add(f"added_{self.born}", _COLUMNS[self.dialect][kind])
            said.append(f"ADD COLUMN added_{self.born} {_COLUMNS[self.dialect][kind].declared}")
        if free and self.rng.random() < 0.4:
            name = free.pop(self.rng.randrange(len(free)))
            self.columns = {f"{n}_new" if n == name else n: column for n, column in self.columns.items()}
            self.pools[f"{name}_new"] = self.pools[name]
            said.append(f"RENAME COLUMN {name} TO {name}_new")
        if free and self.rng.random() < 0.3:
            name = free.pop(self.rng.randrange(len(free)))
            del self.columns[name]
            said.append(f"DROP COLUMN {name}")
        for name in free if self.dialect == "postgresql" else ():
            if self.columns[name].name in _WIDER and self.rng.random() < 0.7:
                wider = _COLUMNS["postgresql"][_WIDER[self.columns[name].name]]
                self._add(name, wider)
                said.append(f"ALTER COLUMN {name} TYPE {wider.declared}")
        return "".join(f"ALTER TABLE {self.name} {words};\n" for words in said)

    def _add(self, name: str, column: Column) -> None:
        edges = [edge for edge in column.edges if len(edge) < 200 and "repeat" not in edge and "zeroblob" not in edge]
        pool = self.rng.sample(edges, min(4, len(edges))) + [column.generate(self.rng) for _ in range(4)]
        self.columns[name], self.pools[name] = column, pool

    def _value(self, name: str) -> str:
        if name in self.keys:
            if self.null_keys and self.rng.random() < 0.04:
                return "NULL"
            # Keys repeat where they may: in a table that is replaced whole a repeated key is refused.
            repeats = self.rng.random() < (0.3 if self.merged else 0.005)
            return self.rng.choice(self.pools[name]) if repeats else self.columns[name].generate(self.rng)
        return "NULL" if self.rng.random() < 0.1 else self.rng.choice(self.pools[name])

    def _moved(self) -> list[str]:
        """Return a later cursor; now and then that of the row before, or none."""
        if self.cursor is None:
            return []
        if self.rng.random() < 0.7:
            self.tick += 1
        return ["NULL" if self.rng.random() < 0.03 else self.cursor[2](self.tick)]


def tell_log(name: str, dialect: str, schema: str, seed: int) -> Story:
    """Return the story of a table without a key, to which rows are only ever added: now and then late, within the lag."""
    rng = Random(f"{seed}/{name}")  # noqa: S311 - no secret
    teller = _Teller(name, dialect, rng, merged=True)
    teller.begin(exact_keys=False)
    teller.keys = ()
    # A value whose truncated partition no decimal holds is refused by one engine when it is read, by the other when written:
    # the table has its new columns by then, or not yet.
    teller.partition = tuple(item for item in teller.partition if not item["transform"].startswith("truncate"))
    teller.cursor = rng.choice([cursor for cursor in _CURSORS[dialect] if cursor[1] != "text"])
    lag = rng.choice((0, 3))
    chapters = [teller.create() + teller.bring(rng.choice((0, 25, 40)))]
    for _ in range(1, RUNS):
        reshaped = teller.reshape() if rng.random() < 0.5 else ""
        teller.tick = max(0, teller.tick - rng.randint(0, lag))
        chapters.append(reshaped + teller.bring(rng.choice((1, 4, 9))))
    spec = {
        "schema": schema,
        "table": name,
        "connection": dialect,
        "mode": "append",
        "incremental_column": "changed",
        "incr_col_type": teller.cursor[1],
        "null_cursor": "ignore",
        # A tick is a day, or one.
        ("lag" if teller.cursor[1] == "int" else "lag_seconds"): lag * (1 if teller.cursor[1] == "int" else 86_400),
        "intermediate": {"partition": [dict(item) for item in teller.partition]},
        "schema_policy": {"dropped": rng.choice(("evolve", "ignore")), "renamed": rng.choice(("evolve", "ignore"))},
    }
    engines = rng.choice((("arrow",) * RUNS, ("spark", "arrow", "arrow"), ("arrow", "spark", "arrow")))
    return Story(f"{schema}.{name}", spec, tuple(chapters), engines, rng.random() < 0.2)


def tell(name: str, dialect: str, schema: str, seed: int) -> Story:
    """Return the story of one table."""
    rng = Random(f"{seed}/{name}")  # noqa: S311 - no secret
    merged = rng.random() < 0.75
    deletes = rng.choice(("ignore", "soft", "hard")) if merged else "ignore"
    teller = _Teller(name, dialect, rng, merged)
    teller.begin(exact_keys=deletes != "ignore")
    teller.null_keys = rng.random() < 0.3
    chapters = [teller.create() + teller.bring(rng.choice((0, 1, 25, 40)))]
    for number in range(1, RUNS):
        reshaped = teller.reshape() if rng.random() < 0.5 else ""
        moves = teller.change(rng.choice((0, 3, 12)), deletes=deletes != "ignore" or not merged)
        chapters.append(
            reshaped + moves + (teller.bring(rng.choice((1, 4, 9))) if rng.random() < 0.8 or number == 1 else "")
        )
    spec: dict[str, Any] = {
        "schema": schema,
        "table": name,
        "connection": dialect,
        "mode": "scd1" if merged else "full",
        "intermediate": {"partition": [dict(item) for item in teller.partition]},
        "schema_policy": {"dropped": rng.choice(("evolve", "ignore")), "renamed": rng.choice(("evolve", "ignore"))},
        "null_keys": "quarantine" if teller.null_keys else "refuse",
    }
    if merged or rng.random() < 0.5:
        spec["primary_keys"] = list(teller.keys)
    if teller.cursor:
        spec |= {"incremental_column": "changed", "incr_col_type": teller.cursor[1], "deletes": deletes}
    if deletes != "ignore":
        spec["max_delete_fraction"] = 1
    engines = rng.choice((("arrow",) * RUNS, ("arrow",) * RUNS, ("spark", "arrow", "arrow"), ("arrow", "spark", "arrow")))
    return Story(f"{schema}.{name}", spec, tuple(chapters), engines, merged and rng.random() < 0.2)
