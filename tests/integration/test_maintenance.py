"""Looking after real tables: what a dry run names, what apply does about it, and what it leaves alone."""

import gc
import json
import shutil
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table

from ingestion_runtime.documents import load_document
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import ActionKind, FindingKind, MaintenanceReport, Mode, Status, TableReport
from ingestion_runtime.maintenance.running import MaintenanceRequest, run
from ingestion_runtime.maintenance.screens import report_document
from ingestion_runtime.model.batch import Receipt
from ingestion_runtime.model.naming import target_key
from ingestion_runtime.model.result import RunResult
from ingestion_runtime.provenance.chain import LinkState, read_chain
from ingestion_runtime.state.processes import current_holder
from ingestion_runtime.state.sqlite import sqlite_store
from ingestion_runtime.tools.files import LocalFiles
from tests.faults.gaps import Hold, Process
from tests.faults.shop import (
    ORDERS,
    PRICES,
    STOCK,
    Shop,
    events_named,
    make_lake,
    open_batches,
    query_state,
    require_equal,
    standing,
)
from tests.lake import Lake

ORDER, FIRST = "shop.orders", date(2026, 7, 1)
NIGHTS = 5
EAGER = {"expire_days": 0, "keep_snapshots": 2, "orphan_hours": 1, "raw_days": 0, "wait_seconds": 0, "min_small_files": 3}


def maintain(lake: Lake, mode: Mode = Mode.APPLY, *, only: str = "", days: float = 0) -> MaintenanceReport:
    """Maintain the tables of a lake in this process, as if so many days had gone by."""
    configuration = open_configuration(lake.path)
    tables = tuple(table for table in configuration.tables if only in ("", table.name))
    return run(MaintenanceRequest(configuration, tables, mode), {}, lambda: datetime.now(UTC) + timedelta(days=days))


def of(report: MaintenanceReport, name: str = ORDER) -> TableReport:
    return next(table for table in report.tables if table.table == name)


def kinds(table: TableReport) -> set[FindingKind]:
    return {finding.kind for finding in table.findings}


def done(table: TableReport) -> dict[ActionKind, int]:
    return {action.kind: action.count for action in table.actions}


def tell(lake: Lake, settings: Mapping[str, Any], table: Mapping[str, Any] | None = None) -> None:
    """Change how a lake is maintained, and its first table."""
    lake.document["runtime"]["maintenance"] = dict(settings)
    lake.document["tables"][0].update(table or {})
    lake.save()


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]


def nights(lake: Lake, shop: Shop, count: int = NIGHTS) -> None:
    """So many nights, each with a new order and a changed one, and a stock that is replaced."""
    for night in range(count):
        shop.change(
            f"INSERT INTO orders SELECT 100 + {night}, 'night', {night}, '2026-06-{night + 2:02} 08:00:00'",
            f"UPDATE orders SET amount = amount + 1, updated_at = '2026-06-{night + 2:02} 09:00:00' WHERE id = {night + 1}",
            "UPDATE stock SET quantity = quantity + 1",
        )
        require_done(lake.run(None, day=FIRST + timedelta(days=night)))


def raw_batch(lake: Lake, number: int, name: str = ORDER) -> Path:
    """The directory of a batch in raw, by its sequence."""
    (found,) = (lake.root / "raw" / name.replace(".", "/")).glob(f"load_date=*/batch=*_{number:06d}_*")
    return found


def counterfeit(batch: Path, *, abandoned: bool) -> Path:
    """Put a batch beside another one that was never published: given up, or left by a run that nobody knows."""
    name = batch.name.removeprefix("batch=")
    other = f"{name[:-8]}{'aaaaaaaa' if abandoned else 'bbbbbbbb'}"
    copy = batch.with_name(f"batch={other}")
    shutil.copytree(batch, copy)
    (copy / "_PUBLISHED").unlink(missing_ok=True)
    manifest = copy / "_MANIFEST.json"
    manifest.write_text(manifest.read_text().replace(name, other))
    if abandoned:
        (copy / "_ABANDONED").write_text("{}")
    return copy


def data_folder(table: Table) -> Path:
    return Path(table.location().removeprefix("file://"), "data")


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything in a folder: names, times and contents."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *folder.rglob("*"))
    }


def neglect(lake: Lake, shop: Shop) -> dict[str, Path]:
    """Leave behind at the orders whatever can be left behind; return what must stay, by name."""
    tell(lake, {})
    nights(lake, shop)
    # A run dies with a staged slice, and its lease: the batch is open.
    shop.change("INSERT INTO orders VALUES (200, 'late', 7, '2026-06-30 08:00:00')")
    lake.call("--load-date", "2026-07-20", "--only-tables", ORDER, failpoints="after-stage=kill")
    opened = open_batches(lake)[ORDER]
    (slices,) = (lake.root / "staging" / "shop" / "orders" / "inc=updated_at").glob("slices")
    (mine,) = slices.iterdir()
    over = slices / "0123456789abcdef"
    shutil.copytree(mine, over)
    (over / "_RANGE.json").write_text((over / "_RANGE.json").read_text().replace(opened, "20200101_000001_deadbeef"))
    # In raw: given up, unknown, half landed, not marked.
    last = raw_batch(lake, NIGHTS)
    counterfeit(last, abandoned=True)
    loose = counterfeit(last, abandoned=False)
    (last.parent / f"_landing-{last.name}-0badcafe").mkdir()
    (last / "_PUBLISHED").unlink()
    # In the table: a file that nothing names, and the branch of an attempt.
    table = lake.table(ORDER)
    orphan = data_folder(table) / "left-behind.parquet"
    shutil.copy(next(data_folder(table).rglob("*.parquet")), orphan)
    head = table.current_snapshot()
    assert head is not None
    table.manage_snapshots().create_branch(head.snapshot_id, "ingest_20200101_000001_deadbeef_0badcafe").commit()
    # Logs, and a log of somebody else's.
    logs = lake.root / "logs"
    (logs / "spark-20260101T000000-1.log").touch()
    (logs / "spark-20260102T000000-2.log").touch()
    (logs / "theirs.jsonl").touch()
    del table, head
    gc.collect()  # closes the catalog that this test looked into
    return {"open": mine, "loose": loose, "last": last, "theirs": logs / "theirs.jsonl"}


class TestNeglected:
    """One table at which everything was left behind."""

    def test_a_dry_run_names_it_all_and_changes_nothing(self, tmp_path: Path) -> None:
        """Not a byte, a name or a time of a file anywhere, the state's included; what apply would give is told."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK, PRICES)
        neglect(lake, shop)
        tell(
            lake,
            EAGER,
            {"intermediate": {"partition": [{"column": "id", "transform": "bucket:2"}], "merge_filter": "gone > 1"}},
        )
        before = tree(tmp_path)
        report = maintain(lake, Mode.DRY_RUN, days=100)
        assert tree(tmp_path) == before
        assert kinds(of(report)) == {
            FindingKind.PARTITION_DIFFERS,
            FindingKind.COLUMN_MISSING,
            FindingKind.SMALL_FILES,
            FindingKind.SNAPSHOTS,
            FindingKind.ORPHANS,
            FindingKind.STALE_BRANCHES,
            FindingKind.LEASE,
            FindingKind.OPEN_BATCH,
            FindingKind.STAGED_OPEN,
            FindingKind.STAGED_OVER,
            FindingKind.RAW_ABANDONED,
            FindingKind.RAW_LOOSE,
            FindingKind.RAW_UNMARKED,
            FindingKind.RAW_LANDINGS,
        }
        messages = {finding.kind: finding.message for finding in of(report).findings}
        assert "intermediate.merge_filter names gone" in messages[FindingKind.COLUMN_MISSING]
        assert "has died" in messages[FindingKind.LEASE]
        assert (of(report).would, of(report).status, of(report).actions) == (Status.REPARTITIONED, None, ())
        # The stock is replaced each night: all former batches are past raw_days.
        stock = of(report, "shop.stock")
        assert [f.count for f in stock.findings if f.kind is FindingKind.RAW_OLD] == [NIGHTS - 1]
        assert (stock.would, of(report, "shop.prices").would) == (Status.APPLIED, Status.APPLIED)
        assert report.exit_code == 0
        assert report.housekeeping.log_files >= NIGHTS

    def test_apply_clears_it_away_and_leaves_what_is_needed(self, tmp_path: Path) -> None:
        """The open batch is gone on with from its staged slice; the table equals the source, and nothing is left to do."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK, PRICES)
        kept = neglect(lake, shop)
        tell(lake, EAGER)
        report = maintain(lake, days=100)
        orders = of(report)
        assert orders.error is None
        assert orders.status is Status.REWRITTEN
        assert set(done(orders)) == {
            ActionKind.REWRITE,
            ActionKind.TAKE_OVER_LEASE,
            ActionKind.MARK_PUBLISHED,
            ActionKind.DROP_BRANCHES,
            ActionKind.EXPIRE,
            ActionKind.REMOVE_ORPHANS,
            ActionKind.REMOVE_LANDINGS,
            ActionKind.REMOVE_RAW,
            ActionKind.CLEAN_STAGING,
        }
        assert done(of(report, "shop.stock"))[ActionKind.REMOVE_RAW] == NIGHTS - 1
        assert [path for path in kept.values() if not path.exists()] == []
        marked = json.loads((kept["last"] / "_PUBLISHED").read_text())
        assert (marked["batch_id"], marked["sequence"]) == (lake.receipt(ORDER)["batch_id"], NIGHTS)
        assert "ingest_last" in lake.table(ORDER).metadata.refs
        (taken,) = [event for event in log_of(lake, report) if event["event"] == "lease_taken_over"]
        assert int(lake.table(ORDER).properties["ingest.fence"]) >= taken["token"]
        assert query_state(lake, "SELECT holder FROM ingestion_leases WHERE released = 0") == []
        assert (report.exit_code, report.housekeeping.error) == (0, None)
        assert not list((lake.root / "logs").glob("spark-20260101T000000-1.log"))
        require_done(lake.run(None, day=date(2026, 7, 20)))
        require_equal(lake, shop, ORDER, "shop.stock", "shop.prices")
        assert [event["reused"] for event in events_named(lake, "slice_staged") if event["table"] == ORDER][-1]
        again = maintain(lake, only=ORDER)
        assert again.exit_code == 0
        assert kinds(of(again)) >= {FindingKind.RAW_LOOSE}, "what nobody gave up is told, and stays"
        # A second time there is nothing to do, and no commit: an idle run still costs one look-up.
        location = lake.table(ORDER).metadata_location
        assert maintain(lake, only=ORDER).tables[0].status is Status.NOOP
        assert lake.table(ORDER).metadata_location == location


def log_of(lake: Lake, report: MaintenanceReport) -> list[dict[str, Any]]:
    """The lines of a maintenance's own log."""
    text = (lake.root / "logs" / f"{report.run_id}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


class TestBesideRuns:
    """Runs and maintenance at the same time, in processes of their own."""

    def test_a_run_that_holds_its_table_is_left_alone_and_publishes_over_the_rewrite(self, tmp_path: Path) -> None:
        """Files are written anew without the lease; the rest is left, with exit code 4. The run writes its branch again."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        shop.change("INSERT INTO orders VALUES (300, 'beside', 1, '2026-06-30 08:00:00')")
        hold = Hold(tmp_path, "before-publish", ORDER)
        with Process(lake.command("--load-date", "2026-07-20", "--output", "json"), [hold]) as held:
            held.wait_until_held()
            report = maintain(lake, days=100)
            table = of(report)
            assert (report.exit_code, table.status) == (4, Status.ERROR)
            assert set(done(table)) == {ActionKind.REWRITE}
            assert table.error is not None
            assert table.held_by is not None
            assert f"run {table.held_by} (process " in table.error.message
            assert "when that run has ended" in table.error.remedy
            hold.let_go()
            ended = held.end()
        assert ended.code == 0, ended.stderr
        assert ended.document["run_id"] == table.held_by
        (retried,) = events_named(lake, "publish_retried")
        assert retried["run_id"] == table.held_by
        require_equal(lake, shop, ORDER)
        assert {ActionKind.EXPIRE, ActionKind.REMOVE_RAW} & set(done(of(maintain(lake, days=100))))
        require_equal(lake, shop, ORDER)

    def test_a_run_waits_for_maintenance_that_holds_its_table(self, tmp_path: Path) -> None:
        """It needs a table for a moment only: nobody's night fails for that."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        shop.change("INSERT INTO orders VALUES (300, 'beside', 1, '2026-06-30 08:00:00')")
        hold = Hold(tmp_path, "maintenance-lease", ORDER)
        keep = lake.command("--maintenance-mode", "apply", "--output", "json")
        with ExitStack() as stack:
            keeping = stack.enter_context(Process(keep, [hold]))
            keeping.wait_until_held()
            running = stack.enter_context(Process(lake.command("--load-date", "2026-07-20", "--output", "json")))
            running.wait_until(lambda: "table_start" in _newest(tmp_path / "logs", after=3), "the run began")
            hold.let_go()
            kept, ran = keeping.end(), running.end()
        assert (kept.code, ran.code) == (0, 0), (kept.stderr, ran.stderr)
        assert kept.document["tables"][0]["status"] == "rewritten"
        require_equal(lake, shop, ORDER)

    def test_many_runs_and_maintenance_at_once_end_well_and_lose_nothing(self, tmp_path: Path) -> None:
        """Each publishes or retries; readers who look all the time never see a missing file or a mixture of two states."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK)
        tell(lake, {**EAGER, "keep_snapshots": 1, "wait_seconds": 60})
        nights(lake, shop, 3)
        commands = [lake.command("--maintenance-mode", "apply", "--output", "json") for _ in range(2)]
        seen: list[tuple[int, int]] = []
        with ExitStack() as stack:
            keepers = [stack.enter_context(Process(command)) for command in commands]
            for night in range(3, 7):
                shop.change(
                    f"INSERT INTO orders SELECT 100 + {night}, 'night', 0, '2026-06-{night + 2:02} 08:00:00'",
                    f"UPDATE orders SET amount = 1000, updated_at = '2026-06-{night + 2:02} 09:00:00' WHERE id = {night}",
                    "UPDATE stock SET quantity = quantity + 1",
                )
                require_done(lake.run(None, day=FIRST + timedelta(days=night)))
                rows = lake.rows(ORDER)
                seen.append((len(rows), len({row["id"] for row in rows})))
                assert len({row["quantity"] - int(row["sku"][1:]) for row in lake.rows("shop.stock")}) == 1
            ended = [keeper.end() for keeper in keepers]
        assert [end.code for end in ended] == [0, 0], [end.stdout for end in ended]
        assert seen == [(count, count) for count in range(23, 27)], "a row for each key, and none lost"
        report = maintain(lake, days=100)
        assert report.exit_code == 0
        require_equal(lake, shop, ORDER, "shop.stock")
        for name in (ORDER, "shop.stock"):
            assert lake.receipt(name)["sequence"] == 7
            assert "ingest_last" in lake.table(name).metadata.refs

    def test_raw_that_another_maintenance_removes_at_this_moment_stops_nobody(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was listed and has gone before its age was asked: it is looked at again."""
        lake, shop = make_lake(tmp_path, STOCK)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        age, gone = RawZone.age_seconds, list[str]()

        def overtaken(zone: RawZone, directory: str, now: float) -> float:
            if not gone:
                zone.remove(directory)
                gone.append(directory)
            return age(zone, directory, now)

        monkeypatch.setattr(RawZone, "age_seconds", overtaken)
        report = of(maintain(lake, days=100), "shop.stock")
        assert (report.error, done(report)[ActionKind.REMOVE_RAW], len(gone)) == (None, 1, 1)

    def test_a_signal_ends_the_waiting(self, tmp_path: Path) -> None:
        """Exit 130 with the document; what was done before stands, and nothing is left held."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, {**EAGER, "wait_seconds": 3600})
        nights(lake, shop, 3)
        configuration = open_configuration(lake.path)
        store = sqlite_store(configuration.runtime.state_database)
        store.open()
        lease = store.acquire_lease(target_key(configuration.runtime, configuration.tables[0]), current_holder("busy"), 0)
        with Process(lake.command("--maintenance-mode", "apply", "--output", "json")) as keeping:
            before = lake.table(ORDER).metadata_location
            keeping.wait_until(lambda: lake.table(ORDER).metadata_location != before, "the files were written anew")
            keeping.signal(signal.SIGINT)
            ended = keeping.end()
        assert ended.code == 130
        (table,) = ended.document["tables"]
        assert (table["status"], table["error"]["type"]) == ("error", "InterruptedRunError")
        assert [action["kind"] for action in table["actions"]] == ["rewrite"]
        store.release_lease(lease)
        store.close()
        require_done(lake.run(None, day=date(2026, 7, 20)))
        require_equal(lake, shop, ORDER)


def _newest(logs: Path, after: int) -> str:
    """The log of the last run, once there are more than so many."""
    found = sorted(logs.glob("run-*.jsonl"), key=lambda path: path.stat().st_mtime)
    return found[-1].read_text() if len(found) > after else ""


class TestRefusals:
    """Tables that are not ours to touch, or not as they were left."""

    def test_a_table_of_another_configuration_is_left_alone(self, tmp_path: Path) -> None:
        """A copy of a configuration under another name must not even fence the owner out."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        lake.document["runtime"]["job_name"] = "a-copy"
        lake.save()
        before = lake.table(ORDER).metadata_location
        looked, applied = maintain(lake, Mode.DRY_RUN), maintain(lake, days=100)
        assert (of(looked).would, kinds(of(looked))) >= (Status.ERROR, {FindingKind.FOREIGN})
        assert not any(finding.apply for finding in of(looked).findings), "nothing would be done about any of it"
        assert (looked.exit_code, applied.exit_code, of(applied).status) == (0, 1, Status.ERROR)
        assert of(applied).error is not None
        assert "'test'" in of(applied).error.message
        assert lake.table(ORDER).metadata_location == before

    def test_a_table_that_was_rolled_back_keeps_all_it_has(self, tmp_path: Path) -> None:
        """Nothing expires and nothing goes from raw: both are needed to bring it back. The other table is maintained."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        table = lake.table(ORDER)
        history = table.metadata.snapshots
        table.manage_snapshots().rollback_to_snapshot(history[0].snapshot_id).commit()
        before = tree(lake.root / "raw" / "shop" / "orders")
        report = maintain(lake, days=100)
        orders = of(report)
        assert (orders.status, orders.actions, report.exit_code) == (Status.ERROR, (), 1)
        assert orders.error is not None
        assert "rebuild-from-raw" in orders.error.remedy
        assert FindingKind.DAMAGED in kinds(orders)
        assert len(lake.table(ORDER).metadata.snapshots) == len(history)
        assert tree(lake.root / "raw" / "shop" / "orders") == before
        assert of(report, "shop.stock").status is Status.APPLIED

    def test_a_table_that_was_restored_from_an_older_backup_keeps_all_it_has(self, tmp_path: Path) -> None:
        """Its later files are named by nothing now, and are what is needed to bring it back."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        shutil.copy(tmp_path / "catalog.db", tmp_path / "backup.db")
        shop.change("INSERT INTO orders VALUES (300, 'later', 1, '2026-06-30 08:00:00')")
        require_done(lake.run(None, day=FIRST + timedelta(days=3)))
        gc.collect()
        shutil.copy(tmp_path / "backup.db", tmp_path / "catalog.db")
        before = tree(tmp_path / "warehouse"), tree(tmp_path / "raw")
        report = of(maintain(lake, days=100))
        assert (report.status, report.actions) == (Status.ERROR, ())
        assert kinds(report) >= {FindingKind.STATE_AHEAD, FindingKind.ORPHANS}
        assert of(maintain(lake, Mode.DRY_RUN)).would is Status.ERROR
        assert (tree(tmp_path / "warehouse"), tree(tmp_path / "raw")) == before

    def test_a_catalog_and_a_state_that_were_restored_together_lose_nothing_newer(self, tmp_path: Path) -> None:
        """Raw still knows what was published since. Once a run has gone on from there the table is maintained again."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 2)
        gc.collect()
        for name in ("catalog.db", "state.db"):
            shutil.copy(tmp_path / name, tmp_path / f"backup of {name}")
        shop.change("INSERT INTO orders VALUES (300, 'later', 1, '2026-06-30 08:00:00')")
        require_done(lake.run(None, day=FIRST + timedelta(days=3)))
        gc.collect()
        for name in ("catalog.db", "state.db"):
            shutil.copy(tmp_path / f"backup of {name}", tmp_path / name)
        before = tree(tmp_path / "warehouse"), tree(tmp_path / "raw")
        report = of(maintain(lake, days=100))
        assert (report.status, report.actions) == (Status.ERROR, ())
        assert kinds(report) >= {FindingKind.RAW_AHEAD, FindingKind.ORPHANS}
        looked = of(maintain(lake, Mode.DRY_RUN, days=100))
        assert (looked.would, {finding.apply for finding in looked.findings}) == (Status.ERROR, {False})
        assert (tree(tmp_path / "warehouse"), tree(tmp_path / "raw")) == before
        require_done(lake.run(None, day=FIRST + timedelta(days=4)))
        assert of(maintain(lake, days=100)).error is None
        require_equal(lake, shop, ORDER)

    def test_two_configurations_that_share_a_raw_root_keep_each_other_s_batches(self, tmp_path: Path) -> None:
        """Under the same names, into catalogs of their own: neither receipt leads to the other's batches."""
        (tmp_path / "other").mkdir()
        (lake, shop), (other, shops) = make_lake(tmp_path, STOCK), make_lake(tmp_path / "other", STOCK)
        other.document["runtime"]["raw_root"] = lake.document["runtime"]["raw_root"]
        for one, source in ((lake, shop), (other, shops)):
            tell(one, EAGER)
            nights(one, source, 2)
        report = of(maintain(lake, days=100), "shop.stock")
        assert done(report)[ActionKind.REMOVE_RAW] == 1
        (stays,) = (finding for finding in report.findings if finding.kind is FindingKind.RAW_OLD and not finding.apply)
        assert "2 that this table's receipt does not lead back to" in stays.message
        theirs = of(maintain(other, days=100), "shop.stock")
        assert FindingKind.RAW_GAP not in kinds(theirs)
        assert done(theirs)[ActionKind.REMOVE_RAW] == 1

    def test_one_table_that_cannot_be_read_stops_no_other(self, tmp_path: Path) -> None:
        """It is an error with what to do; in a dry run too, whose exit code says that not all was looked at."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK)
        nights(lake, shop, 1)
        shutil.rmtree(lake.table(ORDER).location().removeprefix("file://"))
        for mode in (Mode.DRY_RUN, Mode.APPLY):
            report = maintain(lake, mode)
            assert report.exit_code == 1
            assert of(report).error is not None
            assert "warehouse" in of(report).error.message
            assert of(report, "shop.stock").error is None

    def test_a_state_that_cannot_be_read_stops_what_would_be_removed(self, tmp_path: Path) -> None:
        """An open batch is never overlooked: what it needs could go."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER)
        nights(lake, shop, 3)
        shop.change("INSERT INTO orders VALUES (200, 'late', 7, '2026-06-30 08:00:00')")
        lake.call("--load-date", "2026-07-20", failpoints="after-stage=kill")
        with closing(sqlite3.connect(lake.root / "state.db")) as database:
            database.execute("UPDATE ingestion_batches SET document = '{' WHERE outcome = 'open'")
            database.commit()
        report = maintain(lake, days=100)
        assert (of(report).status, of(report).actions) == (Status.ERROR, ())
        assert kinds(of(report)) >= {FindingKind.STATE_UNREADABLE, FindingKind.STAGED_OVER}
        assert list((lake.root / "staging").rglob("_RANGE.json"))


def test_raw_keeps_what_a_rebuild_needs(tmp_path: Path) -> None:
    """Past raw_days goes what was published before the last reload, and nothing after it; the chain stays whole."""
    lake, shop = make_lake(tmp_path, ORDERS)
    tell(lake, EAGER)
    nights(lake, shop, 3)
    require_done(lake.run(None, day=FIRST + timedelta(days=3), reload=(ORDER,)))
    shop.change("INSERT INTO orders VALUES (300, 'after', 1, '2026-06-30 08:00:00')")
    require_done(lake.run(None, day=FIRST + timedelta(days=4)))
    assert done(of(maintain(lake, days=100)))[ActionKind.REMOVE_RAW] == 3
    configuration = open_configuration(lake.path)
    raw = RawZone(configuration.runtime.raw_root, configuration.tables[0], LocalFiles())
    days = [path.name for path in (lake.root / "raw" / "shop" / "orders").iterdir()]
    assert sorted(days) == ["load_date=2026-07-04", "load_date=2026-07-05"], "no empty folders are left"
    head = standing(lake, ORDER).receipt
    assert head is not None
    chain = read_chain(raw, load_document(Receipt, json.dumps(head), "the table"))
    assert [link.sequence for link in chain.links] == [4, 5]
    assert (chain.earlier, chain.gaps, {link.state for link in chain.links}) == ((), (), {LinkState.PUBLISHED})
    # With a gap nobody can tell what a rebuild needs: nothing more goes.
    require_done(lake.run(None, day=FIRST + timedelta(days=5), reload=(ORDER,)))
    shutil.rmtree(raw_batch(lake, 6))
    report = of(maintain(lake, days=100))
    assert ActionKind.REMOVE_RAW not in done(report)
    assert any("raw is not whole" in finding.message for finding in report.findings)


def test_mirrors_of_old_logs_go_with_the_logs(tmp_path: Path) -> None:
    """The outbox is looked through where there is one; where it cannot be reached the tables and the logs stand."""
    lake, shop = make_lake(tmp_path, STOCK)
    runtime = lake.document["runtime"]
    runtime["hdfs_outbox_root"] = str(tmp_path / "outbox")
    lake.save()
    nights(lake, shop, 2)
    mirrors = sorted((tmp_path / "outbox").iterdir())
    for number, folder in enumerate(mirrors):  # these runs have names of a test's making
        folder.rename(folder.with_name(f"run-2026070{number + 1}T020000-abcdef"))
    foreseen = maintain(lake, Mode.DRY_RUN, days=300).housekeeping
    assert (foreseen.outbox_runs, foreseen.outbox_bytes > 1000, len(list((tmp_path / "outbox").iterdir()))) == (1, True, 2)
    told = maintain(lake, days=300).housekeeping
    assert (told.outbox_runs, told.outbox_bytes) == (1, foreseen.outbox_bytes)
    assert ActionKind.REMOVE_MIRRORS in {action.kind for action in told.actions}
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["run-20260702T020000-abcdef"]

    runtime["hdfs_outbox_root"] = "webhdfs://127.0.0.1:1/outbox"
    lake.save()
    report = maintain(lake, days=400)
    assert (report.exit_code, report.tables[0].error) == (3, None)
    assert report.housekeeping.error is not None
    assert "outbox" in report.housekeeping.error.message
    assert report.housekeeping.log_files > 0


def test_rows_of_the_state_that_nobody_needs_go_with_their_time(tmp_path: Path) -> None:
    """Only with all tables of the configuration; what runs and commands go by stays."""
    lake, shop = make_lake(tmp_path, ORDERS)
    nights(lake, shop, 3)
    count = "SELECT (SELECT count(*) FROM ingestion_events) + (SELECT count(*) FROM ingestion_watermarks)"
    ((before,),) = query_state(lake, count)
    assert maintain(lake, Mode.DRY_RUN, days=80).housekeeping.state_rows == 0
    foreseen = maintain(lake, Mode.DRY_RUN, days=100).housekeeping
    assert foreseen.state_rows > 10
    report = maintain(lake, days=100)
    assert report.housekeeping.state_rows == foreseen.state_rows
    assert [action.kind for action in report.housekeeping.actions] == [ActionKind.PRUNE_STATE, ActionKind.REMOVE_LOGS]
    assert report.housekeeping.outbox_runs == 0
    ((after,),) = query_state(lake, count)
    assert after < before
    shop.change("INSERT INTO orders VALUES (300, 'after', 1, '2026-06-30 08:00:00')")
    again = lake.run(None, day=FIRST + timedelta(days=4))
    require_done(again)
    assert again.tables[0].rows_read >= 1
    require_equal(lake, shop, ORDER)
    assert report_document(report)["housekeeping"]["log_files"] == 2, "the newest of each kind stays"


class TestRebuilds:
    """``rebuild-from-raw`` by way of the room: leases, the document, and what is left behind."""

    def test_a_damaged_table_is_brought_back_and_maintained_again(self, tmp_path: Path) -> None:
        """Its backup stays for as long as that is configured; then apply drops it."""
        lake, shop = make_lake(tmp_path, ORDERS)
        tell(lake, EAGER, {"maintenance": {"keep_backup": True}})
        nights(lake, shop, 3)
        table = lake.table(ORDER)
        table.manage_snapshots().rollback_to_snapshot(table.metadata.snapshots[0].snapshot_id).commit()
        report = maintain(lake, Mode.REBUILD)
        orders = of(report)
        assert (report.exit_code, orders.status, orders.error) == (0, Status.APPLIED, None)
        assert orders.rebuild is not None
        assert orders.rebuild["differences"]["only_in_raw"] > 0
        require_equal(lake, shop, ORDER)
        backup = f"ingest_backup_{orders.rebuild['batch_id']}"
        assert backup in lake.table(ORDER).metadata.refs
        assert ActionKind.DROP_BACKUPS not in done(of(maintain(lake, days=100)))
        tell(lake, EAGER, {"maintenance": {"keep_backup": False}})
        dropped = of(maintain(lake, days=100))
        assert ActionKind.DROP_BACKUPS in done(dropped)
        assert backup not in lake.table(ORDER).metadata.refs
        require_done(lake.run(None, day=date(2026, 7, 20)))
        require_equal(lake, shop, ORDER)

    def test_a_table_that_a_run_holds_is_not_rebuilt(self, tmp_path: Path) -> None:
        """Exit 4, as for a run: nothing of it could be done. The other table is."""
        lake, shop = make_lake(tmp_path, ORDERS, STOCK)
        tell(lake, EAGER)
        nights(lake, shop, 1)
        configuration = open_configuration(lake.path)
        store = sqlite_store(configuration.runtime.state_database)
        store.open()
        lease = store.acquire_lease(target_key(configuration.runtime, configuration.tables[0]), current_holder("busy"), 0)
        report = maintain(lake, Mode.REBUILD)
        assert (report.exit_code, of(report).status) == (4, Status.ERROR)
        assert of(report, "shop.stock").status is Status.APPLIED
        store.release_lease(lease)
        store.close()
        assert maintain(lake, Mode.REBUILD).exit_code == 0
        require_equal(lake, shop, ORDER, "shop.stock")
