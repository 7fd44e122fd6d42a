"""Which archive of classes a start of Spark uses: the one that was built for this Java and these jars, and no other."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tools import class_data
from ingestion_runtime.tools.class_data import ClassData, class_data_options
from ingestion_runtime.tools.jars import ABANDONED_SECONDS
from ingestion_runtime.tools.java import require_java

DAY = 24 * 3600


class Cache:
    """An archive of ours in a directory, and the Java and the jar that it was built for."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "class-data"
        self.java = require_java()
        self.jar = root / "driver.jar"
        self.jar.write_bytes(b"classes")
        self.made = 0
        self.record = self.write

    def write(self, _java: Path, _jars: Sequence[Path], work: Path) -> Path:
        """What a JVM writes is the integration test's business; here are the decisions around it."""
        self.made += 1
        archive = work / "archive.jsa"
        archive.write_bytes(b"archive %d" % self.made)
        return archive

    @property
    def data(self) -> ClassData:
        return ClassData(self.directory, self.record)

    def build(self) -> Path:
        return self.data.build(self.java, [self.jar])

    def used(self) -> Path | None:
        options = self.data.options(self.java, [self.jar])
        named = [option.partition("SharedArchiveFile=")[2] for option in options if "SharedArchiveFile=" in option]
        return Path(named[0]) if named else None


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_without_an_archive_there_are_no_options(cache: Cache) -> None:
    """A first start, a cache that nobody filled, a directory that is not there."""
    assert cache.data.options(cache.java, [cache.jar]) == ()


def test_what_was_built_is_used_and_not_built_again(cache: Cache) -> None:
    built = cache.build()

    assert cache.used() == built
    assert cache.build() == built
    assert cache.made == 1


def test_an_archive_is_verified_by_the_jvm_and_never_insisted_on(cache: Cache) -> None:
    """Without verification a wrong byte crashes the JVM; with -Xshare:on a misfit would end it."""
    cache.build()
    options = cache.data.options(cache.java, [cache.jar])

    assert {"-Xshare:auto", "-XX:+VerifySharedSpaces"} <= set(options)


def test_another_jar_needs_another_archive(cache: Cache) -> None:
    first = cache.build()
    cache.jar.write_bytes(b"other classes")

    assert cache.used() is None
    assert cache.build() != first
    assert cache.made == 2


def test_a_jar_with_another_time_needs_another_archive(cache: Cache) -> None:
    """The JVM compares times too, and would not use it."""
    cache.build()
    os.utime(cache.jar, ns=(1, 1))

    assert cache.used() is None


def test_another_java_needs_another_archive(cache: Cache, tmp_path: Path) -> None:
    cache.build()
    home = tmp_path / "java"
    for part in ("bin/java", "lib/server/libjvm.so"):
        (home / part).parent.mkdir(parents=True, exist_ok=True)
        (home / part).write_bytes(b"another build")

    assert cache.data.options(home / "bin" / "java", [cache.jar]) == ()


def test_settings_that_change_the_class_path_need_another_archive(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.build()
    monkeypatch.setenv("SPARK_CONF_DIR", "/etc/spark")

    assert cache.used() is None


@pytest.mark.parametrize("content", [b"", b"archive", b"archive 1 and more"])
def test_an_archive_of_another_size_is_not_used_and_built_anew(cache: Cache, content: bytes) -> None:
    """The JVM crashes on a shortened one (SIGBUS)."""
    built = cache.build()
    built.write_bytes(content)

    assert cache.used() is None
    assert cache.build() != built
    assert cache.used() is not None


def test_an_archive_that_was_written_to_is_not_used(cache: Cache) -> None:
    built = cache.build()
    built.write_bytes(b"ARCHIVE 1")

    assert cache.used() is None


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"archive": "x.jsa", "bytes": 1}', "\x00", '{"archive": 7}'])
def test_a_note_that_says_nothing_is_no_obstacle(cache: Cache, note: str) -> None:
    cache.build()
    for found in cache.directory.glob("*.json"):
        found.write_text(note)

    assert cache.used() is None
    cache.build()
    assert cache.used() is not None


def test_an_archive_whose_builder_was_killed_before_the_note_does_not_count(cache: Cache) -> None:
    cache.build()
    for note in cache.directory.glob("*.json"):
        note.unlink()

    assert cache.used() is None


def test_two_that_build_at_once_leave_one_that_is_used(cache: Cache) -> None:
    """The second begins and ends while the first is building: whichever note is last names its own archive."""
    inner: list[Path] = []

    def overtaken(java: Path, jars: Sequence[Path], work: Path) -> Path:
        cache.record = cache.write
        inner.append(cache.build())
        return cache.write(java, jars, work)

    cache.record = overtaken
    outer = cache.build()

    assert outer != inner[0]
    assert cache.used() == outer
    assert inner[0].read_bytes() == b"archive 1"  # a JVM may have mapped it


def test_a_failed_build_leaves_nothing(cache: Cache) -> None:
    def fail(_java: Path, _jars: Sequence[Path], work: Path) -> Path:
        (work / "archive.jsa").write_bytes(b"half")
        raise OSError("No space left on device")

    cache.record = fail
    with pytest.raises(OSError, match="No space"):
        cache.build()

    assert list(cache.directory.iterdir()) == []


def test_leftovers_are_removed_by_a_later_build(cache: Cache) -> None:
    """Of killed builders after a day, and archives that nobody used for a month; not what may be in the making."""
    old = cache.build()
    (note,) = cache.directory.glob("*.json")
    abandoned, fresh = cache.directory / ".build-old", cache.directory / ".build-new"
    for work in (abandoned, fresh):
        work.mkdir()
    past = time.time() - ABANDONED_SECONDS - 60
    os.utime(abandoned, (past, past))
    os.utime(old, (past, past))
    os.utime(note, (past - 31 * DAY, past - 31 * DAY))
    cache.jar.write_bytes(b"other classes")
    new = cache.build()

    assert {path.name for path in cache.directory.iterdir() if path.suffix != ".json"} == {new.name, fresh.name}


def test_an_archive_whose_spark_is_gone_goes_with_the_next_build(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: an environment was thrown away, and made anew it needs another one."""
    spark = cache.directory.parent / "thrown-away" / "pyspark" / "jars"
    spark.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(class_data, "spark_jars", lambda: spark)
        useless = cache.build()
    spark.rmdir()
    new = cache.build()

    assert useless != new
    assert {path.suffix for path in cache.directory.iterdir()} == {".json", ".jsa"}
    assert len(list(cache.directory.iterdir())) == 2
    assert cache.used() == new


def test_using_an_archive_keeps_it(cache: Cache) -> None:
    """Its age is that of the last use."""
    cache.build()
    (note,) = cache.directory.glob("*.json")
    os.utime(note, (1, 1))
    cache.used()

    assert time.time() - note.stat().st_mtime < 60


def test_a_path_with_blanks_and_quotes_is_one_option(tmp_path: Path) -> None:
    """Spark cuts its options as a shell does; they are quoted where they are joined, not here."""
    odd = Cache(tmp_path)
    odd.directory = tmp_path / "it's a cache"

    built = odd.build()
    assert odd.used() == built


def test_a_path_with_a_colon_is_not_used(tmp_path: Path) -> None:
    """The JVM would take it for two archives."""
    odd = Cache(tmp_path)
    odd.directory = tmp_path / "a:b"
    odd.build()

    assert odd.used() is None


def test_a_directory_that_cannot_be_made_is_told_with_the_way_out(cache: Cache) -> None:
    cache.directory.write_text("in the way")

    with pytest.raises(ConfigError, match="INGESTION_CLASS_DATA=off"):
        cache.build()
    assert cache.used() is None


def test_jars_that_are_gone_are_no_obstacle_here(cache: Cache) -> None:
    """Who needs them says so; this only makes a start faster."""
    cache.build()
    cache.jar.unlink()

    assert cache.used() is None


@pytest.mark.parametrize("word", ["off", "OFF", "0", "no", " false "])
def test_the_environment_switches_it_off(cache: Cache, word: str, tmp_path: Path) -> None:
    cache.build()
    shutil.copytree(cache.directory, tmp_path / "jars" / "class-data")
    offered = class_data_options(tmp_path / "jars", {"INGESTION_CLASS_DATA": word})
    standing = class_data_options(tmp_path / "jars", {})

    assert offered(cache.java, [cache.jar]) == ()
    assert standing(cache.java, [cache.jar]) != ()


def test_a_note_names_the_archive_beside_it(cache: Cache) -> None:
    """A cache that is copied or mounted elsewhere goes on being one."""
    built = cache.build()
    (note,) = cache.directory.glob("*.json")

    assert json.loads(note.read_text())["archive"] == built.name
