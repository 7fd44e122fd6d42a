"""A run is watched until it ends: while it is told, from a thread that reads the log."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from ingestion_runtime.model.errors import ConfigError, TransientError
from ingestion_runtime.progress.health import Moment, is_gone
from ingestion_runtime.progress.history import pick_run
from ingestion_runtime.progress.screens import LineTeller, PlainScreen, json_teller, one_line
from ingestion_runtime.progress.view import RunView
from ingestion_runtime.progress.watching import Watch, Wishes
from tests.eventlog import NIGHT, Story

NAMES = ["shop.a", "shop.b"]
pytestmark = pytest.mark.timeout(60)


@dataclass
class Recorder:
    """A screen that goes on with the story each time something is shown, and keeps what was."""

    steps: Iterator[Callable[[], object]] = field(default_factory=lambda: iter(()))
    pause: float = 0.01
    shown: list[tuple[RunView | None, Moment]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    ended: list[RunView | None] = field(default_factory=list)

    def show(self, run: RunView | None, moment: Moment) -> None:
        if not self.shown or (run, moment.problem, moment.gone) != self._last():
            self.shown.append((run, moment))
            next(self.steps, lambda: None)()

    def leave(self, run: RunView | None, _moment: Moment) -> None:
        assert run is not None
        self.left.append(run.run_id)

    def end(self, run: RunView | None, _moment: Moment) -> None:
        self.ended.append(run)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def _last(self) -> tuple[RunView | None, str, bool]:
        run, moment = self.shown[-1]
        return run, moment.problem, moment.gone


def follow(place: object, *steps: Callable[[], object], **wishes: bool) -> tuple[int, Recorder]:
    screen = Recorder(iter(steps))
    return Watch(str(place), Wishes(interval=0.01, **wishes), grace=0.0).follow(screen), screen


def gone_process() -> int:
    """The number of a process that is no more."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_run_is_followed_from_before_its_log_is_there_until_it_ends(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    story = Story(logs)
    code, screen = follow(
        logs,
        lambda: story.begin(NAMES),
        lambda: story.whole(NAMES[0]),
        lambda: story.fail(NAMES[1]).end(),
    )
    assert code == 0
    runs = [run for run, _ in screen.shown]
    assert runs[0] is None
    over = [run.over for run in runs[1:] if run]
    assert over == sorted(over)
    assert over[0] == 0
    (last,) = screen.ended
    assert last is not None
    assert (last.over, last.exit_code) == (2, 3)


def test_the_exit_code_may_be_that_of_the_run(tmp_path: Path) -> None:
    Story(tmp_path).begin(NAMES).fail(NAMES[0]).end()
    assert follow(tmp_path, exit_with_run=True)[0] == 3
    assert follow(tmp_path)[0] == 0


def test_a_run_whose_process_died_ends_the_watch(tmp_path: Path) -> None:
    """On this host, without an end in the log, and after a time in which nothing came."""
    began = datetime.now(UTC) - timedelta(seconds=5)
    story = Story(tmp_path, began=began).begin(NAMES, host=socket.gethostname(), pid=gone_process()).start(NAMES[0])
    assert is_gone(pick_run(str(story.path), "1"))
    code, screen = follow(tmp_path)
    assert code == 1
    assert screen.ended[0] is not None
    assert follow(tmp_path, exit_with_run=True)[0] == 1


@pytest.mark.parametrize(
    ("host", "pid"), [("elsewhere", None), (None, os.getpid()), (None, 0)], ids=["elsewhere", "alive", "unnamed"]
)
def test_a_process_elsewhere_or_alive_is_not_gone(tmp_path: Path, host: str | None, pid: int | None) -> None:
    dead = gone_process()
    story = Story(tmp_path, began=datetime.now(UTC)).begin(
        NAMES, host=host or socket.gethostname(), pid=dead if pid is None else pid
    )
    assert not is_gone(pick_run(str(story.path), "1"))


def test_a_process_that_has_got_the_number_since_is_another_one(tmp_path: Path) -> None:
    """This one began long after the run's first line."""
    story = Story(tmp_path, began=NIGHT - timedelta(days=9_000)).begin(NAMES, host=socket.gethostname(), pid=os.getpid())
    assert is_gone(pick_run(str(story.path), "1"))


def test_a_newer_run_takes_the_place_of_the_one_that_is_watched(tmp_path: Path) -> None:
    older, newer = Story(tmp_path, "old"), Story(tmp_path, "new", NIGHT + timedelta(hours=1))
    code, screen = follow(
        tmp_path,
        lambda: older.begin(NAMES),
        lambda: newer.begin(NAMES),
        newer.end,
    )
    assert code == 0
    assert screen.left == ["old"]
    assert [run.run_id for run in screen.ended if run] == ["new"]


def test_a_run_that_has_ended_is_passed_over_where_the_next_one_is_wished_for(tmp_path: Path) -> None:
    Story(tmp_path, "old").begin(NAMES).end()
    later = Story(tmp_path, "new", datetime.now(UTC) + timedelta(hours=1))
    code, screen = follow(tmp_path, lambda: later.begin(NAMES), later.end, next_run=True)
    assert code == 0
    assert screen.shown[0][0] is None
    assert [run.run_id for run in screen.ended if run] == ["new"]


def test_the_runs_before_are_told_first_where_they_are_wished_for(tmp_path: Path) -> None:
    for number in range(3):
        Story(tmp_path, f"run-{number}", NIGHT + timedelta(days=number)).begin(NAMES).end()
    assert follow(tmp_path, from_start=True)[1].left == ["run-0", "run-1"]
    assert follow(tmp_path)[1].left == []
    told: list[RunView | None] = []
    assert Watch(str(tmp_path), Wishes(once=True, from_start=True)).show_once(lambda run, _: told.append(run)) == 0
    assert [run.run_id for run in told if run] == ["run-0", "run-1", "run-2"]


def test_a_file_system_that_fails_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known stays on the screen, with the reason why there is nothing new."""
    filesystem = fsspec.filesystem("memory")
    story = Story(tmp_path, outbox="memory://unsteady").begin(NAMES)
    assert story.outbox is not None
    assert story.outbox.flush()
    sound = type(filesystem).info

    def refuse(*_: object) -> None:
        raise ConnectionError("no route")

    try:
        code, screen = follow(
            "memory://unsteady",
            lambda: monkeypatch.setattr(type(filesystem), "info", refuse),
            lambda: (monkeypatch.setattr(type(filesystem), "info", sound), story.end()),
        )
    finally:
        filesystem.rm("/unsteady", recursive=True)
    assert code == 0
    run, moment = screen.shown[1]
    assert run is not None
    assert run.total == 2
    assert "memory://unsteady cannot be read (ConnectionError: no route)" in moment.problem


def test_a_file_system_that_never_answers_does_not_stop_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = fsspec.filesystem("memory")
    answer, asked = threading.Event(), threading.Event()
    sound = type(filesystem).info

    def hang(*arguments: object) -> object:
        asked.set()
        answer.wait(30)
        return sound(*arguments)  # type: ignore[arg-type]

    story = Story(tmp_path, outbox="memory://mute").begin(NAMES).end()
    monkeypatch.setattr(type(filesystem), "info", hang)
    screen = Recorder(iter([answer.set]))
    try:
        assert Watch("memory://mute", Wishes(interval=0.01)).follow(screen) == 0
    finally:
        filesystem.rm("/mute", recursive=True)
    assert asked.is_set()
    assert screen.shown[0][0] is None
    assert story.run_id == "run-1"


def test_a_log_that_is_gone_or_refused_once_is_an_error(tmp_path: Path) -> None:
    """Once, there is nothing to wait for; and rights do not come by waiting."""
    with pytest.raises(ConfigError, match="holds no run"):
        Watch(str(tmp_path), Wishes(once=True)).show_once(lambda *_: None)
    with pytest.raises(TransientError, match="cannot be read"):
        Watch("webhdfs://127.0.0.1:1/logs", Wishes(once=True)).show_once(lambda *_: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a part of it is a file"):
        follow(tmp_path / "file" / "logs")


class TestTellers:
    def run(self, story: Story) -> RunView:
        return pick_run(str(story.path), "1")

    def test_a_line_says_how_far_the_run_is(self, tmp_path: Path) -> None:
        story = Story(tmp_path).begin([f"shop.t{number}" for number in range(6)], parallel=2)
        for number in range(4):
            story.whole(f"shop.t{number}", 1_500)
        line = one_line(self.run(story.fail("shop.t4").start("shop.t5")), Moment(story.now, "logs"))
        expected = "nightly: 5 of 6 tables (83%), 1 running, 1 failed, 6,000 rows, about 3.4 s left, last line 0.0 s ago"
        assert line == expected

    def test_a_failure_is_told_once(self, tmp_path: Path) -> None:
        lines: list[str] = []
        tell = LineTeller(lines.append)
        story = Story(tmp_path).begin(NAMES)
        moment = Moment(story.now, "logs")
        tell(None, moment)
        tell(self.run(story.fail(NAMES[0])), moment)
        tell(self.run(story), moment)
        assert "waiting for a run in logs: nothing is there yet" in lines[0]
        assert lines[1].endswith("shop.a failed: TransientError shop.a: The disk is full. Free space, then run again.")
        assert len(lines) == 4
        assert all("1 of 2 tables" in line for line in lines[2:])

    def test_programs_get_a_document_a_line(self, tmp_path: Path) -> None:
        lines: list[str] = []
        screen = PlainScreen(0.01, json_teller(lines.append))
        story = Story(tmp_path).begin(NAMES).whole(NAMES[0], 7).fail(NAMES[1], "\ud800 \u202e").end()
        assert Watch(str(story.path), Wishes(interval=0.01)).follow(screen) == 0
        document = json.loads(lines[-1].encode())
        assert (document["version"], document["fraction"], document["seconds_left"]) == (1, 1.0, 0.0)
        assert document["run"]["counts"]["done"] == document["run"]["counts"]["failed"] == 1
        assert [table["table"] for table in document["run"]["tables"]] == NAMES
        assert document["run"]["tables"][0]["rows_read"] == document["run"]["rows_read"] == 7
        assert document["run"]["tables"][1]["failure"]["remedy"] == "Free space, then run again."
        assert document["health"]["mood"] == "bad"
