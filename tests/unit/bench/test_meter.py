"""What the bench says a command costs: of its whole tree of processes, and of nothing else."""

import sys
import time
from pathlib import Path

from tests.bench.meter import measure

HOLDS = "held = bytearray(60 << 20)\nfor place in range(0, len(held), 4096): held[place] = 1\n"
BURNS = "import time\nwhile time.process_time() < 0.3: pass\n"
# The child holds as much as its parent, at the same time.
PARENT = f"import subprocess, sys\n{HOLDS}subprocess.run([sys.executable, '-S', '-c', '''{HOLDS}{BURNS}'''])\n"
# The command ends at once; its child works when it has become an orphan.
WORK = "import os, sys, time\nwhile os.getppid() == int(sys.argv[1]): pass\nbegan = time.process_time()\n"
WORK += "while time.process_time() < began + 0.3: pass\n"
ORPHAN = f"import os, subprocess, sys\nsubprocess.Popen([sys.executable, '-S', '-c', '''{WORK}''', str(os.getpid())])\n"


def test_memory_and_processor_time_are_those_of_the_whole_tree(tmp_path: Path) -> None:
    """The kernel's own record knows the largest single process only."""
    reading = measure([sys.executable, "-S", "-c", PARENT], tmp_path / "log", limit=60)
    assert reading.code == 0
    assert 120 < reading.peak_mib < 180
    assert reading.cpu_seconds >= 0.3
    assert reading.seconds >= 0.3


def test_what_a_command_leaves_behind_costs_processor_time_but_no_seconds(tmp_path: Path) -> None:
    """A JVM ends a little after the Python process that started it, whose end is what a user waits for."""
    began = time.monotonic()
    reading = measure([sys.executable, "-S", "-c", ORPHAN], tmp_path / "log", limit=60)
    assert reading.code == 0
    assert reading.cpu_seconds >= 0.3
    assert time.monotonic() - began >= reading.seconds + 0.3


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    """A competitor that needs hours must not stop the bench."""
    script = f"import subprocess, time\nsubprocess.Popen(['sh', '-c', 'sleep 30; touch {tmp_path}/late'])\ntime.sleep(30)\n"
    reading = measure([sys.executable, "-S", "-c", script], tmp_path / "log", limit=0.5)
    assert reading.code is None
    assert 0.5 <= reading.seconds < 20


def test_exit_code_and_output_are_those_of_the_command(tmp_path: Path) -> None:
    """So that a failure can be told."""
    reading = measure(["sh", "-c", "echo no; exit 7"], tmp_path / "log", limit=60)
    assert reading.code == 7
    assert (tmp_path / "log").read_text() == "no\n"
