"""Proof without the source: each table traced from its receipt to its batches in raw, their files, and the rows that readers
see. Nothing is changed, and no lease is taken: a run may publish meanwhile, and what it moved is looked at again.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ingestion_runtime.endpoints.factory import EndpointFactory, Endpoints
from ingestion_runtime.model.digest import reading
from ingestion_runtime.model.errors import IngestionError, InterruptedRunError, LostFileError, TransientError
from ingestion_runtime.model.privacy import Privacy
from ingestion_runtime.model.spec import Configuration, TableSpec
from ingestion_runtime.model.target import TargetHead
from ingestion_runtime.provenance.chain import Chain, read_chain
from ingestion_runtime.provenance.findings import Finding, Hindrance, Kind, ProofStatus, TableProof, judge, stopped
from ingestion_runtime.provenance.merging import merged_otherwise
from ingestion_runtime.provenance.raw_files import FileCheck, RawFiles
from ingestion_runtime.provenance.records import check_records
from ingestion_runtime.tools.files import Files, LocalFiles, PlacedFiles
from ingestion_runtime.tools.hdfs import HdfsFiles
from ingestion_runtime.tools.interruption import wait_attentively
from ingestion_runtime.tools.own_spark import own_spark
from ingestion_runtime.tools.spark import SparkTool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyspark.sql import SparkSession

# Each look is one over all files and rows of the table: where a publish comes in between three times, it is time to wait.
_LOOKS = 3
_MOST_HASHERS = 8
_INTERRUPT_SECONDS = 0.1

#: Names what a table's proof raised.
Classify = Callable[[Exception, str], IngestionError]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be looked at: without ``rows`` records and files alone. ``examples``: so many keys for each finding."""

    rows: bool = True
    examples: int = 10


def verify(
    configuration: Configuration,
    tables: Sequence[TableSpec],
    wishes: Wishes,
    classify: Classify,
    session: "SparkSession | None" = None,
) -> tuple[TableProof, ...]:
    """Return a proof of each table, in the order given. What stops one stands in its proof.

    No source is asked. Spark is started where raw or the catalog lie on HDFS, and only then; ``session`` is used, and left
    running, where it is up already.
    """
    with ExitStack() as stack:
        tool = _open_tool(configuration, session)
        stack.callback(tool.stop)
        files = PlacedFiles(LocalFiles(), HdfsFiles(tool.session))
        factory = EndpointFactory(configuration, tool, files, read_only=True)
        stack.callback(factory.close)
        hashers = stack.enter_context(ThreadPoolExecutor(min(_MOST_HASHERS, os.cpu_count() or 1), "verify-file"))
        workers = max(1, min(configuration.runtime.max_parallel_tables, len(tables)))
        pool = stack.enter_context(ThreadPoolExecutor(workers, "verify"))
        proving = Proving(configuration, factory, tool, files, hashers, wishes, classify)
        work = [pool.submit(proving.prove, table) for table in tables]
        try:
            wait_attentively(work)
            return tuple(proof.result() for proof in work)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            hashers.shutdown(wait=False, cancel_futures=True)
            while wait(work, timeout=_INTERRUPT_SECONDS).not_done:
                proving.interrupt()
            raise


def _open_tool(configuration: Configuration, session: "SparkSession | None") -> SparkTool:
    """Return a tool that starts Spark when HDFS is touched. It needs no catalog: rows and lists are read in this process."""
    runtime = configuration.runtime
    log = runtime.log_folder / f"spark-verify-{os.getpid()}.log"
    return own_spark(runtime, log, {}, lambda: (), adopted=session, archives=False)


class Proving:
    """Proofs of the tables of one configuration. Safe to use from several threads."""

    def __init__(
        self,
        configuration: Configuration,
        factory: EndpointFactory,
        tool: SparkTool,
        files: Files,
        hashers: Executor,
        wishes: Wishes,
        classify: Classify,
    ) -> None:
        self._configuration = configuration
        self._factory = factory
        self._tool = tool
        self._files = files
        self._hashers = hashers
        self._wishes = wishes
        self._classify = classify
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._sessions: list[DuckDBPyConnection] = []

    def interrupt(self) -> None:
        """End the proofs at their next step, and what SQL does at this moment. Call it until they have ended: the next
        statement may have begun since."""
        self._interrupted.set()
        with self._lock:
            for sql in self._sessions:
                sql.interrupt()

    @contextmanager
    def _session(self) -> "Iterator[DuckDBPyConnection]":
        with self._factory.local_sql().session() as sql:
            with self._lock:
                self._sessions.append(sql)
            try:
                yield sql
            finally:
                with self._lock:
                    self._sessions.remove(sql)

    def prove(self, table: TableSpec) -> TableProof:
        """Return the proof of one table; whatever it raises is in it."""
        begun = time.monotonic()
        session = self._tool.table_session()
        try:
            proof = self._look_until_it_stands(table, self._factory.build_endpoints(table, session))
        except Exception as raised:  # noqa: BLE001 - as in a run, the table's end; the others are still proven
            stop = stopped(self._classify(raised, table.name), raised)
            proof = TableProof(table.name, table.mode, ProofStatus.ERROR, error=stop)
        finally:
            session.close()
        return replace(proof, seconds=round(time.monotonic() - begun, 3))

    def _look_until_it_stands(self, table: TableSpec, endpoints: Endpoints) -> TableProof:
        """Look again where something was found and the table, or its raw, moved meanwhile: a run published, or maintenance
        removed what is old."""
        for _ in range(_LOOKS):
            head, batches = endpoints.target.head(), endpoints.raw.batches()
            try:
                proof = self._look(table, endpoints, head)
            except TransientError:
                if _same(head, endpoints.target.head()):
                    raise
                continue
            if proof.status is not ProofStatus.BROKEN:
                return proof
            if _same(head, endpoints.target.head()) and batches == endpoints.raw.batches():
                return proof
        raise TransientError(
            f"{table.name}: the table or its raw moved {_LOOKS} times while they were looked at.",
            remedy="Run the same command again when its run, or its maintenance, has ended.",
            table=table.name,
        )

    def _look(self, table: TableSpec, endpoints: Endpoints, head: TargetHead | None) -> TableProof:
        published = self._configuration.publishes(table)
        receipt = head.receipt if head and published else None
        chain = read_chain(endpoints.raw, receipt)
        proof = TableProof(table.name, table.mode, ProofStatus.NO_DATA, batches=len(chain.earlier) + len(chain.links))
        findings = list(_find_damage(head, chain)) if published else []
        if receipt is None and not findings and (published or not (chain.links or chain.unreadable)):
            return proof
        if receipt is not None:
            mark = receipt.watermark.literal if receipt.watermark else None
            proof = replace(proof, batch=receipt.batch_id, sequence=receipt.sequence, watermark=mark)
        if receipt is not None or not published:
            findings += check_records(chain, receipt)
        self._check_interrupted(table)
        forgets = table.maintenance.raw_days is not None
        raw = RawFiles(self._files, endpoints.raw, self._hashers, forgets=forgets)
        checked = raw.check((*chain.earlier, *chain.links))
        findings += checked.findings
        self._check_interrupted(table)
        rows, more, unseen = self._compare_rows(table, head, chain, checked)
        told = (*findings, *more)
        return replace(
            proof,
            status=judge(told, unseen),
            snapshot=head.snapshot if head else None,
            files=checked.files,
            bytes=checked.bytes,
            rows=rows,
            findings=told,
            unseen=unseen,
        )

    def _compare_rows(
        self, table: TableSpec, head: TargetHead | None, chain: Chain, checked: FileCheck
    ) -> tuple[int | None, tuple[Finding, ...], tuple[Hindrance, ...]]:
        """Return how many rows the batches add up to, what was found, and why something was not looked at."""
        if reason := self._wished_away(table):
            return None, (), (Hindrance(reason, wished=True),)
        if head is None or head.snapshot is None or not chain.links:
            return None, (), ()
        if reason := self._out_of_sight(table, head):
            return None, (), (Hindrance(reason),)
        from ingestion_runtime.endpoints.iceberg.snapshot_files import UnfitSnapshot
        from ingestion_runtime.provenance.proving import RowProver
        from ingestion_runtime.provenance.testimony import check_testimonies

        with self._factory.near_files() as near:
            try:
                published = self._factory.build_published(table, head.snapshot, near)
            except UnfitSnapshot as unfit:
                return None, (), (Hindrance(f"its rows can be read by Spark only: {unfit.reason}"),)
            except LostFileError as error:
                return None, (Finding(Kind.TABLE_DAMAGED, error.message),), ()
            damaged = sorted(checked.damaged)
            said = check_testimonies(self._session, (*chain.earlier, *chain.links), checked.aside, damaged, near)
            proof = RowProver(self._session, near, self._wishes.examples).prove(table, published, chain, damaged)
            return proof.rows, (*said, *proof.findings), proof.unseen

    def _wished_away(self, table: TableSpec) -> str | None:
        """Return why rows are not to be compared; None where they are."""
        if not self._wishes.rows:
            return "rows were not compared (--files-only)"
        if not self._configuration.publishes(table):
            return "its batches go into raw alone (finalize_full_refresh is false)"
        return None

    def _out_of_sight(self, table: TableSpec, head: TargetHead) -> str | None:
        """Return why nobody can tell here what the batches add up to; None where that can be told."""
        # Without the marks of masks, whose salt is not needed.
        plain = replace(table, privacy=Privacy())
        now = dict(reading(plain, self._configuration.connection(table.connection)))
        former = dict(head.receipt.reading) if head.receipt else {}
        changed = merged_otherwise(former, now)
        return f"its rows were merged by other settings than those of now: {', '.join(changed)}" if changed else None

    def _check_interrupted(self, table: TableSpec) -> None:
        if self._interrupted.is_set():
            raise InterruptedRunError(f"{table.name}: interrupted.", remedy="Run the same command again.")


def _find_damage(head: TargetHead | None, chain: Chain) -> Sequence[Finding]:
    if head is not None and head.damage is not None:
        return (Finding(Kind.TABLE_DAMAGED, f"the table is not as the last run left it: {head.damage}"),)
    if (head is None or head.receipt is None) and chain.links:
        last = chain.links[-1]
        message = f"the table is gone, and raw holds {len(chain.links)} of its published batches, the last {last.batch_id}"
        return (Finding(Kind.TABLE_DAMAGED, message, batch=last.batch_id, file=last.raw.directory),)
    return ()


def _same(head: TargetHead | None, now: TargetHead | None) -> bool:
    """Whether readers see the same rows, under the same receipt."""
    if head is None or now is None:
        return head is now
    return (head.receipt, head.snapshot, head.damage) == (now.receipt, now.snapshot, now.damage)
