"""A message in words for people, and as a document for programs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from ingestion_runtime.events.notifier.notice import AtWork, FailedTable, Notice
from ingestion_runtime.model.notify import NoticeKind

T = TypeVar("T")

_LISTED: Final = 20  # of each kind in the text; a mail about 500 tables is read no further
_MESSAGE: Final = 500  # characters of one failure's message; the event log has the whole of it


def title_of(notice: Notice) -> str:
    """Return the message in one line."""
    return _plain(f"{notice.about.job_name}: {_SUBJECTS[notice.kind](notice)}")


def text_of(notice: Notice) -> str:
    """Return the message in lines: which run, how it stands, and the tables it is about."""
    return "\n".join(_lines(notice))


def document_of(notice: Notice) -> dict[str, Any]:
    """Return the message for programs. Fields may be added within a version; none is removed or changes its meaning."""
    facts = dataclasses.asdict(notice)
    about = facts.pop("about")
    return {"version": 1, **about, **facts, "title": title_of(notice), "text": text_of(notice)}


def spell_seconds(seconds: float) -> str:
    """Return a duration as people say it: ``4.2 s``, ``12 min``, ``3 h 5 min``."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _start(notice: Notice) -> str:
    return f"run started, {_tables(notice.counts.tables)}"


def _failure(notice: Notice) -> str:
    return f"{_named([item.table or 'the run' for item in notice.failures])} failed"


def _recovery(notice: Notice) -> str:
    names = [item.table for item in notice.recovered]
    return f"{_named(names)} {'is' if len(names) == 1 else 'are'} well again"


def _stall(notice: Notice) -> str:
    names = [item.table for item in notice.stalled]
    longest = max((item.still_seconds for item in notice.stalled), default=0.0)
    return f"no progress of {_named(names)} for {spell_seconds(longest)}"


def _digest(notice: Notice) -> str:
    failed = f", {notice.counts.failed} failed" if notice.counts.failed else ""
    return f"{notice.counts.complete} of {_tables(notice.counts.tables)} after {spell_seconds(notice.seconds)}{failed}"


def _end(notice: Notice) -> str:
    counts = notice.counts
    took = f" in {spell_seconds(notice.seconds)}"
    if notice.exit_code == 0:
        return f"{_tables(counts.tables)} complete{took}"
    if counts.tables == 0 and notice.failures:
        return f"the run could not begin, exit code {notice.exit_code}"
    parts = [f"{counts.failed} failed"] if counts.failed else []
    parts += [f"{counts.interrupted} interrupted"] if counts.interrupted else []
    what = f"{', '.join(parts)} of {_tables(counts.tables)}" if parts else "stopped"
    return f"{what}{took}, exit code {notice.exit_code}"


_SUBJECTS: Final[dict[NoticeKind, Callable[[Notice], str]]] = {
    NoticeKind.START: _start,
    NoticeKind.FAILURE: _failure,
    NoticeKind.RECOVERY: _recovery,
    NoticeKind.STALL: _stall,
    NoticeKind.DIGEST: _digest,
    NoticeKind.END: _end,
}


def _lines(notice: Notice) -> Iterator[str]:
    about, counts = notice.about, notice.counts
    yield title_of(notice)
    yield ""
    yield _plain(f"Run {about.run_id} on {about.host}, load date {about.load_date}")
    if counts.tables and notice.kind is not NoticeKind.START:
        stands = {"complete": counts.complete, "failed": counts.failed, "interrupted": counts.interrupted}
        stands |= {"running": counts.running, "waiting": counts.waiting}
        told = ", ".join(f"{number} {word}" for word, number in stands.items() if number or word == "complete")
        yield f"Tables: {told} (of {counts.tables})"
        yield f"Rows: {notice.rows_read:,} read, {notice.rows_written:,} written, {notice.rows_deleted:,} deleted"
    yield from _section("Failed", notice.failures, _failed_line)
    yield from _section("Well again", notice.recovered, lambda item: f"{item.table}: {item.reason}")
    yield from _section("Without progress", notice.stalled, _working_line)
    if notice.kind is NoticeKind.DIGEST:
        yield from _section("Running", notice.running, _working_line)


def _section(heading: str, items: Sequence[T], line: Callable[[T], str]) -> Iterator[str]:
    if items:
        yield ""
        yield f"{heading}:"
        yield from (_plain(f"  {line(item)}") for item in items[:_LISTED])
        if len(items) > _LISTED:
            yield f"  and {len(items) - _LISTED} more"


def _failed_line(failed: FailedTable) -> str:
    # A message mostly begins with the table's name already.
    named = not failed.table or failed.message.startswith(failed.table)
    told = failed.message if len(failed.message) <= _MESSAGE else f"{failed.message[:_MESSAGE]} ..."
    return f"{'' if named else f'{failed.table}: '}{told} ({failed.error_type})"


def _working_line(work: AtWork) -> str:
    still = f", no progress for {spell_seconds(work.still_seconds)}" if work.still_seconds >= 60 else ""  # noqa: PLR2004
    return f"{work.table}: {work.rows:,} rows in {spell_seconds(work.seconds)}{still}"


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else _tables(len(names))


def _tables(count: int) -> str:
    return "1 table" if count == 1 else f"{count} tables"


def _plain(text: str) -> str:
    """One line, whatever a name or a database's message holds: no line break that a mail header could begin after."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
