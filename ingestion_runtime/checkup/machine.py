"""This machine and this installation: Python, packages, drivers, memory, open files, time zones, environment."""

import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.runner import Check
from ingestion_runtime.model.spec import Configuration, RuntimeSpec
from ingestion_runtime.tools.failpoints import VARIABLE as FAILPOINTS

PACKAGE = "ingestion-runtime"
_PIN = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*==\s*([^\s;]+)")
_MEBI = 2**20
#: What Python and its libraries take besides the rows.
BASE_MB = 150
#: Open files that a table at work may need: connections, Parquet files, spill.
FILES_A_TABLE = 64
_LEAST_FILES = 256
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_checks(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Return what can be looked at without a configuration."""
    return (
        Check("python", _look_at_python),
        Check("environment", lambda findings: _look_at_environment(findings, environment)),
    )


def capacity_checks(configuration: Configuration) -> tuple[Check, ...]:
    """Return whether this machine is large enough for what is configured, and knows its time zones and databases."""
    runtime = configuration.runtime
    return (
        Check("drivers", lambda findings: _look_at_drivers(findings, configuration)),
        Check("memory", lambda findings: _look_at_memory(findings, runtime, read_memory())),
        Check("open files", lambda findings: _look_at_files(findings, runtime)),
        Check("time zones", lambda findings: _look_at_zones(findings, configuration)),
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that this process may use, who says so, and bytes that are free now."""

    limit: int
    source: str
    free: int


def read_memory() -> Memory:
    """Return what the machine has, or its control group allows where that is less."""
    found = psutil.virtual_memory()
    total, free = int(found.total), int(found.available)
    for path in _CGROUPS:
        try:
            limit = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):  # not there, or "max"
            continue
        if limit < total:
            return Memory(limit, "its control group", min(free, limit))
    return Memory(total, "the machine", free)


def _look_at_python(findings: Findings) -> None:
    spelled = ".".join(map(str, sys.version_info[:3]))
    try:
        pins = tuple(_pins())
    except PackageNotFoundError:
        findings.yellow(f"Python {spelled}; {PACKAGE} is not installed as a package", "Run `make install`.")
        return
    missing = [name for name, wanted, found in pins if found is None]
    other = [f"{name} {found} (pinned: {wanted})" for name, wanted, found in pins if found not in (None, wanted)]
    if missing:
        findings.red(f"not installed: {', '.join(missing)}", "Run `make install`.", exit_code=2)
    elif other:
        findings.yellow(f"other versions than were tested: {', '.join(other)}", "Run `make install`.")
    else:
        findings.green(f"{spelled}, {PACKAGE} {version(PACKAGE)}, {len(pins)} packages as pinned")


def _pins() -> Iterator[tuple[str, str, str | None]]:
    for requirement in requires(PACKAGE) or ():
        match = _PIN.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        try:
            yield match[1], match[2], version(match[1])
        except PackageNotFoundError:
            yield match[1], match[2], None


def _look_at_environment(findings: Findings, environment: Mapping[str, str]) -> None:
    if environment.get(FAILPOINTS):
        findings.red(
            f"{FAILPOINTS} is set: runs would be killed on purpose", f"Unset {FAILPOINTS}; it is for tests.", exit_code=1
        )
    for name in ("PYSPARK_SUBMIT_ARGS", "SPARK_CONF_DIR", "SPARK_HOME", "HADOOP_CONF_DIR"):
        if environment.get(name):
            findings.yellow(f"{name} is set, and Spark heeds it", f"Unset {name} unless it is meant for these runs.")
    if not findings.has_any:
        findings.green("no setting of the environment interferes")


def _look_at_drivers(findings: Findings, configuration: Configuration) -> None:
    from importlib import import_module

    loaded = []
    dialects = {connection.dialect for connection in configuration.connections}
    for module in sorted({name for dialect in dialects for name in _DRIVERS.get(dialect, ())}):
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001 - a library that does not load says so in many ways
            findings.red(f"{module} does not load: {error}", "Run `make install`.", exit_code=2)
        else:
            loaded.append(module)
    if loaded or not findings.has_any:
        findings.green(f"{', '.join(loaded) or 'sqlite3, which comes with Python'}: loaded")


_DRIVERS: Mapping[str, tuple[str, ...]] = {
    "postgresql": ("psycopg", "adbc_driver_postgresql"),
    "mysql": ("pymysql",),
    "mariadb": ("pymysql",),
    "singlestore": ("pymysql",),
}


def _look_at_memory(findings: Findings, runtime: RuntimeSpec, memory: Memory) -> None:
    needed = runtime.memory_mb + BASE_MB
    limit, free = memory.limit // _MEBI, memory.free // _MEBI
    told = f"memory_mb {runtime.memory_mb:,} and {BASE_MB} besides, of {limit:,} MiB that {memory.source} has"
    if needed > limit:
        findings.red(f"{told}: a run would be ended for its memory", "Lower runtime.memory_mb, or give it more memory.")
    elif needed > free:
        findings.yellow(f"{told}; only {free:,} are free now", "End what else runs here, or lower runtime.memory_mb.")
    else:
        findings.green(f"{told}; {free:,} are free")


def _look_at_files(findings: Findings, runtime: RuntimeSpec) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(_LEAST_FILES, FILES_A_TABLE * (runtime.max_parallel_tables + 1))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        tables = runtime.max_parallel_tables
        findings.yellow(
            f"{soft:,} may be open at once, and {tables} tables in parallel may want {wanted:,}",
            "Raise it (ulimit -n, or LimitNOFILE of the service), or lower runtime.max_parallel_tables.",
        )
    else:
        findings.green(f"{'any number' if soft == resource.RLIM_INFINITY else f'{soft:,}'} may be open at once")


def _look_at_zones(findings: Findings, configuration: Configuration) -> None:
    from zoneinfo import TZPATH, ZoneInfo

    zones = {configuration.runtime.timezone, *(table.cursor_timezone for table in configuration.tables)} - {None}
    broken = []
    for name in sorted(filter(None, zones)):
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            broken.append(name)
    if broken:
        findings.red(f"not known here: {', '.join(broken)}", "Install tzdata, or correct the name.", exit_code=2)
        return
    place = next((path for path in TZPATH if os.path.isdir(path)), None)  # noqa: PTH112 - as the standard library looks
    try:
        package = f"the package tzdata {version('tzdata')}"
    except PackageNotFoundError:
        package = "no package"
    findings.green(f"{', '.join(sorted(filter(None, zones)))}; from {place or package}")
