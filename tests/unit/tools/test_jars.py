"""Jars are fetched once, verified, and found without a network; what goes wrong is clear within 30 s.

The real Ivy runs against real servers on the loopback address.
"""

import functools
import hashlib
import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingestion_runtime.model.errors import ConfigError, TerminalError, TransientError
from ingestion_runtime.tools.jars import STALL_SECONDS, Jar, JarCache, default_cache_directory, pinned_jars

CONTENT = b"not really a jar" * 1000


def jar(content: bytes = CONTENT, artifact: str = "tool") -> Jar:
    return Jar("com.example", artifact, "1.2", f"{artifact}-1.2.jar", hashlib.sha256(content).hexdigest())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A directory in Maven layout with two jars."""
    root = tmp_path / "repo"
    for artifact in ("tool", "other"):
        place = root / "com" / "example" / artifact / "1.2"
        place.mkdir(parents=True)
        (place / f"{artifact}-1.2.jar").write_bytes(CONTENT)
    return root


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Trickle(Quiet):
    """Sends a file slowly: every pause is short, the whole takes longer than the permitted silence."""

    def copyfile(self, source: object, outputfile: object) -> None:
        data = source.read()  # type: ignore[attr-defined]
        for start in range(0, len(data), len(data) // 8):
            outputfile.write(data[start : start + len(data) // 8])  # type: ignore[attr-defined]
            time.sleep(0.5)


@pytest.fixture
def serve(repository: Path) -> Iterator[object]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(handler: type[Quiet]) -> str:
        made = functools.partial(handler, directory=str(repository))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_jar_comes_from_a_directory_mirror(repository: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    paths = JarCache(cache, mirror=str(repository)).ensure([jar(), jar(artifact="other")])
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert [path.name for path in paths] == ["tool-1.2.jar", "other-1.2.jar"]
    assert names(cache) == {f"{name}-1.2.jar{end}" for name in ("tool", "other") for end in ("", ".verified")}


def test_a_jar_comes_over_http_and_is_found_without_a_network_later(
    serve, tmp_path: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGESTION_JARS_MIRROR", serve(Quiet))
    first = JarCache(tmp_path / "cache").ensure([jar()])
    monkeypatch.setenv("INGESTION_JARS_MIRROR", closed_port)
    began = time.monotonic()
    assert JarCache(tmp_path / "cache").ensure([jar()]) == first
    assert time.monotonic() - began < 0.5


def test_a_jar_that_was_copied_in_by_hand_needs_no_network_and_no_java(tmp_path: Path, closed_port: str) -> None:
    def no_java() -> Path:
        raise AssertionError("java was asked for")

    (tmp_path / "tool-1.2.jar").write_bytes(CONTENT)
    cache = JarCache(tmp_path, mirror=closed_port, java=no_java)
    assert cache.ensure([jar()]) == (tmp_path / "tool-1.2.jar",)


def test_an_unchanged_jar_is_not_hashed_again_and_a_touched_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda f, name: (hashed.append(f.name), real(f, name))[1])
    path = tmp_path / "tool-1.2.jar"
    path.write_bytes(CONTENT)
    for _ in range(3):
        JarCache(tmp_path).ensure([jar()])
    assert len(hashed) == 1
    os.utime(path, ns=(1, 1))
    JarCache(tmp_path).ensure([jar()])
    assert len(hashed) == 2


def test_a_jar_with_a_wrong_hash_from_the_repository_is_refused(repository: Path, tmp_path: Path) -> None:
    expected = jar(b"something else")
    with pytest.raises(TerminalError, match=r"tool-1\.2\.jar") as caught:
        JarCache(tmp_path / "cache", mirror=str(repository)).ensure([expected])
    assert caught.value.values["expected"] == expected.sha256
    assert caught.value.values["found"] == hashlib.sha256(CONTENT).hexdigest()
    assert expected.sha256 in str(caught.value)
    assert names(tmp_path / "cache") == set()


def test_a_jar_that_was_changed_in_the_cache_is_refused_removed_and_fetched_by_the_next_run(
    repository: Path, tmp_path: Path
) -> None:
    cache = JarCache(tmp_path / "cache", mirror=str(repository))
    (path,) = cache.ensure([jar()])
    path.write_bytes(b"tampered")
    with pytest.raises(TerminalError, match="The file was removed"):
        cache.ensure([jar()])
    assert not path.exists()
    assert cache.ensure([jar()]) == (path,)
    assert path.read_bytes() == CONTENT


def test_a_refused_connection_is_told_with_both_remedies(tmp_path: Path, closed_port: str) -> None:
    login = closed_port.replace("//", "//me:hush@")
    began = time.monotonic()
    with pytest.raises(TransientError, match="INGESTION_JARS_MIRROR") as caught:
        JarCache(tmp_path / "cache", mirror=login).ensure([jar()])
    assert time.monotonic() - began < 30
    assert "refused" in str(caught.value)
    assert str(tmp_path / "cache") in str(caught.value)
    assert "hush" not in str(caught.value)
    assert names(tmp_path / "cache") == set()


def test_a_jar_that_the_repository_lacks_is_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match=r"absent-1\.2\.jar.*not found"):
        JarCache(tmp_path / "cache", mirror=str(repository)).ensure([jar(artifact="absent")])


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, black_hole: str) -> None:
    """With the default of 20 s it took 20.4 s; the test waits for less."""
    began = time.monotonic()
    with pytest.raises(TransientError, match="sent nothing for 3 s"):
        JarCache(tmp_path / "cache", mirror=black_hole, stall_seconds=3).ensure([jar()])
    assert time.monotonic() - began < 3 + (30 - STALL_SECONDS)
    assert names(tmp_path / "cache") == set()


def test_a_slow_download_is_not_given_up_while_it_moves(serve, tmp_path: Path, repository: Path) -> None:
    big = os.urandom(1_600_000)
    (repository / "com/example/tool/1.2/tool-1.2.jar").write_bytes(big)
    began = time.monotonic()
    cache = JarCache(tmp_path / "cache", mirror=serve(Trickle), stall_seconds=2.5)
    assert cache.ensure([jar(big)])[0].read_bytes() == big
    assert time.monotonic() - began > 3


def test_two_runs_may_fetch_the_same_jar_at_once(repository: Path, tmp_path: Path) -> None:
    caches = [JarCache(tmp_path / "cache", mirror=str(repository)) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda cache: cache.ensure([jar()]), caches)
    assert first == second
    assert first[0].read_bytes() == CONTENT


def test_a_cache_that_cannot_be_made_names_the_variable(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="INGESTION_CACHE_DIR"):
        JarCache(tmp_path / "file" / "cache", mirror=str(repository)).ensure([jar()])


def test_the_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("INGESTION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_directory() == tmp_path / "ingestion-runtime" / "jars"
    monkeypatch.setenv("INGESTION_CACHE_DIR", str(tmp_path / "mine"))
    assert default_cache_directory() == tmp_path / "mine"


def test_the_pinned_list_is_complete() -> None:
    assert [pinned.artifact for pinned in pinned_jars()] == [
        "iceberg-spark-runtime-4.1_2.13",
        "sqlite-jdbc",
        "postgresql",
        "mariadb-java-client",
    ]
    for pinned in pinned_jars():
        assert pinned.file == f"{pinned.artifact}-{pinned.version}.jar"
        assert len(pinned.sha256) == 64
