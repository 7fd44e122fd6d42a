"""The Spark session: made when the first table needs it, and one isolated session a table."""

import logging
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import RuntimeSpec
from ingestion_runtime.tools.scratch import scratch
from ingestion_runtime.tools.spark_jvm import ClassDataOptions, Settings, SparkSettings, end_jvm, no_class_data, start_jvm
from ingestion_runtime.tools.spark_submitted import has_jars, join_jvm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOG = logging.getLogger(__name__)
_LOOPBACK = (("spark.driver.host", "127.0.0.1"), ("spark.driver.bindAddress", "127.0.0.1"))
# Executors elsewhere must reach the driver: there Spark finds the address itself, or spark.conf names it.
_ON_THIS_HOST = re.compile(r"local\b|spark://(127\.|localhost[:/]|\[::1\])")
_CATALOG = "spark.sql.catalog."
#: What a JVM's folder below the system's temporary one is called. What a killed JVM left goes with the next one's start.
TEMPORARY = "ingestion-spark-"


def default_conf(runtime: RuntimeSpec) -> tuple[tuple[str, str], ...]:
    """Return the settings that are good where nobody chose: the configuration may override them, and so may spark-submit."""
    return (
        ("spark.ui.enabled", "false"),
        ("spark.ui.showConsoleProgress", "false"),
        *(_LOOPBACK if _ON_THIS_HOST.match(runtime.spark.master) else ()),
        ("spark.scheduler.mode", "FAIR"),
        # Memory that a task runs out of fails the task: its rows are read again in halves. Spark would end the JVM.
        ("spark.executor.killOnFatalError.depth", "0"),
        ("spark.sql.shuffle.partitions", "4"),
        # Closing a small file on HDFS mostly waits for one block report of some milliseconds, and Hadoop's client asks again
        # only after 400: a copied file took 0.48 s. More tries instead, so that a slow DataNode still has 20 s.
        ("spark.hadoop.dfs.client.block.write.locateFollowingBlock.initial.delay.ms", "20"),
        ("spark.hadoop.dfs.client.block.write.locateFollowingBlock.retries", "10"),
    )


def session_conf(runtime: RuntimeSpec) -> tuple[tuple[str, str], ...]:
    """Return the Spark settings of a JVM."""
    return (
        ("spark.master", runtime.spark.master),
        ("spark.driver.memory", runtime.spark.driver_memory),
        *default_conf(runtime),
        *runtime.spark.conf,
        ("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"),
        ("spark.sql.catalogImplementation", "in-memory"),
        # A path without a scheme is a local one, whatever core-site.xml (HADOOP_CONF_DIR) thinks of it.
        ("spark.hadoop.fs.defaultFS", "file:///"),
        # A marker of Spark's proves nothing (a dying JVM still writes it); the manifest does.
        ("spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs", "false"),
    )


def table_conf(runtime: RuntimeSpec) -> tuple[tuple[str, str], ...]:
    """Return the settings of a table's session. What arrives depends on them, so a configuration cannot override them."""
    codec = {"none": "uncompressed"}.get(runtime.compression, runtime.compression)
    return (
        ("spark.sql.session.timeZone", "UTC"),
        ("spark.sql.ansi.enabled", "true"),
        ("spark.sql.parquet.compression.codec", codec),
        ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),
        # Iceberg knows the columns of a staged file by them.
        ("spark.sql.parquet.fieldId.write.enabled", "true"),
    )


class SparkTool:
    """The one place that creates a Spark session. Safe to use from several threads."""

    def __init__(self, settings: SparkSettings, adopted: "SparkSession | None" = None) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._needs_lock = threading.Lock()
        self._needs: tuple[Path, tuple[Path, ...]] | None = None
        self._root = adopted
        self._owned = adopted is None
        self._stopped = False
        self._early_lock = threading.Lock()
        self._early: threading.Thread | None = None
        self._failure: Exception | None = None
        self._temporary = ExitStack()

    @classmethod
    def from_config(
        cls,
        runtime: RuntimeSpec,
        java: Callable[[], Path],
        jars: Callable[[], tuple[Path, ...]],
        log_file: Path,
        *,
        catalog: Callable[[], Settings] = lambda: (),
        class_data: ClassDataOptions = no_class_data,
        adopted: "SparkSession | None" = None,
        submitted: bool = False,
    ) -> "SparkTool":
        """Return a tool for this run. Nothing is started and nothing is checked yet.

        ``catalog`` returns the settings of the Iceberg catalog, with the password that it may need.
        An ``adopted`` session, with our jars and the Iceberg extension, is used in place of a new one and never stopped.
        ``submitted``: the JVM is that of spark-submit, which has a Java and may have the jars.
        """
        conf, tables = session_conf(runtime), table_conf(runtime)
        settings = SparkSettings(runtime.job_name, conf, tables, java, jars, log_file, catalog, class_data)
        return cls(replace(settings, joins=submitted, soft=default_conf(runtime)), adopted)

    @property
    def running(self) -> bool:
        """Whether there is a session already."""
        return self._root is not None

    def session(self) -> "SparkSession":
        """Return the root session, started by the first caller or by `warm_up`, for which it waits.

        Raises ConfigError without a fitting Java, TransientError when jars cannot be fetched.
        """
        with self._lock:
            if self._stopped:
                raise TerminalError("The Spark session has been stopped.", remedy="The run is ending; run it again.")
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure  # told once; a later caller tries anew
            if self._root is None:
                self._root = self._start()
            return self._root

    def warm_up(self) -> None:
        """Start Spark on a thread of its own, unless that was done already, and return at once.

        Call it when it is certain that a table will need Spark. What goes wrong is raised by the first `session`.
        """
        with self._early_lock:  # of its own: the others are held for as long as a start takes
            if self._early is not None or self._root is not None:
                return
            self._early = threading.Thread(target=self._start_early, name="spark-start", daemon=True)
            self._early.start()

    def _start_early(self) -> None:
        with self._lock:
            if self._stopped or self._root is not None:
                return
            try:
                self._root = self._start()
            except Exception as error:  # noqa: BLE001 - nobody waits for this thread; who asks for a session is told
                self._failure = error

    def _start(self) -> "SparkSession":
        java, jars = self._find_needs()
        if self._settings.joins:
            return join_jvm(self._settings, jars)
        temporary = self._temporary.enter_context(scratch(Path(tempfile.gettempdir()), TEMPORARY))
        return start_jvm(self._settings, java, jars, temporary)

    def prepare(self) -> None:
        """Check Java and jars without starting anything: called before a plan that needs Spark has its first effect."""
        if self._root is None:
            self._find_needs()

    def _find_needs(self) -> tuple[Path, tuple[Path, ...]]:
        """Return Java and the jars, looked for once: jars that are missing are not fetched twice at the same time."""
        with self._needs_lock:
            if self._needs is None:
                joins = self._settings.joins
                java = Path() if joins else self._settings.java()
                self._needs = java, () if joins and has_jars() else self._settings.jars()
            return self._needs

    def table_settings(self) -> Settings:
        """Return what every table's session is set to, secrets included."""
        return (*self._settings.table_conf, *self._settings.secret_conf())

    def catalogs(self) -> tuple[str, ...]:
        """Return the names of the catalogs that every table's session knows."""
        names = (name.removeprefix(_CATALOG) for name, _ in self._settings.secret_conf() if name.startswith(_CATALOG))
        return tuple(name for name in names if "." not in name)

    def table_session(self) -> "TableSession":
        """Return a session of its own, with its own settings and views, for one table."""
        return TableSession(self)

    def set_job_group(self, group: str, description: str) -> None:
        """Name the jobs of the calling thread, if there is a JVM that could run some."""
        if self._root is not None:
            self._root.sparkContext.setJobGroup(group, description, interruptOnCancel=True)

    def cancel_all(self) -> None:
        """Cancel every job; the tables that wait for one get an error."""
        if self._root is not None:
            self._root.sparkContext.cancelAllJobs()

    def metrics(self) -> Mapping[str, object]:
        """Return the engine's current load: active jobs, stages and tasks; empty before the start."""
        if self._root is None:
            return {}
        tracker = self._root.sparkContext.statusTracker()
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        return {
            "active_jobs": len(tracker.getActiveJobsIds()),
            "active_stages": len(stages),
            "active_tasks": sum(stage.numActiveTasks for stage in stages if stage is not None),
        }

    def is_alive(self) -> bool:
        """Whether there is a JVM that could answer; py4j prints a traceback of its own for every call to a dead one."""
        if self._root is None:
            return False
        gateway: Any = self._root.sparkContext._gateway
        # Without a process of ours spark-submit started us, and the JVM outlives us.
        return gateway.proc is None or gateway.proc.poll() is None

    def stop(self) -> int | None:
        """Stop the JVM if there is one, also one that is only starting. Later calls of ``session`` fail.

        Returns the exit code of a JVM that was ours to stop.
        """
        with self._lock:  # held by who starts a JVM: once it is ours nothing of it can be left behind
            self._stopped = True
            root, self._root = self._root, None
        with self._temporary:
            if root is None or not self._owned:
                return None
            return end_jvm(root, self._settings.end_seconds)


class TableSession:
    """A session isolated from those of other tables, made at first use."""

    def __init__(self, tool: SparkTool) -> None:
        self._tool = tool
        self._session: SparkSession | None = None
        self._group: tuple[str, str] | None = None

    def name_jobs(self, group: str, description: str) -> None:
        """Use this job group from the first job on; must be called on the thread that runs the table."""
        self._group = (group, description)

    def session(self) -> "SparkSession":
        """Return this table's session; errors as for ``SparkTool.session``."""
        if self._session is None:
            self._session = self._tool.session().newSession()
            for key, value in self._tool.table_settings():
                self._session.conf.set(key, value)
            _activate(self._session)
            if self._group is not None:
                self._tool.set_job_group(*self._group)
        return self._session

    def close(self) -> None:
        """Let go of the connections that the session's catalogs hold; it would keep them for as long as the JVM lives."""
        if self._session is None or not self._tool.is_alive():
            return
        java: Any = self._session._jsparkSession
        try:
            for name in self._tool.catalogs():
                java.sessionState().catalogManager().catalog(name).icebergCatalog().close()
        except Exception as error:  # noqa: BLE001 - how the table ended stands; the JVM may die just now
            _LOG.info("A catalog was not closed: %s", type(error).__name__)


def _activate(session: "SparkSession") -> None:
    """Make a session the active one of this thread.

    Iceberg's Java helpers look their catalogs up in the thread's active session, whichever session they are handed; on
    every thread but the one that started Spark there is none, and the catalog is "not found".
    """
    jvm: Any = session._jvm
    jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(session._jsparkSession)
