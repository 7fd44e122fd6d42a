"""Tables that are seldom met: what is proven of them, and what maintenance does."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.ingestion.failures import classify
from ingestion_runtime.maintenance.report import ActionKind, FindingKind, Mode, Status, TableReport
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.maintenance.running import run as maintain
from ingestion_runtime.model.result import RunResult
from ingestion_runtime.provenance.findings import Kind, ProofStatus, TableProof
from ingestion_runtime.provenance.verifying import Wishes, verify
from tests.lake import Lake

TINY = {"min_small_files": 2, "expire_days": 0, "keep_snapshots": 1, "orphan_hours": 1, "raw_days": 0}
ORDERS = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "at", "incr_col_type": "timestamp"}


class OneTable:
    """A table ``shop.odd`` of a source in SQLite; every run is of the next day."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.day = date(2026, 7, 1)
        spec = {"schema": "shop", "table": "odd", "maintenance": TINY, **settings}
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(root / "shop.db")}, [spec])
        self.change(engine="arrow")

    @property
    def spec(self) -> dict[str, Any]:
        """The table in the configuration; ``change`` saves it."""
        found: dict[str, Any] = self.lake.document["tables"][0]
        return found

    def change(self, **runtime: Any) -> None:
        self.lake.document["runtime"] |= runtime
        self.lake.save()

    def run(self, script: str = "", **options: Any) -> RunResult:
        with closing(sqlite3.connect(self.root / "shop.db")) as connection:
            connection.executescript(script)
        self.day += timedelta(days=1)
        return self.lake.run(None, day=self.day, **options)

    def night(self, script: str = "", **options: Any) -> None:
        result = self.run(script, **options)
        assert result.exit_code == 0, result.tables[0].failure

    def maintain(self, mode: Mode) -> TableReport:
        """As ten days later."""
        configuration = open_configuration(self.lake.path)
        request = MaintenanceRequest(configuration, configuration.tables, mode)
        return maintain(request, {}, lambda: datetime.now(UTC) + timedelta(days=10)).tables[0]

    def proof(self) -> TableProof:
        configuration = open_configuration(self.lake.path)
        wishes = Wishes()
        return verify(
            configuration, configuration.tables, wishes, lambda error, name: classify(error, name, interrupted=False)
        )[0]

    def raw(self) -> list[Path]:
        return sorted((self.root / "raw/shop/odd").glob("load_date=*/batch=*"))


CREATE = "CREATE TABLE odd (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO odd VALUES (1, 'a'), (2, 'b');"
ANOTHER = "INSERT INTO odd (note) VALUES ('c');"


def test_batches_that_end_in_raw_are_proven_there(tmp_path: Path) -> None:
    """Nobody asked for a table: it is not gone, raw keeps the last batch, and nothing is built in its place."""
    odd = OneTable(tmp_path, mode="full")
    odd.change(finalize_full_refresh=False)
    odd.night(CREATE)
    odd.night(ANOTHER)

    proof = odd.proof()

    assert (proof.status, proof.files, proof.findings, proof.warns) == (ProofStatus.PARTLY, 2, (), False)
    report = odd.maintain(Mode.APPLY)
    assert (report.status, [action.kind for action in report.actions]) == (Status.APPLIED, [ActionKind.REMOVE_RAW])
    assert (odd.maintain(Mode.APPLY).status, len(odd.raw())) == (Status.NOOP, 1)
    refused = odd.maintain(Mode.REBUILD)
    assert refused.error is not None
    assert "go into raw alone" in refused.error.message
    assert not odd.lake.catalog.table_exists("shop.odd")
    (file,) = odd.raw()[0].glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    assert [finding.kind for finding in odd.proof().findings] == [Kind.RAW_FILE_CHANGED]


def test_a_table_whose_batches_end_in_raw_by_now_was_not_set_back(tmp_path: Path) -> None:
    """What was published before stands as it is, and is looked after."""
    odd = OneTable(tmp_path, mode="full")
    odd.night(CREATE)
    odd.night(ANOTHER)
    odd.change(finalize_full_refresh=False)
    odd.night(ANOTHER)

    assert (odd.proof().status, odd.proof().findings) == (ProofStatus.PARTLY, ())
    report = odd.maintain(Mode.APPLY)
    assert (report.status, report.error) == (Status.APPLIED, None)
    assert len(odd.lake.rows("shop.odd")) == 3
    odd.change(finalize_full_refresh=True)
    odd.night(ANOTHER)
    assert (odd.proof().status, len(odd.lake.rows("shop.odd"))) == (ProofStatus.PROVEN, 5)


TIMED = """
CREATE TABLE odd (id INTEGER PRIMARY KEY, note TEXT, at TIMESTAMP);
INSERT INTO odd VALUES (1, 'a', '2026-06-01 10:00:00'), (2, 'b', '2026-06-01 10:00:01'), (3, NULL, '2026-06-01 10:00:02');
"""
RENAMED = (
    "ALTER TABLE odd RENAME COLUMN note TO remark; INSERT INTO odd VALUES (4, 'a', '2026-06-02 10:00:00');"
    " UPDATE odd SET remark = 'c', at = '2026-06-02 10:00:01' WHERE id = 2;"
)


@pytest.mark.parametrize("reload", [{}, {"reload": ["shop.odd"]}], ids=["run", "reload"])
def test_a_partition_follows_its_column_under_a_new_name(tmp_path: Path, reload: Mapping[str, Any]) -> None:
    """The configuration names it as the source does; maintenance could not do it, for the table has the name of before."""
    by = {"partition": [{"column": "note", "transform": "identity"}]}
    odd = OneTable(tmp_path, **ORDERS, schema_policy={"renamed": "evolve"}, intermediate=by)
    odd.night(TIMED)
    assert odd.run(RENAMED).exit_code == 1
    odd.spec["intermediate"]["partition"][0]["column"] = "remark"
    odd.change()

    assert odd.maintain(Mode.APPLY).status is not Status.ERROR
    odd.night(**reload)

    found = {row["id"]: row["remark"] for row in odd.lake.rows("shop.odd")}
    assert found == {1: "a", 2: "c", 3: None, 4: "a"}
    assert odd.proof().status is ProofStatus.PROVEN
    assert FindingKind.PARTITION_DIFFERS not in {finding.kind for finding in odd.maintain(Mode.DRY_RUN).findings}
    rebuilt = odd.maintain(Mode.REBUILD)
    assert (rebuilt.error, odd.proof().status) == (None, ProofStatus.PROVEN)


@pytest.mark.parametrize("settings", [ORDERS, {"mode": "full"}], ids=["scd1", "full"])
def test_a_table_that_was_set_back_is_rebuilt_under_the_names_of_now(tmp_path: Path, settings: Mapping[str, Any]) -> None:
    """Its metadata know the names of before; raw knows which batch has renamed them, and that the name is another's now."""
    odd = OneTable(tmp_path, **settings, schema_policy={"renamed": "evolve"})
    odd.night(TIMED)
    before = (tmp_path / "catalog.db").read_bytes()
    odd.night(RENAMED)
    odd.night("ALTER TABLE odd ADD COLUMN note TEXT; UPDATE odd SET note = 'new', at = '2026-06-03 10:00:00' WHERE id = 1;")
    rows = sorted(odd.lake.rows("shop.odd"), key=lambda row: int(row["id"]))
    (tmp_path / "catalog.db").write_bytes(before)

    assert odd.proof().status is ProofStatus.BROKEN
    assert odd.maintain(Mode.REBUILD).error is None

    assert sorted(odd.lake.rows("shop.odd"), key=lambda row: int(row["id"])) == rows
    assert [(row["remark"], row["note"]) for row in rows] == [("a", "new"), ("c", None), (None, None), ("a", None)]
    assert odd.proof().status is ProofStatus.PROVEN
    odd.night("INSERT INTO odd VALUES (5, 'e', '2026-06-05 10:00:00', 'f');")
    assert len(odd.lake.rows("shop.odd")) == 5


def test_a_column_that_is_called_like_a_field_of_the_partition_is_refused_by_name(tmp_path: Path) -> None:
    """Iceberg would have two columns of one name. Without it the table goes on."""
    by = {"partition": [{"column": "at", "transform": "day"}]}
    odd = OneTable(tmp_path, **ORDERS, intermediate=by)
    odd.night(TIMED)

    (failed,) = odd.run(
        "ALTER TABLE odd ADD COLUMN at_day TEXT; UPDATE odd SET at = '2026-06-05 10:00:00' WHERE id = 1;"
    ).tables

    assert failed.failure is not None
    assert (failed.failure.type, "at_day" in failed.failure.message) == ("RefusedBatchError", True)
    assert "exclude_columns" in failed.failure.message
    odd.spec["exclude_columns"] = ["at_day"]
    odd.change()
    odd.night()
    assert odd.proof().status is ProofStatus.PROVEN


def spoil_housekeeping(path: Path) -> None:
    """Spoil the values of a column that no row is compared by."""
    group = pq.read_metadata(path).row_group(0)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "_ingest_run_id")
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = path.read_bytes()
    path.write_bytes(data[:start] + b"\xff" * chunk.total_compressed_size + data[start + chunk.total_compressed_size :])


def spoil_name(path: Path) -> None:
    """Spoil the name of a column in the footer, which is no text then."""
    path.write_bytes(path.read_bytes().replace(b"note", b"n\xf5te"))


@pytest.mark.parametrize("spoil", [spoil_housekeeping, spoil_name])
@pytest.mark.parametrize("sink", ["iceberg", "parquet"])
def test_a_file_of_which_not_all_can_be_read_is_named(tmp_path: Path, sink: str, spoil: Callable[[Path], None]) -> None:
    """Also where all that is compared can be; and a rebuild mends it."""
    odd = OneTable(tmp_path, mode="full", sink=sink)
    odd.night(CREATE)
    place = tmp_path / ("warehouse/shop/odd" if sink == "iceberg" else "final/shop/.odd")
    (file,) = place.rglob("*.parquet")
    data = file.read_bytes()
    file.unlink()  # raw has the same file under another name
    file.write_bytes(data)
    assert odd.proof().status is ProofStatus.PROVEN
    spoil(file)

    proof = odd.proof()

    assert proof.status is ProofStatus.BROKEN, proof.error
    assert Kind.TABLE_FILE_SPOILT in {finding.kind for finding in proof.findings}
    assert str(file) in {finding.file for finding in proof.findings}
    report = odd.maintain(Mode.APPLY)
    assert report.error is None or "The stack" not in report.error.remedy
    assert (odd.maintain(Mode.REBUILD).error, odd.proof().status) == (None, ProofStatus.PROVEN)
