"""What stands on the page of a run, ready to be written down: texts, and shapes with their places."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ingestion_runtime.progress.report.axis import Tick, axis_of
from ingestion_runtime.progress.report.figures import figures_of
from ingestion_runtime.progress.report.findings import (
    EngineUse,
    FailureKind,
    Warnings,
    engine_uses,
    failure_kinds,
    warning_kinds,
)
from ingestion_runtime.progress.report.rows import SliceGroup, TableRow, slice_groups, table_row
from ingestion_runtime.progress.report.throughput import Throughput, measure
from ingestion_runtime.progress.report.timeline import Timeline, draw_timeline
from ingestion_runtime.progress.report.words import count, duration, moment, plural, short_count, visible
from ingestion_runtime.progress.view import RunView, TableState
from ingestion_runtime.progress.wording import show_bytes

_AGAIN: Final = "Run it again: it goes on where this one stopped."
_MEANINGS: Final = {
    0: "every table is complete",
    1: "at least one table failed in a way that a rerun alone does not mend",
    2: "usage, configuration, credentials or Java",
    3: "worth a retry: run the same command again",
    4: "another living run holds a table",
    130: "interrupted by SIGINT",
    143: "interrupted by SIGTERM",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the run ended in a sentence; ``tone`` is ``good``, ``bad`` or ``open``."""

    tone: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of the run; ``hint`` stands below it."""

    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class StateShare:
    """How many tables are in a state, and their share of a bar that is a hundred wide."""

    state: str
    tables: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template writes down."""

    title: str
    job: str
    run_id: str
    load_date: str
    process: str
    started: str
    ended: str
    made: str
    verdict: Verdict
    facts: tuple[Fact, ...]
    states: tuple[StateShare, ...]
    ticks: tuple[Tick, ...]
    timeline: Timeline
    throughput: Throughput
    throughput_told: str
    tables: tuple[TableRow, ...]
    unnamed: int
    slices: tuple[SliceGroup, ...]
    slices_left_out: int
    failures: tuple[FailureKind, ...]
    more_failures: int
    warnings: tuple[Warnings, ...]
    engines: tuple[EngineUse, ...]
    garbage: int
    figures: dict[str, Any]


def build_page(run: RunView, made: datetime, *, gone: bool = False) -> Page:
    """Return the page of a run; ``made`` is when that is. ``gone``: its process is known to have died."""
    axis = axis_of(run.started, run.ended or run.last_line_at)
    throughput = measure(run, axis)
    failures, more_failures = failure_kinds(run)
    slices, left_out = slice_groups(run)
    job = visible(run.job_name) or "a run without a name"
    return Page(
        title=f"{job}, {visible(run.load_date)}: ingestion run {visible(run.run_id)}",
        job=job,
        run_id=visible(run.run_id),
        load_date=visible(run.load_date) or "unknown",
        process=f"process {run.pid} on {visible(run.host)}" if run.host else "",
        started=moment(run.started),
        ended=moment(run.ended) if run.ended else "",
        made=moment(made),
        verdict=_verdict(run, made, gone),
        facts=_facts(run, throughput),
        states=_states(run),
        ticks=axis.ticks(),
        timeline=draw_timeline(run, axis),
        throughput=throughput,
        throughput_told=_told(throughput),
        tables=tuple(table_row(table, run, axis) for table in run.tables),
        unnamed=run.total - len(run.tables),
        slices=slices,
        slices_left_out=left_out,
        failures=failures,
        more_failures=more_failures,
        warnings=warning_kinds(run),
        engines=engine_uses(run),
        garbage=run.garbage,
        figures=figures_of(run, throughput),
    )


def _verdict(run: RunView, made: datetime, gone: bool) -> Verdict:
    failed, stopped = run.count(TableState.FAILED), run.count(TableState.INTERRUPTED)
    troubles = [f"{number:,} {how}" for number, how in ((failed, "failed"), (stopped, "interrupted")) if number]
    of_all = f"of {plural(run.total, 'table')}"
    if run.ended is None:
        age = max((made - run.last_line_at).total_seconds(), 0.0)
        text = f"{run.over:,} {of_all} over" + (f", {', '.join(troubles)}" if troubles else "")
        last = f"Its last line is of {moment(run.last_line_at)}, {duration(age)} before this page was made."
        if gone:
            return Verdict("bad", f"Died: {text}", f"Its process is gone and wrote no end. {last} {_AGAIN}")
        return Verdict("open", f"Under way: {text}", f"The run goes on, or it died. {last} If it died: {_AGAIN.lower()}")
    code = run.exit_code
    meaning = f"exit code {code}" + (f": {_MEANINGS[code]}" if code in _MEANINGS else "") if code is not None else ""
    if troubles:
        return Verdict("bad", f"{', '.join(troubles)} {of_all}".capitalize(), meaning.capitalize())
    if code:
        return Verdict("bad", f"Ended with exit code {code}", meaning.capitalize())
    return Verdict("good", f"All {plural(run.total, 'table')} complete" if run.total else "No tables", meaning.capitalize())


def _facts(run: RunView, throughput: Throughput) -> tuple[Fact, ...]:
    seconds = ((run.ended or run.last_line_at) - run.started).total_seconds()
    written = sum(table.rows_written for table in run.tables)
    deleted = sum(table.rows_deleted for table in run.tables)
    staged = sum(table.bytes for table in run.tables)
    rate = f"{short_count(run.rows_read / seconds)}/s on average" if seconds > 0 else ""
    facts = [
        Fact("Duration", duration(seconds), f"{run.max_parallel} at a time" if run.max_parallel > 1 else "one at a time"),
        Fact("Exit code", "none yet" if run.exit_code is None else str(run.exit_code)),
        Fact("Tables", count(run.total), f"{run.over:,} over" if run.over != run.total else ""),
        Fact("Rows read", count(run.rows_read), rate),
        Fact("Rows written", count(written)),
        Fact("Staged", show_bytes(staged), "Parquet, compressed"),
    ]
    if deleted:
        facts.insert(5, Fact("Rows deleted", count(deleted)))
    if throughput.peak > 0:
        facts.append(Fact("Peak", f"{short_count(throughput.peak)}/s", f"rows, over {duration(throughput.bin_seconds)}"))
    return tuple(facts)


def _states(run: RunView) -> tuple[StateShare, ...]:
    shares: list[StateShare] = []
    at = 0.0
    for state in (
        TableState.DONE,
        TableState.UNCHANGED,
        TableState.SKIPPED,
        TableState.RUNNING,
        TableState.WAITING,
        TableState.INTERRUPTED,
        TableState.FAILED,
    ):
        number = run.count(state)
        if number:
            width = round(100 * number / max(run.total, 1), 2)
            shares.append(StateShare(state.value, number, round(at, 2), width))
            at += width
    return tuple(shares)


def _told(throughput: Throughput) -> str:
    stretch = duration(throughput.bin_seconds)
    return f"Rows read a second, all tables together, in stretches of {stretch}; peak {count(throughput.peak)}."
