"""Class data: the classes that Spark needs, as the JVM maps them at its start, in place of parsing and verifying each anew.

An archive is built once for one Java and one set of jars (some 15 s, 180 MB in ``class-data`` below the jar cache) and takes
a start to the first Iceberg count from 9.5 s to 6, and from 14 seconds of processor time to 8. It is never needed: without
one that fits, or with a damaged one, Spark starts as it would without. ``INGESTION_CLASS_DATA=off`` leaves it out.
"""

import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.tools.jars import ABANDONED_SECONDS, CACHE_VARIABLE, spark_jars, workspace
from ingestion_runtime.tools.spark import SparkTool
from ingestion_runtime.tools.spark_jvm import ClassDataOptions, Settings, SparkSettings, no_class_data

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VARIABLE = "INGESTION_CLASS_DATA"
FOLDER = "class-data"
_OFF = frozenset({"off", "false", "no", "0"})
# Writing an archive takes 6 s of an idle machine; a JVM that needs this long hangs.
_BUILD_SECONDS = 300.0
_UNUSED_SECONDS = 30 * 24 * 3600
# What decides where Spark's launcher finds classes before its own jars; what it appends after them may differ.
_PLACES = ("SPARK_HOME", "SPARK_CONF_DIR")
_APPENDED = ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_DIST_CLASSPATH")

Recorder = Callable[[Path, tuple[Path, ...], Path], Path]


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether class data is used: ``INGESTION_CLASS_DATA`` does not switch it off."""
    return environment.get(VARIABLE, "").strip().lower() not in _OFF


def class_data_options(directory: Path, environment: Mapping[str, str]) -> ClassDataOptions:
    """Return where a start of Spark asks for its JVM options: archives below the jar cache, or none."""
    return ClassData(directory / FOLDER).options if is_wanted(environment) else no_class_data


class ClassData:
    """Archives in a directory, each beside a note of what it was built for. Safe to use from several processes.

    ``record`` runs Spark in an empty directory and returns the archive that its JVM wrote there.
    """

    def __init__(self, directory: Path, record: Recorder | None = None) -> None:
        self._directory = directory
        self._record = _record if record is None else record

    def options(self, java: Path, jars: Sequence[Path]) -> tuple[str, ...]:
        """Return the JVM options that use the archive for this Java and these jars; none where there is none that fits.

        Looking takes 3 ms: names, sizes and times, not contents.
        """
        try:
            archive = self._fitting(_key(java, jars))
        except OSError:
            return ()
        if archive is None or ":" in str(archive):  # the JVM takes a colon for the end of the name
            return ()
        # The checksums are looked at as well: a byte that the disk returns otherwise would crash the JVM, and reading them
        # takes no measurable time. A JVM to which the archive does not belong after all starts without it.
        verify = ("-XX:+UnlockDiagnosticVMOptions", "-XX:+VerifySharedSpaces")
        return ("-Xshare:auto", *verify, f"-XX:SharedArchiveFile={archive}")

    def build(self, java: Path, jars: Sequence[Path]) -> Path:
        """Start Spark once, let it do a little of everything, and keep the classes that it loaded; return the archive.

        What stands already is returned as it is. Nothing half-written is ever used: the note that makes an archive count is
        written last. Raises ConfigError when the directory cannot be written, TerminalError when no archive came of it.
        """
        key = _key(java, jars)
        found = self._fitting(key)
        if found is not None:
            return found
        with self._workspace() as work:
            made = self._record(java, tuple(jars), work)
            # A name of its own: two that build at once do not replace each other's file under the other's note, and a JVM
            # that has mapped an older one keeps it.
            archive = self._directory / f"{key}-{work.name.removeprefix('.build-')}.jsa"
            made.replace(archive)
            status = archive.stat()
            note = {
                "archive": archive.name,
                "bytes": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "spark": str(spark_jars()),
            }
            written = work / "note"
            written.write_text(json.dumps(note), encoding="utf-8")
            written.replace(self._note(key))
        return archive

    def _fitting(self, key: str) -> Path | None:
        note = self._note(key)
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
            archive = self._directory / str(said["archive"])
            status = archive.stat()
            fits = (status.st_size, status.st_mtime_ns) == (said["bytes"], said["mtime_ns"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not fits:
            return None
        with suppress(OSError):  # the time of the last use, by which old archives are removed; a read-only cache serves too
            os.utime(note)
        return archive

    def _note(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        remedy = f"Make it writable, let {CACHE_VARIABLE} name another directory, or set {VARIABLE}=off."
        with workspace(self._directory, ".build-", self._remove_old, "class-data cache", remedy) as work:
            yield work

    def _remove_old(self) -> None:
        """Remove what killed builders left, archives that no note names, and those that nobody used for a month or can use.

        An environment that was thrown away takes its Spark along, and nothing else fits the archive: 200 MB for each clone.
        """
        now = time.time()
        named: set[str] = set()
        for note in self._directory.glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if now - note.stat().st_mtime > _UNUSED_SECONDS:
                    note.unlink()
                    continue
                said = json.loads(note.read_text(encoding="utf-8"))
                archive = Path(said["archive"]).name
                if Path(said.get("spark", "/")).exists():
                    named.add(archive)
                else:
                    (self._directory / archive).unlink(missing_ok=True)
                    note.unlink()
        for left in [*self._directory.glob(".build-*"), *self._directory.glob("*.jsa")]:
            with suppress(OSError):
                # A builder names its archive a moment after it has moved it here.
                if left.name not in named and now - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


def _key(java: Path, jars: Sequence[Path]) -> str:
    """Digest of all that an archive depends on; raises OSError when a file is gone."""
    home = java.resolve().parents[1]
    spark = spark_jars()
    parts: list[object] = [str(home), _stamp(home / "lib" / "server" / "libjvm.so")]
    with suppress(OSError):
        parts.append((home / "release").read_text(encoding="utf-8"))
    # In the directory's own order, which is that of the class path.
    with os.scandir(spark) as entries:
        parts += [str(spark), *((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)]
    parts += [(str(jar), _stamp(jar)) for jar in jars]
    parts += [(name, os.environ.get(name, "")) for name in _PLACES]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _record(java: Path, jars: tuple[Path, ...], work: Path) -> Path:
    """Run Spark in ``work`` and return the archive that its JVM wrote when it ended."""
    archive, log = work / "archive.jsa", work / "spark.log"
    conf: Settings = (
        ("spark.master", "local[2]"),
        ("spark.driver.memory", "512m"),
        ("spark.driver.host", "127.0.0.1"),
        ("spark.driver.bindAddress", "127.0.0.1"),
        ("spark.ui.enabled", "false"),
        ("spark.ui.showConsoleProgress", "false"),
        ("spark.sql.shuffle.partitions", "2"),
        ("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"),
        ("spark.sql.catalogImplementation", "in-memory"),
        ("spark.local.dir", str(work)),
        # The client compiler and the simple collector do for a minute; an archive serves every compiler and collector.
        ("spark.driver.defaultJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"),
        ("spark.driver.extraJavaOptions", shlex.quote(f"-XX:ArchiveClassesAtExit={archive}")),
    )
    settings = SparkSettings(
        "class-data", conf, (), lambda: java, lambda: jars, log, lambda: _catalog(work), end_seconds=_BUILD_SECONDS
    )
    tool = SparkTool(settings)
    with _without(_APPENDED):
        try:
            _rehearse(tool.table_session().session(), work)
        finally:
            ended = tool.stop()
    if ended != 0 or not archive.is_file():
        raise TerminalError(
            f"{java} wrote no class data: {_last_line(log)}",
            remedy=f"Spark runs without. Set {VARIABLE}=off if this Java cannot archive classes.",
            java=str(java),
        )
    return archive


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Hide environment variables: a directory on the class path cannot be archived, and stands behind the jars anyway."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _catalog(work: Path) -> Settings:
    prefix = "spark.sql.catalog.lake"
    return (
        (prefix, "org.apache.iceberg.spark.SparkCatalog"),
        (f"{prefix}.type", "jdbc"),
        (f"{prefix}.uri", f"jdbc:sqlite:{work}/catalog.db"),
        (f"{prefix}.jdbc.schema-version", "V1"),
        (f"{prefix}.warehouse", str(work / "warehouse")),
        (f"{prefix}.cache-enabled", "false"),
    )


def _rehearse(session: "SparkSession", work: Path) -> None:
    """Do once what runs do: read by JDBC in parts, write Parquet, write, merge and read an Iceberg table."""
    import sqlite3

    database = sqlite3.connect(work / "source.db")
    with database:
        database.execute("CREATE TABLE t (id INTEGER, price NUMERIC, name TEXT, day TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(n, n / 4, f"row {n}", "2026-01-01") for n in range(200)])
    database.close()
    read = session.read.option("driver", "org.sqlite.JDBC").option("fetchsize", "100")
    typed = read.option("customSchema", "id BIGINT, price DOUBLE, name STRING, day STRING")
    frame = typed.jdbc(f"jdbc:sqlite:{work}/source.db", "(SELECT * FROM t) q", predicates=["id < 100", "id >= 100"])
    columns = "id", "CAST(price AS DECIMAL(10,2)) AS price", "name", "CAST(day AS DATE) AS day", "current_timestamp() AS at"
    frame.selectExpr(*columns).write.option("compression", "zstd").parquet(str(work / "staged"))
    session.read.parquet(str(work / "staged")).createOrReplaceTempView("staged")
    session.sql("CREATE NAMESPACE lake.ns")
    session.sql("CREATE TABLE lake.ns.t USING iceberg AS SELECT * FROM staged WHERE id < 150")
    session.sql("ALTER TABLE lake.ns.t CREATE BRANCH b")
    session.sql("SELECT count(*), count(DISTINCT id), count_if(id IS NULL) FROM staged").collect()
    newest = "SELECT *, row_number() OVER (PARTITION BY id ORDER BY at DESC, struct(name, day) DESC) AS n FROM staged"
    session.sql(f"SELECT id, price, name, day, at FROM ({newest}) WHERE n = 1").createOrReplaceTempView("winners")
    session.sql(
        "MERGE INTO lake.ns.t.branch_b t USING winners s ON t.id = s.id WHEN MATCHED AND NOT (t.name <=> s.name AND "
        "t.at <=> s.at) THEN UPDATE SET t.name = s.name WHEN NOT MATCHED THEN INSERT *"
    )
    session.sql("SELECT count(*) FROM lake.ns.t.branch_b JOIN (SELECT DISTINCT id FROM staged) USING (id)").collect()
    jvm: Any = session._jvm
    for driver in ("org.postgresql.Driver", "org.mariadb.jdbc.Driver"):
        jvm.java.lang.Class.forName(driver)


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        telling = [line for line in lines if "[cds" in line or "rror" in line] or lines
        if telling:
            return telling[-1]
    return "it says nothing about it."
