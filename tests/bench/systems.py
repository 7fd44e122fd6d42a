"""Who takes part: the command of every system for a piece of work, and what it is told."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingestion_runtime.tools.jars import JarCache, default_cache_directory
from tests.bench.sources import Address, Table

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
BENCH_PYTHON = PROJECT / ".bench-venv" / "bin" / "python"
PASSWORD_VARIABLE = "BENCH_SOURCE_PASSWORD"
MASTER, MEMORY = "local[2]", "4g"
FETCH = 10_000
PARALLEL = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done: which tables of which database, into which directory."""

    source: Address
    tables: tuple[Table, ...]
    place: Path


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and the environment in which it runs."""

    line: tuple[str, ...]
    environment: Mapping[str, str]


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this environment without what would change how Python works: everybody may keep compiled modules."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DLT", "BENCH_", "SPARK_"))}
    return {**kept, **extra}


def ours(work: Work, engine: str, mode: str) -> Command:
    """Return the installed program with a configuration for this work: mode ``full`` or ``scd1``."""
    at, place = work.source, work.place
    connection: dict[str, Any] = {"dialect": at.dialect, "database": at.database}
    if at.host:
        password = f"${{env:{PASSWORD_VARIABLE}}}"
        connection |= {"host": at.host, "port": at.port, "user": at.user, "password": password, "tls": {"mode": "disable"}}
    document = {
        "connections": {"source": connection},
        "runtime": {
            "job_name": "bench",
            "engine": engine,
            "raw_root": str(place / "raw"),
            "final_root": str(place / "final"),
            "timezone": "UTC",
            "max_parallel_tables": PARALLEL,
            "intermediate": {
                "catalog_type": "sql",
                "name": "lake",
                "database": str(place / "catalog.db"),
                "warehouse": str(place / "warehouse"),
                "table_pattern": "public.{table}",
            },
            "staging": {"root": str(place / "staging")},
            "state": {"database": str(place / "state.db")},
            "logging": {"event_sink": str(place / "logs")},
            "spark": {"master": MASTER, "driver_memory": MEMORY},
        },
        "metadata": {"cache_path": str(place / "metadata")},
        "tables": [_table(table, mode) for table in work.tables],
    }
    file = place.with_name(f"{place.name}.{engine}.json")
    file.write_text(json.dumps(document, indent=1))
    program = Path(sys.executable).with_name("ingestion")
    return Command((str(program), "--config", str(file)), clean_environment({PASSWORD_VARIABLE: at.password}))


def _table(table: Table, mode: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"schema": "public", "table": table.name, "mode": mode, "primary_keys": list(table.keys)}
    if mode == "scd1":
        spec |= {"incremental_column": table.cursor, "incr_col_type": "timestamp", "cursor_timezone": "UTC"}
    # No partition_read: how a large table is cut is the program's own affair, as it is for a user who says nothing.
    return {**spec, "fetch_size": FETCH}


def plain_spark(
    work: Work, *, what: str = "full", partitions: int = PARALLEL, fetch_size: int | None = FETCH, write: str = ""
) -> Command:
    """Return Spark alone: reads over JDBC, writes or merges an Iceberg table."""
    jars = [str(jar) for jar in JarCache(default_cache_directory()).ensure()]
    told = {"what": what, "partitions": partitions, "fetch_size": fetch_size, "write": write, "jars": jars}
    return _program(work, f"plain-{what}-{write or partitions}", "plain_spark.py", Path(sys.executable), told)


def dlt(work: Work, *, write: str = "replace", partitions: int = 1) -> Command:
    """Return dlt with connectorx."""
    return _program(work, f"dlt-{write}", "dlt_load.py", BENCH_PYTHON, {"write": write, "partitions": partitions})


def floor(work: Work, *, write: bool) -> Command:
    """Return the least that a read and conversion, or that with Parquet files, could cost."""
    return _program(work, f"floor-{write}", "floor.py", Path(sys.executable), {"write": write})


def _program(work: Work, name: str, program: str, python: Path, told: Mapping[str, Any]) -> Command:
    tables: Sequence[dict[str, object]] = [table.document() for table in work.tables]
    document = {**told, "source": asdict(work.source), "tables": tables, "place": str(work.place)}
    file = work.place.with_name(f"{work.place.name}.{name}.json")
    file.write_text(json.dumps(document, indent=1))
    return Command((str(python), str(PROGRAMS / program), str(file)), clean_environment({}))
