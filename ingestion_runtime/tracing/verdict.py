"""The one sentence: why a key is in the target, or is not, out of what was found of it. Pure."""

from dataclasses import replace
from typing import Final

from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.tracing.absent import absent, without_table
from ingestion_runtime.tracing.case import Case
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import Evidence, Place
from ingestion_runtime.tracing.standing import standing
from ingestion_runtime.tracing.wanted import Wanted

_MENDED_BY_A_RUN: Final = {
    Cause.NOT_READ_YET,
    Cause.DELETE_NOT_READ_YET,
    Cause.RUN_FAILED,
    Cause.NEVER_LOADED,
    Cause.BATCH_NOT_PUBLISHED,
    Cause.LANDED_NOT_PUBLISHED,
}


def judge(table: TableSpec, wanted: Wanted, found: Evidence) -> Verdict:
    """Return why the row that is asked for is in the target or is not."""
    verdict = _judge(Case(table, wanted, found), found)
    if found.state.at_work is None or verdict.cause not in _MENDED_BY_A_RUN:
        return verdict
    return replace(verdict, remedy=f"Run {found.state.at_work} is at work on the table: ask again when it has ended.")


def _judge(case: Case, found: Evidence) -> Verdict:
    if found.source.problem is not None:
        return _unreachable(case, found.source.problem)
    if found.target.problem is not None:
        return _unreadable(case, found.target.problem)
    if found.target.lacking is not None:
        return _without_column(case, found.target.lacking)
    if not found.target.exists:
        return without_table(case)
    return (standing(case) if case.there else absent(case)) or _unexplained(case)


def _unreachable(case: Case, problem: str) -> Verdict:
    """What can be said without the source."""
    target = case.found.target
    stands = "is in the target" if case.there else "is not in the target"
    if target.problem is not None:
        stands = f"may be in the target, which could not be looked at either ({target.problem})"
    words = f"{case.who} {stands}{case.since}{_lake_says(case)}; the source did not say what it has: {problem}."
    there = None if target.problem is not None else case.there
    remedy = case.found.source.remedy
    if case.found.source.away:
        return Verdict(Cause.SOURCE_UNREACHABLE, there, None, words, remedy or "Ask again once the source answers.")
    remedy = remedy or "Correct that at the source or in the configuration."
    return Verdict(Cause.SOURCE_NOT_READABLE, there, None, words, remedy)


def _unreadable(case: Case, problem: str) -> Verdict:
    at_source = "the source has it" if case.rows else "the source does not have it"
    words = f"{case.who} could not be looked up in the target: {problem}; {at_source}{_lake_says(case)}."
    return Verdict(
        Cause.TARGET_NOT_READABLE,
        None,
        None,
        words,
        "See what is wrong with it: `ingestion doctor`, and `ingestion verify` for its files.",
    )


def _without_column(case: Case, name: str) -> Verdict:
    at_source = "the source has it" if case.rows else "the source does not have it"
    words = f"{case.who} cannot be looked up in the target, which has no column {name}; {at_source}{_lake_says(case)}."
    remedy = "A new column comes with the next run that publishes; ask by columns that both sides have."
    return Verdict(Cause.TARGET_NOT_READABLE, None, None, words, remedy)


def _lake_says(case: Case) -> str:
    lake = case.found.lake
    last = lake.newest(Place.PUBLISHED)
    if last is None:
        partly = " (raw is not complete)" if lake.gaps or lake.unread else ""
        return f", and no published batch in raw brought it{partly}"
    return f", and batch {last.batch_id} was the last that {'removed' if last.tombstone else 'brought'} it"


def _unexplained(case: Case) -> Verdict:
    remedy = f"See the trace; `ingestion explain --only-tables {case.table.name}` says what a run would do now."
    why = f"nothing that was found explains why: {case.cursor}" if case.rows and case.incremental else "nothing explains why"
    return case.unequal(Cause.UNEXPLAINED, f"{case.lead}, and {why}", remedy)
