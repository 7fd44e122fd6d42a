"""The trace below the sentence: place by place what was found, for people and as one JSON document."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingestion_runtime.telling import counted
from ingestion_runtime.tracing.evidence import Era, Place, Reach, Sighting
from ingestion_runtime.tracing.trace import Trace
from ingestion_runtime.tracing.values import show

_SHOWN = 20
_PLACES = {
    Place.STAGED: "staged, not published",
    Place.LANDED: "landed in raw, not published",
    Place.ABANDONED: "given up",
    Place.PUBLISHED: "published",
    Place.REPLACED: "published, replaced since",
}

_REACHES = {
    Reach.READS: "the next run reads it",
    Reach.HELD: "above the horizon, it has to wait",
    Reach.BEYOND: "later than the source's own now",
    Reach.BELOW: "at or below the watermark, it is not read again",
    Reach.INITIAL: "at or below initial_watermark, it is never read",
    Reach.IGNORED: "there is none, and such rows are left out",
    Reach.UNKNOWN: "nobody can say whether it is read",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One place on the way, and what was found there: a line for each thing."""

    name: str
    lines: tuple[str, ...]


def stages(trace: Trace) -> tuple[Stage, ...]:
    """Return the trace in the order in which rows travel."""
    told = (
        ("source", _source(trace)),
        ("window", _window(trace)),
        ("raw", _lake(trace)),
        ("target", _target(trace)),
        ("state", _state(trace)),
    )
    return tuple(Stage(name, tuple(lines)) for name, lines in told)


def _source(trace: Trace) -> Iterator[str]:
    found, column = trace.evidence.source, trace.table.incremental_column
    if found.problem is not None:
        yield f"no answer: {found.problem}"
        return
    through = "through filter and query" if trace.table.source_filter or trace.table.query_sql else ""
    if not found.rows:
        yield f"no such row {through}".rstrip()
    for row in found.rows[:_SHOWN]:
        cursor = f", {column} {'NULL' if row.cursor is None else show(row.cursor.literal)}" if column else ""
        asked = "" if row.fits else ", not the version that was asked for"
        yield f"a row {through}".rstrip() + cursor + asked
    if len(found.rows) > _SHOWN:
        yield f"and {len(found.rows) - _SHOWN} more rows"
    if found.hidden:
        yield f"{counted(len(found.hidden), 'row')} that {'query_sql' if trace.table.query_sql else 'source_filter'} hides"
    if found.near:
        yield f"the source takes these keys for the same: {', '.join(found.near)}"
    if found.unfit:
        yield f"a value cannot land: {found.unfit}"


def _window(trace: Trace) -> Iterator[str]:
    found, table = trace.evidence.window, trace.table
    if table.source_filter:
        yield f"source_filter: {show(' '.join(table.source_filter.split()))}"
    if table.query_sql:
        yield f"query_sql: {show(' '.join(table.query_sql.split()))}"
    if table.mode == "full":
        yield "a full refresh reads everything"
        return
    mark = "none yet" if found.watermark is None else show(found.watermark.literal)
    lag = f", read again from {found.reread_from.literal} on" if found.reread_from else ""
    yield f"watermark {mark}{lag}"
    if table.initial_watermark is not None:
        yield f"initial_watermark {show(table.initial_watermark.literal)}"
    if found.upper is not None:
        yield f"the next run would read up to {show(found.upper)}"
    settled = trace.evidence.compared and not trace.evidence.differing
    if trace.evidence.source.rows and not settled:
        yield f"the row's cursor: {_REACHES[found.reach]}"
    if found.covered_by is not None:
        yield f"batch {found.covered_by} read the window in which it lies"
    if found.held_by is not None:
        yield f"horizon: {found.held_by}"
    if found.changed:
        yield f"changed since the last publish: {'; '.join(found.changed)}"
    if found.refusal is not None:
        yield found.refusal


def _lake(trace: Trace) -> Iterator[str]:
    found = trace.evidence.lake
    yield f"{counted(found.batches, 'batch', 'batches')} looked through, {counted(len(found.sightings), 'sighting')}"
    for one in found.sightings[-_SHOWN:]:
        yield _sighting(one)
    for aside in found.quarantined:
        yield f"batch {aside.batch_id}: {counted(aside.rows, 'row')} set aside in {aside.directory}"
    yield from (f"missing: {gap}" for gap in found.gaps)
    yield from (f"not looked through: {' '.join(place.split())}" for place in found.unread)


def _sighting(one: Sighting) -> str:
    what = "a tombstone" if one.tombstone else "a row"
    cursor = f", cursor {show(one.cursor.literal)}" if one.cursor is not None else ""
    row = f" row {one.row}" if one.row is not None else ""
    asked = "" if one.fits or one.tombstone else ", not the version that was asked for"
    return f"batch {one.batch_id} ({_PLACES[one.place]}): {what} in slice {one.slice}, {one.file}{row}{cursor}{asked}"


def _target(trace: Trace) -> Iterator[str]:
    found = trace.evidence.target
    if found.problem is not None:
        yield f"not looked at: {found.problem}"
        return
    if not found.exists:
        yield "there is no table"
        return
    marked = "" if found.marked is None else f", one marked as deleted on {_moment(found.marked)}"
    yield f"{counted(len(found.rows), 'row')} in snapshot {found.snapshot}{marked}"
    for name, one, other in trace.evidence.differing:
        values = "" if one is None else f": {one} at the source, {other} in the target"
        yield f"differs in {name}{values}"
    for era in found.eras[:_SHOWN]:
        yield _era(era)
    if found.cut:
        yield "older snapshots are gone, or were not looked at"
    if found.damage is not None:
        yield f"not as the last run left it: {found.damage}"


def _era(era: Era) -> str:
    who = f"batch {era.batch}" if era.batch else "a batch by Spark" if era.ours else "another writer"
    change = "there" if era.there else "gone"
    return f"{change} as of snapshot {era.snapshot} of {_moment(era.at)} ({era.operation}, {who})"


def _state(trace: Trace) -> Iterator[str]:
    found = trace.evidence.state
    if found.problem is not None:
        yield f"not read: {found.problem}"
        return
    if found.receipt is None:
        yield "knows of no publish"
    else:
        yield f"last publish: batch {found.receipt.batch_id}, load date {found.receipt.load_date}"
    if found.at_work is not None:
        yield f"run {found.at_work} is at work on the table at this moment"
    for end in found.ends[:3]:
        error = f": {' '.join(end.error.split())}" if end.error else ""
        yield f"batch {end.batch.id} begun {_moment(end.opened_at)}: {end.outcome}{error}"
    if found.last is not None:
        error = f": {' '.join(found.last.end.error.split())}" if found.last.end.error else ""
        yield f"last run {found.last.end.run_id} ended {_moment(found.last.end.at)}: {found.last.end.status.value}{error}"


def document(trace: Trace) -> dict[str, Any]:
    """Return everything as plain values for a program."""
    found, verdict = trace.evidence, trace.verdict
    return {
        "table": trace.table.name,
        "mode": trace.table.mode,
        "key": {part.column: None if part.value is None else show_whole(part.value) for part in trace.wanted.key},
        "cause": verdict.cause.value,
        "in_target": verdict.in_target,
        "equals_source": verdict.equals_source,
        "sentence": verdict.sentence,
        "remedy": verdict.remedy,
        "at_source": None if found.source.problem else len(found.source.rows),
        "hidden_at_source": len(found.source.hidden),
        "watermark": found.window.watermark.literal if found.window.watermark else None,
        "reach": found.window.reach.value,
        "batch": _batch(trace),
        "snapshot": found.target.snapshot,
        "differing": [{"column": name, "source": one, "target": other} for name, one, other in found.differing],
        "sightings": [_sighted(one) for one in found.lake.sightings],
        "history": [
            {
                "snapshot": era.snapshot,
                "at": era.at.isoformat(),
                "operation": era.operation,
                "batch": era.batch,
                "there": era.there,
            }
            for era in found.target.eras
        ],
        "trace": [{"stage": stage.name, "found": list(stage.lines)} for stage in stages(trace)],
    }


def _batch(trace: Trace) -> str | None:
    """The batch that brought the row as it stands, or the last one that had to do with it."""
    last = trace.evidence.lake.sightings[-1:]
    return last[0].batch_id if last else None


def _sighted(one: Sighting) -> dict[str, Any]:
    return {
        "place": one.place.value,
        "batch": one.batch_id,
        "sequence": one.sequence,
        "load_date": one.load_date.isoformat(),
        "slice": one.slice,
        "file": one.file,
        "row": one.row,
        "cursor": one.cursor.literal if one.cursor else None,
        "tombstone": one.tombstone,
    }


def show_whole(value: Any) -> str:
    """Return a value for a program: whole, bytes in hex."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
