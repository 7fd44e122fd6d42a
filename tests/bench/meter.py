"""What a command costs as a whole: seconds from start to end, processor seconds and peak memory of all its processes.

It runs as a program of its own (``python -m tests.bench.meter REPORT LIMIT COMMAND...``): as the "subreaper" of whatever the
command leaves behind, it counts a JVM that outlives the Python process that started it, and nothing else that runs here.

Peak memory is the largest sum of the resident memory (RSS) of all processes, looked at every 40 ms, and never below the
kernel's own record of the largest single process. Pages that processes share count for each of them: the sum is an upper
bound. PSS would divide them, but reading it walks the page tables of a JVM of 3 GB, which stands still meanwhile.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

EVERY_SECONDS = 0.04  # one look takes about 1 ms of processor time
MIB = 1 << 20
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_PARENT = 1  # place of the parent's number in /proc/N/stat after the name
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One run of a command. ``code`` is its exit code, negative for a signal, None when it was stopped at the time limit."""

    code: int | None
    seconds: float
    cpu_seconds: float
    peak_mib: float
    processes: int


def measure(
    command: Sequence[str], log: Path, *, limit: float, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Reading:
    """Run a command to its end, or for ``limit`` seconds; its output goes to ``log``."""
    report = log.with_suffix(".meter.json")
    report.unlink(missing_ok=True)
    meter = [sys.executable, "-S", str(Path(__file__)), str(report), str(limit), *command]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            meter, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=dict(environment or os.environ), cwd=cwd
        )
        try:
            process.wait()
        except BaseException:
            process.terminate()  # it ends its whole tree first
            process.wait()
            raise
    if process.returncode != 0:
        raise RuntimeError(f"the meter itself failed, see {log}")
    return Reading(**json.loads(report.read_text()))


class Tree:
    """The processes below this one, as they come and go."""

    def __init__(self) -> None:
        self._own = os.getpid()
        self._members: set[int] = {self._own}
        self._foreign: set[int] = {0}
        self.seen: set[int] = set()
        self.peak_bytes = 0

    def look(self) -> int:
        """Find new members and note how much memory all of them hold; return how many there are now."""
        running = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - 25 times a second
        self._members &= running
        self._foreign &= running | {0}
        for number in sorted(running - self._members - self._foreign):
            parent = _parent(number)  # of one whose parent is unknown yet the next look decides
            if parent in self._members:
                self._members.add(number)
            elif parent in self._foreign:
                self._foreign.add(number)
        members = self._members - {self._own}
        self.seen |= members
        self.peak_bytes = max(self.peak_bytes, sum(_resident(number) for number in members))
        return len(members)

    def kill(self) -> None:
        """Kill all members, also those that they start meanwhile."""
        while self.look():
            for number in self._members - {self._own}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            _reap_ended()


def _parent(number: int) -> int | None:
    try:
        with open(f"/proc/{number}/stat", "rb") as stream:  # noqa: PTH123 - 25 times a second
            return int(stream.read().rpartition(b")")[2].split()[_PARENT])
    except (OSError, IndexError):
        return None  # it has ended meanwhile


def _resident(number: int) -> int:
    try:
        with open(f"/proc/{number}/statm", "rb") as stream:  # noqa: PTH123 - 25 times a second
            return int(stream.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _watch(tree: Tree, done: threading.Event) -> None:
    while not done.wait(EVERY_SECONDS):
        tree.look()


def _run(command: Sequence[str], limit: float) -> Reading:
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tree, done = Tree(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(tree, done), daemon=True)
    tree.look()
    watcher.start()
    began = time.monotonic()
    try:
        process = subprocess.Popen(command)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - began
    except SystemExit:
        tree.kill()
        raise
    finally:
        done.set()
        watcher.join()
    if code is not None:
        _let_end(tree)
    tree.kill()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(tree.peak_bytes, used.ru_maxrss * 1024)
    return Reading(code, round(seconds, 3), round(used.ru_utime + used.ru_stime, 3), round(peak / MIB, 1), len(tree.seen))


def _let_end(tree: Tree) -> None:
    """Give what the command left behind (a JVM that ends a little later) time to end, so that its processor time counts."""
    limit = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < limit:
        _reap_ended()
        if tree.look() == 0:
            return
        time.sleep(EVERY_SECONDS)


def _reap_ended() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Measure the command of the command line and write the reading as JSON."""
    report, limit, *command = sys.argv[1:]
    reading = _run(command, float(limit))
    Path(report).write_text(json.dumps(asdict(reading)))


if __name__ == "__main__":
    main()
