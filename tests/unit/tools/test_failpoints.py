"""Points at which a test may kill, fail or hold the program."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ingestion_runtime.model.errors import ConfigError, IngestionError
from ingestion_runtime.tools.failpoints import Failpoints


def points(text: str) -> Failpoints:
    return Failpoints.from_environment({"INGESTION_FAILPOINTS": text})


@pytest.mark.parametrize("environment", [{}, {"INGESTION_FAILPOINTS": ""}, {"OTHER": "before-publish=kill"}])
def test_without_the_variable_every_point_is_passed(environment: dict[str, str]) -> None:
    """Production sets nothing and notices nothing."""
    Failpoints.from_environment(environment).hit("before-publish", "shop.orders")


def test_an_active_point_fails_by_name() -> None:
    """Other points are passed."""
    active = points("before-publish=fail,after-raw=fail")

    active.hit("after-plan", "shop.orders")
    for name in ("before-publish", "after-raw"):
        with pytest.raises(IngestionError, match=f"Failpoint {name} failed on request"):
            active.hit(name, "shop.orders")


def test_a_point_may_be_limited_to_one_table() -> None:
    """name@schema.table leaves all other tables alone."""
    active = points("before-publish@shop.orders=fail")

    active.hit("before-publish", "shop.customers")
    with pytest.raises(IngestionError):
        active.hit("before-publish", "shop.orders")


def test_a_held_point_waits_for_its_file(tmp_path: Path) -> None:
    """The waiting side sees PATH.reached, and creating PATH lets the run go on."""
    gate = tmp_path / "gate"
    active = points(f"after-stage=hold:{gate}")
    runner = threading.Thread(target=active.hit, args=("after-stage", "shop.orders"))

    runner.start()
    reached = tmp_path / "gate.reached"
    while not reached.exists():
        assert runner.is_alive()
    assert runner.is_alive()
    gate.touch()
    runner.join(10)

    assert not runner.is_alive()


def test_a_kill_ends_the_whole_process_group_at_once() -> None:
    """Children die as well, and nothing after the point is executed."""
    script = (
        "import subprocess, sys\n"
        "from ingestion_runtime.tools.failpoints import Failpoints\n"
        "child = subprocess.Popen(['tail', '-f', '/dev/null'])\n"
        "print('before', flush=True)\n"
        "Failpoints.from_environment({'INGESTION_FAILPOINTS': 'x=kill'}).hit('x', 's.t')\n"
        "print('after', flush=True)\n"
    )

    # The child holds the pipe's other end: run() returns only once it is dead too.
    ended = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "before\n"


@pytest.mark.parametrize("text", ["before-publish", "before-publish=explode", "=", "a=kill,b"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """A misspelt point must not let a crash test pass for the wrong reason."""
    with pytest.raises(ConfigError, match="INGESTION_FAILPOINTS"):
        points(text)
