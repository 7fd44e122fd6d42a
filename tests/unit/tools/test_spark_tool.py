"""A session that is started early: nobody waits for it before it is needed, and nothing that goes wrong is lost."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.tools.spark import SparkTool
from ingestion_runtime.tools.spark_jvm import SparkSettings

WAIT = 30.0


class Needs:
    """A Java that is looked for when the test lets it, and is never found."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.times = 0

    def java(self) -> Path:
        self.times += 1
        self.asked.set()
        assert self.answer.wait(WAIT)
        raise ConfigError(f"No java, asked {self.times} times.", remedy="Install one.")


@pytest.fixture
def needs() -> Needs:
    return Needs()


def tool(java: Callable[[], Path], tmp_path: Path) -> SparkTool:
    return SparkTool(SparkSettings("job", (), (), java, lambda: (), tmp_path / "spark.log", lambda: ()))


def early() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "spark-start"]


def test_warming_up_returns_while_spark_starts(needs: Needs, tmp_path: Path) -> None:
    warm = tool(needs.java, tmp_path)
    warm.warm_up()

    assert needs.asked.wait(WAIT)
    assert not warm.running
    needs.answer.set()
    warm.stop()


def test_what_went_wrong_is_raised_by_the_first_session_and_a_later_one_tries_anew(needs: Needs, tmp_path: Path) -> None:
    """As without an early start: a table that fails for it does not decide for the next one."""
    warm = tool(needs.java, tmp_path)
    needs.answer.set()
    warm.warm_up()
    for thread in early():
        thread.join(WAIT)

    with pytest.raises(ConfigError, match="asked 1 times"):
        warm.session()
    with pytest.raises(ConfigError, match="asked 2 times"):
        warm.session()


def test_a_session_waits_for_the_early_start(needs: Needs, tmp_path: Path) -> None:
    """Two starts at once would be two JVMs."""
    warm = tool(needs.java, tmp_path)
    warm.warm_up()
    assert needs.asked.wait(WAIT)
    threading.Timer(0.1, needs.answer.set).start()

    with pytest.raises(ConfigError, match="asked 1 times"):
        warm.session()


def test_it_is_started_once(needs: Needs, tmp_path: Path) -> None:
    """Every table of a run may ask for it."""
    warm = tool(needs.java, tmp_path)
    for _ in range(3):
        warm.warm_up()
    assert needs.asked.wait(WAIT)

    assert len(early()) == 1
    needs.answer.set()
    warm.stop()


def test_stopping_waits_for_a_start_under_way(needs: Needs, tmp_path: Path) -> None:
    """What it started would be nobody's."""
    warm = tool(needs.java, tmp_path)
    warm.warm_up()
    assert needs.asked.wait(WAIT)
    stopping = threading.Thread(target=warm.stop)
    stopping.start()
    stopping.join(0.1)
    assert stopping.is_alive()
    needs.answer.set()
    stopping.join(WAIT)

    assert not stopping.is_alive()
    with pytest.raises(TerminalError, match="stopped"):
        warm.session()


def test_nothing_starts_after_the_end(needs: Needs, tmp_path: Path) -> None:
    warm = tool(needs.java, tmp_path)
    warm.stop()
    warm.warm_up()
    for thread in early():
        thread.join(WAIT)

    assert needs.times == 0


def test_checking_and_starting_look_once_for_what_they_need(tmp_path: Path) -> None:
    """Jars that are missing would be fetched twice at the same time."""
    looked: list[str] = []

    def jars() -> tuple[Path, ...]:
        looked.append("jars")
        return ()

    settings = SparkSettings("job", (), (), lambda: Path("java"), jars, tmp_path / "spark.log", lambda: ())
    checked = SparkTool(settings)
    checked.prepare()
    checked.prepare()

    assert looked == ["jars"]
