"""Staged files that become files of an Iceberg table: read by Spark, changed by Spark, expired by Spark."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table
from pyiceberg.table.update import SetLocationUpdate
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.engine import EngineChoice, EngineFacts, EngineSwitch
from ingestion_runtime.endpoints.iceberg.snapshot_files import local_path
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.model.batch import Batch, WriteMode
from ingestion_runtime.model.errors import ConfigError, OutgrownError, PublishRaceError, TerminalError
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import Deletes, Engine, PartitionField, TableSpec
from ingestion_runtime.model.target import Payload, Written
from tests.batches import data_of, make_batch, make_payload, make_receipt
from tests.targets import IcebergPlace

NUMBERS = count(1)
PEOPLE = pa.table({"id": [1, 2, 3], "name": ["Ada", "Grace", None]})
OTHERS = pa.table({"id": [4, 5], "name": ["Edsger", "Barbara"]})


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcebergPlace]:
    place = IcebergPlace(tmp_path_factory.mktemp("adoption"), spark, engine=Engine.ARROW)
    yield place
    place.close()


class Story:
    """One table, written batch by batch as the whole table, or merged."""

    def __init__(self, place: IcebergPlace, root: Path, spec: TableSpec) -> None:
        self.place = place
        self.spec = spec
        self.base: str | None = None
        self.target = place.open(spec)
        self._root = root
        self._numbers = count(1)

    def batch(self, write: WriteMode = WriteMode.REPLACE) -> Batch:
        return make_batch(self.spec, next(self._numbers), base=self.base, write=write)

    def stage(self, batch: Batch, *parts: pa.Table, numbered: bool = True, **changes: Any) -> Payload:
        target = self.target if numbered else None
        directory = self._root / f"{self.spec.table}-{batch.id}-{next(NUMBERS)}"
        replaces = batch.write is WriteMode.REPLACE
        return make_payload(directory, batch, *parts, target=target, replaces=replaces, **changes)

    def write(
        self, batch: Batch, payload: Payload, target: IcebergTarget | None = None, attempt: str = "0a0a0a0a"
    ) -> Written:
        target = target or self.target
        return target.write(batch, attempt, payload, target.prepare(payload))

    def publish(self, batch: Batch, payload: Payload) -> Written:
        written = self.write(batch, payload)
        self.target.publish(batch.base, written, make_receipt(batch, rows=written.rows))
        self.base = batch.id
        return written

    def replace(self, *parts: pa.Table, **changes: Any) -> Payload:
        batch = self.batch()
        payload = self.stage(batch, *parts, **changes)
        self.publish(batch, payload)
        return payload

    def merge(self, *parts: pa.Table) -> Written:
        batch = self.batch(WriteMode.MERGE)
        return self.publish(batch, self.stage(batch, *parts))

    @property
    def name(self) -> str:
        return f"lake.{self.spec.schema}.{self.spec.table}"

    @property
    def table(self) -> Table:
        return self.place.load(self.spec)

    @property
    def folder(self) -> Path:
        return Path(local_path(self.table.location()))

    def entries(self, content: ManifestContent = ManifestContent.DATA) -> list[DataFile]:
        """The files of main, as its manifests name them."""
        table, snapshot = self.table, self.table.current_snapshot()
        assert snapshot is not None
        manifests = [manifest for manifest in snapshot.manifests(table.io) if manifest.content == content]
        return [entry.data_file for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]

    def files(self) -> list[Path]:
        """The data files of main."""
        return sorted(Path(local_path(entry.file_path)) for entry in self.entries())

    def on_disk(self) -> set[Path]:
        return set((self.folder / "data").rglob("*.parquet"))

    def sql(self, statement: str) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.place.spark.sql(statement).collect()]

    def seen_by_spark(self) -> list[dict[str, Any]]:
        return data_of(self.place.spark.table(self.name).toArrow())

    def must_hold(self, *parts: pa.Table) -> None:
        """Spark and pyiceberg read these rows, whole and only these, and the snapshot's totals are those of its files."""
        rows = data_of(pa.concat_tables(parts))
        assert data_of(self.table.scan().to_arrow()) == rows
        assert self.seen_by_spark() == rows
        snapshot = self.table.current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        summary = snapshot.summary.additional_properties
        data, deletes = self.entries(), self.entries(ManifestContent.DELETES)
        assert int(summary["total-data-files"]) == len(data)
        assert int(summary["total-records"]) == sum(entry.record_count for entry in data)
        assert int(summary["total-delete-files"]) == len(deletes)
        assert int(summary["total-files-size"]) == sum(entry.file_size_in_bytes for entry in (*data, *deletes))


@pytest.fixture
def make(place: IcebergPlace, tmp_path: Path) -> Callable[..., Story]:
    def build(mode: str = "full", **changes: Any) -> Story:
        spec = TableSpec("shop", f"adopted_{next(NUMBERS)}", mode, "source", primary_keys=("id",))
        return Story(place, tmp_path, replace(spec, **changes))

    return build


def adopted(payload: Payload, story: Story) -> bool:
    """Whether the table's files are second names of the staged ones, and all of them."""
    own = {path.stat().st_ino for path in story.files()}
    assert not {str(path) for path in story.files()} & set(payload.files)
    return own == {Path(path).stat().st_ino for path in payload.files}


def test_staged_files_become_the_tables_own_without_being_written_again(make: Callable[..., Story]) -> None:
    """The files have a second name in the table's folder, named after batch and attempt; both readers find the rows."""
    story = make()

    payload = story.replace(PEOPLE, OTHERS)

    assert adopted(payload, story)
    assert {path.parent.name for path in story.files()} == {story.base}
    story.must_hold(PEOPLE, OTHERS)


def test_a_first_batch_is_one_commit(make: Callable[..., Story]) -> None:
    """The table, its rows and its receipt appear together: until then the catalog knows nothing of it."""
    story = make()
    batch = story.batch()
    payload = story.stage(batch, PEOPLE)

    written = story.write(batch, payload)
    assert story.target.location() is None
    story.target.publish(None, written, make_receipt(batch, rows=3))

    assert len(list((story.folder / "metadata").glob("*.metadata.json"))) == 1
    assert len(story.table.metadata.snapshots) == 1
    assert story.table.refs().keys() == {"main", "ingest_last"}


def test_an_empty_batch_makes_an_empty_table(make: Callable[..., Story]) -> None:
    """No rows are rows too: the columns are there, and a replacement by nothing leaves nothing."""
    story = make()
    story.replace(PEOPLE.slice(0, 0))
    assert story.files() == []
    story.must_hold(PEOPLE.slice(0, 0))
    story.replace(PEOPLE)

    story.replace(PEOPLE.slice(0, 0))

    story.must_hold(PEOPLE.slice(0, 0))


def test_expiring_one_table_leaves_raw_and_other_tables_alone(make: Callable[..., Story]) -> None:
    """Two tables took the same staged files; Spark expires the snapshot of one, and only its own names are gone."""
    first, second = make(), make()
    payload = first.replace(PEOPLE)
    batch = second.batch()
    second.publish(batch, payload)
    (old,) = first.files()
    first.replace(OTHERS)

    first.sql(f"CALL lake.system.expire_snapshots('{first.name[5:]}', TIMESTAMP '2100-01-01 00:00:00', 1)")

    assert not old.exists()
    assert all(Path(path).exists() for path in payload.files)
    first.must_hold(OTHERS)
    second.must_hold(PEOPLE)


def test_spark_may_merge_compact_and_delete_afterwards(make: Callable[..., Story]) -> None:
    """What Spark writes on top is read and merged into in this process, its position deletes included; a replacement takes
    them away."""
    story = make("scd1")
    story.replace(PEOPLE, OTHERS)
    story.sql(f"DELETE FROM {story.name} WHERE id IN (2, 4)")
    assert story.entries(ManifestContent.DELETES)
    (third,) = PEOPLE.slice(2).to_pylist()
    left = pa.table({"id": [1, 3, 5], "name": ["Ada", third["name"], "Barbara"]})
    story.must_hold(left)

    story.merge(pa.table({"id": [1, 6], "name": ["Augusta", "Alan"]}))

    expected = pa.table({"id": [1, 3, 5, 6], "name": ["Augusta", None, "Barbara", "Alan"]})
    story.must_hold(expected)
    story.sql(f"CALL lake.system.rewrite_data_files(table => '{story.name[5:]}', options => map('rewrite-all', 'true'))")
    assert data_of(story.table.scan().to_arrow()) == data_of(expected)
    story.sql(f"UPDATE {story.name} SET name = 'x' WHERE id = 5")
    story.replace(OTHERS)
    assert not story.entries(ManifestContent.DELETES)
    story.must_hold(OTHERS)


SPECS = [
    (("region", "identity"), ("ratio", "identity"), ("at", "year"), ("day", "month")),
    (("amount", "identity"), ("at", "month"), ("local", "day")),
    (("day", "identity"), ("at", "identity"), ("id", "bucket", 3)),
    (("at", "day"), ("region", "bucket", 4), ("amount", "bucket", 4), ("day", "bucket", 4)),
    (("at", "bucket", 4), ("id", "truncate", 3), ("region", "truncate", 1), ("amount", "truncate", 100)),
]
MIXED = pa.table(
    {
        "id": pa.array([1, 2, 3, -4, 5, 6], pa.int64()),
        "region": ["eu", "us", "eu", None, "ünï", ""],
        "amount": pa.array([Decimal("1.50"), Decimal("-1.51"), None, Decimal("0.00"), Decimal("9.99"), Decimal("1.50")]),
        "day": pa.array([date(1969, 12, 31), date(2026, 6, 1), None, date(1, 1, 1), date(9999, 12, 31), date(2026, 6, 30)]),
        "at": pa.array(
            [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(2026, 6, 1, tzinfo=UTC), None] * 2,
            pa.timestamp("us", "UTC"),
        ),
        "local": pa.array([-3_600_000_000, 1_780_272_000_000_000, None] * 2, pa.int64()).cast(pa.timestamp("us")),
        "ratio": [float("nan"), 0.5, None, float("-inf"), -0.0, 0.0],
    }
)


def test_partitions_are_those_that_spark_makes_of_the_same_rows(
    make: Callable[..., Story], place: IcebergPlace, tmp_path: Path
) -> None:
    """For every transform and type: rows staged together are split, and each file stands in the partition in which Spark
    would have put its rows."""
    for spec in SPECS:
        fields = tuple(PartitionField(*field) for field in spec)
        ours = make(partition=fields)
        payload = ours.replace(MIXED)
        assert not adopted(payload, ours)
        theirs = Story(replace_engine(place), tmp_path, replace(ours.spec, table=f"{ours.spec.table}_by_spark"))
        theirs.replace(MIXED, numbered=False)

        assert partitions(ours) == partitions(theirs), spec
        assert sorted(map(repr, ours.seen_by_spark())) == sorted(map(repr, theirs.seen_by_spark())), spec


def replace_engine(place: IcebergPlace) -> IcebergPlace:
    other = IcebergPlace(place.root, place.spark, engine=Engine.SPARK)
    other.session = place.session
    return other


def partitions(story: Story) -> list[str]:
    rows = story.place.spark.sql(f"SELECT partition, record_count FROM {story.name}.partitions").toArrow()
    return sorted(map(repr, rows.to_pylist()))


def test_files_of_one_partition_each_are_adopted_and_others_are_written_anew(make: Callable[..., Story]) -> None:
    """The partition of a file is computed from its rows; one that holds two has to be split."""
    field = PartitionField("region", "truncate", 1)
    rows = pa.table({"id": [1, 2, 3, 4], "region": ["eu", "east", "us", None]})
    split, whole = make(partition=(field,)), make(partition=(field,))

    payload = split.replace(rows.slice(0, 2), rows.slice(2, 1), rows.slice(3))
    assert adopted(payload, split)
    assert not adopted(whole.replace(rows), whole)

    assert partitions(split) == partitions(whole)
    for story in (split, whole):
        assert len(story.files()) == 3
        story.must_hold(rows)
        found = story.sql(f"SELECT id FROM {story.name} WHERE region LIKE 'e%' ORDER BY id")
        assert [row["id"] for row in found] == [1, 2]


def test_columns_may_be_renamed_added_widened_and_given_another_type(make: Callable[..., Story]) -> None:
    """Ids are foretold when rows are staged: the files of each later batch are adopted too, and hold their values under
    the table's new names and types; old snapshots are read by the former ones."""
    story = make()
    first = pa.table({"id": pa.array([1], pa.int64()), "n": pa.array([1], pa.int32()), "v": ["one"], "w": ["w"]})
    story.replace(first)
    renamed = pa.table({"id": pa.array([2], pa.int64()), "n": pa.array([2**40]), "u": ["two"], "w": ["w"], "new": [True]})
    payload = story.replace(renamed, renamed={"u": "v"})
    assert adopted(payload, story)
    story.must_hold(renamed)
    former = story.table.metadata.current_snapshot_id
    retyped = pa.table({"id": pa.array([3], pa.int64()), "n": [3], "u": ["x"], "w": [date(2026, 6, 1)], "new": [False]})

    payload = story.replace(retyped)

    assert adopted(payload, story)
    story.must_hold(retyped)
    snapshot = story.table.current_snapshot()
    assert snapshot.schema_id == story.table.metadata.current_schema_id
    assert data_of(story.table.scan(snapshot_id=former).to_arrow()) == data_of(renamed)


def test_deleted_rows_get_a_column_without_disturbing_the_ids(make: Callable[..., Story]) -> None:
    """The mark of soft deletes takes an id between new columns and those of another type: all are foretold."""
    story = make("scd1", deletes=Deletes.SOFT)
    payload = story.replace(PEOPLE)
    assert adopted(payload, story)
    payload = story.replace(PEOPLE.append_column("more", pa.array([1, 2, 3])).set_column(1, "name", pa.array([1, 2, 3])))

    assert adopted(payload, story)
    assert [row["name"] for row in story.seen_by_spark()] == [1, 2, 3]


@pytest.mark.parametrize("reason", ["no ids", "other ids", "swapped ids", "another type"])
def test_files_that_do_not_fit_are_written_anew(make: Callable[..., Story], reason: str) -> None:
    """Under other ids a reader would find other values, or none: such files never become the table's own."""
    story = make()
    story.replace(PEOPLE)
    batch = story.batch()
    rows = pa.table({"id": [7, 8], "name": ["Alan", "Kurt"]})
    if reason == "another type":
        payload = story.stage(batch, rows.set_column(0, "id", pa.array([7, 8], pa.int32())))
    else:
        payload = story.stage(batch, rows, numbered=reason != "no ids")
    if reason.endswith("ids") and reason != "no ids":
        for path in payload.files:
            renumber(Path(path), {"1": "2", "2": "1"} if reason == "swapped ids" else {"1": "41", "2": "42"})

    story.publish(batch, payload)

    assert not adopted(payload, story)
    story.must_hold(rows)


def renumber(path: Path, ids: dict[str, str]) -> None:
    """Write a file again with other field ids."""
    rows = pq.read_table(path, partitioning=None)
    numbers = [field.metadata[b"PARQUET:field_id"].decode() for field in rows.schema]
    fields = [
        field.with_metadata({"PARQUET:field_id": ids.get(number, number)})
        for field, number in zip(rows.schema, numbers, strict=True)
    ]
    pq.write_table(rows.cast(pa.schema(fields)), path, store_schema=False)


def test_of_rows_that_share_a_key_the_first_load_keeps_the_newest(make: Callable[..., Story]) -> None:
    """Files with a key twice cannot be adopted where each key is there once."""
    story = make("scd1", incremental_column="seen")
    rows = pa.table({"id": [1, 1, 2], "seen": [1, 2, 1], "v": ["old", "new", "only"]})
    batch = story.batch(WriteMode.MERGE)

    written = story.publish(batch, story.stage(batch, rows))

    assert (written.rows, written.keys, written.total) == (3, 2, 2)
    story.must_hold(rows.slice(1))


def test_the_rank_of_a_text_cursor_stays_in_the_files_and_out_of_the_table(make: Callable[..., Story]) -> None:
    """Raw needs the column, readers never see it; it is no reason to write the rows once more."""
    story = make("scd1", incremental_column="name")
    ranked = PEOPLE.append_column("_ingest_cursor_rank", pa.array([1, 2, None], pa.int64()))

    payload = story.replace(ranked)

    assert adopted(payload, story)
    assert "_ingest_cursor_rank" not in story.table.schema().column_names
    story.must_hold(PEOPLE)
    story.merge(pa.table({"id": [3, 9], "name": ["Alan", "Kurt"]}))
    story.must_hold(pa.table({"id": [1, 2, 3, 9], "name": ["Ada", "Grace", "Alan", "Kurt"]}))


def test_bounds_that_a_footer_does_not_know_hide_no_row(make: Callable[..., Story]) -> None:
    """A row group whose longest text has no bounds, and numbers that are NaN: conditions on them find every row."""
    story = make()
    rows = pa.table({"id": [1, 2, 3, 4], "name": ["a", "z" * 5000, "b", None], "ratio": [1.0, float("nan"), 2.0, None]})
    batch = story.batch()
    payload = story.stage(batch, rows)
    (path,) = payload.files
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=1, store_schema=False)

    story.publish(batch, payload)

    assert adopted(payload, story)
    asked = {"name > 'c'": [2], "name = 'b'": [3], "ratio > 5": [2], "ratio <= 2": [1, 3], "name IS NULL": [4]}
    for condition, expected in asked.items():
        assert [row["id"] for row in story.sql(f"SELECT id FROM {story.name} WHERE {condition} ORDER BY id")] == expected


def test_what_a_dead_run_left_goes_when_its_batch_is_gone_on_with(make: Callable[..., Story]) -> None:
    """Files and manifests of an attempt that was never published are removed, those of the table are not; and a commit of
    them that comes late is refused."""
    story = make()
    story.replace(PEOPLE)
    batch = story.batch()
    payload = story.stage(batch, OTHERS)
    sleeper = story.place.open(story.spec)
    late = story.write(batch, payload, sleeper, "deadbeef")
    kept = set(story.files())
    assert len(story.on_disk()) == 2
    left = list((story.folder / "metadata").glob("*deadbeef*"))
    assert len(left) == 3
    assert story.target.is_littered(batch.id)

    story.target.guard(2, ())
    story.target.sweep(batch.id)
    assert not story.target.is_littered(batch.id)
    with pytest.raises(PublishRaceError):
        sleeper.publish(batch.base, late, make_receipt(batch))
    written = story.write(batch, payload)
    story.target.publish(batch.base, written, make_receipt(batch, fence=2))

    assert not any(path.exists() for path in left)
    assert story.on_disk() == kept | set(story.files())
    assert all(Path(path).exists() for path in payload.files)
    story.must_hold(OTHERS)


def test_a_run_that_died_before_its_table_was_there_cannot_publish_files_that_were_swept_away(
    make: Callable[..., Story],
) -> None:
    """Whoever finds its leftovers creates the table first; should the dead one be alive after all, it is refused."""
    story = make()
    batch = story.batch()
    payload = story.stage(batch, PEOPLE)
    sleeper = story.place.open(story.spec)
    written = story.write(batch, payload, sleeper, "deadbeef")

    rerun = story.write(batch, payload)

    with pytest.raises(PublishRaceError):
        sleeper.publish(None, written, make_receipt(batch))
    story.target.publish(None, rerun, make_receipt(batch))
    assert set(story.files()) == story.on_disk()
    story.must_hold(PEOPLE)


def test_a_sweep_leaves_what_a_snapshot_names_however_the_path_is_spelled(make: Callable[..., Story]) -> None:
    """A table that was registered under another spelling of its place keeps all files of the batch that it shows."""
    story = make()
    batch = story.batch()
    story.publish(batch, story.stage(batch, PEOPLE))
    before = {path for path in story.folder.rglob("*") if path.is_file()}
    table = story.table
    plain = table.location()
    for other in (plain.replace(f"/{story.spec.table}", f"//{story.spec.table}"), f"{plain}/."):
        with table.transaction() as change:
            change._apply((SetLocationUpdate(location=other),))

        story.target.sweep(batch.id)

        assert before <= {path for path in story.folder.rglob("*") if path.is_file()}
    story.must_hold(PEOPLE)


def test_a_commit_that_was_not_answered_keeps_its_files(make: Callable[..., Story], monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after the commit took effect: whoever discards the attempt then takes nothing away."""
    story = make()
    story.replace(PEOPLE)
    batch = story.batch()
    written = story.write(batch, story.stage(batch, OTHERS))
    commit = SqlCatalog.commit_table

    def commit_unheard(*arguments: Any) -> None:
        commit(*arguments)
        raise ConnectionResetError("gone before the answer")

    with monkeypatch.context() as broken:
        broken.setattr(SqlCatalog, "commit_table", commit_unheard)
        with pytest.raises(ConnectionResetError):
            story.target.publish(batch.base, written, make_receipt(batch))
    story.target.discard(written.branch)

    story.must_hold(OTHERS)


def test_a_text_whose_shortened_bound_is_half_a_character_has_none(make: Callable[..., Story]) -> None:
    """One above U+D7FF stands no character: the file goes without that bound, and every row is found."""
    story = make()
    rows = pa.table({"id": [1, 2], "name": ["a", "z" * 15 + "\ud7ff" + "more"]})

    payload = story.replace(rows)

    assert adopted(payload, story)
    (entry,) = story.entries()
    name = story.table.schema().find_field("name").field_id
    assert (name in entry.lower_bounds, name in entry.upper_bounds) == (True, False)
    assert [row["id"] for row in story.sql(f"SELECT id FROM {story.name} WHERE name > 'b'")] == [2]
    story.must_hold(rows)


def test_a_discarded_attempt_leaves_nothing_behind(make: Callable[..., Story]) -> None:
    """Neither data nor manifests; and what was published stays, whoever asks to discard it."""
    story = make()
    story.replace(PEOPLE)
    before = {path for path in story.folder.rglob("*") if path.is_file()}
    batch = story.batch()
    written = story.write(batch, story.stage(batch, OTHERS))

    story.target.discard(written.branch)
    story.target.discard(written.branch)

    assert {path for path in story.folder.rglob("*") if path.is_file()} == before
    story.must_hold(PEOPLE)


def test_a_merge_that_changes_nothing_writes_nothing(make: Callable[..., Story]) -> None:
    """The same rows again: no file, no snapshot; a new receipt may be published on the old one."""
    story = make("scd1")
    story.replace(PEOPLE)
    before, snapshot = story.on_disk(), story.table.metadata.current_snapshot_id

    written = story.merge(PEOPLE)

    assert not written.changed
    assert (story.on_disk(), story.table.metadata.current_snapshot_id) == (before, snapshot)
    story.must_hold(PEOPLE)


@pytest.mark.parametrize("foreign", [False, True])
def test_a_history_of_which_maintenance_left_both_ends_is_judged_by_what_happened(
    make: Callable[..., Story], *, foreign: bool
) -> None:
    """Snapshots between the last publish and main are expired; former metadata still tells whether they were compactions."""
    story = make("scd1")
    story.replace(PEOPLE)
    if foreign:
        story.sql(f"INSERT INTO {story.name} SELECT * FROM {story.name}")
    for _ in range(2):
        story.sql(f"CALL lake.system.rewrite_data_files(table => '{story.name}', options => map('rewrite-all', 'true'))")
    story.sql(f"CALL lake.system.expire_snapshots(table => '{story.name}', older_than => now(), retain_last => 1)")
    current = story.table.current_snapshot()
    assert current is not None
    assert current.parent_snapshot_id not in {snapshot.snapshot_id for snapshot in story.table.snapshots()}

    head = story.place.open(story.spec).head()

    assert head is not None
    if foreign:
        assert "someone else wrote to it" in (head.damage or "")
    else:
        assert head.damage is None
        story.merge(OTHERS)
        story.must_hold(PEOPLE, OTHERS)


@pytest.mark.parametrize("name", ["ingest_pos", "ingest_file", "c0", "path", "value"])
def test_a_merge_finds_its_rows_whatever_the_key_is_called(make: Callable[..., Story], name: str) -> None:
    """Names that the merge might use for its own columns stand for the source's."""
    story = make("scd1", primary_keys=(name,))
    before = pa.table({name: [31, 32, 33], "v": ["a", "b", "c"]})
    after = pa.table({name: [32, 33, 34], "v": ["B", "C", "D"]})
    story.merge(before)

    story.merge(after)

    story.must_hold(before.slice(0, 1), after)


@pytest.mark.parametrize("mode", ["full", "scd1"])
def test_a_table_with_a_column_that_never_lands_is_left_to_spark(make: Callable[..., Story], mode: str) -> None:
    """Someone else added it, and the policy leaves it alone."""
    story = make(mode, policy=SchemaPolicy(dropped=OnChange.IGNORE))
    story.replace(PEOPLE)
    story.sql(f"ALTER TABLE {story.name} ADD COLUMN tags ARRAY<STRING>")
    batch = story.batch(WriteMode.MERGE if mode == "scd1" else WriteMode.REPLACE)
    payload = story.stage(batch, OTHERS)

    with pytest.raises(ConfigError, match="the table has a column of type list<string>"):
        story.write(batch, payload)

    story.target = IcebergPlace(story.place.root, story.place.spark).open(story.spec)
    story.publish(batch, payload)
    expected = data_of(pa.concat_tables([PEOPLE, OTHERS]) if mode == "scd1" else OTHERS)
    assert story.sql(f"SELECT id, name FROM {story.name} ORDER BY id") == expected


@pytest.mark.parametrize(
    ("wanted", "most", "staged", "by_spark"),
    [
        (Engine.AUTO, 0, 1, True),
        (Engine.AUTO, 2**30, 1, False),  # much more than was staged, and yet not much
        (Engine.AUTO, 0, 2_000, False),  # much, and not so much more than was staged
        (Engine.ARROW, 0, 1, False),  # asked for
    ],
)
def test_a_merge_that_would_write_far_more_than_was_staged_is_left_to_spark(
    make: Callable[..., Story], wanted: Engine, most: int, staged: int, *, by_spark: bool
) -> None:
    """More than a limit, and more than 64 times what was staged; the reason is told, and nothing of the try is left."""
    story = make("scd1")
    noise = [random.Random(number).randbytes(300) for number in range(2_000)]  # noqa: S311 - a sample, no secret
    story.replace(pa.table({"id": range(2_000), "name": noise}))
    told: list[tuple[str, EngineChoice]] = []
    facts = EngineFacts(story.spec.name, wanted, "sqlite", True, (), "local[2]", None, 512)
    switch = EngineSwitch(lambda: facts, lambda step, choice: told.append((step, choice)))
    story.target = story.place.open(story.spec, switch=switch, most_rewritten=most)

    written = story.merge(pa.table({"id": range(staged), "name": [b"new"] * staged}))

    assert (written.found, written.total) == (staged, 2_000)
    assert bool(story.entries(ManifestContent.DELETES)) is by_spark
    reasons = [choice.reason for step, choice in told if step == "write"]
    assert [reason.endswith("where Spark writes what differs") for reason in reasons] == [True] * by_spark
    assert (story.folder / "data" / str(story.base)).exists() is not by_spark
    assert {row["id"] for row in story.seen_by_spark() if row["name"] == b"new"} == set(range(staged))


@pytest.mark.parametrize("wanted", [Engine.AUTO, Engine.ARROW])
def test_a_merge_that_needs_more_memory_than_there_is_goes_to_spark_unless_asked_for(
    make: Callable[..., Story], wanted: Engine
) -> None:
    """With auto: the reason is told, and nothing of the try is left. With arrow it is refused with what to do."""
    story = make("scd1")
    keys = [f"{number:02000}" for number in range(10_000)]
    story.replace(pa.table({"id": keys, "name": [b"old"] * 10_000}))
    told: list[tuple[str, EngineChoice]] = []
    facts = EngineFacts(story.spec.name, wanted, "sqlite", True, (), "local[2]", None, 1)
    switch = EngineSwitch(lambda: facts, lambda step, choice: told.append((step, choice)))
    story.target = story.place.open(story.spec, switch=switch, sql_mb=1)
    before = story.on_disk()
    changes = pa.table({"id": keys[5_000:], "name": [b"new"] * 5_000})

    if wanted is Engine.ARROW:
        with pytest.raises(OutgrownError, match=r"Raise runtime\.memory_mb"):
            story.merge(changes)
        assert story.on_disk() == before
        return
    written = story.merge(changes)
    assert (written.found, written.total) == (5_000, 10_000)
    assert [(step, choice.engine) for step, choice in told] == [("table", Engine.ARROW), ("write", Engine.SPARK)]
    assert "1 MiB of memory were too small" in told[1][1].reason
    assert not (story.folder / "data" / str(story.base)).exists()


def test_a_table_whose_metadata_are_gone_says_what_was_lost_and_how_to_go_on(make: Callable[..., Story]) -> None:
    """A warehouse that is not mounted, or was removed: --reload alone cannot help as long as the catalog names the table."""
    story = make()
    story.replace(PEOPLE)
    Path(local_path(story.table.metadata_location)).unlink()

    with pytest.raises(TerminalError, match=r"the warehouse has lost its metadata.*is it mounted.*drop the table"):
        story.place.open(story.spec).head()


def test_a_table_of_a_format_whose_commits_cannot_be_written_is_refused_at_once(make: Callable[..., Story]) -> None:
    """Before a row is read or written: no engine could publish it."""
    story = make("scd1")
    story.replace(PEOPLE)
    story.sql(f"ALTER TABLE {story.name} SET TBLPROPERTIES ('format-version' = '3')")

    with pytest.raises(TerminalError, match="has format 3") as refused:
        story.place.open(story.spec).head()

    assert "--reload" in refused.value.remedy


def test_a_snapshot_that_someone_added_meanwhile_refuses_the_publish(make: Callable[..., Story]) -> None:
    """On another branch it leaves main as it was, but takes the sequence number: written again on what is there now, the
    batch goes through."""
    story = make()
    story.replace(PEOPLE)
    batch = story.batch()
    payload = story.stage(batch, OTHERS)
    written = story.write(batch, payload)
    story.sql(f"ALTER TABLE {story.name} CREATE BRANCH other")
    story.sql(f"INSERT INTO {story.name}.branch_other SELECT * FROM {story.name}")

    with pytest.raises(PublishRaceError):
        story.target.publish(batch.base, written, make_receipt(batch))
    story.target.discard(written.branch)
    story.must_hold(PEOPLE)

    story.publish(batch, payload)
    story.must_hold(OTHERS)
