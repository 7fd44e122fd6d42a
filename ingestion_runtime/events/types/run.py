"""Events of a whole run."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from ingestion_runtime.events.event import Event


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins; ``tables`` is how many it will work on, ``tables_named`` which, in their order. ``host`` and ``pid`` say
    which process it is: one that is gone and never said ``run_done`` has died."""

    name: ClassVar[str] = "run_start"

    job_name: str
    load_date: date
    tables: int
    max_parallel: int = 1
    host: str = ""
    pid: int = 0
    tables_named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatternResolved(Event):
    """A pattern of the configuration stands for so many tables of a connection; ``skipped`` do not fit its mode."""

    name: ClassVar[str] = "pattern_resolved"

    pattern: str
    source: str
    tables: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TablesVanished(Event):
    """Tables that a pattern stood for in earlier runs are no longer at the source: they stay in the lake as they are."""

    name: ClassVar[str] = "tables_vanished"
    level: ClassVar[str] = "warning"

    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    """A run ended; counts of tables by how they ended."""

    name: ClassVar[str] = "run_done"

    exit_code: int
    seconds: float
    done: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True)
class RunningTable:
    """A table at work, the slice it was last heard of at, and how many rows of it have been read so far."""

    table: str
    slice: str | None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat(Event):
    """The run is alive: how many tables it has, and which it works on."""

    name: ClassVar[str] = "heartbeat"

    total: int
    done: int
    failed: int
    running: tuple[RunningTable, ...] = ()
    spark: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Noticed(Event):
    """A message to people, for those who read it here: what it is about (a ``NoticeKind``), in one line, and in full."""

    name: ClassVar[str] = "notice"

    kind: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Alerted(Event):
    """The same, where someone should look: a failure, a standstill, a run that did not end well."""

    name: ClassVar[str] = "alert"
    level: ClassVar[str] = "warning"

    kind: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class StagingCleaned(Event):
    """Leftovers of earlier runs were removed from staging."""

    name: ClassVar[str] = "staging_cleaned"

    directories: int
