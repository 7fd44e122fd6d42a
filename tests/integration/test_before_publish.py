"""What was read is what stood at the source: a table may demand its source's own word before anything is published."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.endpoints.jdbc.landed_rows import LandedRows
from ingestion_runtime.model.result import TableResult, TableStatus
from tests.lake import Lake

ROWS = 3_000
COLUMNS = "id, price, note, ratio, at"
MADE = """CREATE TABLE things (id integer {key}, price decimal(10,2), note varchar(40), ratio {double}, at {moment});
INSERT INTO things ({columns})
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {rows})
SELECT i, i * 1.25, {text}, i * 0.1, '2024-01-01 00:00:00' FROM g;"""
FULL: dict[str, Any] = {"mode": "full"}
SCD1: dict[str, Any] = {
    "mode": "scd1",
    "primary_keys": ["id"],
    "incremental_column": "at",
    "incr_col_type": "timestamp",
    "horizon": "off",
    "cursor_timezone": "UTC",
}
MODES = {"full": FULL, "scd1": SCD1}
WORDS = {
    "sqlite": {"double": "REAL", "moment": "TIMESTAMP", "text": "'Nº ' || i"},
    "postgresql": {"double": "float8", "moment": "timestamp(6)", "text": "'Nº ' || i"},
    "mariadb": {"double": "double", "moment": "datetime(6)", "text": "concat('Nº ', i)"},
}


class Shop:
    """A table ``things`` of one dialect, and the lake that it goes to."""

    def __init__(self, dialect: str, root: Path, request: pytest.FixtureRequest, key: str = "PRIMARY KEY") -> None:
        self.root = root
        made = MADE.format(key=key, columns=COLUMNS, rows=ROWS, **WORDS[dialect])
        if dialect == "sqlite":
            self.change: Callable[[str], object] = self._change_file
            connection, self.schema = {"dialect": "sqlite", "database": "shop.db"}, "main"
        else:
            database = request.getfixturevalue("postgres" if dialect == "postgresql" else "mariadb")
            self.change = database.psql if dialect == "postgresql" else database.client
            self.schema = "public" if dialect == "postgresql" else database.database
            (root / "password").write_text(f"{database.password}\n")
            connection = {
                "dialect": dialect,
                "host": database.host,
                "port": database.port,
                "user": database.user,
                "password": "${file:password}",
                "database": database.database,
                "tls": {"mode": "disable"},
            }
            made = f"SET max_recursive_iterations = {2 * ROWS};" * (dialect == "mariadb") + made
        self.change(made)
        self.lake = Lake(root, connection, [])

    def demand(self, checks: Sequence[str], table: dict[str, Any]) -> None:
        """Configure the table."""
        asked = {"reconciliation": {"before_publish": list(checks)}} if checks else {}
        self.lake.document["tables"] = [{"schema": self.schema, "table": "things", **asked, **table}]
        self.lake.save()

    def run(self, session: SparkSession | None = None) -> TableResult:
        return self.lake.run(session).tables[0]

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of raw batches that landed."""
        found = sorted((self.root / "raw" / self.schema / "things").glob("load_date=*/batch=*/_MANIFEST.json"))
        return [json.loads(path.read_text()) for path in found]

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Change rows, and their number, again and again while the block runs."""
        over, errors = threading.Event(), []

        def disturb() -> None:
            number = ROWS
            while not over.is_set():
                number += 1
                try:
                    self.change(
                        f"INSERT INTO things ({COLUMNS}) VALUES ({number}, 1, 'new', 0, '2024-01-01 00:00:00');"
                        f"UPDATE things SET price = price + 1 WHERE id % 7 = {number % 7};"
                        f"DELETE FROM things WHERE id = {number - ROWS};"
                    )
                except Exception as error:  # noqa: BLE001 - told below
                    errors.append(error)
                    return

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert not errors

    def _change_file(self, script: str) -> None:
        with closing(sqlite3.connect(self.root / "shop.db", timeout=60)) as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dialect", WORDS)
def test_a_busy_source_is_never_accused(dialect: str, mode: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The source speaks of the very rows that are read: writers who change all of them meanwhile make no difference."""
    shop = Shop(dialect, tmp_path, request)
    shop.demand(["checksum"], MODES[mode])
    with shop.disturbed():
        ended = shop.run()
    assert (ended.failure, ended.status) == (None, TableStatus.DONE)
    (manifest,) = shop.manifests()
    said = [told["said"] for told in manifest["testimonies"]]
    assert sum(told["rows"] for told in said) == ended.rows_read
    assert all(told["high"] > 0 and told["columns"] == COLUMNS.split(", ") for told in said if told["rows"])


def rounding(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A driver that loses the cents of one row."""
    prices = batch.column("price").to_pylist()
    prices[len(prices) // 2] = prices[len(prices) // 2].to_integral_value()
    return batch.set_column(
        batch.schema.get_field_index("price"), batch.schema.field("price"), pa.array(prices, batch["price"].type)
    )


def losing(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A reader that loses a row."""
    return batch.slice(1)


@pytest.mark.parametrize(
    ("check", "fault", "told"),
    [
        ("checksum", rounding, "some hold other values than at the source (5 columns were compared)"),
        ("plain_count", losing, "and the source counted"),
        ("checksum", losing, "and the source counted"),
    ],
    ids=["checksum-rounded", "plain_count-lost", "checksum-lost"],
)
@pytest.mark.parametrize("mode", MODES)
def test_rows_that_change_on_their_way_are_refused_and_the_slice_is_named(
    mode: str,
    check: str,
    fault: Callable[[pa.RecordBatch], pa.RecordBatch],
    told: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the batch is visible or lands; without the fault the next run publishes what stands there."""
    shop = Shop("sqlite", tmp_path, request)
    shop.change("UPDATE things SET price = price + 0.5;")
    shop.demand([check], MODES[mode])
    land = LandedRows.land
    with monkeypatch.context() as planted:
        planted.setattr(LandedRows, "land", lambda self, batch: fault(land(self, batch)))
        ended = shop.run()
    assert ended.failure is not None
    assert ended.failure.type == "RefusedBatchError"
    assert "what was staged for slice" in ended.failure.message
    assert told in ended.failure.message
    assert not shop.manifests()
    assert not shop.lake.catalog.list_tables("main") if shop.lake.catalog.namespace_exists("main") else True
    assert shop.run().rows_written == ROWS


def test_a_count_does_not_see_values(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``plain_count`` is what it says, and asks the source for no more."""
    shop = Shop("sqlite", tmp_path, request)
    shop.change("UPDATE things SET price = price + 0.5;")
    shop.demand(["plain_count"], FULL)
    land = LandedRows.land
    with monkeypatch.context() as planted:
        planted.setattr(LandedRows, "land", lambda self, batch: rounding(land(self, batch)))
        assert shop.run().status is TableStatus.DONE
    (manifest,) = shop.manifests()
    (said,) = [told["said"] for told in manifest["testimonies"]]
    assert (said["rows"], said["high"], said["columns"]) == (ROWS, None, [])


@pytest.mark.parametrize("dialect", WORDS)
def test_what_is_set_aside_masked_left_out_or_read_in_pieces_is_proven_too(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Rows with a NULL in the key are counted with the others; of masked and excluded columns nothing is compared."""
    shop = Shop(dialect, tmp_path, request, key="")
    shop.change("UPDATE things SET id = NULL WHERE id <= 5;")
    table = {
        **SCD1,
        "null_keys": "quarantine",
        "exclude_columns": ["ratio"],
        "mask": {"note": {"method": "truncate", "length": 2}},
    }
    shop.demand(["plain_count", "checksum"], table)
    ended = shop.run()
    assert (ended.failure, ended.quarantined, ended.rows_written) == (None, 5, ROWS - 5)
    (manifest,) = shop.manifests()
    assert all(told["said"]["columns"] == ["id", "price", "at"] for told in manifest["testimonies"])
    shop.change(f"UPDATE things SET price = 0, at = '2024-02-01 00:00:00' WHERE id > {ROWS - 50};")
    assert (shop.run().rows_written, len(shop.manifests())) == (50, 2)


def test_slices_staged_before_the_word_was_demanded_are_read_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A demand does not make a batch another one; but what nobody vouched for is not taken."""
    shop = Shop("sqlite", tmp_path, request)
    shop.demand([], SCD1)
    assert shop.lake.call("--only-tables", "main.things", failpoints="after-stage@main.things=kill").code != 0
    shop.demand(["checksum"], SCD1)
    ended = shop.run()
    assert (ended.failure, ended.rows_written) == (None, ROWS)
    (manifest,) = shop.manifests()
    assert manifest["testimonies"]


def test_killed_between_staging_and_publishing_the_word_still_stands(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A rerun takes the proven slices as they are: their manifest was written after the comparison."""
    shop = Shop("sqlite", tmp_path, request)
    shop.demand(["checksum"], SCD1)
    assert shop.lake.call("--only-tables", "main.things", failpoints="after-stage@main.things=kill").code != 0
    shop.change("UPDATE things SET note = 'later';")  # behind the cursor's back: the source itself says otherwise now
    ended = shop.run()
    # The open batch as it was staged, and then, for its rows are all at the watermark, what changed since.
    assert (ended.failure, ended.rows_written) == (None, 2 * ROWS)
    reused = [event for event in shop.lake.events() if event["event"] == "slice_staged" and event["reused"]]
    assert reused


def test_spark_proves_what_it_reads_in_a_shared_view_and_refuses_where_there_is_none(
    tmp_path: Path, request: pytest.FixtureRequest, spark: SparkSession
) -> None:
    """PostgreSQL's connections share one view. Of SQLite Spark reads a state that nobody else sees: refused beforehand."""
    for dialect in ("postgresql", "sqlite"):
        (tmp_path / dialect).mkdir()
    shop = Shop("postgresql", tmp_path / "postgresql", request)
    shop.demand(["checksum"], {**FULL, "engine": "spark"})
    with shop.disturbed():
        ended = shop.run(spark)
    assert (ended.failure, ended.engine) == (None, "spark")
    other = Shop("sqlite", tmp_path / "sqlite", request)
    other.demand(["checksum"], {**FULL, "engine": "spark"})
    refused = other.run(spark).failure
    assert refused is not None
    assert "Spark and this source have no common view" in refused.message
    assert not other.manifests()


def test_a_read_without_a_view_to_share_is_refused_by_the_name_of_the_setting(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two connections are too few to hold a view beside the read: the message says what was asked for, and what to do."""
    shop = Shop("postgresql", tmp_path, request)
    shop.lake.document["connections"]["source"]["max_connections"] = 2
    shop.demand(["checksum"], FULL)
    refused = shop.run().failure
    assert refused is not None
    assert "before_publish wants the source's word" in refused.message
    assert "Set max_connections to 3 at least" in refused.message
    assert not shop.manifests()
