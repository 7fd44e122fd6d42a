"""What raw adds up to beside what the table holds: whole rows, housekeeping columns included."""

from typing import Any

from ingestion_runtime.endpoints.iceberg.commits import read_head
from ingestion_runtime.endpoints.raw import RawZone
from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.provenance.chain import Chain, read_chain
from ingestion_runtime.provenance.raw_rows import RawRows
from ingestion_runtime.provenance.replay import Replay
from ingestion_runtime.tools.files import LocalFiles
from ingestion_runtime.tools.local_sql import LocalSql
from ingestion_runtime.tools.nearby import NearFiles
from tests.lake import Lake

Rows = list[tuple[Any, ...]]


def table_spec(lake: Lake, name: str) -> TableSpec:
    """A configured table."""
    return next(table for table in open_configuration(lake.path).tables if table.name == name)


def chain_of(lake: Lake, name: str) -> Chain:
    """The table's batches in raw, by its receipt."""
    raw = RawZone(str(lake.root / "raw"), table_spec(lake, name), LocalFiles())
    return read_chain(raw, read_head(lake.table(name)).receipt)


def replayed(lake: Lake, name: str, memory_mb: int = 128) -> Rows:
    """The rows that raw adds up to, by column name and sorted."""
    spec, schema = table_spec(lake, name), lake.table(name).schema()
    with LocalSql(memory_mb, str(lake.root / "spill")).session() as sql:
        replay = Replay(sql, spec, schema, chain_of(lake, name), NearFiles(LocalFiles(), str(lake.root)))
        replay.expect()
        return canonical([row for batch in RawRows(sql, replay).all() for row in batch.to_pylist()])


def published(lake: Lake, name: str) -> Rows:
    """The rows of the table, those marked as deleted included, by column name and sorted."""
    return canonical(lake.table(name).scan().to_arrow().to_pylist())


def canonical(rows: list[dict[str, Any]]) -> Rows:
    """Rows in an order of their own, with every NaN alike."""
    return sorted(tuple((name, repr(row[name])) for name in sorted(row)) for row in rows)
