"""A Spark standalone cluster of the tests' own: a master and two workers from pyspark's own jars, on loopback."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pyspark

from ingestion_runtime.tools.java import require_java
from tests.servers.ports import HOST, free_port

WORKERS = 2
_READY_SECONDS = 60.0
# A zone that no test expects: what executors spell must not depend on where they stand.
_ZONE = "Asia/Tokyo"


class SparkCluster:
    """Started by ``with``. Every worker offers one core and ``memory``."""

    def __init__(self, memory: str = "1g") -> None:
        self._memory = memory
        self._base = Path()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = free_port()

    def __enter__(self) -> "SparkCluster":
        self._base = Path(tempfile.mkdtemp(prefix="spark-"))
        try:
            self._spawn("master", "Master", "--host", HOST, "--port", str(self._port), "--webui-port", "0")
            self._wait("master", "Starting Spark master at")
            for number in range(WORKERS):
                name = f"worker-{number}"
                place = ["--host", HOST, "--webui-port", "0", "--work-dir", str(self._base / name)]
                self._spawn(name, "Worker", *place, "--cores", "1", "--memory", self._memory, self.master)
            for number in range(WORKERS):
                self._wait(f"worker-{number}", "Successfully registered with master")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):  # workers first: they end their executors
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._base, ignore_errors=True)

    @property
    def master(self) -> str:
        """spark://host:port"""
        return f"spark://{HOST}:{self._port}"

    def executor_output(self) -> str:
        """Everything that the executors of all runs have written to their logs."""
        logs = sorted(self._base.glob("worker-*/app-*/*/std*"))
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def _spawn(self, name: str, role: str, *arguments: str) -> None:
        home = Path(pyspark.__file__).parent
        kind = f"org.apache.spark.deploy.{role.lower()}.{role}"
        environment = {
            **os.environ,
            "JAVA_HOME": str(require_java().parent.parent),
            "SPARK_HOME": str(home),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "SPARK_LOCAL_DIRS": str(self._base / "local"),
            "TZ": _ZONE,
        }
        with (self._base / f"{name}.log").open("wb") as log:
            command = [str(home / "bin" / "spark-class"), kind, *arguments]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)

    def _wait(self, name: str, words: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        log = self._base / f"{name}.log"
        while not re.search(words, log.read_text(errors="replace")):
            if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                raise RuntimeError(f"The Spark {name} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)
