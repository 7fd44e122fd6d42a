"""``ingestion verify`` for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.provenance import ORDERS, Store, flip_a_byte


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Orders, articles and a table that is never run, in one configuration."""
    found = Store(tmp_path, "orders", "stock")
    found.run()
    found.lake.document["tables"].append({"schema": "shop", "table": "prices", "mode": "full"})
    found.lake.save()
    return found


def verify(call: Call, store: Store, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return the document."""
    result = call("verify", "--config", store.lake.path, "--output", "json", *arguments)
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert (document["version"], document["exit_code"], document["job_name"]) == (1, code, "test")
    return document


def test_proven_tables_exit_with_zero_and_say_what_was_looked_at(call: Call, store: Store) -> None:
    """One line a table on stderr, and nothing on stdout."""
    result = call("verify", "--config", store.lake.path)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["shop.orders", "proven"],
        ["shop.stock", "proven"],
        ["shop.prices", "no"],
    ]
    assert "80 rows, 1 batch, 4 raw files" in lines[0]
    assert lines[-1] == "3 tables: 2 proven, 1 no data. Nothing was changed, no source was asked."


def test_no_source_is_asked(call: Call, store: Store) -> None:
    """It may be gone for good."""
    (store.root / "shop.db").unlink()
    tables = verify(call, store, "--only-tables", "shop.stock")["tables"]
    assert [(table["table"], table["status"], table["rows"]) for table in tables] == [("shop.stock", "proven", 10)]
    assert not (store.root / "shop.db").exists()


def test_a_broken_table_exits_with_one_and_the_others_are_still_proven(call: Call, store: Store) -> None:
    """Programs get batch, slice, file and keys; people read the same in words."""
    path = store.raw(1, 2)
    flip_a_byte(path)
    orders, stock, _ = verify(call, store, code=1)["tables"]
    assert (orders["status"], stock["status"]) == ("broken", "proven")
    changed, unproven = orders["findings"]
    assert (changed["kind"], changed["batch"], changed["slice"]) == ("raw_file_changed", store.batch_id(1), 2)
    assert changed["file"] == str(path)
    assert (unproven["kind"], unproven["slice"], len(unproven["examples"])) == ("unproven", 2, 10)
    shown = call("verify", "--config", store.lake.path, "--max-keys", "1")
    assert shown.exit_code == 1
    assert f"it belongs to slice 2 of batch {store.batch_id(1)}" in shown.stderr
    assert "id = " in shown.stderr
    assert "slice 2 holds: above 2026-06-01" in shown.stderr


def test_hostile_names_and_values_are_shown_as_they_are(call: Call, store: Store) -> None:
    """Markup is no markup, and nothing moves the cursor of the terminal."""
    rows = store.rows("sku == 'a1'", "shop.stock")
    name = "[red]x[/red] 'quoted', \x1b[2J\n" + "ü" * 70_000
    strange = rows.set_column(0, rows.schema.field(0), [[name]])
    with store.behind_its_back("shop.stock") as table:
        table.append(strange)
    result = call("verify", "--config", store.lake.path, "--only-tables", "shop.stock")
    assert result.exit_code == 1
    assert "sku = [red]x[/red] 'quoted'," in result.stderr
    assert "\x1b" not in result.stderr
    assert f"({len(name):,} characters)" in result.stderr
    (finding,) = verify(call, store, "--only-tables", "shop.stock", code=1)["tables"][0]["findings"]
    assert finding["examples"][0]["key"] == {"sku": name}


def test_what_was_not_looked_at_warns_only_those_who_did_not_ask_for_it(call: Call, store: Store) -> None:
    """--files-only leaves rows out because somebody wanted it so; --fail-on-warn is about the rest."""
    document = verify(call, store, "--files-only", "--fail-on-warn")
    assert [table["status"] for table in document["tables"]] == ["partly", "partly", "no_data"]
    assert document["tables"][0]["unseen"] == [{"reason": "rows were not compared (--files-only)", "wished": True}]
    orders = next(table for table in store.lake.document["tables"] if table["table"] == "orders")
    orders["primary_keys"] = ["id", "note"]
    store.lake.save()
    assert verify(call, store)["tables"][0]["status"] == "partly"
    (reason,) = verify(call, store, "--fail-on-warn", code=5)["tables"][0]["unseen"]
    assert reason["reason"] == "its rows were merged by other settings than those of now: primary_keys"


def test_what_stops_a_table_stands_in_its_proof(call: Call, store: Store) -> None:
    """The others are proven, and the exit code is the table's."""
    metadata = Path(store.lake.table(ORDERS).metadata_location.removeprefix("file://"))
    metadata.rename(metadata.with_suffix(".away"))
    orders, stock, _ = verify(call, store, code=1)["tables"]
    assert (orders["status"], orders["error"]["exit_code"], stock["status"]) == ("error", 1, "proven")
    assert "the warehouse has lost its metadata" in orders["error"]["message"]


def test_manifests_of_the_table_that_are_gone_are_damage(call: Call, store: Store) -> None:
    """Iceberg's own lists of files: without one readers see nothing."""
    for listing in (store.root / "warehouse" / "shop" / "orders" / "metadata").glob("*.avro"):
        listing.unlink()
    orders = verify(call, store, code=1)["tables"][0]
    assert (orders["status"], [finding["kind"] for finding in orders["findings"]]) == ("broken", ["table_damaged"])


def test_wrong_use_ends_before_anything_is_looked_at(call: Call, store: Store) -> None:
    assert call("verify").exit_code == 2
    assert call("verify", "--config", store.lake.path, "--max-keys", "-1").exit_code == 2
    unknown = call("verify", "--config", store.lake.path, "--only-tables", "shop.nothing")
    assert (unknown.exit_code, "which is not among the tables" in unknown.stderr) == (2, True)
