"""What Spark needs: Java, its jars, its settings. Red only where a table of this configuration will be moved by Spark."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingestion_runtime.checkup.findings import Findings
from ingestion_runtime.checkup.machine import Memory, read_memory
from ingestion_runtime.checkup.runner import Check
from ingestion_runtime.endpoints.engine import choose_engine
from ingestion_runtime.endpoints.factory import engine_facts
from ingestion_runtime.model.errors import ConfigError, IngestionError
from ingestion_runtime.model.spec import Configuration, Engine, TableSpec
from ingestion_runtime.tools.class_data import FOLDER, is_wanted
from ingestion_runtime.tools.jars import MIRROR_VARIABLE, JarCache, JarState
from ingestion_runtime.tools.java import require_java

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def engine_checks(
    configuration: Configuration, tables: Sequence[TableSpec], cache: Path, environment: Mapping[str, str]
) -> tuple[Check, ...]:
    """Return the checks of Spark's needs; ``cache`` is the directory of jars."""
    return (
        Check("java", lambda findings: _look_at_java(findings, _by_spark(configuration, tables))),
        Check("jars", lambda findings: _look_at_jars(findings, _by_spark(configuration, tables), cache, environment)),
        Check("spark", lambda findings: _look_at_settings(findings, configuration, tables, read_memory())),
    )


def _by_spark(configuration: Configuration, tables: Sequence[TableSpec]) -> tuple[str, ...]:
    """Return the tables that Spark will move for sure; what their sizes decide is not asked."""
    found = []
    for table in tables:
        try:
            engine = choose_engine(engine_facts(configuration, table, None)).engine
        except ConfigError:
            continue  # told by the check of the engine's settings
        if engine is Engine.SPARK:
            found.append(table.name)
    return tuple(found)


def _look_at_java(findings: Findings, by_spark: tuple[str, ...]) -> None:
    try:
        java = require_java()
    except IngestionError as error:
        if by_spark:
            findings.error(error)
        else:
            findings.yellow(f"{error.message} No table needs it so far", error.remedy)
    else:
        findings.green(f"{java}: fit for Spark{_needed(by_spark)}")


def _look_at_jars(findings: Findings, by_spark: tuple[str, ...], cache: Path, environment: Mapping[str, str]) -> None:
    states = JarCache(cache).look()
    changed = sorted(jar.file for jar, state in states.items() if state is JarState.CHANGED)
    absent = sorted(jar.file for jar, state in states.items() if state is JarState.ABSENT)
    fetch = f"Run `python -m ingestion_runtime.tools.jars`; without internet let {MIRROR_VARIABLE} name a mirror."
    if changed:
        told = f"{', '.join(changed)} in {cache} are not what was pinned"
        if by_spark:
            findings.red(told, f"Find out who changed them and remove them. {fetch}")
        else:
            findings.yellow(told, fetch)
    elif absent:
        told = f"{len(absent)} of {len(states)} are not in {cache}, the first start of Spark fetches them{_needed(by_spark)}"
        if by_spark:
            findings.yellow(told, fetch)
        else:
            findings.green(told)
    else:
        findings.green(f"{len(states)} in {cache}{_needed(by_spark)}")
    if by_spark and is_wanted(environment) and not any((cache / FOLDER).glob("*.json")):
        findings.yellow("no class data: Spark starts some seconds slower", "Run `python -m ingestion_runtime.tools.jars`.")


def _look_at_settings(findings: Findings, configuration: Configuration, tables: Sequence[TableSpec], memory: Memory) -> None:
    spark = configuration.runtime.spark
    for table in tables:
        try:
            choose_engine(engine_facts(configuration, table, None))
        except ConfigError as error:
            findings.error(error)
    by_spark = _by_spark(configuration, tables)
    told = f"master {spark.master}, driver_memory {spark.driver_memory}, {len(spark.conf)} further settings"
    wanted = _bytes(spark.driver_memory)
    if by_spark and wanted > memory.limit:
        findings.red(
            f"{told}: more memory than {memory.source} has ({memory.limit // 2**20:,} MiB)",
            "Lower runtime.spark.driver_memory.",
        )
    else:
        findings.green(told + _needed(by_spark))


def _needed(by_spark: tuple[str, ...]) -> str:
    if not by_spark:
        return "; not needed: this process moves every table"
    return f"; needed for {by_spark[0]}" + (f" and {len(by_spark) - 1} more" if len(by_spark) > 1 else "")


def _bytes(size: str) -> int:
    plain = size.lower().removesuffix("b")
    return int(plain[:-1]) * _UNITS[plain[-1]]
