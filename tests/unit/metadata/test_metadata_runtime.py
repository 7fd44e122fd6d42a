"""Snapshots ahead of a run, and the check during it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion_runtime.metadata.cache import MetadataCacheManager
from ingestion_runtime.metadata.drift import Verdict
from ingestion_runtime.metadata.runtime import build_metadata_access, collect_metadata
from ingestion_runtime.model.errors import ConfigError, IngestionError, TerminalError, TransientError
from ingestion_runtime.model.policy import OnChange, SchemaPolicy
from ingestion_runtime.model.schema import ColumnChange, ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import MetadataSpec, SinkFormat, TableSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
TABLE = TableSpec(schema="shop", table="orders", mode="full_refresh", connection="erp", primary_keys=("id",))
NULLS_ALLOWED = replace(TABLE, policy=SchemaPolicy(dropped=OnChange.EVOLVE))


def live_of(**columns: str) -> TableSnapshot:
    """Return the live description of these columns."""
    return Endpoint(columns).describe()


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Endpoint:
    """Describes the given columns, or fails."""

    columns: dict[str, str] = field(default_factory=lambda: {"id": "int64", "note": "string"})
    clock: Clock = field(default_factory=Clock)
    error: IngestionError | None = None
    asked: int = 0

    def describe(self) -> TableSnapshot:
        self.asked += 1
        if self.error:
            raise self.error
        columns = tuple(ColumnSnapshot(n, "native", t, True) for n, t in self.columns.items())
        return TableSnapshot("shop", "orders", columns, ("id",), 7, self.clock.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> MetadataCacheManager:
    return MetadataCacheManager(tmp_path, 24, clock)


def names(cache: MetadataCacheManager) -> dict[str, str]:
    """Return the cached columns of the table."""
    snapshot = cache.load("erp", "shop", "orders")
    assert snapshot is not None
    return {column.name: column.landed_type for column in snapshot.columns}


def test_only_absent_and_stale_tables_are_described(cache: MetadataCacheManager, clock: Clock) -> None:
    """A fresh snapshot costs the source nothing."""
    endpoint = Endpoint(clock=clock)
    for hours, asked in ((0, 1), (23, 1), (2, 2)):
        clock.now += timedelta(hours=hours)
        assert collect_metadata([("erp", TABLE, endpoint)], cache) == {}
        assert endpoint.asked == asked


def test_one_table_that_fails_stops_no_other(cache: MetadataCacheManager) -> None:
    """Its error is returned under its name."""
    vanished = TerminalError("gone", remedy="Restore it.")
    unreachable = TransientError("down", remedy="Try again.")
    failures = collect_metadata(
        [
            ("erp", replace(TABLE, table="a"), Endpoint(error=vanished)),
            ("erp", replace(TABLE, table="b"), Endpoint(error=unreachable)),
            ("erp", TABLE, Endpoint()),
        ],
        cache,
    )
    assert failures == {"shop.a": vanished, "shop.b": unreachable}
    assert names(cache) == {"id": "int64", "note": "string"}


def test_wrong_credentials_stop_at_once(cache: MetadataCacheManager) -> None:
    """They are wrong for every table of the connection."""
    second = Endpoint()
    with pytest.raises(ConfigError):
        collect_metadata(
            [("erp", TABLE, Endpoint(error=ConfigError("password", remedy="Fix it."))), ("erp", TABLE, second)],
            cache,
        )
    assert second.asked == 0


def test_a_snapshot_is_found_under_the_configured_name(cache: MetadataCacheManager) -> None:
    """Also where the source spells the name in another case."""
    configured = replace(TABLE, schema="SHOP", table="Orders")
    collect_metadata([("erp", configured, Endpoint())], cache)
    assert cache.load("erp", "SHOP", "Orders") is not None


def test_a_vanished_column_is_not_forgotten_when_the_snapshot_ages(cache: MetadataCacheManager, clock: Clock) -> None:
    """What the policy forbids is returned and does not replace what was last accepted, however often it is asked."""
    endpoint = Endpoint(clock=clock)
    collect_metadata([("erp", TABLE, endpoint)], cache)
    endpoint.columns = {"id": "int64"}
    for _ in range(2):
        clock.now += timedelta(hours=25)
        failures = collect_metadata([("erp", TABLE, endpoint)], cache)
        assert "missing: note (string)" in str(failures["shop.orders"])
        assert names(cache) == {"id": "int64", "note": "string"}


def test_an_accepted_refresh_keeps_the_columns_that_may_be_missing(cache: MetadataCacheManager, clock: Clock) -> None:
    """They keep arriving as NULL; new and retyped columns are taken over."""
    endpoint = Endpoint(clock=clock)
    collect_metadata([("erp", NULLS_ALLOWED, endpoint)], cache)
    endpoint.columns = {"id": "int32", "extra": "bool"}
    clock.now += timedelta(hours=25)
    assert collect_metadata([("erp", NULLS_ALLOWED, endpoint)], cache) == {}
    assert names(cache) == {"id": "int32", "extra": "bool", "note": "string"}
    live = live_of(id="int32", extra="bool")
    check = build_metadata_access(MetadataSpec(), cache).check("erp", NULLS_ALLOWED, live, None, replaces=False)
    assert check.shape.missing == (pa.field("note", pa.string()),)


def test_a_check_returns_missing_columns_every_time(cache: MetadataCacheManager) -> None:
    """The second slice, and the next run, add the same NULL column."""
    collect_metadata([("erp", NULLS_ALLOWED, Endpoint())], cache)
    access = build_metadata_access(MetadataSpec(), cache)
    for _ in range(2):
        check = access.check("erp", NULLS_ALLOWED, live_of(id="int64"), None, replaces=False)
        assert check.shape.missing == (pa.field("note", pa.string()),)


def test_accepted_changes_become_the_snapshot(cache: MetadataCacheManager) -> None:
    """A new or retyped column is a difference once; the age of the snapshot stays what it was."""
    collect_metadata([("erp", TABLE, Endpoint())], cache)
    access = build_metadata_access(MetadataSpec(), cache)
    live = live_of(id="int32", note="string", extra="date32[day]")
    first = access.check("erp", TABLE, live, None, replaces=False)
    assert [(c.column, c.change) for c in first.changes] == [("extra", "added"), ("id", "narrowed")]
    assert access.check("erp", TABLE, live, None, replaces=False).changes == ()
    snapshot = cache.load("erp", "shop", "orders")
    assert snapshot is not None
    assert snapshot.taken_at == START
    assert snapshot.primary_keys == ("id",)


def test_a_forbidden_change_leaves_the_snapshot_alone(cache: MetadataCacheManager) -> None:
    """The check fails again on the next run."""
    collect_metadata([("erp", TABLE, Endpoint())], cache)
    access = build_metadata_access(MetadataSpec(), cache)
    for _ in range(2):
        with pytest.raises(TerminalError, match=r"missing: note \(string\)"):
            access.check("erp", TABLE, live_of(id="int64", a="bool", b="bool"), None, replaces=False)
    assert names(cache) == {"id": "int64", "note": "string"}


def test_a_column_that_is_not_read_stays_new(cache: MetadataCacheManager, clock: Clock) -> None:
    """On the day on which the policy lets it in it is added, and until then each check leaves it out."""
    ignoring = replace(TABLE, policy=SchemaPolicy(added=OnChange.IGNORE))
    endpoint = Endpoint(clock=clock)
    collect_metadata([("erp", ignoring, endpoint)], cache)
    endpoint.columns["extra"] = "bool"
    clock.now += timedelta(hours=25)
    collect_metadata([("erp", ignoring, endpoint)], cache)
    access = build_metadata_access(MetadataSpec(), cache)
    for _ in range(2):
        check = access.check("erp", ignoring, endpoint.describe(), None, replaces=False)
        assert check.shape.skipped == ("extra",)
    assert access.check("erp", TABLE, endpoint.describe(), None, replaces=False).shape.skipped == ()
    assert names(cache) == {"id": "int64", "note": "string", "extra": "bool"}


def test_the_target_is_compared_where_there_is_one(cache: MetadataCacheManager) -> None:
    """A snapshot that was refreshed by a run which then failed hides nothing from the next one."""
    collect_metadata([("erp", TABLE, Endpoint({"id": "int64", "note": "string", "extra": "bool"}))], cache)
    access = build_metadata_access(MetadataSpec(), cache)
    live = live_of(id="int64", note="string", extra="bool")
    target = pa.schema([("id", pa.int32()), ("note", pa.string()), ("_ingest_run_id", pa.string())])
    check = access.check("erp", TABLE, live, target, replaces=False)
    assert [(c.column, c.change) for c in check.changes] == [("extra", "added"), ("id", "widened")]


def test_exchanged_names_stop_a_table_until_its_target_is_dropped(cache: MetadataCacheManager, clock: Clock) -> None:
    """Night after night, also when the snapshot has aged in between; the remedy that the error names is one."""

    def described(**identities: str) -> TableSnapshot:
        columns = tuple(ColumnSnapshot(name, "text", "string", True, identity) for name, identity in identities.items())
        return TableSnapshot("shop", "orders", columns, ("id",), 7, clock.now)

    class Exchanging(Endpoint):
        def describe(self) -> TableSnapshot:
            return described(id="7.1", b="7.2", a="7.3")

    cache.save("erp", described(id="7.1", a="7.2"))
    access = build_metadata_access(MetadataSpec(), cache)
    live, target = Exchanging().describe(), pa.schema([("id", pa.string()), ("a", pa.string())])
    for _ in range(2):
        clock.now += timedelta(hours=25)
        assert collect_metadata([("erp", TABLE, Exchanging())], cache) == {}
        with pytest.raises(TerminalError, match="names exchanged: a -> b"):
            access.check("erp", TABLE, live, target, replaces=False)
    access.check("erp", TABLE, live, None, replaces=True)
    full = pa.schema([("id", pa.string()), ("b", pa.string()), ("a", pa.string())])
    assert not access.check("erp", TABLE, live, full, replaces=False).changes


def test_changes_that_no_target_shows_are_told_when_the_snapshot_is_taken(cache: MetadataCacheManager, clock: Clock) -> None:
    """Everything for a sink without columns of its own; of an Iceberg table only what it does not know: nullability."""
    told: list[tuple[str, tuple[ColumnChange, ...]]] = []
    parquet = replace(TABLE, table="files", sink=SinkFormat.PARQUET)
    endpoint = Endpoint(clock=clock)
    for columns in ({"id": "int64", "note": "string"}, {"id": "int64", "note": "string", "extra": "bool"}):
        endpoint.columns = columns
        collect_metadata(
            [("erp", TABLE, endpoint), ("erp", parquet, endpoint)], cache, lambda t, c: told.append((t.name, c))
        )
        clock.now += timedelta(hours=25)
    assert [(name, [c.column for c in changes]) for name, changes in told] == [("shop.files", ["extra"])]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_required_snapshot_has_to_be_there(cache: MetadataCacheManager, enabled: bool) -> None:
    """Without one the table stops where the policy asks for it, and passes where it does not."""
    live = live_of(id="int64")
    strict = replace(TABLE, policy=SchemaPolicy(require_snapshot=True))
    access = build_metadata_access(MetadataSpec(enabled=enabled), cache)
    with pytest.raises(TerminalError, match="no metadata snapshot"):
        access.check("erp", strict, live, None, replaces=False)
    assert access.check("erp", TABLE, live, None, replaces=False) == Verdict()


def test_switched_off_metadata_compares_nothing(cache: MetadataCacheManager) -> None:
    """A snapshot that is there is not looked at."""
    collect_metadata([("erp", TABLE, Endpoint())], cache)
    access = build_metadata_access(MetadataSpec(enabled=False), cache)
    assert access.repository is None
    assert access.check("erp", TABLE, live_of(other="int64"), None, replaces=False) == Verdict()
