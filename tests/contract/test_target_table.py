"""What every target promises the protocol: Iceberg tables in every catalog and plain Parquet directories, by one suite."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion_runtime.model.batch import Batch, Receipt, WriteMode
from ingestion_runtime.model.cursor import CursorType, Interval, ReRead, Slice, Watermark
from ingestion_runtime.model.errors import PublishRaceError
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import TargetTable, Written
from tests.batches import make_batch, make_payload, make_receipt
from tests.servers.hdfs import HdfsServer
from tests.servers.postgresql import PostgresServer
from tests.targets import HdfsPlace, IcebergPlace, ParquetPlace, Place

OLD = pa.table({"id": [1, 2], "v": ["one", "two"]})
NEW = pa.table({"id": [2, 3], "v": ["zwei", "drei"]})
OTHER = pa.table({"id": [9], "v": ["nine"]})
NUMBERS = count(1)


PLACES = ["iceberg", "iceberg-postgresql", "iceberg-hadoop", "iceberg-arrow", "iceberg-arrow-postgresql", "parquet"]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("targets")
    if request.param == "parquet":
        yield ParquetPlace(root)
        return
    iceberg = _iceberg(request, root)
    yield iceberg
    iceberg.close()


def _iceberg(request: pytest.FixtureRequest, root: Path) -> IcebergPlace | HdfsPlace:
    spark = None if "arrow" in request.param else request.getfixturevalue("spark")
    if request.param == "iceberg-hadoop":
        hdfs: HdfsServer = request.getfixturevalue("hdfs_server")
        assert spark is not None
        return HdfsPlace(root, spark, hdfs.new_root(), None)
    if request.param.endswith("postgresql"):
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return IcebergPlace(root, spark, server.create_database().as_connection("catalog"))
    return IcebergPlace(root, spark)


@dataclass
class Story:
    """One table, written batch by batch. A batch is published by the client that wrote it."""

    place: Place
    table: TableSpec
    root: Path
    writers: dict[str, TargetTable] = field(default_factory=dict)

    def target(self) -> TargetTable:
        return self.place.open(self.table)

    def batch(self, number: int, base: Batch | None = None, *, reload: bool = False) -> Batch:
        base_id = base.id if base else None
        return make_batch(self.table, number, base=base_id, write=WriteMode.REPLACE, reload=reload)

    def addition(self, number: int, base: Batch, *slices: Slice) -> Batch:
        """A batch whose rows are added, in place of those that had been read before."""
        again = any(piece.reread for piece in slices)
        write = WriteMode.OVERWRITE if again else WriteMode.APPEND
        return make_batch(self.table, number, base=base.id, write=write, slices=slices)

    def write(self, batch: Batch, rows: pa.Table, attempt: str = "a1") -> Written:
        target = self.target()
        # Without field ids a file cannot become the table's own, and Spark writes it once more.
        numbering = target if self.place.holds_back else None
        payload = make_payload(self.root / f"{batch.id}_{attempt}", batch, rows, target=numbering)
        written = target.write(batch, attempt, payload, target.prepare(payload))
        self.writers[written.branch] = target
        return written

    def publish(self, batch: Batch, rows: pa.Table, fence: int = 1) -> str:
        written = self.write(batch, rows)
        return self.publish_written(batch.base, written, make_receipt(batch, fence=fence, rows=written.rows))

    def publish_written(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        return self.writers[written.branch].publish(expected, written, receipt)

    def discard(self, written: Written) -> None:
        self.writers[written.branch].discard(written.branch)

    def unpublished(self, *written: Written) -> tuple[str, ...]:
        """What a head lists of batches that were written and not published: nothing, where this process holds them."""
        return () if self.place.holds_back else tuple(sorted(item.branch for item in written))

    def rows(self) -> list[dict[str, object]]:
        return self.place.read(self.table)

    def must_stay_as_it_is(self, action: Callable[[], object]) -> None:
        """The action is refused as a race, and neither readers nor the head see anything of it."""
        before, rows = self.target().head(), self.rows()
        with pytest.raises(PublishRaceError):
            action()
        assert self.target().head() == before
        assert self.rows() == rows


@pytest.fixture
def story(place: Place, tmp_path: Path) -> Story:
    return Story(place, TableSpec("shop", f"orders_{next(NUMBERS)}", "full", "source", primary_keys=("id",)), tmp_path)


@pytest.fixture(scope="module")
def standing(place: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Story, Batch, Batch, Written]:
    """A published batch, and the next one written on its branch; never published by the tests that share it."""
    table = TableSpec("shop", "standing", "full", "source", primary_keys=("id",))
    story = Story(place, table, tmp_path_factory.mktemp("standing"))
    first = story.batch(1)
    story.publish(first, OLD)
    second = story.batch(2, first)
    return story, first, second, story.write(second, NEW)


def test_a_table_that_does_not_exist_has_neither_location_nor_head(story: Story) -> None:
    """None is the answer to both, and asking leaves nothing behind that a second look would see."""
    for _ in range(2):
        assert story.target().location() is None
        assert story.target().head() is None


def test_discarding_where_there_is_no_table_is_fine(story: Story) -> None:
    """A branch of a table that was dropped needs no dropping."""
    story.target().discard("ingest_gone")

    assert story.target().head() is None


def test_readers_see_nothing_of_a_first_batch_before_it_is_published(story: Story) -> None:
    """The branch holds the rows; the table, if it exists, is empty and has no receipt."""
    written = story.write(story.batch(1), OLD)

    assert (written.rows, written.base) == (2, None)
    assert story.rows() == []
    head = story.target().head()
    assert head is None or (head.receipt, head.snapshot, head.damage) == (None, None, None)


def test_a_publish_makes_the_branch_the_table_together_with_its_receipt(story: Story) -> None:
    """Location, snapshot, fence, receipt and rows move in one step, and the branch is gone."""
    batch = story.batch(1)
    written = story.write(batch, OLD)
    before = story.target().location()
    receipt = make_receipt(batch, fence=3, rows=2)

    location = story.publish_written(None, written, receipt)

    head = story.target().head()
    assert head is not None
    assert (head.receipt, head.snapshot, head.fence) == (receipt, written.snapshot, 3)
    assert (head.damage, head.branches) == (None, ())
    assert story.rows() == OLD.to_pylist()
    assert location == story.target().location() == head.location
    assert location != before


def test_readers_keep_the_old_batch_until_the_next_one_is_published(
    standing: tuple[Story, Batch, Batch, Written],
) -> None:
    """A branch beside a published batch changes neither rows nor receipt, and the head lists it as unpublished."""
    story, first, _, written = standing

    head = story.target().head()

    assert story.rows() == OLD.to_pylist()
    assert head is not None
    assert head.receipt is not None
    assert head.receipt.batch_id == first.id
    assert head.branches == story.unpublished(written)
    assert head.damage is None
    assert written.base == head.snapshot


def test_live_rows_are_those_that_readers_see(story: Story) -> None:
    """None before the first publish, and nothing of what is only written."""
    assert story.target().live_rows() is None
    first = story.batch(1)
    written = story.write(first, OLD)
    assert story.target().live_rows() is None
    story.publish_written(None, written, make_receipt(first, rows=2))
    story.write(story.batch(2, first), pa.concat_tables([OLD, OTHER]))
    assert story.target().live_rows() == 2


def test_a_second_publish_replaces_the_first(story: Story) -> None:
    """A batch of the whole table leaves nothing of the one before, and names it."""
    first = story.batch(1)
    earlier = story.publish(first, OLD)
    second = story.batch(2, first)

    later = story.publish(second, NEW)

    head = story.target().head()
    assert story.rows() == NEW.to_pylist()
    assert later != earlier
    assert head is not None
    assert head.receipt is not None
    assert (head.receipt.batch_id, head.receipt.previous) == (second.id, first.id)
    assert (head.damage, head.branches) == (None, ())


def test_a_receipt_that_names_another_batch_refuses_the_publish(
    standing: tuple[Story, Batch, Batch, Written],
) -> None:
    """Neither a stranger's batch nor "no batch yet" is what the table says, so nothing moves."""
    story, _, second, written = standing
    receipt = make_receipt(second, fence=100)

    story.must_stay_as_it_is(lambda: story.publish_written("20260630_000000_deadbeef", written, receipt))
    story.must_stay_as_it_is(lambda: story.publish_written(None, written, receipt))


def test_a_higher_fence_refuses_the_publish(standing: tuple[Story, Batch, Batch, Written]) -> None:
    """A run that slept past its lease meets the fence of the one that took over."""
    story, first, second, written = standing
    story.target().guard(50, ())

    story.must_stay_as_it_is(lambda: story.publish_written(first.id, written, make_receipt(second, fence=49)))


def test_a_table_that_moved_under_the_same_receipt_refuses_the_publish(story: Story) -> None:
    """The branch was made at another snapshot: publishing it would undo what came in between."""
    first = story.batch(1)
    story.publish(first, OLD)
    second = story.batch(2, first)
    written = story.write(second, NEW)
    story.place.rewrite(story.table, OTHER)

    story.must_stay_as_it_is(lambda: story.publish_written(first.id, written, make_receipt(second, fence=100)))
    assert OTHER.to_pylist()[0] in story.rows()


def test_of_two_publishers_at_once_exactly_one_wins(story: Story, place: Place) -> None:
    """Two runs with the same base publish at the same moment: one becomes the table, whole; the other is refused."""
    last = story.batch(1)
    story.publish(last, OLD)
    for round_ in range(10 if isinstance(place, ParquetPlace) else 1):
        rivals = [story.batch(10 + 2 * round_ + i, last) for i in range(2)]
        rows = {batch.id: pa.table({"id": [batch.sequence], "v": [batch.id]}) for batch in rivals}
        branches = {batch.id: story.write(batch, rows[batch.id]) for batch in rivals}
        together = threading.Barrier(2)

        def contend(
            batch: Batch, written: Written, last: Batch = last, together: threading.Barrier = together
        ) -> str | None:
            together.wait(10)
            try:
                return story.publish_written(last.id, written, make_receipt(batch))
            except PublishRaceError:
                return None

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(contend, rivals, [branches[batch.id] for batch in rivals]))

        winners = [batch for batch, answer in zip(rivals, answers, strict=True) if answer]
        assert len(winners) == 1, answers
        (last,) = winners
        head = story.target().head()
        assert head is not None
        assert head.receipt == make_receipt(last)
        assert head.damage is None
        assert story.rows() == rows[last.id].to_pylist()


def test_a_guard_raises_the_fence_and_drops_stale_branches(story: Story) -> None:
    """Taking a table over shuts the former holder out; rows and receipt stay."""
    first = story.batch(1)
    story.publish(first, OLD)
    second = story.batch(2, first)
    stale = story.write(second, NEW)
    before = story.target().head()
    assert before is not None

    guarded = story.target().guard(7, before.branches)

    assert before.branches == story.unpublished(stale)
    assert (guarded.fence, guarded.branches, guarded.damage) == (7, (), None)
    assert (guarded.receipt, guarded.snapshot) == (before.receipt, before.snapshot)
    assert guarded.location != before.location
    assert guarded == story.target().head()
    assert story.rows() == OLD.to_pylist()


def test_a_guard_with_a_token_below_the_fence_is_refused(story: Story) -> None:
    """The fence only rises; the token that stands may guard again."""
    story.publish(story.batch(1), OLD, fence=5)

    story.must_stay_as_it_is(lambda: story.target().guard(4, ()))
    assert story.target().guard(5, ()).fence == 5


def test_discarding_a_branch_removes_it_once_and_never_complains(story: Story) -> None:
    """A branch is dropped by whoever comes first; the table stays as it is."""
    first = story.batch(1)
    story.publish(first, OLD)
    written = story.write(story.batch(2, first), NEW)

    for _ in range(2):
        story.discard(written)
        head = story.target().head()
        assert head is not None
        assert head.branches == ()
    assert story.rows() == OLD.to_pylist()


def test_discarding_what_was_published_takes_nothing_away(story: Story) -> None:
    """A late clean-up of an attempt that did become the table must not cost its readers the rows."""
    batch = story.batch(1)
    written = story.write(batch, OLD)
    story.publish_written(None, written, make_receipt(batch))
    before = story.target().head()

    story.discard(written)

    assert story.target().head() == before
    assert story.rows() == OLD.to_pylist()


def test_a_receipt_that_cannot_be_read_stops_all_but_a_replacement(story: Story) -> None:
    """No guess is made what it said: it is damage, a publish that knows its base is refused, one that replaces is not."""
    first = story.batch(1)
    story.publish(first, OLD)
    second = story.batch(2, first)
    written = story.write(second, NEW)
    story.place.spoil_receipt(story.table)

    head = story.target().head()

    assert head is not None
    assert head.receipt is None
    assert head.damage is not None
    assert "no readable Receipt" in head.damage
    story.must_stay_as_it_is(lambda: story.publish_written(first.id, written, make_receipt(second)))
    assert story.rows() == OLD.to_pylist()
    story.publish(story.batch(3, reload=True), OTHER)
    mended = story.target().head()
    assert mended is not None
    assert mended.damage is None
    assert story.rows() == OTHER.to_pylist()


def test_a_table_that_someone_else_made_is_damage(story: Story) -> None:
    """Data without a receipt is reported, so that nobody merges into it or replaces it by accident."""
    story.place.make_foreign(story.table, OTHER)

    head = story.target().head()

    assert head is not None
    assert head.receipt is None
    assert head.damage is not None
    assert "did not publish" in head.damage
    assert head.snapshot is not None


def test_a_reload_publishes_over_a_damaged_table(story: Story) -> None:
    """What someone else made is replaced in one publish; afterwards the table is ours and sound."""
    rows = pa.table({"id": [9], "v": ["nine"]}, schema=pa.schema([("id", pa.int64()), ("v", pa.string())]))
    story.place.make_foreign(story.table, rows)
    batch = story.batch(1, reload=True)

    story.publish(batch, NEW)

    head = story.target().head()
    assert head is not None
    assert head.damage is None
    assert head.receipt is not None
    assert head.receipt.batch_id == batch.id
    assert story.rows() == NEW.to_pylist()


def test_a_write_measures_what_the_audit_needs(story: Story) -> None:
    """Rows, distinct whole keys and NULL keys are counted in the files themselves, not taken from the manifest."""
    rows = pa.table({"id": [1, 1, 2, None], "v": ["a", "b", "c", "d"]})
    batch = story.batch(1)
    payload = replace(make_payload(story.root / "files", batch, rows), rows=999)
    target = story.target()

    written = target.write(batch, "a1", payload, target.prepare(payload))

    assert (written.rows, written.keys, written.null_keys) == (4, 2, 1)
    assert (written.total, written.added, written.changed) == (4, 4, True)


def test_preparing_a_table_that_fits_changes_nothing(standing: tuple[Story, Batch, Batch, Written]) -> None:
    """The same columns again are no growth: the head stays, so an idle run keeps its one look-up."""
    story, _, second, _ = standing
    before = story.target().head()
    payload = make_payload(story.root / "again", second, NEW)

    assert story.target().prepare(payload) == before


# ---------------------------------------------------------------- rows without a key

GROWING = pytest.mark.parametrize("place", [name for name in PLACES if name != "parquet"], indirect=True)
TEN, TWENTY, THIRTY = (Watermark(CursorType.INT, text) for text in ("10", "20", "30"))
ABOVE = Slice(0, window=Interval(TWENTY, THIRTY))
AGAIN = Slice(0, reread=ReRead(TEN, TWENTY, nulls=False))


def visits(*rows: tuple[int | None, str]) -> pa.Table:
    columns = {"id": pa.array([at for at, _ in rows], pa.int64()), "v": pa.array([page for _, page in rows], pa.string())}
    return pa.table(columns)


STOOD = visits((5, "below"), (10, "low"), (20, "tie"), (20, "tie"), (None, "never"))


@pytest.fixture
def log(place: Place, tmp_path: Path) -> tuple[Story, Batch]:
    """A table without a key that holds rows below, in and at the end of a span, and one without a cursor."""
    cursor = {"incremental_column": "id", "incr_col_type": CursorType.INT}
    table = TableSpec("web", f"visits_{next(NUMBERS)}", "append", "source", **cursor)  # type: ignore[arg-type]
    story = Story(place, table, tmp_path)
    first = story.batch(1)
    story.publish(first, STOOD)
    return story, first


@GROWING
def test_added_rows_stand_beside_those_that_were_there(log: tuple[Story, Batch]) -> None:
    """Equal rows are two rows, and nobody sees the new ones before they are published."""
    story, first = log
    batch = story.addition(2, first, ABOVE)
    rows = visits((21, "new"), (30, "new"), (30, "new"))

    written = story.write(batch, rows)

    assert story.rows() == STOOD.to_pylist()
    assert (written.rows, written.added, written.found) == (3, 3, 3)
    assert (written.before, written.removed, written.total, written.changed) == (5, 0, 8, True)
    story.publish_written(first.id, written, make_receipt(batch, rows=3))
    assert sorted(map(str, story.rows())) == sorted(map(str, [*STOOD.to_pylist(), *rows.to_pylist()]))
    head = story.target().head()
    assert head is not None
    assert (head.damage, head.branches) == (None, ())


@GROWING
def test_an_overwrite_takes_the_place_of_all_rows_of_its_span(log: tuple[Story, Batch]) -> None:
    """Both ends included, and nothing else: neither what lies below nor what has no cursor."""
    story, first = log
    batch = story.addition(2, first, AGAIN)
    rows = visits((10, "changed"), (15, "late"), (20, "tie"))

    written = story.write(batch, rows)

    assert (written.rows, written.added, written.found) == (3, 3, 3)
    assert (written.before, written.removed, written.total) == (5, 3, 5)
    story.publish_written(first.id, written, make_receipt(batch, rows=3))
    expected = [*visits((5, "below"), (None, "never")).to_pylist(), *rows.to_pylist()]
    assert sorted(map(str, story.rows())) == sorted(map(str, expected))


@GROWING
def test_rows_that_lie_outside_of_their_span_are_noticed(log: tuple[Story, Batch]) -> None:
    """Where source and target place a row differently the audit must hear of it."""
    story, first = log
    written = story.write(story.addition(2, first, AGAIN), visits((10, "inside"), (9, "outside")))
    assert (written.rows, written.found) == (2, 1)


@GROWING
def test_an_addition_of_nothing_changes_nothing(log: tuple[Story, Batch]) -> None:
    """No row was read, and none stands where it would have been; readers keep the snapshot that they have."""
    story, first = log
    batch = story.addition(2, first, ABOVE)
    written = story.write(batch, visits())
    assert (written.rows, written.changed, written.removed) == (0, False, 0)
    story.discard(written)
    assert story.rows() == STOOD.to_pylist()
