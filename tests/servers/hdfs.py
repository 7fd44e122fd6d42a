"""An HDFS of the tests' own: MiniDFSCluster in a JVM that listens on loopback, gone afterwards.

The JVM is driven through py4j, as pyspark drives its own: there is no Java source, so no compiler is needed.
"""

import getpass
import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from ingestion_runtime.tools.jars import Jar, JarCache, default_cache_directory
from ingestion_runtime.tools.java import require_java

# Hadoop's client and what it needs come with pyspark; the cluster's jar has to be of the same version.
_WITH_PYSPARK = ("hadoop-client-*.jar", "slf4j-api-*.jar", "log4j-*.jar", "jcl-over-slf4j-*.jar", "py4j-*.jar")
_JVM = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]
_SETTINGS = {
    "dfs.namenode.fs-limits.min-block-size": "1024",
    "dfs.permissions.enabled": "true",
    # One DataNode: a pipeline that has lost it has nowhere to go, and a client need not look for another.
    "dfs.replication": "1",
    # Who comes over HTTP without a name is the one who started the cluster, and may write.
    "hadoop.http.staticuser.user": getpass.getuser(),
}


def hdfs_jars() -> tuple[Jar, ...]:
    """Return the jars that only these tests need, pinned like the package's own."""
    entries = json.loads(Path(__file__).with_name("jars.json").read_text(encoding="utf-8"))
    return tuple(Jar(**entry) for entry in entries)


class HdfsServer:
    """One NameNode and one DataNode. Started by ``with``."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._base = Path()
        self._gateway: Any = None
        self._process: Any = None
        self._cluster: Any = None
        self._stopped: Any = None

    def __enter__(self) -> "HdfsServer":
        self._base = Path(tempfile.mkdtemp(prefix="hdfs-"))
        try:
            self._launch()
            hadoop = self._gateway.jvm.org.apache.hadoop
            settings = hadoop.conf.Configuration()
            for key, value in {**_SETTINGS, "hdfs.minidfs.basedir": str(self._base / "data")}.items():
                settings.set(key, value)
            self._cluster = hadoop.hdfs.MiniDFSCluster.Builder(settings).numDataNodes(1).build()
            self._cluster.waitActive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.shutdown(True)
        if self._process is not None:
            self._gateway.close()
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
        shutil.rmtree(self._base, ignore_errors=True)

    @property
    def uri(self) -> str:
        """hdfs://host:port"""
        return str(self._cluster.getURI().toString())

    @property
    def web_uri(self) -> str:
        """webhdfs://host:port, for clients without a JVM"""
        return str(self._cluster.getHttpUri(0)).replace("http:", "webhdfs:")

    def new_root(self) -> str:
        """Return a directory that nobody uses; it does not exist yet."""
        return f"{self.uri}/tests/{next(self._numbers)}"

    def files(self, root: str) -> list[str]:
        """Return all files below a directory, in the words of a client of our own."""
        path = self._path(root)
        if not self._system().exists(path):
            return []
        found, walk = [], self._system().listFiles(path, True)
        while walk.hasNext():
            found.append(str(walk.next().getPath().toString()))
        return sorted(found)

    def read(self, path: str) -> bytes:
        """Return what a file holds."""
        stream = self._system().open(self._path(path))
        try:
            return bytes(stream.readAllBytes())
        finally:
            stream.close()

    def write(self, path: str, content: bytes) -> None:
        """Write a file, in place of one that may be there."""
        stream = self._system().create(self._path(path), True)
        stream.write(content)
        stream.close()

    def stop_datanode(self) -> None:
        """Stop the DataNode: names can still be read and written, contents cannot."""
        self._stopped = self._cluster.stopDataNode(0)

    def start_datanode(self) -> None:
        """Start the DataNode again, with the blocks it had, and wait until it serves them."""
        self._cluster.restartDataNode(self._stopped, True)
        self._cluster.waitActive()

    def set_safe_mode(self, *, on: bool) -> None:
        """Enter or leave safe mode, in which nothing can be written."""
        actions = self._gateway.jvm.org.apache.hadoop.fs.SafeModeAction
        self._system().setSafeMode(actions.ENTER if on else actions.LEAVE)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the cluster's output."""
        return "\n".join((self._base / "log").read_text(errors="replace").splitlines()[-lines:])

    def _system(self) -> Any:
        return self._cluster.getFileSystem()

    def _path(self, path: str) -> Any:
        return self._gateway.jvm.org.apache.hadoop.fs.Path(path)

    def _launch(self) -> None:
        here = Path(pyspark.__file__).parent / "jars"
        jars = [jar for pattern in _WITH_PYSPARK for jar in here.glob(pattern)]
        jars += JarCache(default_cache_directory()).ensure(hdfs_jars())
        # Its readers close the log when the JVM has ended.
        log = (self._base / "log").open("w")
        port, token, self._process = launch_gateway(
            jarpath=str(next(here.glob("py4j-*.jar"))),
            classpath=":".join(map(str, jars)),
            javaopts=_JVM,
            java_path=str(require_java()),
            die_on_exit=True,
            enable_auth=True,
            redirect_stdout=log,
            redirect_stderr=log,
            return_proc=True,
            create_new_process_group=True,
        )
        # Without memory management nothing talks to the JVM when Python's collector meets what the cluster left behind.
        parameters = GatewayParameters(port=port, auth_token=token, enable_memory_management=False)
        self._gateway = JavaGateway(gateway_parameters=parameters)
