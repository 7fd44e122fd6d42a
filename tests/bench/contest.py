"""A contest: several systems do the same work, in turn, each from the same state, and their results are checked."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.markup import escape

from tests.bench import exact
from tests.bench.figures import LABELS, Book, Sample
from tests.bench.meter import Reading, measure
from tests.bench.systems import Command

LIMIT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Target:
    """What must have arrived: the content of each table, and the types of their columns."""

    expected: Mapping[str, exact.Content]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One system in a contest.

    ``base`` is the state that is put into ``place`` before every run; without one it is empty. ``result`` says what a run
    leaves behind; ``most`` bounds the runs of systems that take very long, ``limit`` their seconds; a ``fault`` is noted in
    place of a run.
    """

    system: str
    command: Command
    place: Path
    base: Path | None = None
    result: Literal["iceberg", "parquet", "nothing"] = "iceberg"
    most: int = 100
    limit: float = LIMIT_SECONDS
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """A workload of one size, and who takes part."""

    workload: str
    size: int
    target: Target
    entries: tuple[Entry, ...]


class Arena:
    """Runs contests and notes every run of the ``wanted`` systems in the book."""

    def __init__(self, book: Book, console: Console, logs: Path, wanted: frozenset[str]) -> None:
        self._book = book
        self._console = console
        self._logs = logs
        self._wanted = wanted

    def missing(self, workload: str, size: int, repeat: int, systems: tuple[str, ...]) -> bool:
        """Whether some of these systems have fewer runs than wanted."""
        return any(self._book.count(workload, name, size) < repeat for name in self.wanted(systems))

    def run(self, contest: Contest, repeat: int) -> None:
        """Let everybody run once, then again: a machine that becomes slower meanwhile becomes so for all."""
        for number in range(1, repeat + 1):
            for entry in contest.entries:
                done = self._book.count(contest.workload, entry.system, contest.size)
                if self._wants(entry.system) and done < min(number, entry.most):
                    self._once(contest, entry, number)

    def prepare(self, command: Command, place: Path) -> Path | None:
        """Run a command that nobody measures and keep the state that it leaves; None, after telling why, if it fails."""
        _empty(place)
        log = self._logs / f"prepare-{place.name}.log"
        reading = measure(command.line, log, limit=LIMIT_SECONDS, environment=command.environment)
        if reading.code == 0:
            return _keep(place)
        self._console.print(
            f"Preparing {place.name} ended with {reading.code}: {_last_words(log)}", style="red", markup=False
        )
        return None

    def wanted(self, systems: Iterable[str]) -> list[str]:
        """Return those of the systems that take part."""
        return [system for system in systems if self._wants(system)]

    def _wants(self, system: str) -> bool:
        return system in self._wanted

    def _once(self, contest: Contest, entry: Entry, number: int) -> None:
        name = f"{contest.workload}-{contest.size}-{entry.system}"
        if entry.fault:
            sample = Sample(0.0, 0.0, 0.0, None, "not checked", failure=entry.fault)
            self._book.add(contest.workload, entry.system, contest.size, sample)
            return self._tell(name, entry, number, sample)
        restore(entry.base, entry.place)
        tables = tuple(contest.target.expected)
        before = exact.snapshots(entry.place, tables) if entry.base else 0
        os.sync()  # what others have written must not be written out at this one's cost
        log = self._logs / f"{name}-{number}.log"
        reading = measure(entry.command.line, log, limit=entry.limit, environment=entry.command.environment)
        sample = _judge(contest, entry, reading, log, before)
        self._book.add(contest.workload, entry.system, contest.size, sample)
        return self._tell(name, entry, number, sample)

    def _tell(self, name: str, entry: Entry, number: int, sample: Sample) -> None:
        result = f"[red]{escape(sample.failure)}[/]" if sample.failure else sample.verdict
        colour = "red" if sample.verdict == "WRONG" else "default"
        self._console.print(
            f"{name.removesuffix('-' + entry.system):>16}  {LABELS[entry.system]:<36} {number}: {sample.seconds:7.2f} s  "
            f"{sample.cpu_seconds:7.2f} s CPU  {sample.peak_mib:7.0f} MiB  [{colour}]{result}[/] {escape(sample.note)}",
            highlight=False,
            soft_wrap=True,
        )


def _judge(contest: Contest, entry: Entry, reading: Reading, log: Path, before: int) -> Sample:
    figures = (reading.seconds, reading.cpu_seconds, reading.peak_mib)
    if reading.code is None:
        return Sample(*figures, None, "not checked", failure=f"stopped after {entry.limit:.0f} s")
    if reading.code != 0:
        return Sample(*figures, None, "not checked", failure=f"exit {reading.code}: {_last_words(log)}")
    if entry.result == "nothing":
        return Sample(*figures, None, "not checked")
    tables = contest.target.expected
    if entry.result == "parquet":
        found = exact.parquet_content(str(entry.place / "*.parquet"), contest.target.columns)
        return Sample(*figures, None, "exact" if found == next(iter(tables.values())) else "WRONG")
    made = exact.snapshots(entry.place, tables) - before
    finding = exact.Finding("exact")
    for table, expected in tables.items():
        finding = finding.and_also(_checked(lambda: exact.compare(entry.place, table, contest.target.columns, expected)))  # noqa: B023 - called at once
    return Sample(*figures, made, finding.verdict, finding.note)


def _checked(compare: Callable[[], exact.Finding]) -> exact.Finding:
    """A table that cannot be read at all is wrong, and the bench goes on."""
    try:
        return compare()
    except (OSError, ValueError, pa.ArrowException, duckdb.Error) as error:
        return exact.Finding("WRONG", f"cannot be read: {type(error).__name__}: {str(error)[:200]}")


def restore(base: Path | None, place: Path) -> None:
    """Put a kept state back, or make the place empty. Paths stay the same, as tables name their files by them."""
    _empty(place)
    if base is not None:
        place.rmdir()
        shutil.copytree(base, place, symlinks=True)


def _keep(place: Path) -> Path:
    """Move the state of a place to where ``restore`` takes it from."""
    base = place.with_name(f"{place.name}.base")
    shutil.rmtree(base, ignore_errors=True)
    place.rename(base)
    return base


def _empty(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)


def _last_words(log: Path) -> str:
    """The end of a program's output, in one line."""
    lines = [line.strip(" │") for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-400:]
