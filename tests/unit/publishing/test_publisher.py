"""One publish from branch to receipt, against a real target; only what no disk does on request is made to fail."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion_runtime.endpoints.parquet import ParquetTarget
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.types.batch import BatchPublished, PublishRetried
from ingestion_runtime.model.batch import Batch, Publication, Receipt, WriteMode
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import (
    OutcomeUnknownError,
    PublishRaceError,
    RefusedBatchError,
    StaleMainError,
    TerminalError,
    TransientError,
)
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, TargetHead, TargetTable, Written
from ingestion_runtime.publishing.identity import Identity
from ingestion_runtime.publishing.publisher import MAX_ATTEMPTS, Publisher
from ingestion_runtime.tools.failpoints import Failpoints
from ingestion_runtime.tools.files import LocalFiles
from tests.batches import make_batch, make_payload
from tests.targets import ParquetPlace, local_tools

TABLE = TableSpec("shop", "stores", "full", "source", primary_keys=("id",))
IDENTITY = Identity(TABLE.name, "tests", (("source", "sqlite:///shop.db"),), "")
OLD = pa.table({"id": [1], "v": ["old"]})
NEW = pa.table({"id": [1, 2], "v": ["new", "new"]})
MANIFEST = "5f" * 32


class Story:
    """A published table, and the next batch on its way."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = ParquetPlace(root / "final")
        self.events: list[Event] = []
        self.first = make_batch(TABLE, 1, write=WriteMode.REPLACE)
        self.receipt = self.publish(self.first, OLD).receipt
        self.second = make_batch(
            TABLE, 2, base=self.first.id, write=WriteMode.REPLACE, watermark=Watermark(CursorType.INT, "9")
        )

    def handle(self, envelope: Envelope) -> None:
        """As a subscriber."""
        self.events.append(envelope.event)

    def publisher(self, target: TargetTable | None = None, *, fence: int = 1, failpoints: str = "") -> Publisher:
        points = Failpoints.from_environment({"INGESTION_FAILPOINTS": failpoints})
        emitter = EventEmitter("test", [self])
        return Publisher(target or self.target, IDENTITY, lambda: fence, emitter, points)

    def payload(self, batch: Batch, rows: pa.Table) -> Payload:
        number = len(list(self.root.iterdir()))
        return make_payload(self.root / f"payload-{number}", batch, rows)

    def publish(
        self,
        batch: Batch,
        rows: pa.Table,
        *,
        target: TargetTable | None = None,
        fence: int = 1,
        land: Callable[[], object] = lambda: None,
        failpoints: str = "",
    ) -> Publication:
        publisher = self.publisher(target, fence=fence, failpoints=failpoints)

        def land_with_manifest() -> str:
            land()
            return MANIFEST

        return publisher.publish(batch, self.payload(batch, rows), land_with_manifest)

    @property
    def target(self) -> ParquetTarget:
        return self.place.open(TABLE)

    def head(self) -> TargetHead:
        head = self.target.head()
        assert head is not None
        return head

    def rows(self) -> list[dict[str, object]]:
        return self.place.read(TABLE)

    def stands_as_before(self) -> bool:
        """Readers see the first batch, its receipt stands, and no branch is left."""
        head = self.head()
        return (self.rows(), head.receipt, head.branches) == (OLD.to_pylist(), self.receipt, ())


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_batch_becomes_visible_with_its_receipt(story: Story) -> None:
    """The receipt says whose, which, after which, up to where and how much; the publication says where it stands."""
    publication = story.publish(story.second, NEW, fence=4)

    receipt = Receipt(
        batch_id=story.second.id,
        sequence=2,
        previous=story.first.id,
        mode="full",
        write=WriteMode.REPLACE,
        load_date=story.second.load_date,
        watermark=Watermark(CursorType.INT, "9"),
        fingerprint=None,
        fence=4,
        owner="tests",
        rows=2,
        reading=(("source", "sqlite:///shop.db"),),
        manifest=MANIFEST,
    )
    assert story.head().receipt == receipt
    assert publication == Publication(receipt, story.target.location(), rows=2, changed=True, duplicates=0)
    assert story.rows() == NEW.to_pylist()


def test_raw_lands_after_the_audit_and_before_anyone_sees_the_batch(story: Story) -> None:
    """Should the commit follow or not, what it publishes is in raw already."""
    seen: list[bool] = []

    def land() -> None:
        head = story.head()
        seen.append(story.rows() == OLD.to_pylist() and len(head.branches) == 1)

    story.publish(story.second, NEW, land=land)

    assert seen == [True]


def test_what_the_audit_refuses_neither_lands_nor_shows(story: Story) -> None:
    """A repeated key in a full refresh: nothing in raw, no branch left, the old batch stands."""
    landed: list[bool] = []

    with pytest.raises(RefusedBatchError, match="repeat a primary key"):
        story.publish(story.second, pa.table({"id": [1, 1], "v": ["a", "b"]}), land=lambda: landed.append(True))

    assert landed == []
    assert story.stands_as_before()


def test_a_batch_that_cannot_land_does_not_show(story: Story) -> None:
    """Raw comes first: without it nothing is published, and the reason is told."""

    def land() -> None:
        raise TransientError("The disk is full.", remedy="Make room.")

    with pytest.raises(TransientError, match="disk is full"):
        story.publish(story.second, NEW, land=land)

    assert story.stands_as_before()


@pytest.mark.parametrize("point", ["after-branch", "before-publish"])
def test_a_failure_before_the_commit_leaves_everything_as_it_was(story: Story, point: str) -> None:
    """The branch is dropped, and the same batch can be published afterwards."""
    with pytest.raises(TransientError, match=point):
        story.publish(story.second, NEW, failpoints=f"{point}=fail")

    assert story.stands_as_before()
    story.publish(story.second, NEW)
    assert story.rows() == NEW.to_pylist()


class LosingAnswers(ParquetTarget):
    """Commits, or does not, and then the connection is gone."""

    def __init__(self, story: Story, *, commits: bool, heads: bool = True, answer: Exception | None = None) -> None:
        super().__init__(str(story.place.root), TABLE, LocalFiles(), local_tools(story.place.root).sql)
        self._commits = commits
        self._heads = heads
        self._answer = answer or ConnectionResetError("no answer")
        self._sent = False

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        if self._commits:
            super().publish(expected, written, receipt)
        self._sent = True
        raise self._answer

    def head(self) -> TargetHead | None:
        if self._sent and not self._heads:
            raise ConnectionResetError("still no answer")
        return super().head()


def test_a_commit_without_an_answer_is_looked_up_in_the_receipt(story: Story) -> None:
    """It happened: the publication is as good as any other."""
    publication = story.publish(story.second, NEW, target=LosingAnswers(story, commits=True))

    assert publication.changed
    assert publication.receipt == story.head().receipt
    assert publication.location == story.target.location()
    assert story.rows() == NEW.to_pylist()


def test_a_commit_that_cannot_be_shown_to_have_happened_is_unknown(story: Story) -> None:
    """The receipt does not name the batch, yet the commit may still arrive: the next run finds out, and nobody guesses."""
    with pytest.raises(OutcomeUnknownError, match="ConnectionResetError") as unknown:
        story.publish(story.second, NEW, target=LosingAnswers(story, commits=False))

    assert unknown.value.exit_code == 3
    assert story.rows() == OLD.to_pylist()


def test_an_unanswered_commit_is_told_in_one_line(story: Story) -> None:
    """A database library goes on with its statement, and all that the statement was given."""
    answer = RuntimeError("database is locked\n[SQL: UPDATE tables SET location=?]\n[parameters: ('/w/x.json',)]")
    with pytest.raises(OutcomeUnknownError) as unknown:
        story.publish(story.second, NEW, target=LosingAnswers(story, commits=False, answer=answer))

    assert "was not answered (RuntimeError: database is locked). Run again" in str(unknown.value)


class Dropped(ParquetTarget):
    """Its table is taken away, and made anew, before the batch is written."""

    def head(self) -> TargetHead | None:
        return None if (head := super().head()) is None else replace(head, receipt=None)


def test_a_table_that_was_dropped_meanwhile_is_not_called_published_by_another_run(story: Story) -> None:
    target = Dropped(str(story.place.root), TABLE, LocalFiles(), local_tools(story.place.root).sql)
    with pytest.raises(TransientError, match="the table was dropped or replaced while batch"):
        story.publish(story.second, NEW, target=target)


def test_a_commit_is_unknown_too_when_the_table_does_not_answer(story: Story) -> None:
    """Here it did happen: claiming failure or success would both be guesses."""
    with pytest.raises(OutcomeUnknownError):
        story.publish(story.second, NEW, target=LosingAnswers(story, commits=True, heads=False))

    receipt = story.head().receipt
    assert receipt is not None
    assert receipt.batch_id == story.second.id


def test_a_table_that_moved_under_the_same_receipt_is_written_again(story: Story) -> None:
    """As after a compaction: the batch goes onto the new main without reading the source again."""
    landings: list[str | None] = []

    def land() -> None:
        if not landings:
            story.place.rewrite(TABLE, OLD)
        landings.append(story.head().snapshot)

    story.publish(story.second, NEW, land=land)

    assert len(landings) == 2
    assert landings[0] == landings[1]
    assert story.rows() == NEW.to_pylist()
    assert [event.attempt for event in story.events if isinstance(event, PublishRetried)] == [1]


class AlwaysLate(ParquetTarget):
    """Someone else is always faster."""

    def __init__(self, story: Story) -> None:
        super().__init__(str(story.place.root), TABLE, LocalFiles(), local_tools(story.place.root).sql)
        self.tries = 0

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:  # noqa: ARG002 - the protocol's
        self.tries += 1
        raise PublishRaceError("The table moved.", remedy="Run again.")


def test_a_table_that_never_stands_still_is_given_up(story: Story) -> None:
    """After a bounded number of tries the run says so; each try after the first was told, and none left a branch."""
    target = AlwaysLate(story)

    with pytest.raises(TransientError, match=f"moved {MAX_ATTEMPTS} times"):
        story.publish(story.second, NEW, target=target)

    assert target.tries == MAX_ATTEMPTS
    assert [event.attempt for event in story.events if isinstance(event, PublishRetried)] == list(range(1, MAX_ATTEMPTS))
    assert story.stands_as_before()


def test_another_batch_that_came_first_is_not_overwritten(story: Story) -> None:
    """Two runs, one base: the later one is refused and says whose batch stands."""
    rival = make_batch(TABLE, 3, base=story.first.id, write=WriteMode.REPLACE)
    rivals = pa.table({"id": [7], "v": ["theirs"]})

    with pytest.raises(TransientError, match=rival.id):
        story.publish(story.second, NEW, land=lambda: story.publish(rival, rivals))

    assert story.rows() == rivals.to_pylist()
    assert story.head().branches == ()


def test_a_higher_fence_stops_before_anything_is_written(story: Story) -> None:
    """Another run took the table over."""
    story.target.guard(5, ())

    with pytest.raises(TransientError, match="its fence is 5, ours 4"):
        story.publish(story.second, NEW, fence=4)

    assert story.rows() == OLD.to_pylist()
    assert story.head().branches == ()


def test_a_fence_that_rises_while_the_batch_is_written_stops_it(story: Story) -> None:
    """The run slept past its lease: the commit itself is refused."""
    with pytest.raises(TransientError, match="took the table over"):
        story.publish(story.second, NEW, land=lambda: story.target.guard(2, ()))

    assert story.stands_as_before()
    assert story.head().fence == 2


def test_a_damaged_table_takes_nothing_but_a_reload(story: Story) -> None:
    """The error names the remedy, and the remedy works."""
    story.place.spoil_receipt(TABLE)
    batch = make_batch(TABLE, 3, write=WriteMode.REPLACE)
    with pytest.raises(StaleMainError, match=f"--reload {TABLE.name}"):
        story.publish(batch, NEW)
    assert story.rows() == OLD.to_pylist()

    story.publish(make_batch(TABLE, 3, write=WriteMode.REPLACE, reload=True), NEW)

    assert story.rows() == NEW.to_pylist()
    assert story.head().damage is None


def test_a_failure_after_the_commit_leaves_the_batch_published(story: Story) -> None:
    """The receipt stands; the next run reads it there."""
    with pytest.raises(TransientError, match="after-publish"):
        story.publish(story.second, NEW, failpoints="after-publish=fail")

    receipt = story.head().receipt
    assert receipt is not None
    assert receipt.batch_id == story.second.id
    assert story.rows() == NEW.to_pylist()


def test_errors_are_what_the_exit_codes_say() -> None:
    """A refused batch is final for the run, a race is worth a retry."""
    assert issubclass(RefusedBatchError, TerminalError)
    assert (RefusedBatchError.exit_code, PublishRaceError.exit_code, OutcomeUnknownError.exit_code) == (1, 3, 3)


def test_a_publish_is_told_once_it_is_visible_and_never_before(story: Story) -> None:
    """With what was written and how long each step took; a publish that fails before its commit tells nothing."""
    (told,) = [event for event in story.events if isinstance(event, BatchPublished)]
    assert (told.batch_id, told.rows, told.deleted, told.changed) == (story.first.id, 1, 0, True)
    for failpoints in ("after-branch=fail", "before-publish=fail"):
        with pytest.raises(TransientError):
            story.publish(story.second, NEW, failpoints=failpoints)
    assert [event for event in story.events if isinstance(event, BatchPublished)] == [told]
    story.publish(story.second, NEW, land=lambda: time.sleep(0.05))
    last = story.events[-1]
    assert isinstance(last, BatchPublished)
    assert last.batch_id == story.second.id
    assert 0.05 <= last.land_seconds < 5
    assert min(last.write_seconds, last.audit_seconds, last.commit_seconds) >= 0


def test_nobody_who_hears_of_a_publish_can_undo_it(story: Story) -> None:
    """A listener that fails with an error of our own, at the worst moment: the batch stands as it was published."""

    class Broken:
        def handle(self, _envelope: Envelope) -> None:
            raise TransientError("the log is gone")

    emitter = EventEmitter("test", [Broken()])
    publisher = Publisher(story.target, IDENTITY, lambda: 1, emitter, Failpoints({}))
    publication = publisher.publish(story.second, story.payload(story.second, NEW), lambda: MANIFEST)
    assert publication.changed
    assert story.place.read(TABLE) == NEW.to_pylist()
    assert [problem.failures for problem in emitter.problems] == [1]
