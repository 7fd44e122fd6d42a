"""The JVM of Spark: what it is started with, its start, and its end."""

import logging
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion_runtime.model.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

_LOG = logging.getLogger(__name__)
_LOGGING = Path(__file__).with_name("log4j2.properties")
UTC_OPTION = "-Duser.timezone=UTC"
# Who names an archive of classes in the configuration has chosen one.
_CLASS_DATA_CHOICE = re.compile(r"-Xshare:|SharedArchiveFile|ArchiveClassesAtExit|AutoCreateSharedArchive|-XX:AOT")
_TEMPORARY_OPTION = "-Djava.io.tmpdir="

Settings = tuple[tuple[str, str], ...]
ClassDataOptions = Callable[[Path, Sequence[Path]], tuple[str, ...]]


def no_class_data(_java: Path, _jars: Sequence[Path]) -> tuple[str, ...]:
    """Return no options: the JVM reads its classes from the jars."""
    return ()


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """What sessions are made of. ``conf`` holds for the JVM, ``table_conf`` is set on every table's session, and so is what
    ``secret_conf`` returns, which is asked each time and kept nowhere; ``java`` and ``jars`` are called when the JVM starts,
    and raise what they find missing. ``class_data`` returns JVM options for them, by which the start is faster. A JVM that
    has not ended ``end_seconds`` after it was told to is killed. ``joins``: the JVM is there already, spark-submit's; of
    ``conf`` those in ``soft`` give way to what was said there."""

    app_name: str
    conf: tuple[tuple[str, str], ...]
    table_conf: tuple[tuple[str, str], ...]
    java: Callable[[], Path]
    jars: Callable[[], tuple[Path, ...]]
    log_file: Path
    secret_conf: Callable[[], Settings]
    class_data: ClassDataOptions = no_class_data
    end_seconds: float = 30.0
    joins: bool = False
    soft: Settings = ()


def start_jvm(settings: SparkSettings, java: Path, jars: tuple[Path, ...], temporary: Path) -> "SparkSession":
    """Start the JVM with its output in the run's log file, and return the root session. What it puts aside goes into the
    folder ``temporary``, unless the configuration names one."""
    import os

    from pyspark import SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    settings.log_file.parent.mkdir(parents=True, exist_ok=True)
    os.environ["JAVA_HOME"] = str(java.parent.parent)
    conf = jvm_conf(settings, java, jars, temporary)
    # By the environment, because a blank in the path would cut an option in two.
    os.environ["INGESTION_SPARK_LOG"] = str(settings.log_file)
    with settings.log_file.open("ab") as log:
        launch: Any = launch_gateway
        try:
            gateway = launch(conf, popen_kwargs={"stdout": log, "stderr": log})
        except PySparkRuntimeError as error:
            raise TerminalError(
                f"Spark's JVM ended while it started, see {settings.log_file}.",
                remedy="Look there first; a wrong option in spark.conf is the most frequent reason.",
            ) from error
    try:
        context = SparkContext(gateway=gateway, conf=conf)
        return SparkSession(context)
    except Exception as error:
        master = conf.get("spark.master", "") or ""
        if not master.startswith("spark://"):
            raise
        # A master that does not answer is given up by Spark after a minute, and its own words are of a stopped context.
        raise TransientError(
            f"Spark could not be started on the master {master}, see {settings.log_file}.",
            remedy="Check that it runs and is reachable, then run the same command again.",
        ) from error


def jvm_conf(settings: SparkSettings, java: Path, jars: tuple[Path, ...], temporary: Path) -> "SparkConf":
    """Return the settings of the JVM. Options of ours stand behind those of the configuration: the last one wins."""
    from pyspark import SparkConf

    conf = SparkConf(loadDefaults=False).setAppName(settings.app_name)
    for key, value in settings.conf:
        conf.set(key, value)
    conf.set("spark.driver.extraClassPath", ":".join(map(str, jars)))
    own = [conf.get("spark.driver.extraJavaOptions", "") or ""]
    given = f"{conf.get('spark.driver.defaultJavaOptions', '')} {own[0]}"
    if not _CLASS_DATA_CHOICE.search(given):
        own += map(shlex.quote, settings.class_data(java, jars))
    if _TEMPORARY_OPTION not in given:
        # A JVM that is killed leaves its native libraries (1 MB), its blocks and its folders there.
        own.append(shlex.quote(f"{_TEMPORARY_OPTION}{temporary}"))
    own += [UTC_OPTION, f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}"]
    conf.set("spark.driver.extraJavaOptions", " ".join(own).strip())
    if not (conf.get("spark.master", "") or "").startswith("local"):
        # Executors fetch them from the driver; in one JVM the class path alone is faster (7.6 s against 8.5 to a count).
        conf.set("spark.jars", ",".join(jar.as_uri() for jar in jars))
        # Drivers of databases spell times in the JVM's own zone; last, so that no other setting of it wins.
        add_executor_option(conf, UTC_OPTION)
    return conf


def add_executor_option(conf: "SparkConf", option: str) -> None:
    """Add a JVM option for executors behind those that there are."""
    there = conf.get("spark.executor.extraJavaOptions", "") or ""
    conf.set("spark.executor.extraJavaOptions", f"{there} {option}".strip())


def end_jvm(root: "SparkSession", seconds: float) -> int | None:
    """End a JVM. What the run did is done: a JVM that has died already, or will not end, must not change the outcome."""
    gateway: Any = root.sparkContext._gateway
    try:
        root.stop()
        if gateway.proc is not None:
            gateway.shutdown()
    except Exception as error:  # noqa: BLE001 - whatever a dead JVM makes py4j raise
        _LOG.warning("Spark did not stop by itself: %s", type(error).__name__)
    if gateway.proc is None:
        return None  # spark-submit's JVM: it ends with this program, and another run of it may want it again
    # pyspark would hand the dead gateway to the next context of this process.
    type(root.sparkContext)._gateway = None
    type(root.sparkContext)._jvm = None
    gateway.proc.stdin.close()
    try:
        return int(gateway.proc.wait(timeout=seconds))
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        return int(gateway.proc.wait())
