"""The jars that Spark needs beside its own: pinned by hash, fetched once, found without a network afterwards."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.tools.java import require_java

MIRROR_VARIABLE = "INGESTION_JARS_MIRROR"
CACHE_VARIABLE = "INGESTION_CACHE_DIR"
# With the second that a JVM takes to start this keeps the promise of a clear error within 30 s. A slow but moving
# download is never cut off: measured is the silence, not the whole.
STALL_SECONDS = 20.0
ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: its Maven coordinates, its file name in the cache, and what it must hash to."""

    group: str
    artifact: str
    version: str
    file: str
    sha256: str


class JarState(StrEnum):
    """How a jar stands in the cache."""

    GOOD = "good"
    ABSENT = "absent"
    CHANGED = "changed"


def pinned_jars() -> tuple[Jar, ...]:
    """Return the list that the package carries."""
    entries = json.loads(Path(__file__).with_name("jars.json").read_text(encoding="utf-8"))
    return tuple(Jar(**entry) for entry in entries)


def default_cache_directory() -> Path:
    """Return where jars are kept: INGESTION_CACHE_DIR, else a folder below the user's cache."""
    override = os.environ.get(CACHE_VARIABLE)
    if override:
        return Path(override).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ingestion-runtime" / "jars"


@contextmanager
def workspace(directory: Path, prefix: str, tidy: Callable[[], None], what: str, remedy: str) -> Iterator[Path]:
    """Lend a temporary directory within a cache (moving a file out of it is a rename), after ``tidy`` cleared it.

    Raises ConfigError, which calls the cache ``what``, when it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tidy()
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    except OSError as error:
        raise ConfigError(
            f"The {what} {directory} cannot be written: {error.strerror}.", remedy=remedy, directory=str(directory)
        ) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class JarCache:
    """A directory of verified jars. Several processes may fill it at once: each moves whole, verified files in."""

    def __init__(
        self,
        directory: Path,
        *,
        mirror: str | None = None,
        java: Callable[[], Path] = require_java,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self._directory = directory
        self._mirror = mirror or os.environ.get(MIRROR_VARIABLE) or None
        self._java = java
        self._stall_seconds = stall_seconds

    def ensure(self, jars: Sequence[Jar] | None = None) -> tuple[Path, ...]:
        """Return one path per jar, in order, fetching those that are missing.

        Raises TerminalError when a jar does not have its pinned hash (the file is removed), TransientError when the
        repository does not deliver, ConfigError when the cache cannot be written or there is no Java.
        """
        wanted = pinned_jars() if jars is None else tuple(jars)
        missing = [jar for jar in wanted if not self._is_verified(jar)]
        if missing:
            self._fetch(missing)
        return tuple(self._directory / jar.file for jar in wanted)

    def look(self) -> Mapping[Jar, JarState]:
        """Return how the pinned jars stand. Nothing is fetched, removed or marked."""
        return {jar: self._state(jar) for jar in pinned_jars()}

    def _state(self, jar: Jar) -> JarState:
        path = self._directory / jar.file
        try:
            if _marker(path).is_file() and _marker(path).read_text(encoding="ascii") == _fingerprint(path, jar):
                return JarState.GOOD
            return JarState.GOOD if _sha256(path) == jar.sha256 else JarState.CHANGED
        except OSError:
            return JarState.ABSENT

    def _is_verified(self, jar: Jar) -> bool:
        path = self._directory / jar.file
        try:
            fingerprint = _fingerprint(path, jar)
        except OSError:
            return False  # not there; or out of reach, which the attempt to fetch it explains
        marker = _marker(path)
        # Hashing 60 MB takes 0.06 s from memory and longer from a cold disk: size and time tell whether it is needed.
        with suppress(OSError):
            if marker.read_text(encoding="ascii") == fingerprint:
                return True
        self._verify(jar, path)
        with suppress(OSError):  # a read-only cache still serves, only hashing each time
            _write_atomically(marker, fingerprint)
        return True

    def _verify(self, jar: Jar, path: Path) -> None:
        found = _sha256(path)
        if found == jar.sha256:
            return
        with suppress(OSError):
            path.unlink()
        raise TerminalError(
            f"{jar.file} has the SHA-256 {found}, expected was {jar.sha256}.",
            remedy=f"The file was removed. Find out who changed it ({self._source()}, or {path}), then run again.",
            jar=jar.file,
            expected=jar.sha256,
            found=found,
        )

    def _fetch(self, jars: Sequence[Jar]) -> None:
        java = self._java()
        with self._workspace() as work:
            command = _ivy_command(java, work, jars, self._mirror)
            output = self._run_watched(command, work)
            for jar in jars:
                fetched = work / "out" / jar.file
                if not fetched.is_file():
                    raise self._undelivered(jar, f"did not deliver it: {self._reason(output)}")
                self._verify(jar, fetched)
                fetched.chmod(0o644)
                target = self._directory / jar.file
                fetched.replace(target)
                _write_atomically(_marker(target), _fingerprint(target, jar))

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        unwritable = ("jar cache", f"Make it writable or let {CACHE_VARIABLE} name another directory.")
        with workspace(self._directory, ".fetch-", self._remove_abandoned, *unwritable) as work:
            yield work

    def _remove_abandoned(self) -> None:
        """Remove what killed processes left behind; a living one writes into its own far more often than daily."""
        for left in self._directory.glob(".fetch-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def _run_watched(self, command: Sequence[str], work: Path) -> str:
        """Run Ivy for as long as bytes arrive; it has no time-out of its own for a server that never answers."""
        log = work / "ivy.log"
        with log.open("wb") as sink:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=work)
            try:
                self._wait_while_moving(child, work)
            finally:
                child.kill()
                child.wait()
        return log.read_text(encoding="utf-8", errors="replace")

    def _wait_while_moving(self, child: subprocess.Popen[bytes], work: Path) -> None:
        size, moved = -1, time.monotonic()
        while child.poll() is None:
            now = _tree_size(work)
            if now != size:
                size, moved = now, time.monotonic()
            elif time.monotonic() - moved > self._stall_seconds:
                raise self._undelivered(None, f"sent nothing for {self._stall_seconds:g} s")
            time.sleep(0.1)

    def _undelivered(self, jar: Jar | None, what: str) -> TransientError:
        name = jar.file if jar else "jars"
        return TransientError(
            f"Fetching {name}: {self._source()} {what}.",
            remedy=f"Without internet let {MIRROR_VARIABLE} name a mirror in Maven layout (directory or URL), "
            f"or copy the jar into {self._directory}.",
            jar=name,
            directory=str(self._directory),
        )

    def _source(self) -> str:
        return f"the mirror {_without_login(self._mirror)}" if self._mirror else "the public Maven repository"

    def _reason(self, output: str) -> str:
        """What Ivy says went wrong, in one line. It repeats the URL, which may carry a password."""
        telling = [line.strip() for line in output.splitlines() if re.search(r"exception|refused|not found", line, re.I)]
        return _without_login(telling[0]) if telling else "no reason given"


def _ivy_command(java: Path, work: Path, jars: Sequence[Jar], mirror: str | None) -> list[str]:
    """Write Ivy's two files and return its command line. Without a mirror Ivy knows the public repository itself."""
    from xml.sax.saxutils import quoteattr  # 7 ms, for the one run that has to fetch jars

    root = f" root={quoteattr(_as_url(mirror))}" if mirror else ""
    # No poms and no checksums: the list is complete and carries better hashes, so a mirror needs the jars only.
    (work / "settings.xml").write_text(
        '<ivysettings><property name="ivy.checksums" value=""/><settings defaultResolver="r"/>'
        f'<resolvers><ibiblio name="r" m2compatible="true" usepoms="false"{root}/></resolvers></ivysettings>',
        encoding="utf-8",
    )
    wanted = "".join(
        f'<dependency org="{jar.group}" name="{jar.artifact}" rev="{jar.version}" transitive="false"/>' for jar in jars
    )
    (work / "ivy.xml").write_text(
        '<ivy-module version="2.0"><info organisation="ingestion-runtime" module="jars"/>'
        f"<dependencies>{wanted}</dependencies></ivy-module>",
        encoding="utf-8",
    )
    options = ["-settings", "settings.xml", "-ivy", "ivy.xml", "-cache", str(work / "cache"), "-types", "jar"]
    retrieve = ["-retrieve", str(work / "out" / "[artifact]-[revision].[ext]")]
    home = [f"-Divy.home={work}", f"-Divy.default.ivy.user.dir={work}"]
    return [str(java), *home, "-cp", str(_ivy_jar()), "org.apache.ivy.Main", *options, *retrieve]


def spark_jars() -> Path:
    """Return the directory of Spark's own jars, found without importing pyspark; raises ConfigError when there is none."""
    spec = importlib.util.find_spec("pyspark")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if Path(place, "jars").is_dir():
            return Path(place, "jars")
    raise ConfigError("pyspark with its jars is not installed.", remedy="Run `make install`.")


def _ivy_jar() -> Path:
    for jar in spark_jars().glob("ivy-*.jar"):
        return jar
    raise ConfigError("pyspark's jars lack Ivy.", remedy="Run `make install`.")


def _as_url(mirror: str) -> str:
    return mirror if "://" in mirror or mirror.startswith("file:") else Path(mirror).expanduser().absolute().as_uri()


def _without_login(text: str | None) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text or "")


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _fingerprint(path: Path, jar: Jar) -> str:
    status = path.stat()
    return f"{jar.sha256} {status.st_size} {status.st_mtime_ns}\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_atomically(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".marker-", delete=False, encoding="ascii") as stream:
        stream.write(text)
    written = Path(stream.name)
    written.chmod(0o644)
    written.replace(path)


def _tree_size(directory: Path) -> int:
    """Bytes below a directory that another process is changing."""
    size = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size
    return size


def main() -> int:
    """Fill the cache with jars and class data, and say where they are (``make test`` does this first)."""
    began = time.monotonic()
    cache = default_cache_directory()
    try:
        paths = JarCache(cache).ensure()
    except IngestionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{len(paths)} jars in {cache}, {time.monotonic() - began:.1f} s", file=sys.stderr)
    _add_class_data(cache, paths)
    return 0


def _add_class_data(cache: Path, jars: Sequence[Path]) -> None:
    """Build what makes Spark start faster. It is not needed: if it cannot be had the reason is told, and all is well."""
    from ingestion_runtime.tools.class_data import FOLDER, ClassData, is_wanted

    if not is_wanted(os.environ):
        return
    began = time.monotonic()
    try:
        archive = ClassData(cache / FOLDER).build(require_java(), jars)
    except Exception as error:  # noqa: BLE001 - whatever it was, the jars are there
        print(f"No class data, Spark will start without: {error}", file=sys.stderr)
    else:
        print(f"class data in {archive}, {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
