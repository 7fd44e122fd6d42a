"""Random batches merged in this process, one after the other, against a table kept as a Python dictionary."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

from ingestion_runtime.endpoints.iceberg.adoption import Entries, read_footer
from ingestion_runtime.endpoints.iceberg.creation import create, plan_creation
from ingestion_runtime.endpoints.iceberg.growth import written_columns
from ingestion_runtime.endpoints.iceberg.merging import Merged, MergeTask, ProcessMerge
from ingestion_runtime.endpoints.iceberg.partitions import splitter, stored_values
from ingestion_runtime.endpoints.iceberg.snapshots import stage_snapshot
from ingestion_runtime.model.endpoint import INGEST_TYPES
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.spec import Deletes, PartitionField, TableSpec
from ingestion_runtime.model.target import Payload
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.parquet_writer import ParquetSettings

MARK = "_ingest_deleted_at"
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock
# Of every type that lands: few enough values that keys meet, with those that careless comparisons mistake.
FLOATS = st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 1e-300])
CLOCKS = st.sampled_from(
    [
        EPOCH,
        EPOCH + timedelta(microseconds=1),
        EPOCH - timedelta(microseconds=1),
        *(datetime.fromisoformat(edge) for edge in ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")),
    ]
)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int32(): st.sampled_from([-(2**31), -1, 0, 1, 7, 2**31 - 1]),
    pa.int64(): st.sampled_from([-(2**63), -5, 0, 2**40, 2**63 - 1]) | st.integers(1, 30),
    pa.float32(): st.sampled_from([0.0, -0.0, 0.5, math.nan, math.inf, -math.inf]),
    pa.float64(): FLOATS,
    pa.string(): st.sampled_from(["", " ", "a", "A", "a\0", "a\0b", "ä", "a\u0308", "Z", "\U0001f6b2", "\uffff", "z" * 40]),
    pa.binary(): st.sampled_from([b"", b"\0", b"\x7f", b"\xff", b"\xff\0", b"y" * 40]),
    pa.date32(): st.sampled_from([date.min, date(1969, 12, 31), date(1970, 1, 1), date(2024, 2, 29), date.max]),
    pa.timestamp("us"): CLOCKS,
    pa.timestamp("us", "UTC"): CLOCKS.map(lambda value: value.replace(tzinfo=UTC)),
    pa.decimal128(9, 2): st.sampled_from([Decimal("-9999999.99"), Decimal("0.00"), Decimal("0.01"), Decimal("12.00")]),
    pa.decimal128(38, 10): st.sampled_from([Decimal(n).scaleb(-10) for n in (-(10**27), -1, 0, 1, 10**27)]),
}
KINDS = list(VALUES)
PARTITIONS = {pa.string(): ("identity", "truncate"), pa.int64(): ("identity", "bucket"), pa.date32(): ("year", "identity")}

Key = tuple[Any, ...]
Row = dict[str, Any]


@dataclass
class Story:
    """A table's columns, how it is configured, and its batches: staged rows by slice, and keys to delete."""

    columns: dict[str, pa.DataType]
    spec: TableSpec
    batches: list[tuple[list[list[Row]], list[int], frozenset[str]]]
    rows: dict[Key, Row] = field(default_factory=dict)

    def key(self, row: Row) -> Key:
        """The key as the table knows it: all NaN are one, and so are both zeros."""
        return tuple(canonical(row[name]) for name in self.spec.primary_keys)


def canonical(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    # Whose object for UTC it is does not matter.
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo else value


def ranked(value: Any) -> tuple[Any, ...]:
    """A value's place in Spark's order: NULL is the smallest, NaN the largest, text goes by its bytes."""
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (2,)
    return (1, value.encode() if isinstance(value, str) else value)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=5))
    columns = {f"c {place}.x": kind for place, kind in enumerate(kinds)}
    names = list(columns)
    keys = tuple(names[: draw(st.integers(1, 2))])
    data = [name for name in names if name not in keys]
    cursor = draw(st.sampled_from([None, *data])) if data else None
    partition: tuple[PartitionField, ...] = ()
    fit = [name for name in names if columns[name] in PARTITIONS]
    if fit and draw(st.booleans()):
        name = draw(st.sampled_from(fit))
        transform = draw(st.sampled_from(PARTITIONS[columns[name]]))
        partition = (PartitionField(name, transform, 3 if transform in {"bucket", "truncate"} else None),)
    spec = TableSpec(
        schema="s",
        table="t",
        mode="scd1",
        connection="c",
        primary_keys=keys,
        incremental_column=cursor,
        partition=partition,
        deletes=draw(st.sampled_from(list(Deletes))),
        policy=SchemaPolicy(dropped=draw(st.sampled_from([OnChange.EVOLVE, OnChange.IGNORE]))),
    )
    row = st.fixed_dictionaries(
        {name: VALUES[kind] if name in keys else st.none() | VALUES[kind] for name, kind in columns.items()}
    )
    missing = [name for name in data if name != cursor]
    batch = st.tuples(
        st.lists(st.lists(row, max_size=12), min_size=1, max_size=3),
        st.lists(st.integers(0, 40), max_size=4) if spec.deletes is not Deletes.IGNORE else st.just([]),
        st.sampled_from([frozenset(), *(frozenset({name}) for name in missing)]),
    )
    return Story(columns, spec, draw(st.lists(batch, min_size=1, max_size=4)))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(stories())
def test_a_merge_leaves_what_a_dictionary_would_hold(story: Story) -> None:
    """Of each key the newest row, written anew only where it differs; deleted rows go or are marked, columns that the source
    lost are NULL or kept; every count that the audit sees is true, and each file holds rows of one partition."""
    with lake(story) as (root, table):
        for number, (slices, picked, missing) in enumerate(story.batches, start=1):
            live = [key for key, row in story.rows.items() if row[MARK] is None]
            staged = {story.key(row) for rows in slices for row in rows}
            gone = sorted(
                {key for key in (live[pick % len(live)] for pick in picked if live) if key not in staged}, key=repr
            )
            payload, winners = stage(root / str(number), story, slices, [story.rows[key] for key in gone], missing, number)
            before = {key: dict(row) for key, row in story.rows.items()}
            added = apply(story, winners, gone, missing, number)

            merged = merge(table, story, payload, number, root)

            assert merged.changed == (not same(before, story.rows))
            assert (merged.rows, merged.keys, merged.null_keys) == (sum(map(len, slices)), len(winners), 0)
            assert (merged.found, merged.total, merged.rows_added) == (len(winners), len(story.rows), added)
            if gone:
                shown = sum(row[MARK] is None for row in story.rows.values())
                assert merged.buried is not None
                found = (merged.buried.tombstones, merged.buried.alive, merged.buried.live, merged.buried.expected)
                assert found == (len(gone), 0, shown, shown)
            one_partition_each(merged, story)
            commit(table, merged, story, number)
            must_hold(table, story)


def apply(story: Story, winners: Mapping[Key, Row], gone: Sequence[Key], missing: frozenset[str], number: int) -> int:
    """Merge into the dictionary; return the number of rows inserted or updated."""
    kept = missing if story.spec.policy.dropped is OnChange.IGNORE and winners else frozenset()
    added = 0
    for key, row in winners.items():
        stood = story.rows.get(key)
        new = {name: None if name in missing else row[name] for name in story.columns}
        if stood is not None:
            new |= {name: stood[name] for name in (*story.spec.primary_keys, *kept)}
            if stood[MARK] is None and all(canonical(stood[n]) == canonical(new[n]) for n in story.columns):
                continue
        story.rows[key] = {**new, MARK: None, "batch": number}
        added += 1
    for key in gone:
        if story.spec.deletes is Deletes.HARD:
            del story.rows[key]
        else:
            story.rows[key] = {**story.rows[key], MARK: loaded_at(number), "batch": number}
    return added


def same(one: Mapping[Key, Row], other: Mapping[Key, Row]) -> bool:
    return one.keys() == other.keys() and all(one[key]["batch"] == other[key]["batch"] for key in one)


def loaded_at(number: int) -> datetime:
    return datetime(2026, 7, number, tzinfo=UTC)


def stage(
    root: Path, story: Story, slices: list[list[Row]], gone: list[Row], missing: frozenset[str], number: int
) -> tuple[Payload, dict[Key, Row]]:
    """Write a batch's files; return them, and each key's newest row by the rules of the documentation."""
    root.mkdir()
    present = {name: kind for name, kind in story.columns.items() if name not in missing}
    paths = []
    for place, rows in enumerate(slices):
        paths.append(write(root / f"{place}.parquet", present, rows, number, place))
    tombstones: tuple[str, ...] = ()
    if gone:
        keys = {name: story.columns[name] for name in story.spec.primary_keys}
        tombstones = (write(root / "gone.parquet", keys, gone, number, 99),)
    cursor = story.spec.incremental_column
    order: dict[Key, Any] = {}
    winners: dict[Key, Row] = {}
    for place, rows in enumerate(slices):
        for row in rows:
            rank = (place, ranked(row[cursor]) if cursor else (), [ranked(row[name]) for name in present])
            key = story.key(row)
            if key not in winners or rank > order[key]:
                winners[key], order[key] = row, rank
    schema = pq.read_schema(paths[0]).remove_metadata()
    return Payload(tuple(paths), schema, sum(map(len, slices)), tombstones, len(gone)), winners


def write(path: Path, columns: Mapping[str, pa.DataType], rows: list[Row], number: int, place: int) -> str:
    housekeeping = ["run", date(2026, 7, number), loaded_at(number), "source", f"{number}/{place:05d}"]
    arrays = [pa.array([row[name] for row in rows], kind) for name, kind in columns.items()]
    arrays += [pa.array([value] * len(rows), kind) for value, kind in zip(housekeeping, INGEST_TYPES.values(), strict=True)]
    pq.write_table(pa.table(arrays, names=[*columns, *INGEST_TYPES]), path, row_group_size=5)
    return str(path)


@contextmanager
def lake(story: Story) -> Iterator[tuple[Path, Table]]:
    """An empty table with a first snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
        catalog.create_namespace("s")
        marks = {MARK: pa.timestamp("us", "UTC")} if story.spec.deletes is Deletes.SOFT else {}
        fields = [pa.field(name, kind) for name, kind in {**story.columns, **INGEST_TYPES, **marks}.items()]
        schema = pa.schema(fields)
        create(catalog, plan_creation(catalog, ("s", "t"), None, schema, story.spec.partition, "zstd"))
        table = catalog.load_table(("s", "t"))
        table.append(schema.empty_table())
        yield Path(folder), table
        catalog.close()


def merge(table: Table, story: Story, payload: Payload, number: int, root: Path) -> Merged:
    current = table.current_snapshot()
    assert current is not None
    task = MergeTask(
        table=table,
        base=current.snapshot_id,
        spec=story.spec,
        payload=payload,
        # Files of two or three row groups of four rows each: more than one of everything.
        settings=ParquetSettings(group_rows=4, group_bytes=2_000, file_bytes=8_000),
        split=splitter(story.spec.partition, written_columns(table.schema())),
        directory=f"{root}/warehouse/s/t/data",
        prefix=f"b{number}",
    )
    with LocalSql(64, str(root)).session() as sql:
        work = ProcessMerge(sql, task)
        plan = work.plan()
        merged = work.write()
    assert plan.files >= len(merged.removed)
    return merged


def one_partition_each(merged: Merged, story: Story) -> None:
    for file in merged.added:
        rows = pq.read_table(file.path)
        assert rows.num_rows == file.rows > 0
        split = splitter(story.spec.partition, rows.schema)
        for batch in rows.combine_chunks().to_batches() if split else ():
            assert [key for key, _ in split(batch)] == [file.part]


def commit(table: Table, merged: Merged, story: Story, number: int) -> None:
    """Make the merge the table's main."""
    if not merged.changed:
        return
    columns, entries = written_columns(table.schema()), Entries(table)
    added = []
    for file in merged.added:
        key = file.part if isinstance(file.part, tuple) else ()
        values = stored_values(story.spec.partition, columns, key)
        added.append(entries.entry(read_footer(file.path), f"file://{file.path}", Record(*values)))
    current = table.current_snapshot()
    base = None if current is None else current.snapshot_id
    pending = stage_snapshot(table, base, f"b{number}", added, [file.entry for file in merged.removed])
    ref = SetSnapshotRefUpdate.model_validate(
        {"ref-name": MAIN_BRANCH, "type": "branch", "snapshot-id": pending.snapshot.snapshot_id}
    )
    table.catalog.commit_table(table, (), (AddSnapshotUpdate(snapshot=pending.snapshot), ref))
    table.refresh()


def must_hold(table: Table, story: Story) -> None:
    """Rows as pyiceberg reads them: with the batch that wrote them last."""
    found = {}
    listed = table.scan().to_arrow().to_pylist()
    for row in listed:
        batch = int(row["_ingest_slice"].split("/")[0])
        kept = {name: row[name] for name in story.columns}
        found[story.key(row)] = {**kept, MARK: row.get(MARK), "batch": batch}
    assert len(found) == len(listed)
    assert spelled(found) == spelled(story.rows)


def spelled(rows: Mapping[Key, Row]) -> dict[Key, str]:
    return {key: repr({name: canonical(value) for name, value in row.items()}) for key, row in rows.items()}
