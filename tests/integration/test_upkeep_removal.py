"""What upkeep removes: snapshots that nobody needs, files that nothing names. Never one that a snapshot, a branch, a tag or
somebody who is at work needs; and whoever is killed in between leaves a table that the next run goes on with."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import CommitTableResponse, Table

from ingestion_runtime.endpoints.iceberg.commits import guard, read_head
from ingestion_runtime.endpoints.iceberg.upkeep_commits import announce_sweep
from ingestion_runtime.model.errors import LostFileError, PublishRaceError
from ingestion_runtime.model.result import TableStatus
from tests.faults.gaps import Hold, meddling
from tests.lake import PROJECT
from tests.logbook import NAME, Logbook
from tests.upkeep import keeping, lost, needed, on_disk, path_of

DAY = 86_400.0
EAGER = {"min_small_files": 2, "expire_days": 1, "keep_snapshots": 1, "orphan_hours": 1}


def later() -> float:
    """The clock of somebody two days ahead: everything is old."""
    return time.time() + 2 * DAY


def add(book: Logbook, *days: int) -> None:
    for day in days:
        book.write(*[(f"2026-06-{day:02} 10:00:0{place}", f"/{place}", day) for place in range(3)])
        assert book.run().status is TableStatus.DONE


@pytest.fixture
def book(tmp_path: Path) -> Logbook:
    """A table of four batches, whose files have been put together since."""
    book = Logbook(tmp_path, maintenance=EAGER)
    add(book, 1, 2, 3, 4)
    with keeping(book.lake, NAME) as upkeep:
        assert upkeep.rewrite() is not None
    return book


def fence(book: Logbook) -> int:
    return read_head(book.lake.table(NAME)).fence


def snapshots(table: Table) -> list[int]:
    return [snapshot.snapshot_id for snapshot in table.metadata.snapshots]


# ---------------------------------------------------------------- expiry


def test_expiry_removes_exactly_the_files_that_only_what_expired_had_named(book: Logbook) -> None:
    """What readers see and what was published last stay, and with them the receipt and the proof that nobody else wrote."""
    before = book.lake.table(NAME)
    gone = needed(before)
    with keeping(book.lake, NAME, clock=later) as upkeep:
        done = upkeep.expire(fence(book) + 1)

    after = book.lake.table(NAME)
    assert (done.snapshots, done.kept) == (3, None)
    assert set(snapshots(after)) == {ref.snapshot_id for ref in after.metadata.refs.values()}
    assert on_disk(after) == needed(after) < gone
    assert done.removed.files == len(gone) - len(needed(after))
    assert read_head(after).damage is None
    assert fence(book) == read_head(before).fence + 1
    assert book.target() == book.source()
    add(book, 9)
    assert book.target() == book.source()


def test_the_newest_snapshots_stay_whatever_their_age(book: Logbook) -> None:
    """As many as are configured; and with no age configured all of them."""
    for settings, left in (({"expire_days": None}, 5), ({"keep_snapshots": 4}, 4), ({"keep_snapshots": 3}, 3)):
        book.settle(maintenance={**EAGER, **settings})
        with keeping(book.lake, NAME, clock=later) as upkeep:
            upkeep.expire(fence(book))
        assert len(book.lake.table(NAME).metadata.snapshots) == left


def test_a_snapshot_ages_from_when_readers_got_another(book: Logbook) -> None:
    """Somebody may have opened a table that had not changed for a year a moment before it did."""
    made = [snapshot.timestamp_ms for snapshot in book.lake.table(NAME).metadata.snapshots]
    # One day after the third took the second's place, and less than one after the fourth took the third's.
    moment = (made[2] + made[3]) / 2 / 1000 + DAY
    with keeping(book.lake, NAME, clock=lambda: moment) as upkeep:
        assert upkeep.expire(fence(book)).snapshots == 2


def test_what_a_tag_or_a_branch_names_stays_with_all_its_files(book: Logbook) -> None:
    """A backup that somebody made, and a branch that somebody works on."""
    table = book.lake.table(NAME)
    first, second = snapshots(table)[:2]
    table.manage_snapshots().create_tag(first, "ingest_backup_x").create_branch(second, "somebody's").commit()
    rows = [table.scan(snapshot_id=number).to_arrow() for number in (first, second)]

    with keeping(book.lake, NAME, clock=later) as upkeep:
        assert upkeep.expire(fence(book)).snapshots == 1
        assert upkeep.remove_orphans(fence(book)).removed.files == 0

    after = book.lake.table(NAME)
    assert [after.scan(snapshot_id=number).to_arrow() for number in (first, second)] == rows
    assert lost(after) == set()


def test_two_compactions_with_an_expiry_between_leave_a_table_that_a_run_goes_on_with(book: Logbook) -> None:
    """The way from the last publish to what readers see stays told, however old it is."""
    receipt = book.lake.receipt(NAME)
    for partition in (["identity"], ["bucket:2"], []):
        fields = [{"column": "bytes", "transform": transform} for transform in partition]
        book.settle(intermediate={"partition": fields})
        with keeping(book.lake, NAME, clock=later) as upkeep:
            assert upkeep.rewrite() is not None
            upkeep.expire(fence(book))
        assert read_head(book.lake.table(NAME)).damage is None
    assert book.lake.receipt(NAME) == receipt
    assert book.run().status is TableStatus.UNCHANGED
    add(book, 9)
    assert book.target() == book.source()


def test_a_higher_fence_forbids_expiry_and_removal(book: Logbook) -> None:
    """Whoever has lost the lease in the meantime changes nothing."""
    stray = leave_stray(book)
    before = snapshots(book.lake.table(NAME)), on_disk(book.lake.table(NAME))
    with book.lake.table(NAME).transaction() as transaction:
        transaction.set_properties({"ingest.fence": "1000"})
    with keeping(book.lake, NAME, clock=later) as upkeep:
        for act in (upkeep.expire, upkeep.remove_orphans):
            with pytest.raises(PublishRaceError, match="1000, above our token 999"):
                act(999)
    assert (snapshots(book.lake.table(NAME)), on_disk(book.lake.table(NAME))) == before
    assert stray.exists()


def test_a_commit_at_the_very_same_moment_stops_neither_the_fence_nor_a_sweep(book: Logbook) -> None:
    """Files are written anew without a lease, so that it may come between any look and any commit."""
    stands, fenced = book.snapshot().snapshot_id, fence(book) + 10

    class Overtaken(SqlCatalog):
        """A client whose first commit is overtaken by another client's."""

        ahead: Table | None = None

        def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
            if self.ahead is None:
                self.ahead = book.lake.table(NAME)
                with self.ahead.transaction() as transaction:
                    transaction.set_properties({"somebody": "else"})
            return super().commit_table(table, requirements, updates)

    for act in (lambda catalog, table: guard(catalog, table, fenced, ()), lambda *of: announce_sweep(*of, fenced)):
        client = Overtaken("lake", **book.lake.catalog.properties)
        act(client, client.load_table(NAME))
        assert client.ahead is not None
        assert fence(book) == fenced
    assert book.lake.table(NAME).properties["somebody"] == "else"
    assert book.snapshot().snapshot_id == stands


# ---------------------------------------------------------------- orphans


def leave_stray(book: Logbook, name: str = "data/20260601_000001_0badcafe/a1-00000.parquet") -> Path:
    """Leave what an attempt leaves that died."""
    path = Path(path_of(book.lake.table(NAME).location())) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left behind")
    return path


def test_what_nothing_names_is_removed_once_it_is_old_and_nothing_else_is(book: Logbook) -> None:
    """Data, manifests, metadata that never came to be the table's, and what Hadoop keeps beside them; and their folders."""
    names = ("data/20260601_000001_0badcafe/a1-00000.parquet", "metadata/x-m0.avro", "metadata/00099-x.metadata.json")
    strays = [leave_stray(book, name) for name in (*names, "data/upkeep-x/.a.parquet.crc")]
    table = book.lake.table(NAME)
    beside = next(iter(on_disk(table) & needed(table)))
    checksum = Path(beside).with_name(f".{Path(beside).name}.crc")
    checksum.write_bytes(b"of a file that is needed")

    with keeping(book.lake, NAME) as upkeep:
        survey = upkeep.survey()
        assert survey is not None
        assert {orphan.path for orphan in survey.orphans} == {str(path.resolve()) for path in strays}
        assert (survey.removable.files, upkeep.remove_orphans(fence(book)).removed.files) == (0, 0)
    with keeping(book.lake, NAME, clock=later) as upkeep:
        removed = upkeep.remove_orphans(fence(book))

    assert (removed.removed.files, removed.kept) == (4, None)
    assert not any(path.exists() for path in strays)
    assert not strays[0].parent.exists()
    assert checksum.exists()
    assert lost(book.lake.table(NAME)) == set()
    assert read_head(book.lake.table(NAME)).damage is None
    assert book.target() == book.source()


def test_a_file_that_is_reached_by_a_link_stays(book: Logbook) -> None:
    """Somebody has moved it within the table's folder; what the link no longer leads to is missing."""
    (task,) = book.lake.table(NAME).scan().plan_files()
    place = Path(path_of(task.file.file_path))
    moved = place.rename(place.with_name("moved.parquet"))
    place.symlink_to(moved.name)
    with keeping(book.lake, NAME, clock=later) as upkeep:
        upkeep.remove_orphans(fence(book))
        assert book.target() == book.source()
        moved.rename(book.root / "taken away")
        assert "a file that a snapshot needs is not there" in str(upkeep.remove_orphans(fence(book)).kept)
        with pytest.raises(LostFileError, match=re.escape(str(place))):
            upkeep.survey()


def test_never_means_never(book: Logbook) -> None:
    """Where no age is configured."""
    stray = leave_stray(book)
    book.settle(maintenance={**EAGER, "orphan_hours": None})
    with keeping(book.lake, NAME, clock=later) as upkeep:
        assert upkeep.remove_orphans(fence(book)).removed.files == 0
    assert stray.exists()


def spoil_a_list(book: Logbook) -> None:
    first = book.lake.table(NAME).metadata.snapshots[0]
    Path(path_of(first.manifest_list)).write_bytes(b"torn")


def disown(book: Logbook) -> None:
    with book.lake.table(NAME).transaction() as transaction:
        transaction.set_properties({"gc.enabled": "false"})


def nest_a_table(book: Logbook) -> None:
    table = book.lake.table(NAME)
    place = f"{table.location()}/data/nested"
    book.lake.catalog.create_table(("web", "nested"), table.schema(), location=place)


def leave_foreign_metadata(book: Logbook) -> None:
    table = book.lake.table(NAME)
    text = Path(path_of(table.metadata_location)).read_text().replace(str(table.metadata.table_uuid), "0" * 32)
    leave_stray(book, "metadata/00000-y.metadata.json").write_text(text)


@pytest.mark.parametrize(
    ("disturb", "reason"),
    [
        (spoil_a_list, "not all of its snapshots can be read"),
        (disown, "gc.enabled = false"),
        (nest_a_table, "the table web.nested lies in its folder"),
        (leave_foreign_metadata, "metadata of another table lies in its folder"),
    ],
)
def test_nothing_is_removed_where_it_is_not_sure_whose_it_is(book: Logbook, disturb: Any, reason: str) -> None:
    """The reason is told, and no commit is made."""
    stray = leave_stray(book)
    disturb(book)
    location = book.lake.table(NAME).metadata_location
    with keeping(book.lake, NAME, clock=later) as upkeep:
        survey, done = upkeep.survey(), upkeep.remove_orphans(10_000)
    assert survey is not None
    assert survey.unclear is not None
    assert reason in survey.unclear
    assert done.kept is not None
    assert reason in done.kept
    assert stray.exists()
    assert book.lake.table(NAME).metadata_location == location


def test_a_sleeper_who_wakes_up_after_the_sweep_publishes_nothing(tmp_path: Path) -> None:
    """Its files were nobody's for days, and have gone: the table must not come to name them."""
    book = Logbook(tmp_path, maintenance=EAGER)
    add(book, 1)
    stands = book.target()
    hold = Hold(book.root, "before-publish", NAME)
    book.write(("2026-06-20 10:00:00", "/asleep", 1))

    def sweep() -> None:
        with keeping(book.lake, NAME, clock=later) as upkeep:
            assert upkeep.remove_orphans(fence(book) + 1000).removed.files > 0

    with meddling([hold], sweep) as environment:
        result = book.lake.run(None, environment=environment)
    assert result.exit_code == 3
    assert book.target() == stands
    assert lost(book.lake.table(NAME)) == set()
    assert book.run().status is TableStatus.DONE
    assert book.target() == book.source()


def test_a_rewrite_that_slept_through_a_sweep_is_refused(book: Logbook) -> None:
    """It holds no lease, and so no fence stops it."""
    add(book, 5, 6)
    hold = Hold(book.root, "rewrite-staged", NAME)

    def sweep() -> None:
        with keeping(book.lake, NAME, clock=later) as other:
            assert other.remove_orphans(fence(book)).removed.files > 0

    with (
        meddling([hold], sweep) as environment,
        keeping(book.lake, NAME, failpoints=environment["INGESTION_FAILPOINTS"]) as upkeep,
        pytest.raises(PublishRaceError, match="were removed in the meantime"),
    ):
        upkeep.rewrite()
    assert book.target() == book.source()
    assert lost(book.lake.table(NAME)) == set()


def test_branches_of_attempts_go_but_for_those_of_batches_that_are_gone_on_with(book: Logbook) -> None:
    """And no branch of anybody else."""
    table = book.lake.table(NAME)
    first = snapshots(table)[0]
    over, kept = "ingest_20260601_000001_0badcafe_a1", "ingest_20260602_000002_0badcafe_a1"
    made = table.manage_snapshots()
    for name in (over, kept, "ingest_notes"):
        made = made.create_branch(first, name)
    made.commit()
    with keeping(book.lake, NAME) as upkeep:
        assert upkeep.drop_stale(["20260602_000002_0badcafe"], fence(book) + 1) == (over,)
        assert upkeep.drop_stale(["20260602_000002_0badcafe"], fence(book)) == ()
    assert set(book.lake.table(NAME).refs()) == {"main", "ingest_last", kept, "ingest_notes"}


# ---------------------------------------------------------------- killed

# Modules are imported once, before any of them has started a thread; then each gap gets a process and a group of its own.
ALL_OF_IT = """
import os, sys, time
from pathlib import Path
import ingestion_runtime.endpoints.iceberg.upkeep
from ingestion_runtime.endpoints.iceberg.commits import read_head
from tests.lake import Lake
from tests.upkeep import keeping

def look_after(root, gap):
    lake = Lake.__new__(Lake)
    lake.root, lake.path = root, root / "conf.json"
    with keeping(lake, "web.visits", failpoints=f"{gap}=kill", clock=lambda: time.time() + 2 * 86_400) as upkeep:
        fence = read_head(lake.table("web.visits")).fence + 1
        print(upkeep.rewrite(), upkeep.expire(fence), upkeep.remove_orphans(fence))

for gap in sys.argv[2:]:
    child = os.fork()
    if not child:
        os.setsid()
        look_after(Path(sys.argv[1]) / gap, gap)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(gap, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lived")
"""
GAPS = (
    "rewrite-written",
    "rewrite-staged",
    "rewrite-committed",
    "expire-committed",
    "expire-removing",
    "orphans-fenced",
    "orphans-removing",
)


def test_whoever_is_killed_in_a_gap_leaves_what_the_next_one_finishes(tmp_path: Path) -> None:
    """With SIGKILL, in every gap: readers see all rows, no file is missed, a run goes on, and what is left over goes."""
    books = []
    for gap in GAPS:
        # The catalog names files by their full paths: every gap is a lake of its own.
        book = Logbook(made(tmp_path / gap), maintenance=EAGER)
        add(book, 1, 2)
        for number in range(2):
            leave_stray(book, f"data/20260601_000001_0badcafe/a{number}-00000.parquet")
        books.append(book)
    command = [sys.executable, "-c", ALL_OF_IT, str(tmp_path), *GAPS]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=True)
    assert ended.stdout.splitlines() == [f"{gap} {signal.SIGKILL.value}" for gap in GAPS], ended.stderr
    for book in books:
        require_whole(book)
        with keeping(book.lake, NAME, clock=later) as upkeep:
            upkeep.rewrite()
            upkeep.expire(fence(book))
            upkeep.remove_orphans(fence(book))
            assert (again := upkeep.survey()) is not None
        assert (again.orphans, again.unclear, again.data.files) == ((), None, 1)
        require_whole(book)
        assert book.run().status is TableStatus.UNCHANGED
        add(book, 9)
        require_whole(book)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def require_whole(book: Logbook) -> None:
    table = book.lake.table(NAME)
    assert book.target() == book.source()
    assert lost(table) == set()
    assert read_head(table).damage is None


# ---------------------------------------------------------------- directories


def test_a_parquet_directory_loses_what_no_reader_was_ever_sent_to(tmp_path: Path) -> None:
    """But for attempts at a batch that is gone on with; it has nothing to write anew, and no snapshots."""
    book = Logbook(tmp_path, mode="full", incremental_column=None, incr_col_type=None, sink="parquet", maintenance=EAGER)
    book.write(("2026-06-01 10:00:00", "/", 1))
    assert book.run().status is TableStatus.DONE
    folder = tmp_path / "final" / "web" / ".visits"
    over, kept = "20260601_000007_0badcafe_a1", "20260602_000008_0badcafe_a1"
    for name in (over, kept):
        (folder / name).mkdir()
    with keeping(book.lake, NAME, clock=later) as upkeep:
        survey = upkeep.survey()
        assert survey is not None
        assert (survey.data.files, survey.attempts, survey.wants_rewrite) == (1, (over, kept), False)
        assert upkeep.rewrite() is None
        assert upkeep.drop_stale(["20260602_000008_0badcafe"], 1000) == (over,)
        assert (upkeep.expire(1000).snapshots, upkeep.remove_orphans(1000).removed.files) == (0, 0)
    assert not (folder / over).exists()
    assert (folder / kept).exists()
    assert len(list((tmp_path / "final" / "web" / "visits").glob("*.parquet"))) == 1
