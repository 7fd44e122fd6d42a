"""Ways into the gaps between two durable effects: processes that are held, killed or signalled there, and meddlers."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lake import Ended

_PATIENCE_SECONDS = 240.0
_LOOK_SECONDS = 0.02


def until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as the condition holds; fail when it does not come true."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        pause.wait(_LOOK_SECONDS)


class Hold:
    """One failpoint that holds one table until it is let go."""

    def __init__(self, folder: Path, point: str, table: str) -> None:
        self._path = folder / f"{point}-{table}"
        self.failpoint = f"{point}@{table}=hold:{self._path}"

    @property
    def reached(self) -> bool:
        """Whether the table stands there."""
        return Path(f"{self._path}.reached").exists()

    def let_go(self) -> None:
        """Let it, and everyone who comes after, pass."""
        self._path.touch()


class Process:
    """The program in a process group of its own; what is still alive at the end of the block is killed."""

    def __init__(self, command: Sequence[str], holds: Sequence[Hold] = ()) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - both are closed with the process
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._holds = holds
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "INGESTION_FAILPOINTS": ",".join(hold.failpoint for hold in holds)},
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
        self._output.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        """The program's process id, which is its group's as well."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the program does; fail with its output when it ends before."""

        def holds_or_ended() -> bool:
            return condition() or self._process.poll() is not None

        until(holds_or_ended, what)
        assert condition(), f"the program ended before {what}: {self.end()}"

    def wait_until_held(self) -> None:
        """Wait until every table stands at its failpoint."""
        self.wait_until(lambda: all(hold.reached for hold in self._holds), "all tables stood in the gap")

    def kill(self) -> None:
        """Kill the whole group, as a lost machine would; nothing gets a chance to tidy up."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the program alone, or to its group as a terminal does."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait_until_handled(self, number: int) -> None:
        """Wait until the program has taken note of a signal: a second one would end it at once."""
        status = Path(f"/proc/{self.pid}/status")

        def is_default() -> bool:
            caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
            return not int(caught.split()[1], 16) & (1 << (number - 1))

        self.wait_until(is_default, f"signal {number} was handled")

    def end(self) -> Ended:
        """Wait for the end and return how it came."""
        code = self._process.wait(timeout=_PATIENCE_SECONDS)
        self._output.seek(0)
        self._errors.seek(0)
        return Ended(code, self._output.read(), self._errors.read())


@contextmanager
def meddling(holds: Sequence[Hold], act: Callable[[], None]) -> Iterator[dict[str, str]]:
    """Hold every table of a run in this process, ``act`` when all stand there, let them go; yields the run's environment."""
    over = threading.Event()
    failures: list[BaseException] = []
    acted: list[bool] = []

    def work() -> None:
        try:
            until(lambda: over.is_set() or all(hold.reached for hold in holds), "all tables stood in the gap")
            if not over.is_set():
                act()
                acted.append(True)
        except BaseException as failure:  # noqa: BLE001 - raised again where the test sees it
            failures.append(failure)
        finally:
            for hold in holds:
                hold.let_go()

    meddler = threading.Thread(target=work, name="meddler")
    meddler.start()
    try:
        yield {"INGESTION_FAILPOINTS": ",".join(hold.failpoint for hold in holds)}
    finally:
        over.set()
        meddler.join()
    if failures:
        raise failures[0]
    assert acted, "the run ended without reaching the gap"
