"""A log without a key, in an SQLite file, and its lake: for tests of tables to which rows are only ever added."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from pyiceberg.table.snapshots import Snapshot
from pyspark.sql import SparkSession

from ingestion_runtime.model.options import AskedWindow
from ingestion_runtime.model.result import TableResult
from tests.lake import Lake

NAME = "web.visits"
VISITS: Mapping[str, Any] = {
    "schema": "web",
    "table": "visits",
    "mode": "append",
    "incremental_column": "at",
    "incr_col_type": "timestamp",
}
CREATE = "CREATE TABLE visits (at TIMESTAMP, page TEXT, bytes INTEGER)"

Rows = Counter[tuple[Any, ...]]


class Logbook:
    """One table ``web.visits``, read in this process unless a Spark session is given to a run."""

    def __init__(self, root: Path, *, create: str = CREATE, **changes: Any) -> None:
        self.root = root
        self.file = root / "web.db"
        self.change(create)
        table = {key: value for key, value in {**VISITS, **changes}.items() if value is not None}
        self.lake = Lake(root, {"dialect": "sqlite", "database": str(self.file)}, [table])
        self.configure(engine="arrow")

    def configure(self, **runtime: Any) -> None:
        """Change keys of the runtime."""
        self.lake.document["runtime"].update(runtime)
        self.lake.save()

    def settle(self, **table: Any) -> None:
        """Change keys of the table."""
        self.lake.document["tables"][0].update(table)
        self.lake.save()

    def change(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with closing(sqlite3.connect(self.file)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def write(self, *rows: tuple[Any, ...]) -> None:
        """Add rows to the log."""
        with closing(sqlite3.connect(self.file)) as connection:
            connection.executemany(f"INSERT INTO visits VALUES ({', '.join('?' * len(rows[0]))})", rows)
            connection.commit()

    def source(self, condition: str = "true") -> Rows:
        """The rows of the log, as often as they are there."""
        with closing(sqlite3.connect(self.file)) as connection:
            return Counter(tuple(map(str, row)) for row in connection.execute(f"SELECT * FROM visits WHERE {condition}"))

    def target(self) -> Rows:
        """The rows that readers see, as often as they are there, spelled as in the log."""
        return Counter(tuple(str(value) for value in row.values()) for row in self.lake.rows(NAME))

    def run(
        self,
        session: SparkSession | None = None,
        *,
        day: date = date(2026, 7, 1),
        reload: bool = False,
        window: Sequence[str] = (),
        failing: str = "",
        lag: int | None = None,
        allow_shrink: bool = False,
    ) -> TableResult:
        """Run the table; ``window`` is a start, and perhaps an end."""
        result = self.lake.run(
            session,
            day=day,
            reload=[NAME] if reload else [],
            environment={"INGESTION_FAILPOINTS": f"{failing}=fail"} if failing else None,
            window=AskedWindow(*window) if window else None,
            lag=lag,
            allow_shrink=[NAME] if allow_shrink else [],
        )
        (table,) = result.tables
        return table

    def snapshot(self) -> Snapshot:
        """The snapshot that readers see."""
        found = self.lake.table(NAME).current_snapshot()
        assert found is not None
        return found

    @property
    def operation(self) -> str:
        """What the last publish did, in Iceberg's words."""
        summary = self.snapshot().summary
        assert summary is not None
        return summary.operation.value
