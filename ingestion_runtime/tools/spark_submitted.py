"""The JVM that spark-submit started: the run works in it, under the master that was given there, and starts none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Configuration
from ingestion_runtime.tools.spark_jvm import UTC_OPTION, SparkSettings, add_executor_option

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

GATEWAY_VARIABLE = "PYSPARK_GATEWAY_PORT"
# A class of every jar that is pinned, by artifact: whoever submits the program may have shipped them (--jars).
KEY_CLASSES = {
    "iceberg-spark-runtime-4.1_2.13": "org/apache/iceberg/spark/SparkCatalog.class",
    "sqlite-jdbc": "org/sqlite/JDBC.class",
    "postgresql": "org/postgresql/Driver.class",
    "mariadb-java-client": "org/mariadb/jdbc/Driver.class",
}
# What is decided when the JVM is started, and by whoever starts it.
_DECIDED = frozenset(
    {
        "spark.master",
        "spark.submit.deployMode",
        "spark.driver.cores",
        "spark.driver.defaultJavaOptions",
        "spark.driver.extraClassPath",
        "spark.driver.extraJavaOptions",
        "spark.driver.extraLibraryPath",
        "spark.driver.memory",
        "spark.driver.memoryOverhead",
    }
)


@dataclass(frozen=True, slots=True)
class Submission:
    """What spark-submit was told: the master, and where the driver is (``client`` or ``cluster``)."""

    master: str
    deploy_mode: str

    @property
    def waits_for_spark(self) -> bool:
        """Whether the run counts as failed unless Spark is started soon, needed or not: YARN does so in cluster mode."""
        return self.master == "yarn" and self.deploy_mode == "cluster"

    def apply(self, configuration: Configuration) -> Configuration:
        """Return the configuration with this master in place of its own."""
        runtime = configuration.runtime
        return replace(configuration, runtime=replace(runtime, spark=replace(runtime.spark, master=self.master)))


def find_submission(environment: Mapping[str, str]) -> Submission | None:
    """Return what this program was submitted with, or None where it was started in another way.

    Raises ConfigError where the JVM that the environment names does not answer.
    """
    if GATEWAY_VARIABLE not in environment:
        return None
    given = _given(_join())
    return Submission(given.get("spark.master") or "local[*]", given.get("spark.submit.deployMode") or "client")


def has_jars() -> bool:
    """Whether the JVM finds everything in the jars that the runtime needs."""
    loader = _loader(_join())
    return all(loader.getResource(name) is not None for name in KEY_CLASSES.values())


def join_jvm(settings: SparkSettings, jars: tuple[Path, ...]) -> "SparkSession":
    """Return the root session in the JVM of spark-submit; ``jars`` are those that it does not have yet."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    jvm = _join()
    for jar in jars:
        _loader(jvm).addURL(jvm.java.net.URI(jar.as_uri()).toURL())
    # Drivers of databases spell times in the JVM's own zone, and it is too late for an option of its start.
    jvm.java.lang.System.setProperty("user.timezone", "UTC")
    jvm.java.util.TimeZone.setDefault(jvm.java.util.TimeZone.getTimeZone("UTC"))
    return SparkSession(SparkContext(conf=_complete(_given(jvm), settings, jars, jvm)))


def _complete(given: "SparkConf", settings: SparkSettings, jars: tuple[Path, ...], jvm: Any) -> "SparkConf":
    """Add the run's settings to those of spark-submit. As in every program of Spark they win, but for ours that only
    say what is good where nobody chose."""
    if given.get("spark.master") == "yarn":
        # Where YARN is handed files follows from the default file system, and that is the local one for us.
        given.setIfMissing("spark.yarn.stagingDir", _homes(given, jvm))
    for key, value in settings.conf:
        chosen = (key, value) in settings.soft and given.contains(key)
        if key not in _DECIDED and not chosen:
            given.set(key, value)
    given.setAppName(settings.app_name)
    if not (given.get("spark.master") or "").startswith("local"):
        if jars:
            shipped = [given.get("spark.jars") or "", *(jar.as_uri() for jar in jars)]
            given.set("spark.jars", ",".join(filter(None, shipped)))
        add_executor_option(given, UTC_OPTION)
    return given


def _homes(given: "SparkConf", jvm: Any) -> str:
    """The directory of the users' directories in the cluster's default file system; Spark adds the user."""
    settings = jvm.org.apache.spark.deploy.SparkHadoopUtil.get().newConfiguration(given._jconf)
    return str(jvm.org.apache.hadoop.fs.FileSystem.get(settings).getHomeDirectory().getParent().toString())


def _given(jvm: Any) -> "SparkConf":
    from pyspark import SparkConf

    return SparkConf(loadDefaults=True, _jvm=jvm)


def _join() -> Any:
    """Return the JVM, joined by the first call; pyspark keeps the connection."""
    from pyspark import SparkContext

    try:
        SparkContext._ensure_initialized()
        jvm: Any = SparkContext._jvm
        jvm.java.lang.System.nanoTime()
    except Exception as error:
        raise ConfigError(
            f"The Spark that {GATEWAY_VARIABLE} names does not answer.",
            remedy=f"Start the program with spark-submit, or unset {GATEWAY_VARIABLE}.",
        ) from error
    return jvm


def _loader(jvm: Any) -> Any:
    """The class loader of the program, which spark-submit made so that jars can be added to it."""
    return jvm.java.lang.Thread.currentThread().getContextClassLoader()
