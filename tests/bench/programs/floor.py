"""The least that a full load from PostgreSQL could cost: two ADBC connections read halves of the table under one snapshot,
convert to the right types and, if the job says so, write Parquet. No catalog, no audit, no state, no import beyond that.

``floor.py JOB``; the job says where the source is, the table, and ``write`` (true or false).
"""

import json
import sys
import threading
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql
import pyarrow as pa

CONNECTIONS = 2  # 3 and 4 were slower on two cores
ROW_GROUP = 262_144
DECIMAL = pa.decimal128(15, 2)


def connect(uri: str) -> adbc_driver_manager.AdbcConnection:
    """Return a connection that commits by itself: transactions are begun and ended by statements."""
    return adbc_driver_manager.AdbcConnection(adbc_driver_postgresql.connect(uri))


def run(connection: adbc_driver_manager.AdbcConnection, sql: str) -> pa.RecordBatchReader:
    """Run a statement and return its result as a stream."""
    statement = adbc_driver_manager.AdbcStatement(connection)
    statement.set_sql_query(sql)
    stream, _ = statement.execute_query()
    return pa.RecordBatchReader._import_from_c(stream.address)


def run_plain(connection: adbc_driver_manager.AdbcConnection, sql: str) -> None:
    """Run a statement that returns no rows."""
    statement = adbc_driver_manager.AdbcStatement(connection)
    statement.set_sql_query(sql)
    statement.execute_update()


def select(connection: adbc_driver_manager.AdbcConnection, table: str) -> tuple[str, frozenset[str]]:
    """Return the list of expressions and the names of those that are decimals, which arrive fastest as text."""
    sql = (
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute "
        f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )
    columns = [(row["attname"], row["format_type"]) for row in run(connection, sql).read_all().to_pylist()]
    decimals = frozenset(name for name, kind in columns if kind == "numeric")
    return ", ".join(f"{name}::text AS {name}" if name in decimals else name for name, _ in columns), decimals


def convert(batch: pa.RecordBatch, decimals: frozenset[str]) -> pa.RecordBatch:
    """Return the batch with its decimals as decimals."""
    names = batch.schema.names
    columns = [batch[name].cast(DECIMAL) if name in decimals else batch[name] for name in names]
    return pa.RecordBatch.from_arrays(columns, names=names)


def repeated(batch: pa.RecordBatch) -> list[str]:
    """Return the columns of a first batch in which values repeat: only those gain by a dictionary."""
    return [name for name in batch.schema.names if len(batch[name].unique()) * 8 < batch.num_rows]


def read(uri: str, snapshot: str, sql: str, decimals: frozenset[str], target: Path | None) -> None:
    """Read one range of the table, convert it, and write it if there is a ``target``."""
    connection = connect(uri)
    run_plain(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    run_plain(connection, f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    writer, waiting, rows = None, [], 0
    for batch in run(connection, sql):
        done = convert(batch, decimals)
        if target is None:
            continue
        if writer is None:
            import pyarrow.parquet as pq

            writer = pq.ParquetWriter(
                target, done.schema, compression="zstd", compression_level=1, use_dictionary=repeated(done)
            )
        waiting.append(done)
        rows += done.num_rows
        if rows >= ROW_GROUP:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=rows)
            waiting, rows = [], 0
    if writer is not None:
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=rows)
        writer.close()


def main() -> int:
    """Do the job; return how many of the connections failed."""
    job = json.loads(Path(sys.argv[1]).read_text())
    table, place = job["tables"][0]["name"], Path(job["place"])
    at = job["source"]
    uri = f"postgresql://{at['user']}:{at['password'].replace(' ', '%20')}@{at['host']}:{at['port']}/{at['database']}"
    lead = connect(uri)
    run_plain(lead, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    snapshot = run(lead, "SELECT pg_export_snapshot()").read_all()[0][0].as_py()
    pages = run(lead, f"SELECT pg_relation_size('{table}') / 8192").read_all()[0][0].as_py()
    listed, decimals = select(lead, table)
    cuts = [pages * part // CONNECTIONS for part in range(CONNECTIONS)] + [1 << 31]
    failed: list[Exception] = []

    def part(number: int) -> None:
        where = f"ctid >= '({cuts[number]},0)'::tid AND ctid < '({cuts[number + 1]},0)'::tid"
        target = place / f"part-{number}.parquet" if job["write"] else None
        try:
            read(uri, snapshot, f"SELECT {listed} FROM {table} WHERE {where}", decimals, target)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=part, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        print(error, file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
