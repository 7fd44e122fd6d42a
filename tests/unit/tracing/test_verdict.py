"""The verdict: out of what was found, one cause and one sentence. Every piece of evidence is made up here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from ingestion_runtime.model.batch import Batch, IngestionPlan, PlannerMetadata, Receipt, TableKey, WriteMode
from ingestion_runtime.model.cursor import CursorType, Interval, Slice, Watermark
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.model.spec import Deletes, NullKeys, TableSpec
from ingestion_runtime.model.state import BatchEnd, LastResult, TableEnd
from ingestion_runtime.tracing.cause import Cause, Verdict
from ingestion_runtime.tracing.evidence import (
    Era,
    Evidence,
    LakeFinding,
    Place,
    Quarantined,
    Reach,
    Sighting,
    SourceFinding,
    SourceRow,
    StateFinding,
    TargetFinding,
    WindowFinding,
)
from ingestion_runtime.tracing.verdict import judge
from ingestion_runtime.tracing.wanted import Part, Wanted

DAY, NOON = date(2026, 7, 1), datetime(2026, 7, 1, 12, tzinfo=UTC)
TABLE = TableSpec("shop", "t", "scd1", "source", primary_keys=("id",), incremental_column="at", incr_col_type=CursorType.INT)
FULL = replace(TABLE, mode="full", incremental_column=None, incr_col_type=None)
WANTED = Wanted((Part("id", pa.int64(), 7),))
NULL = Wanted((Part("id", pa.int64(), None),))


def mark(value: int) -> Watermark:
    return Watermark(CursorType.INT, str(value))


def row(cursor: int | None, *, fits: bool = True) -> SourceRow:
    return SourceRow({"id": 7}, None if cursor is None else mark(cursor), fits)


def seen(place: Place, number: int, *, tombstone: bool = False) -> Sighting:
    write, batch = WriteMode.MERGE, f"b{number}"
    return Sighting(place, batch, number, DAY, write, 0, "slice.parquet", 0, mark(number), NOON, tombstone=tombstone)


def era(*, there: bool, batch: str | None = "b1", ours: bool = True) -> Era:
    return Era("11", NOON, "overwrite", batch, there, ours)


def ended(outcome: str, error: str | None, high: int = 100, number: int = 2) -> BatchEnd:
    plan = IngestionPlan(
        (Slice(0, window=Interval(mark(0), mark(high))),), mark(high), None, PlannerMetadata("0", "", None, False, "")
    )
    key = TableKey("lake", "shop", "t")
    return BatchEnd(
        Batch(f"b{number}", number, key, "scd1", WriteMode.MERGE, DAY, "run", "b1", plan), outcome, NOON, NOON, error
    )


def failed(message: str) -> LastResult:
    return LastResult(TableEnd("run", DAY, NOON, TableStatus.FAILED, error=message), None, 1)


RECEIPT = Receipt("b1", 1, None, "scd1", WriteMode.MERGE, DAY, mark(50), None, 1, "job", 1)
STANDS = TargetFinding(exists=True, receipt=RECEIPT, snapshot="10")
THERE = replace(STANDS, rows=({"id": 7},), eras=(era(there=True),))
WINDOW = WindowFinding(watermark=mark(50))


def evidence(
    *rows: SourceRow,
    target: TargetFinding = STANDS,
    sightings: tuple[Sighting, ...] = (),
    reach: Reach = Reach.UNKNOWN,
    state: StateFinding | None = None,
    differing: tuple[str, ...] = (),
    source: SourceFinding | None = None,
    window: WindowFinding = WINDOW,
) -> Evidence:
    return Evidence(
        source=source or SourceFinding(rows),
        window=replace(window, reach=reach),
        lake=LakeFinding(sightings, batches=1),
        target=target,
        state=state or StateFinding(RECEIPT),
        differing=tuple((name, "1", "2") for name in differing),
        compared=bool(rows and target.rows),
    )


def told(found: Evidence, table: TableSpec = TABLE, wanted: Wanted = WANTED) -> Verdict:
    """The verdict; its sentence is one sentence, and begins with the row."""
    verdict = judge(table, wanted, found)
    assert verdict.sentence.startswith(f"shop.t {wanted.spelled()} ")
    assert verdict.sentence.endswith(".")
    assert ". " not in verdict.sentence
    assert "\n" not in verdict.sentence
    return verdict


def unfilled(*columns: str, batch: tuple[str, ...] = ("id", "at")) -> Evidence:
    """A row that its batch brought with these columns, and that is NULL in others by now."""
    found = evidence(
        row(40), reach=Reach.BELOW, target=THERE, sightings=(replace(seen(Place.PUBLISHED, 40), columns=batch),)
    )
    return replace(found, differing=tuple((name, "1", "NULL") for name in columns))


SETTINGS = replace(WINDOW, changed=("source_filter",))
DAMAGED = replace(STANDS, damage="someone else wrote to it", published=True)
CASES: dict[Cause, Callable[[], Verdict]] = {
    Cause.PRESENT: lambda: told(evidence(row(1), target=THERE)),
    Cause.OVERWRITTEN: lambda: told(evidence(row(9), row(1), target=THERE, sightings=(seen(Place.PUBLISHED, 1),))),
    Cause.LOST_IN_BATCH: lambda: told(evidence(row(9), row(1), target=THERE, sightings=(seen(Place.PUBLISHED, 1),) * 2)),
    Cause.NOT_AT_SOURCE: lambda: told(evidence()),
    Cause.FILTERED_OUT: lambda: told(evidence(source=SourceFinding(hidden=(row(1),)))),
    Cause.NOT_READ_YET: lambda: told(evidence(row(60), reach=Reach.READS)),
    Cause.RUN_FAILED: lambda: told(evidence(row(60), reach=Reach.READS, state=StateFinding(last=failed("no disk.")))),
    Cause.HELD_BY_HORIZON: lambda: told(evidence(row(60), reach=Reach.HELD)),
    Cause.BEYOND_NOW: lambda: told(evidence(row(60), reach=Reach.BEYOND)),
    Cause.LATE_BEYOND_LAG: lambda: told(evidence(row(40), reach=Reach.BELOW)),
    Cause.CHANGE_WITHOUT_CURSOR: lambda: told(evidence(row(40), reach=Reach.BELOW, target=THERE, differing=("name",))),
    Cause.COLUMN_NOT_FILLED: lambda: told(unfilled("note")),
    Cause.SETTINGS_CHANGED: lambda: told(evidence(row(40), reach=Reach.BELOW, window=SETTINGS)),
    Cause.NULL_CURSOR_IGNORED: lambda: told(evidence(row(None), reach=Reach.IGNORED)),
    Cause.NULL_KEY_QUARANTINED: lambda: told(
        replace(evidence(row(1)), lake=LakeFinding(quarantined=(Quarantined("b1", DAY, 2, "/raw"),))), wanted=NULL
    ),
    Cause.NULL_KEY_REFUSED: lambda: told(evidence(row(1)), replace(TABLE, null_keys=NullKeys.REFUSE), NULL),
    Cause.BELOW_INITIAL_WATERMARK: lambda: told(
        evidence(row(1), reach=Reach.INITIAL), replace(TABLE, initial_watermark=mark(5))
    ),
    Cause.DELETED_AT_SOURCE: lambda: told(evidence(sightings=(seen(Place.PUBLISHED, 2, tombstone=True),))),
    Cause.MARKED_AS_DELETED: lambda: told(evidence(target=replace(STANDS, marked=NOON))),
    Cause.DELETES_IGNORED: lambda: told(evidence(target=THERE)),
    Cause.DELETE_NOT_READ_YET: lambda: told(evidence(target=THERE), replace(TABLE, deletes=Deletes.HARD)),
    Cause.BATCH_NOT_PUBLISHED: lambda: told(evidence(row(60), sightings=(seen(Place.STAGED, 2),))),
    Cause.BATCH_REFUSED: lambda: told(evidence(row(60), state=StateFinding(ends=(ended("abandoned", "too many"),)))),
    Cause.BATCH_ABANDONED: lambda: told(evidence(row(60), sightings=(seen(Place.ABANDONED, 2),))),
    Cause.LANDED_NOT_PUBLISHED: lambda: told(evidence(row(60), sightings=(seen(Place.LANDED, 2),))),
    Cause.REMOVED_BY_ANOTHER_WRITER: lambda: told(
        evidence(
            row(40),
            target=replace(DAMAGED, eras=(era(there=False, batch=None, ours=False),)),
            sightings=(seen(Place.PUBLISHED, 1),),
        )
    ),
    Cause.CHANGED_BY_ANOTHER_WRITER: lambda: told(
        evidence(
            row(40),
            target=replace(DAMAGED, rows=THERE.rows, eras=(era(there=True, batch=None, ours=False),)),
            differing=("name",),
        )
    ),
    Cause.ROLLED_BACK: lambda: told(evidence(row(40), target=replace(DAMAGED, rewound=True))),
    Cause.TABLE_GONE: lambda: told(evidence(row(40), target=TargetFinding(exists=False))),
    Cause.NEVER_LOADED: lambda: told(evidence(row(40), target=TargetFinding(exists=False), state=StateFinding())),
    Cause.CANNOT_LAND: lambda: told(evidence(source=SourceFinding((row(60),), unfit="column n holds texts"))),
    Cause.SOURCE_UNREACHABLE: lambda: told(evidence(source=SourceFinding(problem="no route to host"))),
    Cause.SOURCE_NOT_READABLE: lambda: told(evidence(source=SourceFinding(problem="it has no such table", away=False))),
    Cause.TARGET_NOT_READABLE: lambda: told(evidence(target=replace(STANDS, problem="it lies on HDFS"))),
    Cause.UNEXPLAINED: lambda: told(evidence(row(60))),
}
#: Causes of a question that cannot be asked: they are errors, and no verdict.
ERRORS = {Cause.TABLE_NOT_CONFIGURED, Cause.KEY_OF_ANOTHER_TYPE, Cause.MASKED_COLUMN}


@pytest.mark.parametrize("cause", CASES)
def test_each_cause_follows_from_its_evidence(cause: Cause) -> None:
    """And the sentence never says that a row is there which readers do not see."""
    verdict = CASES[cause]()
    assert verdict.cause is cause
    if verdict.in_target is False:
        assert "is not in the target" in verdict.sentence


def test_there_is_evidence_for_every_cause() -> None:
    """But for those that end the question before anything is looked at."""
    assert set(CASES) | ERRORS == set(Cause)
    assert all(cause.value == cause.name.lower() for cause in Cause)


def test_a_batch_that_was_refused_is_blamed_only_for_what_it_read() -> None:
    """A row above its window waits for the next one."""
    state = StateFinding(ends=(ended("abandoned", "too many", high=55),))
    assert told(evidence(row(60), reach=Reach.READS, state=state)).cause is Cause.NOT_READ_YET
    published = StateFinding(ends=(ended("published", None),))
    assert told(evidence(row(60), reach=Reach.READS, state=published)).cause is Cause.NOT_READ_YET


def test_a_batch_given_up_before_a_later_publish_explains_nothing() -> None:
    """What was published since has read the row again, or had it no more."""
    found = evidence(
        row(40), reach=Reach.BELOW, sightings=(seen(Place.ABANDONED, 1), seen(Place.PUBLISHED, 2, tombstone=True))
    )
    assert told(found).cause is Cause.LATE_BEYOND_LAG


def test_a_row_that_went_with_a_window_read_again_was_deleted_at_the_source() -> None:
    """The batch that took its place is named, by its snapshot where that is not signed."""
    gone = replace(STANDS, eras=(era(there=False, batch="b9"), era(there=True)))
    verdict = told(evidence(target=gone, sightings=(seen(Place.PUBLISHED, 1),)))
    assert (verdict.cause, "batch b9" in verdict.sentence) == (Cause.DELETED_AT_SOURCE, True)
    unsigned = replace(STANDS, eras=(era(there=False, batch=None), era(there=True)))
    verdict = told(evidence(target=unsigned, sightings=(seen(Place.PUBLISHED, 1),)))
    assert (verdict.cause, "the batch of snapshot 11" in verdict.sentence) == (Cause.DELETED_AT_SOURCE, True)


def test_another_writer_is_blamed_only_for_what_the_last_publish_had() -> None:
    """Where that cannot be looked at any more, raw says whether it had the row."""
    damaged = replace(DAMAGED, eras=(era(there=False, batch=None, ours=False), era(there=True)))
    assert told(evidence(target=replace(damaged, published=False))).cause is Cause.NOT_AT_SOURCE
    lost = replace(damaged, published=None)
    assert told(evidence(target=lost)).cause is Cause.NOT_AT_SOURCE
    seen_last = (seen(Place.PUBLISHED, 1),)
    assert told(evidence(target=lost, sightings=seen_last)).cause is Cause.REMOVED_BY_ANOTHER_WRITER
    deleted = (*seen_last, seen(Place.PUBLISHED, 2, tombstone=True))
    assert told(evidence(target=lost, sightings=deleted)).cause is Cause.DELETED_AT_SOURCE


def test_a_full_table_waits_for_its_next_refresh() -> None:
    """Whatever came, went or changed; a refresh that failed is told."""
    state = StateFinding(RECEIPT, last=failed("no disk"))
    assert told(evidence(row(None)), FULL).cause is Cause.NOT_READ_YET
    assert told(evidence(row(None), state=state), FULL).cause is Cause.RUN_FAILED
    assert told(evidence(row(None), target=THERE, differing=("name",)), FULL).cause is Cause.NOT_READ_YET
    assert told(evidence(row(None), target=THERE, differing=("name",), state=state), FULL).cause is Cause.RUN_FAILED
    assert told(evidence(target=THERE), FULL).cause is Cause.DELETE_NOT_READ_YET
    landed = evidence(
        row(None), target=TargetFinding(exists=False), state=StateFinding(), sightings=(seen(Place.PUBLISHED, 1),)
    )
    assert told(landed, FULL).cause is Cause.LANDED_NOT_PUBLISHED
    replaced = evidence(sightings=(seen(Place.REPLACED, 1),))
    assert told(replaced, FULL).cause is Cause.DELETED_AT_SOURCE


def test_a_version_that_was_read_again_is_no_other_version() -> None:
    """A lag window brings the same row night after night: none was overwritten, and the first one won."""
    again = (seen(Place.PUBLISHED, 9), replace(seen(Place.PUBLISHED, 9), batch_id="b10", sequence=10))
    assert "overwritten" not in told(evidence(row(9), target=THERE, sightings=again)).sentence
    older = replace(seen(Place.PUBLISHED, 9), cursor=mark(3), batch_id="b8")
    assert "1 earlier version was overwritten" in told(evidence(row(9), target=THERE, sightings=(older, *again))).sentence
    beaten = told(evidence(row(9), row(3), target=THERE, sightings=(older, *again)))
    assert (beaten.cause, "overwritten by batch b9 of 2026-07-01" in beaten.sentence) == (Cause.OVERWRITTEN, True)


def test_raw_that_is_not_complete_proves_no_absence() -> None:
    """A batch may have brought the row whose files are gone."""
    found = replace(evidence(), lake=LakeFinding(gaps=("batch b1 (named by b2)",)))
    assert "(raw is not complete)" in told(found).sentence


def test_a_row_that_came_back_was_not_missed_by_the_batch_that_had_read_it() -> None:
    """It was there, went, and is there again below the watermark; only of a row that was never seen a batch is blamed."""
    window = replace(WINDOW, covered_by="b1")
    late = told(evidence(row(40), reach=Reach.BELOW, window=window))
    assert "it came too late" in late.sentence
    assert "batch b1 had read that window without it" in late.sentence
    gone = (seen(Place.PUBLISHED, 1), seen(Place.PUBLISHED, 2, tombstone=True))
    back = told(evidence(row(40), reach=Reach.BELOW, window=window, sightings=gone))
    assert back.cause is Cause.LATE_BEYOND_LAG
    assert "it came back too late, after batch b2 of 2026-07-01 had removed it: its at 40" in back.sentence
    assert "without it" not in back.sentence


def test_a_change_is_not_said_to_have_kept_its_cursor_when_that_moved() -> None:
    """Back, or up to where nothing is read any more; or when another filter or query reads otherwise by now."""
    below = evidence(row(40), reach=Reach.BELOW, target=THERE)
    moved = told(replace(below, differing=(("name", "a", "b"), ("at", "40", "45"))))
    assert moved.cause is Cause.LATE_BEYOND_LAG
    assert "its at 40 was 45 when the row was read, and is not above the watermark 50" in moved.sentence
    other = told(replace(below, differing=(("name", "a", "b"),), window=replace(SETTINGS, reach=Reach.BELOW)))
    assert (other.cause, "source_filter" in other.sentence) == (Cause.SETTINGS_CHANGED, True)
    full = told(evidence(row(None), target=THERE, differing=("name",), window=SETTINGS), FULL)
    assert full.cause is Cause.SETTINGS_CHANGED


def test_a_column_is_not_filled_only_where_the_batch_did_not_have_it() -> None:
    """And where nothing else differs."""
    assert "ingestion backfill --table shop.t --columns note,size" in told(unfilled("note", "size")).remedy
    assert told(unfilled("note", batch=("id", "note"))).cause is Cause.CHANGE_WITHOUT_CURSOR
    assert told(unfilled("note", batch=())).cause is Cause.CHANGE_WITHOUT_CURSOR
    assert told(unfilled("note", "name", batch=("id", "name"))).cause is Cause.CHANGE_WITHOUT_CURSOR


def test_a_version_from_before_a_reload_was_read_all_the_same() -> None:
    """Of raw that is not complete nobody can say that it was never read."""
    asked = (replace(row(9), fits=False),)
    former = told(evidence(*asked, target=THERE, sightings=(seen(Place.REPLACED, 3),)))
    assert (former.cause, "came with batch b3" in former.sentence) == (Cause.OVERWRITTEN, True)
    never = evidence(*asked, target=THERE)
    assert told(never).sentence.endswith("was never read.")
    gap = replace(never, lake=LakeFinding(gaps=("batch b1",)))
    assert told(gap).sentence.endswith("was never read as far as raw goes back.")


def test_a_batch_under_way_may_hold_an_earlier_version() -> None:
    """What is staged is not what the source has by now; and what stops the batch has to be corrected first."""
    assert "has staged it (slice 0)" in told(evidence(row(2), sightings=(seen(Place.STAGED, 2),))).sentence
    older = evidence(row(60), sightings=(seen(Place.STAGED, 2),), state=StateFinding(ends=(ended("open", "no disk"),)))
    assert "has staged an earlier version of it (slice 0)" in told(older).sentence
    assert told(older).remedy == "Correct that and run the table: the batch is finished first."


def test_more_rows_in_the_target_than_at_the_source_are_no_equal_ones() -> None:
    """Without a key rows are counted: what the source has no more is told, by mode."""
    keyless = replace(TABLE, mode="append", primary_keys=())
    found = replace(evidence(row(40), target=replace(THERE, rows=THERE.rows * 3)), differing=(("its rows", "1", "3"),))
    kept = told(found, keyless)
    assert (kept.cause, "with 3 rows, of which the source has 1" in kept.sentence) == (Cause.DELETES_IGNORED, True)
    assert told(found, replace(FULL, primary_keys=())).cause is Cause.DELETE_NOT_READ_YET
    none = replace(found, differing=(("its rows", "1", "0"),), window=replace(WINDOW, reach=Reach.READS))
    assert "is in the target, but not as the source has it" in told(none, keyless).sentence


def test_a_column_that_the_target_does_not_have_tells_nothing_of_the_row() -> None:
    """It may well be there."""
    verdict = told(evidence(row(40), target=replace(STANDS, lacking="id")))
    assert (verdict.cause, verdict.in_target) == (Cause.TARGET_NOT_READABLE, None)
    assert "cannot be looked up in the target, which has no column id; the source has it" in verdict.sentence


def test_what_helps_a_source_that_does_not_answer_is_what_its_error_says() -> None:
    """A password that is not there does not come by asking again."""
    away = SourceFinding(problem="the secret cannot be read", remedy="Set NAME.")
    assert told(evidence(source=away)).remedy == "Set NAME."


def test_what_is_advised_can_be_done() -> None:
    """A text cursor has neither window nor lag; and who waits for a run that is at work need not begin another one."""
    texts = replace(TABLE, incr_col_type=CursorType.TEXT)
    late = evidence(row(40), reach=Reach.BELOW)
    assert told(late, texts).remedy.startswith("Read the table anew with --reload shop.t; a text cursor has no lag")
    assert "--start-date" in told(late).remedy
    busy = evidence(row(60), reach=Reach.READS, state=StateFinding(RECEIPT, at_work="20260701T1200"))
    assert told(busy).remedy == "Run 20260701T1200 is at work on the table: ask again when it has ended."
    filtered = evidence(source=SourceFinding(hidden=(row(1),)), state=StateFinding(RECEIPT, at_work="20260701T1200"))
    assert "at work" not in told(filtered).remedy


def test_a_row_that_left_the_filter_was_not_deleted_at_the_source() -> None:
    """Where deletes are followed a batch took it away, or marked it: the source has it all the same."""
    gone = (seen(Place.PUBLISHED, 1), seen(Place.PUBLISHED, 2, tombstone=True))
    for target in (STANDS, replace(STANDS, marked=NOON)):
        verdict = told(evidence(source=SourceFinding(hidden=(row(40),)), sightings=gone, target=target))
        assert verdict.cause is Cause.FILTERED_OUT
        assert "does not let its row through: batch b2 of 2026-07-01 took it away" in verdict.sentence


def test_of_a_query_it_is_said_what_it_gives_and_not_what_the_source_has() -> None:
    """It may read tables of any name."""
    asked = replace(TABLE, query_sql="SELECT * FROM other")
    assert "because query_sql gives no such row" in told(evidence(), asked).sentence
    assert "and query_sql no longer gives it" in told(evidence(target=THERE), asked).sentence
    assert "because the source has no such row" in told(evidence()).sentence
