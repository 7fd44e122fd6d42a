"""A Java that Spark cannot use is noticed before anything happens, and the message says what to install."""

from pathlib import Path

import pytest

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.tools.java import require_java

MODERN = 'openjdk version "{}" 2025-04-15\nOpenJDK Runtime Environment'


def fake_java(home: Path, script: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    return java


def answers(version: str) -> str:
    return f"echo '{MODERN.format(version)}' >&2"


@pytest.fixture
def path_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that starts with an own bin directory, and no JAVA_HOME."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def test_the_java_of_this_machine_is_accepted() -> None:
    assert require_java().name == "java"


@pytest.mark.parametrize("version", ["17.0.15", "21.0.2", "17-ea"])
def test_a_supported_version_on_path_is_accepted(path_java: Path, version: str) -> None:
    java = fake_java(path_java, answers(version))
    assert require_java() == java


def test_java_home_comes_before_path(path_java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(path_java, answers("11.0.2"))
    java = fake_java(tmp_path / "home", answers("21.0.2"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert require_java() == java


def test_no_java_names_the_package(path_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(path_java))
    with pytest.raises(ConfigError, match="openjdk-17-jre-headless") as caught:
        require_java()
    assert caught.value.exit_code == 2


def test_java_home_without_java_is_named(path_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(path_java, answers("17.0.1"))
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(ConfigError, match="JAVA_HOME is /nowhere"):
        require_java()


def test_java_11_is_too_old(path_java: Path) -> None:
    fake_java(path_java, answers("11.0.22"))
    with pytest.raises(ConfigError, match="is Java 11; Spark needs 17 or newer"):
        require_java()


def test_java_8_is_too_old_although_it_does_not_know_the_option(path_java: Path) -> None:
    fake_java(
        path_java,
        'case "$1" in --add-modules) echo "Unrecognized option: --add-modules" >&2; exit 1;; esac\n'
        "echo 'java version \"1.8.0_402\"' >&2",
    )
    with pytest.raises(ConfigError, match="is Java 8; Spark needs 17 or newer"):
        require_java()


def test_a_small_runtime_without_the_module_is_refused(path_java: Path) -> None:
    fake_java(
        path_java,
        'case "$1" in --add-modules) echo "java.lang.module.FindException: Module $2 not found"; exit 1;; esac\n'
        + answers("21.0.2"),
    )
    with pytest.raises(ConfigError, match=r"Java 21, but lacks the module jdk\.incubator\.vector"):
        require_java()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Error: could not find libjvm.so' >&2; exit 127", "does not run: Error: could not find libjvm"),
        ("exit 1", "it prints nothing"),
        ("exit 0", "did not tell its version"),
    ],
)
def test_a_broken_java_is_refused_with_its_own_words(path_java: Path, script: str, message: str) -> None:
    fake_java(path_java, script)
    with pytest.raises(ConfigError, match=message):
        require_java()


def test_a_java_that_hangs_is_given_up(path_java: Path) -> None:
    fake_java(path_java, "exec sleep 60")
    with pytest.raises(ConfigError, match=r"did not answer within 0\.5 s"):
        require_java(timeout_seconds=0.5)


def test_a_file_that_is_no_program_is_refused(path_java: Path) -> None:
    fake_java(path_java, "").write_bytes(b"\x7fELF broken")
    with pytest.raises(ConfigError, match="cannot be started"):
        require_java()
