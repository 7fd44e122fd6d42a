"""On what a bench ran: the machine, and the versions of everything that took part."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ingestion_runtime.tools.jars import pinned_jars
from ingestion_runtime.tools.java import require_java
from tests.bench.systems import BENCH_PYTHON, PROJECT
from tests.servers.postgresql import find_binaries

OURS = ("pyarrow", "duckdb", "pyiceberg", "pyspark", "adbc-driver-postgresql", "pymysql")
OTHERS = ("dlt", "connectorx", "pyarrow", "pyiceberg")


def describe(rows: int, repeat: int) -> dict[str, Any]:
    """Return the head of a bench's document."""
    return {
        "version": 1,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {"rows": rows, "repeat": repeat},
        "machine": {
            "processor": _first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
            "system": platform.platform(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "commit": _output(["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]),
            "python": platform.python_version(),
            **{name: version(name) for name in OURS},
            **{jar.artifact: jar.version for jar in pinned_jars()},
            "java": _first(r'version "([^"]+)"', _output([str(require_java()), "-version"])),
            "postgresql server": _first(r"(\d+(\.\d+)*)", _output([str(find_binaries() / "postgres"), "--version"])),
            "others": _others(),
        },
    }


def _others() -> dict[str, str]:
    code = f"from importlib.metadata import version\nfor name in {OTHERS!r}: print(name, version(name))"
    return dict(line.split() for line in _output([str(BENCH_PYTHON), "-c", code]).splitlines())


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return ""
    return (done.stdout or done.stderr).strip()


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1).strip() if found else ""
