"""A real PostgreSQL, eight tables on four threads, one of them broken: loaded, changed, loaded again."""

import csv
import dataclasses
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import SparkSession

from ingestion_runtime.model.result import RunResult, TableResult, TableStatus
from tests.lake import Lake
from tests.servers.postgresql import PostgresDatabase, PostgresServer

# Far enough in the past for any clock; every cursor is a different moment, so that "what changed" is a plain number.
SOURCE = """
CREATE SCHEMA reporting;
CREATE TABLE customers (
  customer_id uuid PRIMARY KEY, name text NOT NULL, balance numeric(14,4), settings jsonb, active bool, born date,
  updated_at timestamptz NOT NULL);
INSERT INTO customers SELECT md5(g::text)::uuid,
  CASE g % 4 WHEN 0 THEN 'Zoë ' || g || ' 🚲' WHEN 1 THEN E'tab\\there\\nline ' || g WHEN 2 THEN '' ELSE '\\N ' || g END,
  CASE WHEN g % 7 <> 0 THEN (g - 2500) * 1.2345 END,
  CASE WHEN g % 5 <> 0 THEN jsonb_build_object('n', g, 'tags', jsonb_build_array('ü', NULL, g % 3 = 0)) END,
  CASE g % 3 WHEN 0 THEN true WHEN 1 THEN false END, DATE '1899-12-31' + g,
  TIMESTAMPTZ '2024-03-30 23:59:59.000001+01' + g * INTERVAL '1 minute 0.000001 seconds'
  FROM generate_series(1, 5000) g;
CREATE TABLE orders (
  order_id bigint PRIMARY KEY, amount numeric, is_test bool NOT NULL, note varchar(40), updated_at timestamp NOT NULL);
INSERT INTO orders SELECT g, g / 8.0, g % 10 = 0, repeat('x', g % 41),
  TIMESTAMP '2024-01-01' + g * INTERVAL '1 second' FROM generate_series(1, 8000) g;
CREATE TABLE order_lines (
  order_id bigint, line_no smallint, price numeric(10,2) NOT NULL, changed_ms bigint NOT NULL,
  PRIMARY KEY (order_id, line_no));
INSERT INTO order_lines SELECT g / 3, g % 3, g * 0.01, 1704067200000 + g * 7 FROM generate_series(3, 9002) g;
CREATE TABLE "Odd ""Names" ("Id" int PRIMARY KEY, "sélect" text, version int NOT NULL);
INSERT INTO "Odd ""Names" SELECT g, chr(960 + g % 20), g FROM generate_series(1, 2000) g;
CREATE TABLE products (sku text COLLATE "C" PRIMARY KEY, weight float8, data bytea, seen timestamptz);
INSERT INTO products SELECT 'SKU-' || g, g / 7.0, decode(md5(g::text), 'hex'),
  CASE WHEN g % 2 = 0 THEN TIMESTAMPTZ '2024-10-27 02:30:00+02' + g * INTERVAL '1 hour' END FROM generate_series(1, 2000) g;
CREATE TABLE prices (price_id int PRIMARY KEY, price numeric(8,3), valid_on date);
INSERT INTO prices SELECT g, g / 1000.0, DATE '2024-02-28' + g % 5 FROM generate_series(1, 6000) g;
CREATE TABLE invoices (invoice_id int PRIMARY KEY, due date, paid_at timestamp);
INSERT INTO invoices SELECT g, DATE '2024-01-01' + g, CASE WHEN g % 3 = 0 THEN TIMESTAMP '2024-01-01' END
  FROM generate_series(1, 3000) g;
CREATE TABLE reporting.twice (id int, note text);
INSERT INTO reporting.twice SELECT g % 1000, 'n' || g FROM generate_series(1, 1003) g;
"""
CHANGES = """
UPDATE customers SET name = name || '!', updated_at = updated_at + INTERVAL '30 days'
  WHERE customer_id IN (SELECT md5(g::text)::uuid FROM generate_series(1, 5000, 100) g);
INSERT INTO customers SELECT md5(g::text)::uuid, 'new 🚀', NULL, '{}', true, '2000-01-01',
  TIMESTAMPTZ '2024-05-01' + g * INTERVAL '1 microsecond' FROM generate_series(5001, 5020) g;
UPDATE orders SET amount = -1, updated_at = updated_at + INTERVAL '30 days' WHERE order_id <= 40;
UPDATE order_lines SET price = price + 1, changed_ms = changed_ms + 86400000 WHERE order_id = 17;
INSERT INTO order_lines VALUES (9000, 1, 0.01, 1704153600000);
UPDATE products SET weight = 0 WHERE sku = 'SKU-7';
DELETE FROM prices WHERE price_id > 5990;
UPDATE invoices SET paid_at = '2024-02-02' WHERE invoice_id = 1;
"""
# What CHANGES touched as each configuration sees it: 50 updated + 20 new; 40, of which 4 are tests; 3 lines + 1 new.
CHANGED = {"public.customers": 70, "public.orders": 36, "public.order_lines": 4, 'public.Odd "Names': 0}

BROKEN = "reporting.twice"
UNPAID = "SELECT invoice_id, due FROM public.invoices WHERE paid_at IS NULL"


def scd1(table: str, keys: list[str], cursor: str, kind: str, **more: Any) -> dict[str, Any]:
    spec = {"schema": "public", "table": table, "mode": "scd1", "primary_keys": keys}
    return {**spec, "incremental_column": cursor, "incr_col_type": kind, **more}


def full(schema: str, table: str, keys: list[str], **more: Any) -> dict[str, Any]:
    return {"schema": schema, "table": table, "mode": "full", "primary_keys": keys, **more}


TABLES = [
    scd1("customers", ["customer_id"], "updated_at", "timestamp"),
    scd1(
        "orders",
        ["order_id"],
        "updated_at",
        "timestamp",
        source_filter=["NOT is_test", "amount IS NOT NULL"],
        cursor_timezone="UTC",
    ),
    scd1("order_lines", ["order_id", "line_no"], "changed_ms", "epoch_millis"),
    scd1('Odd "Names', ["Id"], "version", "int"),
    full("public", "products", ["sku"]),
    full(
        "public",
        "prices",
        ["price_id"],
        partition_read={"partitionColumn": "price_id", "lowerBound": 1, "upperBound": 6000, "numPartitions": 4},
    ),
    full("reporting", "unpaid", ["invoice_id"], query_sql=UNPAID),
    full("reporting", "twice", ["id"]),  # three ids occur twice: no target can have this primary key
]
# For every target that must come out right, what psql is asked for instead.
SOURCES = {
    "public.customers": "public.customers",
    "public.orders": "(SELECT * FROM public.orders WHERE NOT is_test) o",
    "public.order_lines": "public.order_lines",
    'public.Odd "Names': 'public."Odd ""Names"',
    "public.products": "public.products",
    "public.prices": "public.prices",
    "reporting.unpaid": "(SELECT invoice_id, due FROM public.invoices WHERE paid_at IS NULL) i",
}


Rows = list[tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Chapter:
    """How one run ended, what it told, and each target beside what psql printed at that time."""

    result: RunResult
    events: list[dict[str, Any]]
    published: dict[str, Rows]
    printed: dict[str, Rows]

    def table(self, name: str) -> TableResult:
        return next(table for table in self.result.tables if table.table == name)


def columns_of(database: PostgresDatabase, relation: str) -> list[str]:
    header = database.psql(f"COPY (SELECT * FROM {relation} LIMIT 0) TO STDOUT WITH (FORMAT csv, HEADER)")
    return next(csv.reader([header]))


def print_rows(database: PostgresDatabase, relation: str) -> Rows:
    """Return the rows as PostgreSQL spells them, in COPY's own escapes."""
    listed = ", ".join('("{}")::text'.format(name.replace('"', '""')) for name in columns_of(database, relation))
    printed = database.psql(f"SET timezone = 'UTC'; COPY (SELECT {listed} FROM {relation}) TO STDOUT")
    return sorted(tuple(line.split("\t")) for line in printed.split("\n"))


def spell_rows(database: PostgresDatabase, lake: Lake, target: str, relation: str) -> Rows:
    """Return a target's rows as COPY would spell them, in the source's order of columns."""
    if not lake.catalog.table_exists(target):
        return []
    columns = columns_of(database, relation)
    rows = lake.rows(target)
    assert set(rows[0]) == set(columns)
    return sorted(tuple(spell(row[name]) for name in columns) for row in rows)


def spell(value: Any) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        moment = value.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
        return moment if value.tzinfo is None else f"{moment}+00"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    return re.sub(r"[\\\t\n]", lambda found: {"\t": r"\t", "\n": r"\n"}.get(found[0], r"\\"), text)


def run_chapter(lake: Lake, database: PostgresDatabase, spark: SparkSession, day: date) -> Chapter:
    told = len(lake.events())
    result = lake.run(spark, day=day)
    return Chapter(
        result=result,
        events=lake.events()[told:],
        published={target: spell_rows(database, lake, target, relation) for target, relation in SOURCES.items()},
        printed={target: print_rows(database, relation) for target, relation in SOURCES.items()},
    )


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, spark: SparkSession
) -> Iterator[tuple[Chapter, Chapter]]:
    """The source loaded, changed, and loaded again one load date later."""
    root = tmp_path_factory.mktemp("story")
    database = postgres_server.create_database()
    lake = Lake(root, database.configured(), TABLES)
    lake.document["runtime"]["max_parallel_tables"] = 4
    lake.save()
    database.psql(SOURCE)
    first = run_chapter(lake, database, spark, date(2026, 7, 1))
    database.psql(CHANGES)
    yield first, run_chapter(lake, database, spark, date(2026, 7, 2))
    postgres_server.drop_database(database.database)


@pytest.mark.parametrize("target", SOURCES)
def test_each_sound_target_equals_its_source_value_by_value(story: tuple[Chapter, Chapter], target: str) -> None:
    """Texts with emoji and tabs, numerics, times, uuids, JSON, bytes, composite keys: as psql prints them."""
    first, _ = story
    assert len(first.printed[target]) >= 1000
    assert first.published[target] == first.printed[target]
    assert first.table(target).rows_read == first.table(target).rows_written == len(first.printed[target])


def test_a_broken_table_stops_no_other_one(story: tuple[Chapter, Chapter]) -> None:
    """Seven of eight tables complete, and the run says by its exit code that one has failed for good."""
    first, _ = story
    statuses = {table.table: table.status for table in first.result.tables}
    assert statuses == {**dict.fromkeys(SOURCES, TableStatus.DONE), BROKEN: TableStatus.FAILED}
    assert first.result.exit_code == 1


def test_a_failure_is_told_once_with_type_message_and_stack_hash(story: tuple[Chapter, Chapter]) -> None:
    """One event, one result: the same type, a message with numbers and a remedy, a hash that groups equal failures."""
    first, second = story
    (event,) = [event for event in first.events if event["event"] == "table_failed"]
    failure = first.table(BROKEN).failure
    assert failure is not None
    assert (event["table"], event["error_type"], event["exit_code"]) == (BROKEN, "RefusedBatchError", 1)
    assert "3 rows repeat a primary key" in event["message"]
    assert "Correct primary_keys" in event["remedy"]
    assert re.fullmatch(r"[0-9a-f]{8,64}", event["stack_hash"])
    assert (failure.type, failure.message, failure.stack_hash) == (
        event["error_type"],
        event["message"],
        event["stack_hash"],
    )
    (again,) = [event for event in second.events if event["event"] == "table_failed"]
    assert again["stack_hash"] == event["stack_hash"]


@pytest.mark.parametrize(("target", "changed"), CHANGED.items())
def test_the_next_run_reads_only_what_changed(story: tuple[Chapter, Chapter], target: str, changed: int) -> None:
    """An scd1 table reads as many rows as were updated or inserted, and none when nothing was."""
    _, second = story
    table = second.table(target)
    assert table.rows_read == changed
    assert table.status is (TableStatus.DONE if changed else TableStatus.UNCHANGED)


@pytest.mark.parametrize("target", SOURCES)
def test_each_sound_target_equals_its_changed_source(story: tuple[Chapter, Chapter], target: str) -> None:
    """After updates, inserts and (for full tables) deletes every target is the source again."""
    first, second = story
    assert second.published[target] == second.printed[target]
    if CHANGED.get(target) != 0:
        assert second.printed[target] != first.printed[target]
