"""How far Spark has come with a read: asked for at intervals, on a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingestion_runtime.endpoints.jdbc.meter import TELL_SECONDS, ReadMeter

if TYPE_CHECKING:
    from pyspark import SparkContext

_GROUP = "spark.jobGroup.id"


@contextmanager
def followed(context: "SparkContext", meter: ReadMeter) -> Iterator["Follower"]:
    """Tell a meter how many rows the jobs have read that the calling thread's job group starts in the block.

    Executors of a cluster report every ``spark.executor.heartbeatInterval`` (10 s). With a local master a task's rows count
    when it has ended: what it reports before bears no names there, and Spark passes over it (measured: 0 rows for 40 s,
    where a cluster told 10,000 and 20,000 of 30,000). The bytes are 0: JDBC has no count of them. Nothing is told after the
    block has ended.
    """
    follower = Follower(context, meter)
    threading.Thread(target=follower.work, name="spark-progress", daemon=True).start()
    try:
        yield follower
    finally:
        follower.stop()


class Follower:
    """Looks at the jobs that one group has started since this was made."""

    def __init__(self, context: "SparkContext", meter: ReadMeter) -> None:
        self._context = context
        self._meter = meter
        self._group: Any = context.getLocalProperty(_GROUP)
        self._earlier = frozenset(context.statusTracker().getJobIdsForGroup(self._group))
        self._told = 0
        self._gate = threading.Lock()  # held while telling; stop() closes it
        self._over = threading.Event()

    def work(self) -> None:
        """Look every two seconds until stopped."""
        while not self._over.wait(TELL_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001, S112 - figures to look at; what has become of Spark the read itself will say
                continue

    def look(self) -> None:
        """Tell the meter what has come since the last look, if anything has, unless stopped."""
        rows = self._count()
        with self._gate:
            if rows != self._told and not self._over.is_set():
                self._meter.add(rows - self._told, 0)
                self._told = rows

    def stop(self) -> None:
        """Let nothing be told any more. A look under way does not keep the caller waiting for Spark."""
        with self._gate:
            self._over.set()

    def _count(self) -> int:
        tracker = self._context.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._group) if job not in self._earlier]
        stages = {stage for job in jobs if job is not None for stage in job.stageIds}
        java: Any = self._context._jsc
        store = java.sc().statusStore()
        begun = [stage for stage in stages if tracker.getStageInfo(stage) is not None]
        return sum(int(store.lastStageAttempt(stage).inputRecords()) for stage in begun)
