"""The workloads: which source is made, which state everybody starts from, who takes part, what must come out."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import data, exact, sources, systems
from tests.bench.contest import LIMIT_SECONDS, Arena, Contest, Entry, Target
from tests.bench.figures import FLOORS, OURS
from tests.bench.sources import Address, Postgres, Table
from tests.bench.systems import Command, Work

CHANGED_PART = 10  # one tenth of the rows of the main size
DLT_MERGE_SECONDS = 60.0
SMALL, IDLE = 50, 10


@dataclass(frozen=True, slots=True)
class Field:
    """Where everything happens, how large the main size is, and how often everybody runs."""

    postgres: Postgres
    arena: Arena
    root: Path
    rows: int
    repeat: int

    @property
    def changed(self) -> int:
        """How many rows the merge changes, whatever the size of the table."""
        return self.rows // CHANGED_PART

    def work(self, name: str, address: Address, tables: tuple[Table, ...]) -> Work:
        """Return work into a directory of that name."""
        return Work(address, tables, self.root / name)

    def expected(self, database: str, *tables: str, columns: dict[str, str]) -> Target:
        """Return what the tables of a database hold now."""
        found = {}
        for table in tables:
            with self.exported(database, table) as file:
                found[table] = exact.source_content(file, columns)
        return Target(found, columns)

    @contextlib.contextmanager
    def exported(self, database: str, table: str) -> Iterator[Path]:
        """A table as psql prints it, for as long as it is needed."""
        file = self.root / f"{database}.{table}.csv"
        self.postgres.export(database, table, file)
        try:
            yield file
        finally:
            file.unlink()


def load(field: Field, rows: int, names: tuple[str, ...], repeat: int) -> None:
    """A full load of one large table."""
    if not field.arena.missing("load", rows, repeat, names):
        return
    database = field.postgres.with_lineitem(rows)
    target = field.expected(database, "lineitem", columns=data.COLUMNS)
    field.postgres.warm(database, ["lineitem"])
    entries = _load_entries(field, field.postgres.address(database), rows, "load")
    at = field.postgres.database(database)
    copy = Command(tuple(sources.psql(at, "COPY lineitem TO STDOUT (FORMAT binary)")), sources.environment(at))
    to_nowhere = Command(("sh", "-c", 'exec "$0" "$@" > /dev/null', *copy.line), copy.environment)
    work = field.work("load-floor", field.postgres.address(database), (sources.lineitem_table(rows),))
    floors = (
        Entry("floor-copy", to_nowhere, work.place, result="nothing"),
        Entry("floor-read", systems.floor(work, write=False), work.place, result="nothing"),
        Entry("floor-write", systems.floor(work, write=True), work.place, result="parquet"),
    )
    wanted = tuple(entry for entry in (*floors, *entries) if entry.system in names)
    field.arena.run(Contest("load", rows, target, wanted), repeat)


LOAD = (*FLOORS, *OURS, "plain-4", "plain-1", "dlt")


def _load_entries(field: Field, address: Address, rows: int, name: str) -> tuple[Entry, ...]:
    tables = (sources.lineitem_table(rows),)
    mine, plain, other = (field.work(f"{name}-{who}", address, tables) for who in ("ours", "plain", "dlt"))
    return (
        *(Entry(engine, systems.ours(mine, engine, "full"), mine.place) for engine in OURS),
        Entry("plain-4", systems.plain_spark(plain), plain.place),
        Entry("plain-1", systems.plain_spark(plain, partitions=1, fetch_size=None), plain.place, most=1),
        Entry("dlt", systems.dlt(other, partitions=1 if address.dialect == "sqlite" else 2), other.place),
    )


MERGE = (*OURS, "plain-cow", "plain-mor", "dlt")


def merge(field: Field, rows: int, names: tuple[str, ...], repeat: int) -> None:
    """Changed rows at random keys, and new ones, into a large table that is there already."""
    if not field.arena.missing("merge", rows, repeat, names):
        return
    database = f"merge_{rows}"
    field.postgres.copy(field.postgres.with_lineitem(rows), database)
    address, tables = field.postgres.address(database), (sources.lineitem_table(rows),)
    mine, plain, other = (field.work(f"merge-{who}", address, tables) for who in ("ours", "plain", "dlt"))
    append = systems.dlt(other, write="append", partitions=2)
    entries = [
        *_kept(field, names, OURS, mine, lambda s: systems.ours(mine, s, "scd1"), lambda s: systems.ours(mine, s, "scd1")),
        *_kept(field, names, tuple(WAYS), plain, lambda _: systems.plain_spark(plain), lambda s: _plain_merge(plain, s)),
        *_kept(field, names, ("dlt",), other, lambda _: append, lambda _: systems.dlt(other, write="upsert")),
    ]
    field.postgres.change(database, rows, field.changed)
    target = field.expected(database, "lineitem", columns=data.COLUMNS)
    field.postgres.warm(database, ["lineitem"])
    field.arena.run(Contest("merge", rows, target, tuple(entries)), repeat)
    field.postgres.drop(database)


WAYS = {"plain-cow": "copy-on-write", "plain-mor": "merge-on-read"}


def _plain_merge(work: Work, system: str) -> Command:
    return systems.plain_spark(work, what="delta", write=WAYS[system])


def _kept(
    field: Field,
    names: tuple[str, ...],
    candidates: tuple[str, ...],
    work: Work,
    first: Callable[[str], Command],
    then: Callable[[str], Command],
) -> Iterator[Entry]:
    """Load once, keep that state, and let every system that shares it start from it."""
    wanted = field.arena.wanted(name for name in candidates if name in names)
    if not wanted:
        return
    base = field.arena.prepare(first(wanted[0]), work.place)
    for name in wanted:
        slow = name == "dlt" and work.place.name.startswith("merge")  # more than 300 s for 300,000 rows: one run, cut off
        most, limit = (1, DLT_MERGE_SECONDS) if slow else (100, LIMIT_SECONDS)
        fault = "" if base else "its first load failed"
        yield Entry(name, then(name), work.place, base, most=most, limit=limit, fault=fault)


TABLES = (*OURS, "plain-4", "dlt")


def many_tables(field: Field, count: int, names: tuple[str, ...], repeat: int) -> None:
    """A full load of many small tables."""
    if not field.arena.missing("tables", count, repeat, names):
        return
    database = field.postgres.with_small_tables(count)
    tables = sources.small_tables(count)
    target = field.expected(database, *(table.name for table in tables), columns=data.SMALL)
    field.postgres.warm(database, [table.name for table in tables])
    address = field.postgres.address(database)
    mine, plain, other = (field.work(f"tables-{who}", address, tables) for who in ("ours", "plain", "dlt"))
    entries = (
        *(Entry(engine, systems.ours(mine, engine, "full"), mine.place) for engine in OURS),
        Entry("plain-4", systems.plain_spark(plain, partitions=1), plain.place),
        Entry("dlt", systems.dlt(other), other.place),
    )
    field.arena.run(Contest("tables", count, target, tuple(entry for entry in entries if entry.system in names)), repeat)


def idle(field: Field) -> None:
    """An incremental rerun of ten tables in which nothing changed."""
    if not field.arena.missing("idle", IDLE, field.repeat, TABLES):
        return
    database = field.postgres.with_small_tables(IDLE)
    tables = sources.small_tables(IDLE)
    address = field.postgres.address(database)
    mine, plain, other = (field.work(f"idle-{who}", address, tables) for who in ("ours", "plain", "dlt"))
    first, again = systems.plain_spark(plain, partitions=1), systems.plain_spark(plain, what="delta", partitions=1)
    append = systems.dlt(other, write="append")
    entries = [
        *_kept(field, TABLES, OURS, mine, lambda s: systems.ours(mine, s, "scd1"), lambda s: systems.ours(mine, s, "scd1")),
        *_kept(field, TABLES, ("plain-4",), plain, lambda _: first, lambda _: again),
        *_kept(field, TABLES, ("dlt",), other, lambda _: append, lambda _: append),
    ]
    target = field.expected(database, *(table.name for table in tables), columns=data.SMALL)
    field.arena.run(Contest("idle", IDLE, target, tuple(entries)), field.repeat)


ELSEWHERE = (*OURS, "plain-4", "dlt")


def elsewhere(field: Field, dialect: str) -> None:
    """A full load from MariaDB or SQLite, of a third of the rows; the rows are those of PostgreSQL, as psql prints them."""
    rows = field.rows // 3
    if not field.arena.missing(dialect, rows, field.repeat, ELSEWHERE):
        return
    with field.exported(field.postgres.with_lineitem(rows), "lineitem") as file:
        columns = data.SQLITE_COLUMNS if dialect == "sqlite" else data.COLUMNS
        target = Target({"lineitem": exact.source_content(file, columns)}, columns)
        opened = sources.mariadb(file) if dialect == "mariadb" else _sqlite(file, field.root / "source.db")
        with opened as address:
            # What starts a JVM runs once: no promise rests on it.
            slow = ("spark", "plain-4")
            entries = [entry for entry in _load_entries(field, address, rows, dialect) if entry.system in ELSEWHERE]
            entries = [replace(entry, most=1) if entry.system in slow else entry for entry in entries]
            field.arena.run(Contest(dialect, rows, target, tuple(entries)), field.repeat)


@contextlib.contextmanager
def _sqlite(rows: Path, file: Path) -> Iterator[Address]:
    try:
        yield sources.sqlite(rows, file)
    finally:
        file.unlink(missing_ok=True)
