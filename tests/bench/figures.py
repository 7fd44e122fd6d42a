"""What was measured, as data: samples, series of them, and the file that holds them all."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WORKLOADS = ("load", "merge", "tables", "idle", "mariadb", "sqlite")
OURS = ("arrow", "auto", "spark")
FLOORS = ("floor-copy", "floor-read", "floor-write")
LABELS = {
    "arrow": "ours, arrow",
    "auto": "ours, auto",
    "spark": "ours, spark",
    "plain-4": "plain Spark, 4 partitions",
    "plain-1": "plain Spark, 1 partition, defaults",
    "plain-cow": "plain Spark MERGE, copy-on-write",
    "plain-mor": "plain Spark MERGE, merge-on-read",
    "dlt": "dlt, connectorx",
    "floor-copy": "floor: COPY to nowhere",
    "floor-read": "floor: read and convert",
    "floor-write": "floor: read, convert, write Parquet",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. ``failure`` is empty when it ended well; ``snapshots`` counts those that it added to its tables."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    snapshots: int | None
    verdict: str
    note: str = ""
    failure: str = ""

    @property
    def good(self) -> bool:
        """Whether it may count: it ended well and its result is not wrong."""
        return not self.failure and self.verdict != "WRONG"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures between their smallest and largest."""

    low: float
    median: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Return the spread of at least one value."""
    found = sorted(values)
    return Spread(found[0], statistics.median(found), found[-1])


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one system in one workload of one size (rows, or tables)."""

    workload: str
    system: str
    size: int
    samples: tuple[Sample, ...]

    @property
    def good(self) -> bool:
        """Whether every run ended well with a result that is not wrong."""
        return bool(self.samples) and all(sample.good for sample in self.samples)

    def of(self, figure: Callable[[Sample], float]) -> Spread:
        """Return the spread of a figure over the samples."""
        return spread(figure(sample) for sample in self.samples)

    @property
    def seconds(self) -> float:
        """Median seconds."""
        return self.of(lambda sample: sample.seconds).median

    @property
    def peak_mib(self) -> float:
        """Median peak memory."""
        return self.of(lambda sample: sample.peak_mib).median

    @property
    def worst(self) -> Sample:
        """The sample that says most about the result: one that failed, else one that is wrong, else the first."""
        order = ("WRONG", "other types", "not checked", "exact")
        return min(self.samples, key=lambda sample: (not sample.failure, order.index(sample.verdict)))


@dataclass(slots=True)
class Book:
    """All series of one bench, written to a file after every run, so that nothing measured is lost."""

    file: Path
    about: Mapping[str, Any]
    series: dict[tuple[str, str, int], list[Sample]] = field(default_factory=dict)
    promises: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, file: Path, about: Mapping[str, Any], *, resume: bool) -> "Book":
        """Return an empty book, or with ``resume`` the one in the file if it was made with the same settings."""
        book = cls(file, about)
        if resume and file.exists():
            former = cls.read(file)
            if former.about["settings"] != about["settings"]:
                raise SystemExit(f"{file} was made with {former.about['settings']}, not {about['settings']}.")
            book.series = former.series
        return book

    @classmethod
    def read(cls, file: Path) -> "Book":
        """Return a book as it was written."""
        document = json.loads(file.read_text())
        entries = document.pop("series")
        promises = document.pop("promises")
        series = {
            (entry["workload"], entry["system"], entry["size"]): [Sample(**sample) for sample in entry["samples"]]
            for entry in entries
        }
        return cls(file, document, series, promises)

    def add(self, workload: str, system: str, size: int, sample: Sample) -> None:
        """Note a sample and write the file."""
        self.series.setdefault((workload, system, size), []).append(sample)
        self.write()

    def count(self, workload: str, system: str, size: int) -> int:
        """Return how many samples there are already."""
        return len(self.series.get((workload, system, size), []))

    def get(self, workload: str, system: str, size: int) -> Series | None:
        """Return a series, None if nothing of it was measured."""
        samples = self.series.get((workload, system, size))
        return Series(workload, system, size, tuple(samples)) if samples else None

    def all(self) -> list[Series]:
        """Return all series in the order in which they began."""
        return [Series(*key, tuple(samples)) for key, samples in self.series.items()]

    def write(self) -> None:
        """Replace the file by what is known now."""
        entries = [
            {
                "workload": series.workload,
                "system": series.system,
                "size": series.size,
                "median": {
                    "seconds": series.seconds,
                    "cpu_seconds": series.of(lambda sample: sample.cpu_seconds).median,
                    "peak_mib": series.peak_mib,
                },
                "samples": [asdict(sample) for sample in series.samples],
            }
            for series in self.all()
        ]
        document = {**self.about, "series": entries, "promises": self.promises}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(document, indent=1) + "\n")
        draft.replace(self.file)
