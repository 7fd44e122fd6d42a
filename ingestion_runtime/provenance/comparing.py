"""The rows that a table must hold against those that it holds, in DuckDB: by hashes, and in buckets of keys.

What must be there stands in a table of the replay (``replay.EXPECTED``). Where count and sum over a bucket agree, its rows
are not looked at again: a table that is as it should be is read once, and nothing grows with its rows. The sum is of 64 bits
of a hash of each row's md5: what differs by accident is found. Of the other buckets rows are put into a narrow table and
compared a portion at a time, so that one in which nothing is as it should be does not need more memory either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion_runtime.endpoints.published import FILE_COLUMN, PLACE_COLUMN, PublishedRows, SpoiltFile
from ingestion_runtime.endpoints.spelling import key_hash, row_hash, spelled
from ingestion_runtime.model.columns import DELETED_AT, RUN_COLUMN, SLICE_COLUMN, is_ingest_column
from ingestion_runtime.provenance.replay import EXPECTED
from ingestion_runtime.tools.local_sql import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BUCKETS = 65_536
_FETCHED = 10_000
# Rows of both sides together that are compared at once: with 128 MiB half a million fit.
_PORTION = 250_000
# What a table says of the origin of its rows may be anything, and is kept in memory.
_MOST_LABELS = 100_000
_EXPECTED = f"SELECT key_hash, row_hash, marked FROM {EXPECTED}"


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a comparison: how many rows must be there, how many are, and whether they differ."""

    expected: int
    found: int
    differ: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies in raw: the number of its file among the replay's, and its place in it, from 0. ``deleted_by`` is the
    number of the file of tombstones by which it is marked as deleted."""

    file: int
    row: int
    deleted_by: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A row as it stands in the table: its file and place, and the slice that it says it came from."""

    path: str
    place: int
    slice: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that must be there (``wanted``), or one that stands there (``standing``); both, where a key has another row."""

    wanted: Place | None
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class StandingValues:
    """The compared columns of a row of the table, spelled, and the run that it says it came from."""

    values: dict[str, str | None]
    run: str | None


class Comparison:
    """The comparison of one table, in one session of DuckDB, after ``Replay.expect``."""

    def __init__(self, sql: "DuckDBPyConnection", published: PublishedRows, columns: pa.Schema, keys: Sequence[str]) -> None:
        """``columns`` are those by whose values rows are compared, in the order and types of the replay; ``keys`` tell rows
        apart, none: by all their values, as often as they are there."""
        self._sql = sql
        self._published = published
        self._columns = columns
        self.keys = tuple(keys)
        self._present = frozenset(published.columns.names)
        self._paths: tuple[str, ...] = ()
        self._portions = 0

    def compare(self) -> tuple[Compared, tuple[SpoiltFile, ...]]:
        """Compare all rows; differences can be asked for afterwards. Returns as well the files of the table that cannot be
        read: what they held counts as missing."""
        import duckdb

        self._paths = self._published.paths
        try:
            return self._compare(), ()
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise
        except (duckdb.Error, FileNotFoundError) as error:
            spoilt = [path for path in self._published.paths if not self._is_readable(path)]
            if not spoilt:
                raise
            reason = f"it cannot be read ({str(error).splitlines()[0]})"
            self._paths = tuple(path for path in self._published.paths if path not in spoilt)
            return self._compare(), tuple(SpoiltFile(path, reason) for path in spoilt)

    def _compare(self) -> Compared:
        for name in ("ingest_sums", "ingest_found_sums"):
            self._sql.execute(f"CREATE OR REPLACE TEMP TABLE {name} (bucket UBIGINT, n BIGINT, total HUGEINT, rest UBIGINT)")
        self._sql.execute(f"INSERT INTO ingest_sums {_sums(_EXPECTED, '0')}")
        for paths in self._published.portions(self._paths):
            self._sql.execute(f"INSERT INTO ingest_found_sums {_sums(self._found(paths), 'max(rest)')}")
        self._sql.execute(
            "CREATE OR REPLACE TEMP TABLE ingest_unequal AS SELECT bucket, sum(rows) AS rows FROM ("
            "SELECT bucket, n, total, n AS rows FROM ingest_sums"
            " UNION ALL SELECT bucket, -n, -total, n FROM ingest_found_sums)"
            " GROUP BY bucket HAVING sum(n) <> 0 OR sum(total) <> 0"
        )
        ((expected, found, unequal),) = self._sql.execute(
            "SELECT (SELECT sum(n) FROM ingest_sums), (SELECT sum(n) FROM ingest_found_sums),"
            " (SELECT sum(rows) FROM ingest_unequal)"
        ).fetchall()
        self._portions = -(-int(unequal or 0) // _PORTION)
        if self._portions:
            self._keep_found()
        return Compared(int(expected or 0), int(found or 0), self._portions > 0)

    def _keep_found(self) -> None:
        """Put the rows of the buckets that differ where they can be asked for: hashed and read once."""
        self._sql.execute(
            "CREATE OR REPLACE TEMP TABLE ingest_found"
            " (key_hash UUID, row_hash UUID, marked BOOLEAN, path UBIGINT, place BIGINT, slice UBIGINT)"
        )
        for paths in self._published.portions(self._paths):
            self._sql.execute(
                "INSERT INTO ingest_found SELECT key_hash, row_hash, marked, hash(path), place, hash(slice)"
                f" FROM ({self._found(paths)}) WHERE {_bucket()} IN (SELECT bucket FROM ingest_unequal)"
            )

    def differences(self) -> Iterator[Difference]:
        """Yield every difference. Read them out before the session is asked anything else."""
        paths, labels = self._named_paths(), self._labels()
        for portion in range(self._portions):
            self._find_differences(portion)
            found = self._sql.execute(
                "SELECT w.file, w.row, w.deleted_by, s.path, s.place, s.slice FROM ingest_wanted w"
                " FULL JOIN ingest_standing s ON w.name = s.name AND w.nth = s.nth"
                " ORDER BY w.file, w.row, s.slice, s.path, s.place"
            )
            while rows := found.fetchmany(_FETCHED):
                for file, row, deleted_by, path, place, piece in rows:
                    wanted = None if file is None else Place(file, row, deleted_by)
                    standing = None if path is None else Standing(paths[path], place, labels.get(piece))
                    yield Difference(wanted, standing)

    def tally(self) -> tuple[int, int, int]:
        """Return how many rows differ: that have other values, that are not in the table, and that must not be there."""
        counts = [0, 0, 0]
        for portion in range(self._portions):
            self._find_differences(portion)
            (found,) = self._sql.execute(
                "SELECT count(*) FILTER (WHERE w.name IS NOT NULL AND s.name IS NOT NULL),"
                " count(*) FILTER (WHERE s.name IS NULL), count(*) FILTER (WHERE w.name IS NULL)"
                " FROM ingest_wanted w FULL JOIN ingest_standing s ON w.name = s.name AND w.nth = s.nth"
            ).fetchall()
            counts = [before + more for before, more in zip(counts, found, strict=True)]
        return counts[0], counts[1], counts[2]

    def _find_differences(self, portion: int) -> None:
        """Look at each row of a portion of the buckets that differ, and find where those lie that have no equal on the other
        side; pairs of them bear the same ``name`` and ``nth``."""
        mine = f"{_bucket()} % {self._portions} = {portion} AND {_bucket()} IN (SELECT bucket FROM ingest_unequal)"
        self._sql.execute(
            "CREATE OR REPLACE TEMP TABLE ingest_differences AS SELECT key_hash, row_hash, marked, sum(n) AS surplus FROM ("
            f"SELECT *, 1 AS n FROM ({_EXPECTED}) WHERE {mine}"
            f" UNION ALL SELECT key_hash, row_hash, marked, -1 FROM ingest_found WHERE {mine})"
            " GROUP BY ALL HAVING sum(n) <> 0"
        )
        self._locate("ingest_wanted", f"{EXPECTED} AS ingest_side", "file, row, deleted_by", "file, row", 1)
        self._locate("ingest_standing", "ingest_found AS ingest_side", "path, place, slice", "slice, path, place", -1)

    def _locate(self, into: str, side: str, columns: str, order: str, sign: int) -> None:
        listed = ", ".join(f"ingest_side.{column}" for column in columns.split(", "))
        last = ", ".join(f"ingest_side.{column} DESC" for column in order.split(", "))
        self._sql.execute(
            f"CREATE OR REPLACE TEMP TABLE {into} AS SELECT name, {columns},"
            f" row_number() OVER (PARTITION BY name ORDER BY {order}) AS nth FROM ("
            # Without a key a row is told by all its values, and no other one can stand in its place.
            f"SELECT coalesce(ingest_side.key_hash, ingest_side.row_hash) AS name, {listed}, d.surplus,"
            f" row_number() OVER (PARTITION BY ingest_side.row_hash, ingest_side.key_hash, d.marked ORDER BY {last}) AS copy"
            f" FROM {side} JOIN ingest_differences d ON ingest_side.row_hash = d.row_hash"
            " AND ingest_side.key_hash IS NOT DISTINCT FROM d.key_hash AND ingest_side.marked = d.marked"
            f" WHERE d.surplus * {sign} > 0) WHERE copy <= surplus * {sign}"
        )

    def _found(self, paths: Sequence[str]) -> str:
        """Return the query for the rows that stand in files of the table."""
        typed = [(quote(field.name), field.type) for field in self._columns]
        named = dict(zip(self._columns.names, typed, strict=True))
        keys = key_hash([named[key] for key in self.keys]) if self.keys else "NULL"
        marked = f"{quote(DELETED_AT)} IS NOT NULL" if DELETED_AT in self._present else "false"
        # Housekeeping is not compared, but read: a file is whole only if all of it can be. Reading it costs next to nothing.
        rest = [name for name in sorted(self._present) if is_ingest_column(name)]
        read = f"hash({', '.join(map(quote, rest))})" if rest else "0"
        source = self._published.relation([*self._columns.names, *rest], paths)
        return (
            f"SELECT CAST({keys} AS UUID) AS key_hash, CAST({row_hash(typed)} AS UUID) AS row_hash, {marked} AS marked,"
            f" {FILE_COLUMN} AS path, {PLACE_COLUMN} AS place, {self._told(SLICE_COLUMN)} AS slice,"
            f" CAST({read} AS UBIGINT) AS rest FROM {source}"
        )

    def _housekeeping(self, *names: str) -> list[str]:
        return [name for name in names if name in self._present]

    def _told(self, name: str) -> str:
        return quote(name) if name in self._present else "CAST(NULL AS VARCHAR)"

    def _named_paths(self) -> dict[int, str]:
        listed = self._sql.execute("SELECT hash(path), path FROM (SELECT unnest($1) AS path)", [list(self._paths)])
        return dict(listed.fetchall())

    def _labels(self) -> dict[int, str]:
        """Return what rows may say of the slice that they came from, by its hash."""
        if not self._portions or SLICE_COLUMN not in self._present:
            return {}
        told: dict[int, str] = {}
        for paths in self._published.portions(self._paths):
            source = self._published.relation([SLICE_COLUMN], paths)
            told |= self._sql.execute(
                f"SELECT hash(label), label FROM (SELECT DISTINCT {quote(SLICE_COLUMN)} AS label FROM {source})"
                f" WHERE label IS NOT NULL LIMIT {_MOST_LABELS - len(told)}"
            ).fetchall()
        return told

    def _is_readable(self, path: str) -> bool:
        """Whether every row of a file of the table can be read."""
        import duckdb

        try:
            for paths in self._published.portions([path]):
                self._sql.execute(f"SELECT max(row_hash), max(rest) FROM ({self._found(paths)})").fetchall()
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise
        except (duckdb.Error, FileNotFoundError):
            return False
        return True

    def values(self, standing: Sequence[Standing]) -> dict[tuple[str, int], StandingValues]:
        """Return rows of the table by file and place. For a few of them."""
        if not standing:
            return {}
        names = self._columns.names
        places = ", ".join(sorted({str(row.place) for row in standing}))
        listed = ", ".join(f"CAST({spelled(quote(field.name), field.type)} AS VARCHAR)" for field in self._columns)
        found: dict[tuple[str, int], StandingValues] = {}
        for paths in self._published.portions(sorted({row.path for row in standing})):
            source = self._published.relation([*names, *self._housekeeping(RUN_COLUMN)], paths)
            rows = self._sql.execute(
                f"SELECT {FILE_COLUMN}, {PLACE_COLUMN}, {self._told(RUN_COLUMN)}, {listed} FROM {source}"
                f" WHERE {PLACE_COLUMN} IN ({places})"
            ).fetchall()
            found |= {
                (path, place): StandingValues(dict(zip(names, values, strict=True)), run)
                for path, place, run, *values in rows
            }
        return found


def _sums(rows: str, rest: str) -> str:
    total = "sum(CAST(hash(row_hash, marked) AS HUGEINT))"
    return f"SELECT {_bucket()}, count(*), {total}, {rest} FROM ({rows}) GROUP BY 1"


def _bucket() -> str:
    return f"hash(coalesce(key_hash, row_hash)) % {_BUCKETS}"
