"""A start of Spark with class data and ahead of its use, on real JVMs: faster where it can be, the same everywhere else."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ingestion_runtime.tools.class_data import FOLDER, ClassData
from ingestion_runtime.tools.jars import JarCache, default_cache_directory, spark_jars
from ingestion_runtime.tools.java import require_java
from ingestion_runtime.tools.scratch import scratch
from ingestion_runtime.tools.spark import TEMPORARY

WAIT = 200.0
# A program that starts Spark early and tells when the JVM's launcher runs.
EARLY = """
import sys
from pathlib import Path
from ingestion_runtime.tools.jars import JarCache, default_cache_directory
from ingestion_runtime.tools.java import require_java
from ingestion_runtime.tools.spark import SparkTool
from ingestion_runtime.tools.spark_jvm import SparkSettings

conf = (("spark.master", "local[1]"), ("spark.ui.enabled", "false"), ("spark.driver.host", "127.0.0.1"),
        ("spark.driver.bindAddress", "127.0.0.1"),
        ("spark.driver.defaultJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"))
jars = JarCache(default_cache_directory()).ensure
tool = SparkTool(SparkSettings("early", conf, (), require_java, jars, Path(sys.argv[1]), lambda: ()))
tool.warm_up()
print("begun", flush=True)
"""
STOPPED = """
tool.stop()
import psutil
print("left", len(psutil.Process().children(recursive=True)), flush=True)
"""
WAITING = """
sys.stdin.read()
"""


class Archive:
    """The archive for this Java and the pinned jars in a directory of the test's own."""

    def __init__(self, root: Path) -> None:
        self.java = require_java()
        self.jars = JarCache(default_cache_directory()).ensure()
        shared = default_cache_directory() / FOLDER
        self.path = ClassData(shared).build(self.java, self.jars)
        own = root / "class data"  # with a blank: options are cut at blanks
        own.mkdir()
        for note in shared.glob("*.json"):
            shutil.copy2(note, own)
        self.data = ClassData(own)
        self.path = Path(shutil.copy2(self.path, own))
        self.path.chmod(0o644)

    def start(self, log: Path) -> tuple[int, str, int]:
        """Let Spark tell its version; return exit code, output, and how many of its classes came out of the archive."""
        options = self.data.options(self.java, self.jars)
        quoted = " ".join(f"'{option}'" for option in (*options, f"-Xlog:class+load:file={log}"))
        paths = ":".join(map(str, self.jars))
        conf = [f"spark.driver.extraClassPath={paths}", f"spark.driver.extraJavaOptions={quoted}"]
        command = [str(spark_jars().parent / "bin" / "spark-submit"), "--version"]
        settings = [part for setting in conf for part in ("--conf", setting)]
        environment = {**os.environ, "JAVA_HOME": str(self.java.parent.parent)}
        ended = subprocess.run(
            [*command, *settings], env=environment, capture_output=True, text=True, timeout=WAIT, check=False
        )
        return ended.returncode, ended.stdout + ended.stderr, log.read_text().count("shared objects file (top)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


def test_spark_takes_its_classes_from_the_archive(built: Archive, tmp_path: Path) -> None:
    """From the one that was built by the same launcher, for the same class path."""
    code, output, shared = built.start(tmp_path / "classes")

    assert code == 0, output
    assert shared > 100


def test_spark_uses_it_with_a_hadoop_configuration_too(
    built: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory stands behind the jars; on the class path of the archive it could not be."""
    (tmp_path / "core-site.xml").write_text("<configuration/>")
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    code, output, shared = built.start(tmp_path / "classes")

    assert code == 0, output
    assert shared > 100


def test_spark_starts_with_an_archive_whose_bytes_the_disk_returns_otherwise(built: Archive, tmp_path: Path) -> None:
    """Size and time are as they were, so only the JVM can tell: unverified, it crashes."""
    status, content = built.path.stat(), built.path.read_bytes()
    kept = {place: content[place : place + 4096] for place in range(4096, len(content), len(content) // 40)}
    with built.path.open("r+b") as file:
        for place in kept:
            file.seek(place)
            file.write(bytes(4096))
    os.utime(built.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert built.data.options(built.java, built.jars)
    code, output, shared = built.start(tmp_path / "classes")
    with built.path.open("r+b") as file:
        for place, bytes_there in kept.items():
            file.seek(place)
            file.write(bytes_there)
    os.utime(built.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert code == 0, output
    assert "version 4" in output
    assert shared == 0


def test_a_run_that_ends_while_spark_starts_leaves_no_jvm(tmp_path: Path) -> None:
    """It waits for the start it cannot stop, and ends it; what the JVM put aside has gone with it."""
    (tmp_path / "aside").mkdir()
    command = [sys.executable, "-c", EARLY + STOPPED, str(tmp_path / "log")]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "aside")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT, check=False)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["begun", "left", "0"]
    assert list((tmp_path / "aside").iterdir()) == []


def test_a_run_that_is_killed_while_spark_starts_leaves_no_jvm(tmp_path: Path) -> None:
    """The JVM ends when nobody holds its standard input any more. What it put aside lies in one folder, which the next one
    that starts removes."""
    aside = tmp_path / "aside"
    aside.mkdir()
    command = [sys.executable, "-c", EARLY + WAITING, str(tmp_path / "log")]
    environment = {**os.environ, "TMPDIR": str(aside)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        children: list[psutil.Process] = []
        while not any(aside.iterdir()):  # before that it only looks for a Java
            assert process.poll() is None
        while not children:
            assert process.poll() is None
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT)
    _, alive = psutil.wait_procs(children, timeout=WAIT)

    assert alive == []
    (left,) = aside.glob(f"{TEMPORARY}*")
    with scratch(aside, TEMPORARY) as folder:
        assert left.exists() is False
        assert list(aside.glob(f"{TEMPORARY}*")) == [folder]
