"""One key of one table, traced from the source into the target. Reads only: no lease is taken and nothing is written."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from ingestion_runtime.endpoints.factory import EndpointFactory
from ingestion_runtime.endpoints.jdbc.extract import JdbcExtract
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.ingestion.context import RunContext
from ingestion_runtime.metadata.cache import UnsavedSnapshots
from ingestion_runtime.metadata.runtime import build_metadata_access
from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.clock import utc_now
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError
from ingestion_runtime.model.options import RunOptions
from ingestion_runtime.model.spec import Configuration, SinkFormat, TableSpec
from ingestion_runtime.model.target import TargetHead
from ingestion_runtime.provenance.chain import Chain, read_chain
from ingestion_runtime.staging import Staging
from ingestion_runtime.state.buffered import LookedAtState
from ingestion_runtime.state.leases import LeaseKeeper
from ingestion_runtime.state.processes import current_holder, is_at_work
from ingestion_runtime.state.sqlite import sqlite_reader
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.looking import looking_tool
from ingestion_runtime.tracing.cause import Verdict
from ingestion_runtime.tracing.comparing import compare, missing_first
from ingestion_runtime.tracing.evidence import (
    Evidence,
    LakeFinding,
    SourceFinding,
    StateFinding,
    TargetFinding,
    WindowFinding,
)
from ingestion_runtime.tracing.lake import LakeLook
from ingestion_runtime.tracing.source import SourceLook, TooManyRowsError, landing_as
from ingestion_runtime.tracing.target import look_at_iceberg, look_at_parquet
from ingestion_runtime.tracing.verdict import judge
from ingestion_runtime.tracing.wanted import Spoken, Wanted, understand
from ingestion_runtime.tracing.window import look_at_window

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ingestion_runtime.state.sql import SqlStateStore

T = TypeVar("T")

_SQL_MB = 256
_BATCHES = 20


class MaskedColumnError(ConfigError):
    """A column whose values the lake does not hold as the source has them: nothing can be looked up by it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The row that was asked for, what was found of it, and the verdict."""

    table: TableSpec
    wanted: Wanted
    evidence: Evidence
    verdict: Verdict


def trace(configuration: Configuration, table: TableSpec, key: Spoken, version: Spoken, load_date: date) -> Trace:
    """Return what became of a key. A source that cannot be reached is part of the answer.

    Raises KeyTypeError, MaskedColumnError, TooManyRowsError and ConfigError for a question that cannot be asked.
    """
    with ExitStack() as stack:
        return _Tracer(configuration, table, load_date, stack).trace(key, version)


class _Tracer:
    def __init__(self, configuration: Configuration, table: TableSpec, load_date: date, stack: ExitStack) -> None:
        runtime = configuration.runtime
        tool = looking_tool(runtime)
        files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
        factory = EndpointFactory(configuration, tool, files, read_only=True)
        stack.callback(factory.close)
        self._store = sqlite_reader(runtime.state_database)
        stack.callback(self._store.close)
        options = RunOptions(run_id="why-missing", load_date=load_date)
        cache = UnsavedSnapshots(Path(configuration.metadata.cache_path), configuration.metadata.ttl_hours)
        self._run = RunContext(
            configuration=configuration,
            options=options,
            factory=factory,
            tool=tool,
            staging=Staging(runtime.staging, files),
            state=LookedAtState(self._store),
            keeper=LeaseKeeper(self._store, current_holder(options.run_id)),  # never asked to hold anything
            metadata=build_metadata_access(configuration.metadata, cache),
            emitter=EventEmitter(options.run_id),
            failpoints=Failpoints.from_environment({}),
            interrupted=threading.Event(),
            clock=utc_now,
            failed_early={},
        )
        self._stack = stack
        self._table = table
        self._key = factory.target_key(table)
        self._endpoints = factory.build_endpoints(table, tool.table_session())

    def trace(self, key: Spoken, version: Spoken) -> Trace:
        self._refuse_masked((*key, *version))
        state = self._look_at_state()
        head, problem = _tried(self._endpoints.target.head)
        target_columns, _ = _tried(self._endpoints.target.columns) if problem is None else (None, None)
        extract, unasked = _tried(self._extract)
        if extract is not None:
            extract = landing_as(extract, target_columns)
        receipt = head.receipt if head is not None else state.receipt
        chain, raw_problem = _tried(lambda: read_chain(self._endpoints.raw, receipt))
        wanted = understand(key, version, self._kinds(extract, target_columns, chain), self._table.name)
        sql = self._stack.enter_context(_session())
        lake = self._look_at_lake(sql, wanted, chain, raw_problem, state)
        target = self._look_at_target(sql, wanted, head, problem)
        source, look = _unanswered(unasked), None
        if extract is not None:
            look = SourceLook(extract, wanted)
            found, unasked = _tried(look.look)
            source = found or _unanswered(unasked)
        compared = bool(source.rows and target.rows)
        differing = compare(source, target, self._table) if compared else ()
        if differing and not self._table.primary_keys:
            source = missing_first(source, target)
        # What the next run would do is asked of the source, which may take a while: not for a row that is as it should be.
        asked = None if compared and not differing else look
        window, refusal = _tried(
            lambda: look_at_window(self._run, self._table, self._endpoints, receipt, chain, asked, source)
        )
        evidence = Evidence(
            source=source,
            window=window or WindowFinding(watermark=receipt.watermark if receipt else None, refusal=_told(refusal)),
            lake=lake,
            target=target,
            state=state,
            differing=differing,
            compared=compared,
        )
        return Trace(self._table, wanted, evidence, judge(self._table, wanted, evidence))

    def _extract(self) -> JdbcExtract:
        extract = self._endpoints.source.read_full()
        if not isinstance(extract, JdbcExtract):
            raise TypeError("only relational sources are looked into")
        return extract

    def _refuse_masked(self, spoken: Spoken) -> None:
        privacy = self._table.privacy
        for name, _ in spoken:
            mask = privacy.mask_of(name)
            if mask is None and not privacy.excludes(name):
                continue
            how = "is kept out of the lake" if mask is None else f"is masked ({mask.method.value})"
            raise MaskedColumnError(
                f"Column {name!r} of {self._table.name} {how}: no row can be looked up by it.",
                remedy="Ask by the primary key, or by columns that arrive as they are.",
                table=self._table.name,
                column=name,
            )

    def _kinds(
        self, extract: JdbcExtract | None, target: pa.Schema | None, chain: Chain | None
    ) -> Mapping[str, pa.DataType]:
        """Return the types of the table's columns: as they land now, else as the target or raw has them."""
        from ingestion_runtime.metadata.arrow_types import parse_arrow_type

        if extract is not None:
            return {column.name: column.lands_as for column in extract.columns if column.name not in extract.masks}
        if target is not None:
            return {field.name: field.type for field in target}
        last = chain.last if chain is not None else None
        kinds: dict[str, pa.DataType] = {}
        for field in last.raw.manifest.fields if last is not None else ():
            kind, _ = _tried(lambda text=field.type: parse_arrow_type(text))  # type: ignore[misc]
            if kind is not None:
                kinds[field.name] = kind
        return kinds or {name: pa.string() for name in self._table.primary_keys}

    def _look_at_state(self) -> StateFinding:
        found, problem = _tried(lambda: _read_state(self._store, self._key))
        if found is not None:
            _, problem = _tried(lambda: self._run.state.preload([self._key], self._run.options.load_date))
        return found or StateFinding(problem=_told(problem))

    def _look_at_lake(
        self,
        sql: "DuckDBPyConnection",
        wanted: Wanted,
        chain: Chain | None,
        problem: IngestionError | None,
        state: StateFinding,
    ) -> LakeFinding:
        if chain is None:
            return LakeFinding(unread=(_told(problem) or "raw",))
        look = LakeLook(sql, self._table, wanted)
        found, problem = _tried(lambda: look.look(chain, self._endpoints.raw, self._run.staging, state.opened))
        return found or LakeFinding(unread=(_told(problem) or "raw",))

    def _look_at_target(
        self, sql: "DuckDBPyConnection", wanted: Wanted, head: TargetHead | None, problem: IngestionError | None
    ) -> TargetFinding:
        if problem is not None:
            return TargetFinding(exists=True, problem=_told(problem))
        if head is None or head.snapshot is None:
            return TargetFinding(exists=head is not None and head.receipt is not None)
        found, problem = _tried(lambda: self._look_into(sql, wanted, head))
        return found or TargetFinding(True, head.receipt, head.damage, head.snapshot, problem=_told(problem))

    def _look_into(self, sql: "DuckDBPyConnection", wanted: Wanted, head: TargetHead) -> TargetFinding:
        runtime, table = self._run.configuration.runtime, self._table
        if table.sink is SinkFormat.PARQUET:
            return look_at_parquet(sql, Path(runtime.final_root, table.schema, table.table), head, wanted)
        from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog

        assert runtime.catalog is not None  # noqa: S101 - a table for Iceberg has a catalog, validation has seen to it
        catalog = IcebergCatalog(runtime.catalog, self._run.tool.session, read_only=True)
        self._stack.callback(catalog.close)
        loaded = catalog.load(catalog.identifier(table))
        if loaded is None:
            return TargetFinding(exists=False)
        return look_at_iceberg(sql, loaded, head, wanted)


def _read_state(store: "SqlStateStore", key: TableKey) -> StateFinding:
    store.open()
    head, lease = store.load_heads([key]).get(key), store.load_leases([key]).get(key)
    return StateFinding(
        receipt=head.receipt if head else None,
        opened=store.load_open_batches([key]).get(key),
        last=store.last_results([key]).get(key),
        ends=store.batch_ends(key, _BATCHES),
        at_work=lease.holder.run_id if lease is not None and is_at_work(lease, datetime.now(UTC)) else None,
    )


@contextmanager
def _session() -> Iterator["DuckDBPyConnection"]:
    """Lend SQL in this process that leaves nothing in the lake: what does not fit goes to the system's temporary folder."""
    with tempfile.TemporaryDirectory(prefix="why-missing-") as folder, LocalSql(_SQL_MB, folder).session() as sql:
        sql.execute("SET TimeZone = 'UTC'")
        yield sql


def _tried(look: Callable[[], T]) -> tuple[T | None, IngestionError | None]:
    """Return what a look found, or why it found nothing: the other places still tell something."""
    try:
        return look(), None
    except TooManyRowsError:
        raise
    except IngestionError as error:
        return None, error


def _told(error: IngestionError | None) -> str | None:
    return None if error is None else error.message.rstrip(".")


def _unanswered(error: IngestionError | None) -> SourceFinding:
    """Return what is known of a source that was not asked; ``error`` None: nothing was wrong."""
    remedy = "" if error is None else error.remedy
    return SourceFinding(problem=_told(error), away=not isinstance(error, TerminalError), remedy=remedy)
