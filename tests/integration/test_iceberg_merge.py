"""Batches merged into real Iceberg tables by either engine: what readers find afterwards, row by row."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from pyiceberg.table import Table
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.events.emitter import EventEmitter
from ingestion_runtime.events.event import Envelope, Event
from ingestion_runtime.events.types.batch import DuplicatesResolved, PublishRetried
from ingestion_runtime.model.batch import Publication, WriteMode
from ingestion_runtime.model.cursor import CursorType, Watermark
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.spec import Engine, PartitionField, TableSpec
from ingestion_runtime.publishing.identity import Identity
from ingestion_runtime.publishing.publisher import Publisher
from ingestion_runtime.tools.failpoints import Failpoints
from tests.batches import make_batch, make_payload
from tests.targets import IcebergPlace

NUMBERS = count(1)
# In this process no filter is applied, and no position deletes are written.
WITH_SPARK = pytest.mark.parametrize("place", [Engine.SPARK], indirect=True)
NAN = float("nan")
MONDAY, TUESDAY = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC)


@pytest.fixture(scope="module", params=[Engine.SPARK, Engine.ARROW])
def place(
    request: pytest.FixtureRequest, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IcebergPlace]:
    place = IcebergPlace(tmp_path_factory.mktemp("merge"), spark, engine=request.param)
    yield place
    place.close()


class Story:
    """One table, batch after batch, through the publisher."""

    def __init__(self, place: IcebergPlace, root: Path, spec: TableSpec, *, allow_missing: bool = False) -> None:
        self.place = place
        self.spec = spec
        self.events: list[Event] = []
        self.allow_missing = allow_missing
        self._root = root
        self._base: str | None = None
        self._numbers = count(1)

    def handle(self, envelope: Envelope) -> None:
        """As a subscriber."""
        self.events.append(envelope.event)

    def publish(
        self,
        *parts: pa.Table,
        write: WriteMode = WriteMode.MERGE,
        watermark: Watermark | None = None,
        one_slice: bool = False,
        land: Callable[[], object] = lambda: None,
        reload: bool = False,
    ) -> Publication:
        """Publish one batch on top of the last one that became visible."""
        number = next(self._numbers)
        batch = make_batch(self.spec, number, base=self._base, write=write, watermark=watermark, reload=reload)
        payload = make_payload(self._root / str(number), batch, *parts, one_slice=one_slice)
        emitter = EventEmitter("test", [self])
        publisher = Publisher(self.target, Identity(self.spec.name, "tests", (), ""), lambda: 1, emitter, Failpoints({}))
        publication = publisher.publish(batch, payload, lambda: f"manifest {number}, {land()}")
        self._base = publication.receipt.batch_id if publication.receipt else None
        return publication

    @property
    def target(self) -> IcebergTarget:
        return self.place.open(self.spec, allow_missing=self.allow_missing)

    @property
    def table(self) -> Table:
        return self.place.load(self.spec)

    @property
    def name(self) -> str:
        return ".".join("`" + part.replace("`", "``") + "`" for part in ("lake", self.spec.schema, self.spec.table))

    def must_hold(self, ddl: str, rows: list[tuple[Any, ...]]) -> None:
        """The table's data columns are exactly these rows, compared by chispa."""
        found = self.place.spark.table(self.name)
        wanted = self.place.spark.createDataFrame(rows, ddl)
        # Columns are picked and compared by place: quotes and dots in names are more than drop() and sort() take.
        assert [name for name in found.columns if not name.startswith("_ingest_")] == wanted.columns
        data = found.select(*("`" + name.replace("`", "``") + "`" for name in wanted.columns))
        plain = [f"c{place}" for place, _ in enumerate(wanted.columns)]
        data, wanted = data.toDF(*plain), wanted.toDF(*plain)
        assert_df_equality(data, wanted, ignore_row_order=True, ignore_nullable=True, allow_nan_equality=True)

    def main(self) -> int | None:
        """The snapshot that readers see."""
        return self.table.metadata.current_snapshot_id

    def branches(self) -> set[str]:
        return set(self.table.metadata.refs) - {"main", "ingest_last"}


@pytest.fixture
def make(place: IcebergPlace, tmp_path: Path) -> Callable[..., Story]:
    def build(*, allow_missing: bool = False, **changes: Any) -> Story:
        settings: dict[str, Any] = {"primary_keys": ("id",), "table": f"t{next(NUMBERS)}", **changes}
        spec = TableSpec(schema=settings.pop("schema", "shop"), mode="scd1", connection="source", **settings)
        return Story(place, tmp_path, spec, allow_missing=allow_missing)

    return build


def rows_of(columns: Mapping[str, pa.DataType], rows: list[tuple[Any, ...]]) -> pa.Table:
    arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(columns.values())]
    return pa.table(arrays, names=list(columns))


MIXED = {"id": pa.int64(), "v": pa.string(), "n": pa.float64()}
MIXED_DDL = "id bigint, v string, n double"


def test_a_merge_inserts_and_updates_only_what_differs(make: Callable[..., Story]) -> None:
    """NULL becomes a value, a value becomes NULL, NaN equals NaN and NULL equals NULL; equal rows are not written again."""
    story = make()
    story.publish(
        rows_of(MIXED, [(1, "same", 1.5), (2, None, NAN), (3, "fades", NAN), (4, None, None), (5, "untouched", 5.0)])
    )

    publication = story.publish(
        rows_of(MIXED, [(1, "same", 1.5), (2, "grows", NAN), (3, None, NAN), (4, None, None), (6, "new", None)])
    )

    story.must_hold(
        MIXED_DDL,
        [(1, "same", 1.5), (2, "grows", NAN), (3, None, NAN), (4, None, None), (5, "untouched", 5.0), (6, "new", None)],
    )
    assert (publication.changed, publication.rows) == (True, 3)
    found = story.table.scan(selected_fields=("id", "_ingest_slice")).to_arrow()
    written = {row["id"]: row["_ingest_slice"][:15] for row in found.to_pylist()}
    first, second = "20260701_000001", "20260701_000002"
    assert written == {1: first, 2: second, 3: second, 4: first, 5: first, 6: second}


def test_a_merge_without_net_change_leaves_the_table_alone(make: Callable[..., Story]) -> None:
    """Even an empty MERGE makes a snapshot: it stays on a branch that is dropped, and the location then stands still."""
    story = make()
    rows = rows_of(MIXED, [(1, "same", NAN), (2, None, 0.0)])
    story.publish(rows)
    receipt, main = story.target.head().receipt, story.main()

    publication = story.publish(rows)

    assert (publication.changed, publication.rows, publication.receipt) == (False, 0, receipt)
    assert publication.location == story.target.location()
    assert story.main() == main
    assert story.branches() == set()
    assert story.target.head().receipt == receipt


def test_a_watermark_that_moves_over_equal_rows_is_published_alone(make: Callable[..., Story]) -> None:
    """The receipt advances, or the same rows would be read every night; readers keep their snapshot."""
    story = make()
    rows = rows_of(MIXED, [(1, "same", NAN)])
    story.publish(rows, watermark=Watermark(CursorType.INT, "1"))
    main = story.main()

    publication = story.publish(rows, watermark=Watermark(CursorType.INT, "2"))

    assert publication.changed
    assert story.main() == main
    head = story.target.head()
    assert head.receipt.watermark == Watermark(CursorType.INT, "2")
    assert (head.damage, head.branches) == (None, ())


TIMED = {"id": pa.int64(), "v": pa.string(), "at": pa.timestamp("us", "UTC")}
TIMED_DDL = "id bigint, v string, at timestamp"


@pytest.mark.parametrize("reverse", [False, True])
def test_of_duplicate_keys_the_newest_cursor_wins_whatever_the_order_of_files(
    make: Callable[..., Story], reverse: bool
) -> None:
    """Ties are broken by the whole row, a cursor beats none, and what lost is counted and told."""
    story = make(incremental_column="at")
    files = [
        rows_of(TIMED, [(1, "newer", TUESDAY), (2, "tie a", MONDAY), (3, "no cursor", None), (4, "alone", MONDAY)]),
        rows_of(TIMED, [(1, "older", MONDAY), (2, "tie b", MONDAY), (3, "cursor", MONDAY)]),
    ]

    publication = story.publish(*(files[::-1] if reverse else files), one_slice=True)

    story.must_hold(TIMED_DDL, [(1, "newer", TUESDAY), (2, "tie b", MONDAY), (3, "cursor", MONDAY), (4, "alone", MONDAY)])
    assert publication.duplicates == 3
    assert DuplicatesResolved(3) in story.events


def test_a_later_slice_wins_over_an_earlier_one(make: Callable[..., Story]) -> None:
    """A row read again in a later slice is the newer reading, even if its cursor went back."""
    story = make(incremental_column="at")

    story.publish(rows_of(TIMED, [(1, "read first", TUESDAY)]), rows_of(TIMED, [(1, "read last", MONDAY)]))

    story.must_hold(TIMED_DDL, [(1, "read last", MONDAY)])


def test_a_text_cursor_follows_the_rank_of_the_source(make: Callable[..., Story]) -> None:
    """Spark orders "Z" before "a"; the source did not, and its rank decides without becoming a column of the table."""
    story = make(incremental_column="c")
    ranked = {"id": pa.int64(), "c": pa.string(), "_ingest_cursor_rank": pa.int64()}

    story.publish(rows_of(ranked, [(1, "a", 1), (1, "Z", 2)]))

    story.must_hold("id bigint, c string", [(1, "Z")])
    assert "_ingest_cursor_rank" not in {field.name for field in story.table.schema().fields}


def test_composite_keys_match_as_a_whole(make: Callable[..., Story]) -> None:
    """Rows that share a part of the key are different rows."""
    story = make(primary_keys=("a", "b"))
    columns = {"a": pa.int32(), "b": pa.string(), "v": pa.string()}
    story.publish(rows_of(columns, [(1, "x", "old"), (1, "y", "old"), (2, "x", "old")]))

    publication = story.publish(rows_of(columns, [(1, "y", "new"), (2, "y", "new")]))

    story.must_hold("a int, b string, v string", [(1, "x", "old"), (1, "y", "new"), (2, "x", "old"), (2, "y", "new")])
    assert publication.rows == 2


def test_tables_are_partitioned_as_configured(make: Callable[..., Story]) -> None:
    """Every transform is in the spec, and the values in it are those of the Iceberg specification."""
    partition = (
        PartitionField("region", "identity"),
        PartitionField("born", "year"),
        PartitionField("seen", "month"),
        PartitionField("at", "day"),
        PartitionField("id", "bucket", 16),
        PartitionField("name", "truncate", 3),
    )
    story = make(partition=partition)
    columns = {
        "id": pa.int64(),
        "region": pa.string(),
        "born": pa.date32(),
        "seen": pa.timestamp("us"),
        "at": pa.timestamp("us", "UTC"),
        "name": pa.string(),
    }
    first = (
        34,
        "eu",
        date(2001, 2, 3),
        datetime.fromisoformat("1970-03-01"),
        datetime(1970, 1, 11, 23, tzinfo=UTC),
        "iceberg",
    )
    second = (35, None, None, None, None, None)
    story.publish(rows_of(columns, [first, second]))
    moved = (34, "us", *first[2:])

    story.publish(rows_of(columns, [moved]))

    names = {field.field_id: field.name for field in story.table.schema().fields}
    spec = [(names[field.source_id], str(field.transform)) for field in story.table.spec().fields]
    assert spec == [
        ("region", "identity"),
        ("born", "year"),
        ("seen", "month"),
        ("at", "day"),
        ("id", "bucket[16]"),
        ("name", "truncate[3]"),
    ]
    # Years, months and days since 1970; the bucket is 2017239379 % 16, the hash of 34 from the specification's appendix B.
    values = [list(task.file.partition) for task in story.table.scan(row_filter="region == 'us'").plan_files()]
    assert [[str(v) for v in value] for value in values] == [["us", "31", "2", value_of_day(values), "3", "ice"]]
    ddl = "id bigint, region string, born date, seen timestamp_ntz, at timestamp, name string"
    story.must_hold(ddl, [moved, second])


def value_of_day(values: list[list[Any]]) -> str:
    """Iceberg's clients show the tenth day since 1970 as a number or as a date."""
    (value,) = (row[3] for row in values)
    assert value in (10, date(1970, 1, 11))
    return str(value)


REGIONAL = {"id": pa.int64(), "region": pa.string(), "v": pa.string()}
REGIONAL_DDL = "id bigint, region string, v string"


@WITH_SPARK
def test_a_merge_filter_that_misses_the_matching_row_is_caught(make: Callable[..., Story]) -> None:
    """MERGE would insert a second row of the key; the audit counts without the filter, and nothing becomes visible."""
    story = make(partition=(PartitionField("region", "identity"),), merge_filter="region = 'eu'")
    rows = [(1, "eu", "old"), (2, "us", "old")]
    story.publish(rows_of(REGIONAL, rows))
    head = story.target.head()

    with pytest.raises(TerminalError, match="merge_filter"):
        story.publish(rows_of(REGIONAL, [(1, "eu", "new"), (2, "us", "new")]))

    after = story.target.head()
    assert (after.receipt, after.snapshot, after.branches) == (head.receipt, head.snapshot, ())
    story.must_hold(REGIONAL_DDL, rows)


def test_a_merge_filter_that_holds_leaves_other_partitions_alone(make: Callable[..., Story]) -> None:
    """Rows are right, and the files of the partitions outside the filter are the ones from before."""
    story = make(partition=(PartitionField("region", "identity"),), merge_filter="region IN ('eu', 'uk') AND NOT id < 0")
    story.publish(rows_of(REGIONAL, [(1, "eu", "old"), (2, "us", "old"), (3, "eu", "old")]))
    before = files_of(story, "us")

    publication = story.publish(rows_of(REGIONAL, [(1, "eu", "new"), (4, "uk", "new")]))

    story.must_hold(REGIONAL_DDL, [(1, "eu", "new"), (2, "us", "old"), (3, "eu", "old"), (4, "uk", "new")])
    assert publication.rows == 2
    assert files_of(story, "us") == before
    assert len(before) == 1


def files_of(story: Story, region: str) -> set[str]:
    return {task.file.file_path for task in story.table.scan(row_filter=f"region == '{region}'").plan_files()}


def test_a_table_grows_in_place_with_its_source(make: Callable[..., Story]) -> None:
    """A new column is NULL in old rows; int, decimal and float widen; the table stays the same table."""
    story = make()
    narrow = {"id": pa.int32(), "price": pa.decimal128(6, 2), "rate": pa.float32()}
    story.publish(rows_of(narrow, [(1, Decimal("1.10"), 0.5), (2, Decimal("2.20"), 0.25)]))
    identity = story.table.metadata.table_uuid
    wide = {"id": pa.int64(), "price": pa.decimal128(12, 2), "rate": pa.float64(), "note": pa.string()}

    story.publish(rows_of(wide, [(2, Decimal("2222222222.20"), 0.1, "dear"), (2**40, Decimal("0.01"), None, None)]))

    story.must_hold(
        "id bigint, price decimal(12,2), rate double, note string",
        [
            (1, Decimal("1.10"), 0.5, None),
            (2, Decimal("2222222222.20"), 0.1, "dear"),
            (2**40, Decimal("0.01"), None, None),
        ],
    )
    assert story.table.metadata.table_uuid == identity


@pytest.mark.parametrize(
    ("column", "kind"),
    [("v", pa.int64()), ("price", pa.decimal128(10, 3)), ("at", pa.timestamp("us"))],
    ids=["text to number", "another scale", "without a zone"],
)
def test_a_type_that_the_table_cannot_hold_is_refused_by_name(standing: Story, column: str, kind: pa.DataType) -> None:
    """No cast is guessed: the error names the column and both types, and the table stays as it is."""
    head = standing.target.head()
    columns = {**STANDING, column: kind}

    with pytest.raises(TerminalError, match=f"column {column} is"):
        standing.publish(rows_of(columns, [(1, None, None, None)]))

    assert standing.target.head() == head


def test_a_column_that_vanished_is_refused_by_name(standing: Story) -> None:
    """Unless the policy allows it, a lost column stops the table."""
    head = standing.target.head()

    with pytest.raises(TerminalError, match="no longer has the columns v"):
        standing.publish(rows_of({k: t for k, t in STANDING.items() if k != "v"}, [(1, None, None)]))

    assert standing.target.head() == head


STANDING = {"id": pa.int64(), "v": pa.string(), "price": pa.decimal128(10, 2), "at": pa.timestamp("us", "UTC")}


@pytest.fixture(scope="module")
def standing(place: IcebergPlace, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A published table that refused batches leave as it is."""
    story = Story(
        place, tmp_path_factory.mktemp("standing"), TableSpec("shop", "standing", "scd1", "source", primary_keys=("id",))
    )
    story.publish(rows_of(STANDING, [(1, "one", Decimal("1.00"), MONDAY)]))
    return story


def test_a_vanished_column_that_is_allowed_to_arrives_as_null(make: Callable[..., Story]) -> None:
    """Rows written from then on hold NULL there; narrower numbers than the table's are welcome as well."""
    story = make(allow_missing=True)
    story.publish(rows_of(MIXED, [(1, "one", 1.0), (2, "two", 2.0)]))

    story.publish(rows_of({"id": pa.int32(), "n": pa.float32()}, [(2, 4.0)]))

    story.must_hold(MIXED_DDL, [(1, "one", 1.0), (2, None, 4.0)])


def test_column_names_may_hold_what_databases_allow(make: Callable[..., Story]) -> None:
    """Quotes, blanks, backticks, dots, reserved words and other scripts: as key, cursor, partition, data and new column."""
    names = ["ti`ck the.key", "select", "it's", 'dou"ble', "Größe in €", "日付", "a;b -- c", "order.by"]
    story = make(
        primary_keys=(names[0], names[1]),
        incremental_column="日付",
        partition=(PartitionField("Größe in €", "identity"), PartitionField("ti`ck the.key", "bucket", 4)),
        merge_filter="`Größe in €` >= 0",
    )
    columns = dict.fromkeys(names, pa.int64())
    story.publish(rows_of(columns, [(1, 1, 1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 2, 2, 2, 2)]))

    story.publish(rows_of({**columns, "ne.w `x`": pa.int64()}, [(2, 2, 2, 0, 2, 3, 2, 2, 7), (3,) * 9]))

    ddl = ", ".join(f"`{name.replace('`', '``')}` bigint" for name in [*names, "ne.w `x`"])
    story.must_hold(ddl, [(*(1,) * 8, None), (2, 2, 2, 0, 2, 3, 2, 2, 7), (3,) * 9])


def test_table_names_may_hold_what_the_configuration_allows(make: Callable[..., Story]) -> None:
    """Found again by the cheap look-up, merged into, and read under the very name."""
    story = make(schema='it\'s my."Ünï"', table="`日本`; a&b,(c)-$~ dots.in..it.")
    story.publish(rows_of(REGIONAL, [(1, "eu", "old")]))

    publication = story.publish(rows_of(REGIONAL, [(1, "eu", "new"), (2, "us", "new")]))

    story.must_hold(REGIONAL_DDL, [(1, "eu", "new"), (2, "us", "new")])
    assert publication.location == story.target.location() == story.table.metadata_location


@WITH_SPARK
def test_a_replacement_of_a_table_with_position_deletes_counts_exactly(make: Callable[..., Story]) -> None:
    """Merges leave deletes beside the data; a replacement takes both away, and its audit adds up."""
    story = make()
    story.publish(rows_of(REGIONAL, [(n, "eu", "old") for n in range(1, 6)]))
    story.publish(rows_of(REGIONAL, [(1, "eu", "new"), (2, "eu", "new")]))
    summary = story.table.current_snapshot().summary
    assert int(summary["total-position-deletes"]) == 2

    publication = story.publish(rows_of(REGIONAL, [(7, "us", "x"), (8, "us", "y"), (8, "us", "z")]), write=WriteMode.REPLACE)

    story.must_hold(REGIONAL_DDL, [(7, "us", "x"), (8, "us", "z")])
    assert (publication.rows, publication.duplicates) == (2, 1)
    summary = story.table.current_snapshot().summary
    assert (summary["total-records"], summary["total-position-deletes"]) == ("2", "0")


def test_a_compaction_under_way_makes_the_publish_write_again(make: Callable[..., Story]) -> None:
    """Main moved under the same receipt: the branch is written anew on the new main, and the compaction is kept."""
    story = make()
    story.publish(rows_of(REGIONAL, [(1, "eu", "old")]))
    story.publish(rows_of(REGIONAL, [(1, "eu", "mid"), (2, "eu", "mid")]))
    landed: list[int | None] = []

    def land() -> None:
        if not landed:
            options = "map('rewrite-all', 'true')"
            story.place.spark.sql(
                f"CALL lake.system.rewrite_data_files(table => 'shop.{story.spec.table}', options => {options})"
            )
        landed.append(story.main())

    publication = story.publish(rows_of(REGIONAL, [(2, "eu", "new")]), land=land)

    assert landed[0] == landed[1]
    assert story.table.snapshot_by_id(landed[0]).summary.operation.value == "replace"
    assert story.table.current_snapshot().parent_snapshot_id == landed[0]
    assert [type(event) for event in story.events].count(PublishRetried) == 1
    assert publication.changed
    assert (story.target.head().damage, story.branches()) == (None, set())
    story.must_hold(REGIONAL_DDL, [(1, "eu", "mid"), (2, "eu", "new")])


def rolled_back(story: Story) -> None:
    first = story.table.history()[0].snapshot_id
    story.place.spark.sql(f"CALL lake.system.rollback_to_snapshot('shop.{story.spec.table}', {first})")


def truncated(story: Story) -> None:
    story.place.spark.sql(f"TRUNCATE TABLE {story.name}")


def replaced(story: Story) -> None:
    story.place.spark.sql(f"CREATE OR REPLACE TABLE {story.name} USING iceberg AS SELECT 5L AS id")


def written_to(story: Story) -> None:
    story.place.spark.sql(f"DELETE FROM {story.name} WHERE id = 1")


@pytest.mark.parametrize("damage", [rolled_back, truncated, replaced, written_to])
def test_a_table_that_left_its_path_is_noticed_and_can_be_reloaded(
    make: Callable[..., Story], damage: Callable[[Story], None]
) -> None:
    """All of these keep the receipt, so a watermark alone would skip rows; a merge stops, a reload replaces."""
    story = make(allow_missing=True)
    story.publish(rows_of(REGIONAL, [(1, "eu", "a")]))
    story.publish(rows_of(REGIONAL, [(2, "eu", "b")]))
    assert story.target.head().damage is None

    damage(story)

    assert story.target.head().damage is not None
    with pytest.raises(TerminalError, match="--reload"):
        story.publish(rows_of(REGIONAL, [(3, "eu", "c")]))
    story.publish(rows_of(REGIONAL, [(1, "eu", "a"), (2, "eu", "b")]), write=WriteMode.REPLACE, reload=True)
    assert story.target.head().damage is None
    assert [row["id"] for row in story.place.read(story.spec)] == [1, 2]
