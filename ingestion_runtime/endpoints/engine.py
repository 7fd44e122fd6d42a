"""Which engine moves a table's rows: decided once a run, when there is something to move."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.spec import Engine

# One process loads some 100 MB a second. What is larger than this many times its memory takes it hours; a cluster is there
# to share such work, and costs ten seconds of start.
OUTGROWN = 128


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What decides. ``far`` names places that this process cannot write by itself (HDFS), ``estimated_bytes`` is what the
    source's catalog says of the table (None: nothing), ``memory_mb`` the budget in MiB. ``hashes``: columns are masked by
    hashes, whose salt would stand in Spark's plans and logs."""

    table: str
    wanted: Engine
    dialect: str
    streams: bool
    far: tuple[str, ...]
    master: str
    estimated_bytes: int | None
    memory_mb: int
    hashes: bool = False

    @property
    def cluster(self) -> bool:
        """Whether Spark has more machines than this one."""
        return not self.master.startswith("local")


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine (never ``auto``) and the reason in words."""

    engine: Engine
    reason: str


def choose_engine(facts: EngineFacts) -> EngineChoice:
    """Return the engine for a table. Raises ConfigError where ``arrow`` is asked for and cannot be, or Spark must not be."""
    if facts.wanted is Engine.SPARK:
        return _only_plain(facts, EngineChoice(Engine.SPARK, "engine is set to spark"))
    hindrance = _hindrance(facts)
    if facts.wanted is Engine.ARROW:
        if hindrance is not None:
            raise _refused(facts, hindrance)
        return EngineChoice(Engine.ARROW, "engine is set to arrow")
    if hindrance is not None:
        return _only_plain(facts, EngineChoice(Engine.SPARK, hindrance))
    if facts.hashes:
        return EngineChoice(Engine.ARROW, "it hashes columns, which Spark would do with the salt in its plans and logs")
    if facts.cluster and facts.estimated_bytes is not None and facts.estimated_bytes > OUTGROWN * facts.memory_mb * 2**20:
        size = f"{facts.estimated_bytes / 2**30:,.1f} GiB at the source"
        return EngineChoice(Engine.SPARK, f"{size} outgrow one machine, and {facts.master} has more")
    return EngineChoice(Engine.ARROW, "this process can do it: no JVM has to start")


def _only_plain(facts: EngineFacts, choice: EngineChoice) -> EngineChoice:
    if not facts.hashes:
        return choice
    raise ConfigError(
        f"{facts.table}: columns are masked by hash, and the engine would be spark ({choice.reason}): the salt would stand"
        " in its plans and logs.",
        remedy="Read the table with the engine arrow into local folders, or mask by truncate or null.",
        table=facts.table,
    )


def _refused(facts: EngineFacts, hindrance: str) -> ConfigError:
    return ConfigError(
        f"{facts.table}: engine is set to arrow, but {hindrance}.",
        remedy="Set engine to auto or spark for this table.",
        table=facts.table,
    )


def _hindrance(facts: EngineFacts) -> str | None:
    """Return why this process cannot do it; None when it can."""
    if not facts.streams:
        return f"{facts.dialect} cannot be read without Spark"
    if facts.far:
        return f"{', '.join(facts.far)} on HDFS can be written by Spark only"
    return None


class EngineSwitch:
    """The engine of one table in one run. Decided at the first question, told once; then it stays."""

    def __init__(self, look: Callable[[], EngineFacts], tell: Callable[[str, EngineChoice], None]) -> None:
        self._look = look
        self._tell = tell
        self._lock = threading.Lock()
        self._choice: EngineChoice | None = None

    @property
    def engine(self) -> Engine:
        """The engine; raises what ``choose_engine`` raises."""
        with self._lock:
            if self._choice is None:
                self._choice = choose_engine(self._look())
                self._tell("table", self._choice)
            return self._choice.engine

    @property
    def insists(self) -> bool:
        """Whether the engine was asked for, and not chosen."""
        return self._look().wanted is not Engine.AUTO

    def step(self, step: str, choice: EngineChoice) -> None:
        """Tell that one step of the table's work takes another engine, and why.

        Raises ConfigError where that would be Spark, and the table's engine is set to ``arrow``.
        """
        facts = self._look()
        if choice.engine is Engine.SPARK and facts.wanted is Engine.ARROW:
            raise _refused(facts, choice.reason)
        self._tell(step, choice)
