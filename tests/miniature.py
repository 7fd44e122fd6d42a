"""Whole runs without Spark: everything is real but two ends.

Rows are read over the probes' own driver, by the very condition that Spark would be given, and published into a dictionary
that keeps the target's promises. Bounds, horizon, plan, batches, staging, audit, receipts, state, raw and events are the
program's. A run takes a tenth of the time, so that a test can afford many.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints.factory import EndpointFactory, Endpoints
from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.endpoints.jdbc.source import JdbcSource
from ingestion_runtime.endpoints.jdbc.sql import source
from ingestion_runtime.model.batch import Batch, Receipt, TableKey, WriteMode
from ingestion_runtime.model.cursor import Slice
from ingestion_runtime.model.errors import PublishRaceError
from ingestion_runtime.model.result import Failure, RunResult, TableResult
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, TargetHead, Written
from ingestion_runtime.tools.spark import TableSession
from tests.lake import Lake

Rows = dict[tuple[Any, ...], dict[str, Any]]


class DirectExtract(JdbcExtract):
    """The rows of one slice, read by the probes' driver."""

    __slots__ = ()

    def write_parquet(self, directory: str) -> None:
        dialect = self.database.dialect
        names = [dialect.quote(column.name) for column in self.columns]
        with self.database.connect() as connection:
            found = fetch(connection, f"SELECT {', '.join(names)} {source(dialect, self.table, self.condition)}")
        columns = list(zip(*found, strict=True)) or [()] * len(names)
        arrays = [pa.array(list(values), item.type) for values, item in zip(columns, self.schema, strict=True)]
        Path(directory).mkdir(parents=True)
        pq.write_table(pa.Table.from_arrays(arrays, schema=self.schema), Path(directory, "part-00000.parquet"))


class DirectSource:
    """A source whose extracts need no engine."""

    def __init__(self, real: JdbcSource) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def read_full(self, on_split: Any = None, on_read: Any = None) -> DirectExtract:
        return _direct(self._real.read_full(on_split, on_read))

    def read_slice(self, piece: Slice, on_split: Any = None, on_read: Any = None) -> DirectExtract:
        return _direct(self._real.read_slice(piece, on_split, on_read))


def _direct(extract: JdbcExtract) -> DirectExtract:
    return DirectExtract(**{item.name: getattr(extract, item.name) for item in fields(extract)})


@dataclass
class MemoryTarget:
    """A target table in a dictionary. It lives as long as its place does, over many runs."""

    spec: TableSpec
    name: TableKey
    rows: Rows = field(default_factory=dict)
    receipt: Receipt | None = None
    commits: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    there: str | None = None
    attempts: dict[str, Rows] = field(default_factory=dict)
    fence: int = 0

    @property
    def key(self) -> TableKey:
        return self.name

    def location(self) -> str | None:
        return self.there

    def head(self) -> TargetHead | None:
        if self.there is None:
            return None
        fence = max(self.fence, self.receipt.fence if self.receipt else 0)
        return TargetHead(self.there, self.receipt, fence, self.there if self.receipt else None, None, ())

    def columns(self) -> pa.Schema | None:
        return None

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:  # noqa: ARG002 - the protocol's
        return {}

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:  # noqa: ARG002 - it has no branches
        self.fence, self.there = token, f"memory-{next(self.commits)}"
        head = self.head()
        assert head is not None
        return head

    def is_littered(self, batch_id: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def sweep(self, batch_id: str) -> None:
        pass

    def prepare(self, payload: Payload) -> TargetHead:  # noqa: ARG002 - the protocol's
        self.there = self.there or f"memory-{next(self.commits)}"
        head = self.head()
        assert head is not None
        return head

    def write(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        read = [row for file in payload.files for row in pq.read_table(file).to_pylist()]
        # Files come from old slices to new ones, so that a key's later row replaces the earlier one.
        staged = {tuple(row[name] for name in self.spec.primary_keys): row for row in read}
        before = {} if batch.write is WriteMode.REPLACE else self.rows
        after = {**before, **staged}
        self.attempts[attempt] = after
        return Written(
            branch=attempt,
            base=head.snapshot,
            snapshot=attempt,
            rows=len(read),
            keys=len(staged),
            found=len(staged),
            null_keys=0,
            total=len(after),
            added=sum(before.get(key) != row for key, row in staged.items()),
            changed=after != self.rows or self.receipt is None,
        )

    def discard(self, branch: str) -> None:
        self.attempts.pop(branch, None)

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        if (self.receipt.batch_id if self.receipt else None) != expected and receipt.write is WriteMode.MERGE:
            raise PublishRaceError("someone else published.", remedy="")
        self.rows = self.attempts.pop(written.branch, self.rows)
        self.receipt = receipt
        self.there = f"memory-{next(self.commits)}"
        return self.there


class SmallLakes:
    """Lakes over one source database, and the tables that their runs have published.

    ``connection`` is the source as a configuration names it, without the password.
    """

    def __init__(self, root: Path, connection: Mapping[str, Any], password: str) -> None:
        self._root = root
        self._connection = connection
        self._password = password
        self._count = itertools.count(1)
        self._targets: dict[tuple[str, str], MemoryTarget] = {}

    def lake(self, *tables: dict[str, Any], **connection: Any) -> Lake:
        """Return a configuration of its own over these tables; ``connection`` overrides what is said of the source."""
        root = self._root / f"lake{next(self._count)}"
        root.mkdir()
        (root / "password").write_text(self._password)
        login = {"password": "${file:password}", "horizon_wait_seconds": 0}
        return Lake(root, {**self._connection, **login, **connection}, tables)

    def run(self, lake: Lake, **more: Any) -> RunResult:
        return lake.run(None, **more)

    def target(self, lake: Lake, name: str = "") -> MemoryTarget:
        """Return a published table; without a name the only one."""
        mine = {table: target for (place, table), target in self._targets.items() if place == _place(lake)}
        return mine[name] if name else next(iter(mine.values()))

    def rows(self, lake: Lake, name: str = "") -> list[dict[str, Any]]:
        """What has been published, without the ingest columns."""
        rows = self.target(lake, name).rows.values()
        return [{key: value for key, value in row.items() if not key.startswith("_ingest_")} for row in rows]

    def ids(self, lake: Lake) -> list[int]:
        return sorted(row["id"] for row in self.rows(lake))

    def watermark(self, lake: Lake, name: str = "") -> str:
        receipt = self.target(lake, name).receipt
        assert receipt is not None
        assert receipt.watermark is not None
        return receipt.watermark.literal

    @contextmanager
    def running(self) -> Iterator["SmallLakes"]:
        """Let every run of this process be a small one while the block runs."""
        built = EndpointFactory.build_endpoints

        def build(factory: EndpointFactory, table: TableSpec, session: TableSession, *tell: Any) -> Endpoints:
            ends = built(factory, table, session, *tell)
            place = factory._configuration.runtime.raw_root
            target = self._targets.setdefault((place, table.name), MemoryTarget(table, ends.target.key))
            target.spec = table
            near: Any = DirectSource(ends.source)  # type: ignore[arg-type]  # what the factory builds
            return replace(ends, source=near, target=target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EndpointFactory, "build_endpoints", build)
            yield self


def _place(lake: Lake) -> str:
    place: str = lake.document["runtime"]["raw_root"]
    return place


def scd1(schema: str, name: str = "t", kind: str = "timestamp", **more: Any) -> dict[str, Any]:
    """A table with the key ``id`` and the cursor ``c``."""
    keys = {"primary_keys": ["id"], "incremental_column": "c", "incr_col_type": kind}
    return {"schema": schema, "table": name, "mode": "scd1", **keys, **more}


def only(result: RunResult) -> TableResult:
    """The result of a run over one table."""
    (found,) = result.tables
    return found


def failure_of(result: RunResult) -> Failure:
    """Why the only table failed, which it must have."""
    failure = only(result).failure
    assert failure is not None
    return failure


def told(lake: Lake, name: str) -> list[dict[str, Any]]:
    """The events of that name, of all runs."""
    return [event for event in lake.events() if event["event"] == name]


def wait_until(ask: Callable[[str], str], query: str, expected: str) -> None:
    """Ask a database's own client again and again."""
    for _ in range(200):
        if ask(query) == expected:
            return
    raise AssertionError(f"{query} never became {expected}")
