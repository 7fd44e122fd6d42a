"""A table that has lost a file of its own: every command says which one and what to do, and what replaces it mends it."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingestion_runtime.cli import cli
from ingestion_runtime.commands.recon import recon
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance.report import FindingKind, MaintenanceReport, Mode, Status
from ingestion_runtime.maintenance.running import MaintenanceRequest, run
from ingestion_runtime.model.result import RunResult
from tests.faults.shop import ORDERS, Shop, make_lake, require_equal
from tests.lake import Lake
from tests.upkeep import path_of

ORDER = "shop.orders"
RELOAD = ("--reload", ORDER)
LOOKS = (
    ("explain",),
    ("status",),
    ("verify",),
    ("why-missing", ORDER, "3"),
    ("--maintenance-mode", "dry-run"),
    ("--maintenance-mode", "apply"),
    (),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lake, Shop]:
    """A table of three publishes, and a change at the source that the next run would merge; and a copy of it all."""
    root = tmp_path_factory.mktemp("lost") / "lake"
    root.mkdir()
    # The shrink guard has to count what is replaced, and does so by the snapshot's summary where its lists are lost.
    lake, shop = make_lake(root, {**ORDERS, "max_shrink_fraction": 0.5})
    lake.document["runtime"]["maintenance"] = {"expire_days": 0, "keep_snapshots": 1, "orphan_hours": 1}
    lake.save()
    for day in (2, 3, 4):
        shop.change(f"UPDATE orders SET amount = {day}, updated_at = '2026-06-{day:02} 08:00:00' WHERE id = {day}")
        require_done(lake.run(None, day=date(2026, 7, day)))
    shop.change("UPDATE orders SET amount = 9, updated_at = '2026-06-09 08:00:00' WHERE id = 2")
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    return copy, lake, shop


@pytest.fixture
def lake(made: tuple[Path, Lake, Shop]) -> Lake:
    """The lake as it was: its files name each other by their absolute paths."""
    copy, lake, _ = made
    shutil.rmtree(lake.root)
    shutil.copytree(copy, lake.root)
    return lake


def metadata(lake: Lake) -> Path:
    return Path(path_of(lake.table(ORDER).metadata_location))


def manifest_list(lake: Lake) -> Path:
    snapshot = lake.table(ORDER).current_snapshot()
    assert snapshot is not None
    return Path(path_of(snapshot.manifest_list))


def manifest(lake: Lake) -> Path:
    table = lake.table(ORDER)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return Path(path_of(snapshot.manifests(table.io)[0].manifest_path))


def data(lake: Lake) -> Path:
    return Path(path_of(next(iter(lake.table(ORDER).scan().plan_files())).file.file_path))


def lose(path: Path) -> None:
    path.unlink()


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def require_done(result: RunResult) -> None:
    assert result.exit_code == 0, [table.failure for table in result.tables]


def call(lake: Lake, *arguments: str) -> Result:
    """Call the command line inside this process; anything but an exit code would reach a user as a traceback."""
    words = [*arguments, "--config", str(lake.path)]
    result = CliRunner().invoke(recon, words[1:]) if arguments[:1] == ("recon",) else CliRunner().invoke(cli, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    return result


def maintain(lake: Lake, *, days: float = 0) -> MaintenanceReport:
    configuration = open_configuration(lake.path)
    request = MaintenanceRequest(configuration, configuration.tables, Mode.APPLY)
    return run(request, {}, lambda: datetime.now(UTC) + timedelta(days=days))


def files(lake: Lake) -> set[Path]:
    return {path for folder in ("warehouse", "raw") for path in (lake.root / folder).rglob("*")}


@pytest.mark.parametrize(("which", "damage"), [(manifest_list, lose), (manifest, tear), (data, lose)])
def test_a_lost_file_is_named_and_a_reload_replaces_the_table(
    which: Callable[[Lake], Path], damage: Callable[[Path], None], made: tuple[Path, Lake, Shop], lake: Lake
) -> None:
    """No command ends in a traceback, and maintenance removes nothing; afterwards the table is looked after as any other."""
    path = which(lake)
    damage(path)
    there = files(lake)
    for words in (*LOOKS, ("recon",)):
        ended = call(lake, *words)
        foreseen = words in (("explain",), ("status",), ("--maintenance-mode", "dry-run"))
        assert ended.exit_code == (0 if foreseen else 1), (words, ended.output)
        if words[:1] not in (("explain",), ("status",), ("why-missing",)):
            assert str(path) in ended.output.replace("\n", ""), words
    (table,) = maintain(lake, days=10).tables
    assert (table.status, table.actions) == (Status.ERROR, ())
    assert table.error is not None
    assert (table.error.type, table.error.exit_code) == ("LostFileError", 1)
    assert "--reload" in table.error.remedy
    assert "rebuild-from-raw" in table.error.remedy
    assert FindingKind.FILE_LOST in {finding.kind for finding in table.findings}
    assert files(lake) - there == set()

    assert call(lake, *RELOAD).exit_code == 0
    require_equal(lake, made[2], ORDER)
    summary = lake.table(ORDER).current_snapshot().summary  # type: ignore[union-attr]  # it was just published
    assert summary is not None
    assert (summary["total-records"], summary["total-data-files"]) == ("19", "1")
    for _ in range(2):  # the snapshots that cannot be read expire; what only they named is found as orphans
        report = maintain(lake, days=10)
        assert report.exit_code == 0, report.tables
    assert maintain(lake, days=10).tables[0].status is Status.NOOP
    require_equal(lake, made[2], ORDER)
    assert call(lake, "recon").exit_code == 0


@pytest.mark.parametrize("damage", [lose, tear])
def test_lost_metadata_stop_a_reload_too(damage: Callable[[Path], None], made: tuple[Path, Lake, Shop], lake: Lake) -> None:
    """Nothing can be published on top of it, and the warehouse may only not be mounted: the message says how to go on."""
    damage(metadata(lake))
    for words in (*LOOKS, ("recon",), RELOAD):
        ended = call(lake, *words)
        assert ended.exit_code == (0 if words == ("status",) else 1), (words, ended.output)
        if words != ("status",):
            assert "the catalog knows the table, but" in " ".join(ended.output.split()), words
    lake.catalog.drop_table(ORDER)
    assert call(lake, *RELOAD).exit_code == 0
    require_equal(lake, made[2], ORDER)
