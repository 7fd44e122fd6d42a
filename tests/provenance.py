"""An order book, a log and two full tables in SQLite with their lake, and what a foreign hand may do to it behind its back:
for tests of what can be proven afterwards."""

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.errors import IngestionError
from ingestion_runtime.model.result import TableStatus
from ingestion_runtime.provenance.findings import Finding, TableProof
from ingestion_runtime.provenance.verifying import Wishes, verify
from tests.lake import Lake

ORDERS = "shop.orders"
SOURCE = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, amount NUMERIC(10,2), weight REAL, updated_at TIMESTAMP NOT NULL);
CREATE TABLE visits (at TIMESTAMP, page TEXT, bytes INTEGER);
CREATE TABLE stock (sku TEXT PRIMARY KEY, quantity INTEGER);
CREATE TABLE prices (sku TEXT, cents INTEGER);
"""
START = datetime.fromisoformat("2026-06-01 10:00:00")
SCD1 = {"mode": "scd1", "primary_keys": ["id"], "incremental_column": "updated_at", "incr_col_type": "timestamp"}
TABLES: dict[str, dict[str, Any]] = {
    "orders": {"schema": "shop", "table": "orders", **SCD1},
    "visits": {
        "schema": "shop",
        "table": "visits",
        "mode": "append",
        "incremental_column": "at",
        "incr_col_type": "timestamp",
    },
    "stock": {"schema": "shop", "table": "stock", "mode": "full", "primary_keys": ["sku"]},
    "prices": {"schema": "shop", "table": "prices", "mode": "full", "sink": "parquet"},
}


class Store:
    """The source and its lake, read in this process; orders arrive in slices of about 20 rows."""

    def __init__(self, root: Path, *tables: str, **orders: Any) -> None:
        self.root = root
        self._day = 0
        self.change(SOURCE)
        self.fill()
        wanted = [dict(TABLES[name]) for name in tables or ("orders",)]
        for table in wanted:
            table.update(orders if table["table"] == "orders" else {})
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(root / "shop.db")}, wanted)
        slicing = {"max_count": 30, "target_rows_per_slice": 20, "max_partitions": 4}
        self.lake.document["runtime"] |= {"engine": "arrow", "scd1_slicing": slicing}
        self.lake.save()

    def fill(self) -> None:
        """Write the first rows: 80 orders, 30 visits of which some are equal, 10 articles, 20 prices of which some are."""
        orders = [(n, f"note {n}", n * 10 + 0.25, n / 3, str(START + timedelta(seconds=n))) for n in range(1, 81)]
        visits = [(str(START + timedelta(seconds=n // 2)), f"/{n % 3}", n % 2) for n in range(1, 31)]
        with closing(sqlite3.connect(self.root / "shop.db")) as database:
            database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
            database.executemany("INSERT INTO visits VALUES (?, ?, ?)", visits)
            database.executemany("INSERT INTO stock VALUES (?, ?)", [(f"a{n}", n) for n in range(1, 11)])
            database.executemany("INSERT INTO prices VALUES (?, ?)", [(f"a{n % 7}", n % 3) for n in range(1, 21)])
            database.commit()

    def change(self, script: str) -> None:
        """Change the source."""
        with closing(sqlite3.connect(self.root / "shop.db")) as database:
            database.executescript(script)
            database.commit()

    def run(self, **options: Any) -> None:
        """Run all tables for the next day; each must end well."""
        self._day += 1
        result = self.lake.run(None, day=date(2026, 7, self._day), **options)
        ends = {table.table: (table.status, table.failure) for table in result.tables}
        assert {status for status, _ in ends.values()} <= {TableStatus.DONE, TableStatus.UNCHANGED}, ends

    def proofs(self, wishes: Wishes = Wishes()) -> dict[str, TableProof]:  # noqa: B008 - it is frozen
        """Verify all tables."""
        configuration = open_configuration(self.lake.path)
        proofs = verify(configuration, configuration.tables, wishes, classify)
        return {proof.table: proof for proof in proofs}

    def proof(self, table: str = ORDERS) -> TableProof:
        """Verify, and return what is known of one table."""
        return self.proofs()[table]

    def raw(self, batch: int = 1, piece: int = 0, table: str = ORDERS, *, tombstones: bool = False) -> Path:
        """The raw file of a slice, by the numbers of its batch and itself."""
        folder = self.batch(batch, table) / ("_tombstones" if tombstones else "")
        (found,) = folder.glob(f"slice-{piece:05d}-*.parquet")
        return found

    def batch(self, number: int = 1, table: str = ORDERS) -> Path:
        """The raw directory of a batch, by its number."""
        (found,) = (self.root / "raw" / table.replace(".", "/")).glob(f"load_date=*/batch=*_{number:06d}_*")
        return found

    def batch_id(self, number: int = 1, table: str = ORDERS) -> str:
        """A batch's name."""
        return self.batch(number, table).name.removeprefix("batch=")

    def data_files(self, table: str = ORDERS) -> list[Path]:
        """The files that readers of a table open."""
        return [Path(task.file.file_path.removeprefix("file://")) for task in self.lake.table(table).scan().plan_files()]

    def edit_manifest(self, batch: int, edit: Callable[[dict[str, Any]], None], table: str = ORDERS) -> None:
        """Change what a batch's manifest says."""
        path = self.batch(batch, table) / "_MANIFEST.json"
        document = json.loads(path.read_text())
        edit(document)
        path.write_text(json.dumps(document))

    @contextmanager
    def behind_its_back(self, table: str = ORDERS) -> Iterator[Table]:
        """Lend a table to change, and let tag and history look afterwards as if the runtime had done it: only rows tell."""
        before = self.lake.table(table)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # pyiceberg copies where the table asks for deletes by position
            yield before
        self.lake.table(table).manage_snapshots().remove_tag("ingest_last").commit()
        now = self.lake.table(table)
        current = now.current_snapshot()
        assert current is not None
        now.manage_snapshots().create_tag(current.snapshot_id, "ingest_last").commit()

    def rows(self, condition: str, table: str = ORDERS) -> pa.Table:
        """Rows as readers see them, housekeeping included."""
        found: pa.Table = self.lake.table(table).scan(row_filter=condition).to_arrow()
        return found


def proven_manifests(raw: Path, receipt: Mapping[str, Any]) -> list[str]:
    """The batches back from a receipt whose manifests have the digests by which the one after each of them knows it.

    ``raw`` is the table's own place there. Fails where a digest is missing, or another; ends where nothing came before, or
    where that is not there: retention has removed it, or another configuration has it.
    """
    found: list[str] = []
    wanted, digest = receipt["batch_id"], receipt["manifest"]
    while wanted is not None:
        path = next(raw.glob(f"load_date=*/batch={wanted}/_MANIFEST.json"), None)
        if path is None:
            break
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, f"{path} is not the manifest that was published"
        found.append(wanted)
        batch = json.loads(content)["batch"]
        wanted, digest = batch["base"], batch["base_manifest"]
    assert found, f"{raw} has no batch {receipt['batch_id']}"
    return found


def classify(raised: Exception, table: str) -> IngestionError:
    """What the command line makes of an error, in short."""
    if not isinstance(raised, IngestionError):
        raise raised
    return raised


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle of a file, and of no other that shares its content."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.unlink()
    path.write_bytes(content)


def flip_shared_byte(path: Path) -> None:
    """Change one byte in the middle of a file, and with it in every file that is a link to the same."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(size // 2)
        (byte,) = file.read(1)
        file.seek(size // 2)
        file.write(bytes([byte ^ 0x01]))


def keys(finding: Finding, column: str = "id") -> list[str | None]:
    """The keys that a finding names."""
    return sorted((example.key[column] for example in finding.examples), key=str)
