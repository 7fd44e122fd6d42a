"""Proof without the source: what was published is where the batches put it; whatever was lost, added or changed since is
named by batch, slice and file."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion_runtime.endpoints.resolving import open_configuration
from ingestion_runtime.maintenance import running as maintenance
from ingestion_runtime.maintenance.report import Mode
from ingestion_runtime.maintenance.running import MaintenanceRequest
from ingestion_runtime.provenance.findings import Finding, Kind, ProofStatus, TableProof
from ingestion_runtime.provenance.verifying import Wishes
from tests.provenance import ORDERS, Store, flip_a_byte, flip_shared_byte, keys

LATER = """
UPDATE orders SET amount = 7.5, updated_at = '2026-06-02 10:00:00' WHERE id IN (3, 30);
INSERT INTO orders VALUES (100, 'new', NULL, NULL, '2026-06-02 11:00:00');
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Orders of two batches: four slices, then changes of two rows and a new one."""
    found = Store(tmp_path)
    found.run()
    found.change(LATER)
    found.run()
    return found


def only(proof: TableProof) -> Finding:
    """The one finding of a broken table."""
    assert proof.status is ProofStatus.BROKEN, proof
    (finding,) = [finding for finding in proof.findings if finding.kind is not Kind.NOTE]
    return finding


def slice_of(store: Store, order: int) -> int:
    """The slice of the first batch in which an order lies, as its own row says."""
    (label,) = store.rows(f"id == {order}")["_ingest_slice"].to_pylist()
    return int(label.rpartition("/")[2])


# ---------------------------------------------------------------- nothing is wrong


def test_tables_of_every_mode_are_proven_whatever_batches_they_consist_of(tmp_path: Path) -> None:
    """Several at the same time: deletes, keys that come back, equal rows, late ones, a renamed column, a reload."""
    store = Store(tmp_path, "orders", "visits", "stock", "prices", deletes="hard", max_delete_fraction=0.5)
    store.lake.document["tables"][0]["schema_policy"] = {"renamed": "evolve"}
    store.lake.save()
    store.run()
    store.change(f"{LATER} DELETE FROM orders WHERE id BETWEEN 10 AND 19; DELETE FROM stock WHERE sku = 'a3';")
    store.change("INSERT INTO visits VALUES ('2026-06-01 10:00:15', '/late', 1), ('2026-06-02 00:00:00', '/', 1);")
    store.run()
    store.change("INSERT INTO orders VALUES (12, 'back', 1, 1, '2026-06-03 10:00:00');")
    store.change("ALTER TABLE orders RENAME COLUMN note TO remark;")
    store.run()

    proofs = store.proofs()

    assert {name: (proof.status, proof.findings) for name, proof in proofs.items()} == dict.fromkeys(
        ("shop.orders", "shop.visits", "shop.stock", "shop.prices"), (ProofStatus.PROVEN, ())
    )
    rows = {name: proof.rows for name, proof in proofs.items()}
    assert rows == {"shop.orders": 72, "shop.visits": 32, "shop.stock": 9, "shop.prices": 20}
    store.run(reload=["shop.orders"])
    again = store.proof()
    assert (again.status, again.rows, again.batches) == (ProofStatus.PROVEN, 72, 4)


def test_rows_that_are_marked_as_deleted_are_proven_and_a_lifted_mark_is_a_change(tmp_path: Path) -> None:
    """Soft deletes: the mark belongs to what was published."""
    store = Store(tmp_path, deletes="soft", max_delete_fraction=0.5)
    store.run()
    store.change("DELETE FROM orders WHERE id IN (5, 6);")
    store.run()
    assert store.proof().status is ProofStatus.PROVEN
    with store.behind_its_back() as table:
        row = store.rows("id == 5")
        place = row.schema.get_field_index("_ingest_deleted_at")
        table.overwrite(row.set_column(place, row.schema.field(place), pa.nulls(1, row.schema.field(place).type)), "id == 5")

    finding = only(store.proof())

    assert (finding.kind, keys(finding), finding.examples[0].columns) == (
        Kind.ROWS_CHANGED,
        ["5"],
        ("_ingest_deleted_at",),
    )


def test_rows_that_are_marked_rest_on_the_slice_that_brought_them(tmp_path: Path) -> None:
    """By their own column they come from the tombstones that marked them; where raw has lost the slice, that is no claim."""
    store = Store(tmp_path, deletes="soft", max_delete_fraction=0.5)
    store.run()
    store.change("DELETE FROM orders WHERE id IN (5, 6);")
    store.run()
    flip_a_byte(store.raw(1, 0))

    findings = {finding.kind: finding for finding in store.proofs(Wishes(examples=100))[ORDERS].findings}

    assert set(findings) == {Kind.RAW_FILE_CHANGED, Kind.UNPROVEN}
    assert {key["id"] for key in (row.key for row in findings[Kind.UNPROVEN].examples)} >= {"5", "6"}


def test_columns_may_be_called_like_anything(tmp_path: Path) -> None:
    """Also like those of the proof's own tables, or like nothing that SQL would take without quotes."""
    names = [
        "slice",
        "path",
        "place",
        "marked",
        "key_hash",
        "row_hash",
        "file",
        "row",
        "name",
        "n",
        "nth",
        "hash",
        'a "b", [c]',
    ]
    columns = ", ".join('"' + name.replace('"', '""') + '" TEXT' for name in names)
    store = Store(tmp_path, "prices", "stock")
    store.change(f"DROP TABLE stock; CREATE TABLE stock ({columns}, sku TEXT);")
    values = ", ".join("'~'" if place % 2 else "NULL" for place in range(len(names)))
    store.change(f"INSERT INTO stock VALUES ({values}, 'one'), ({values}, 'two');")
    store.run()
    assert store.proof("shop.stock").status is ProofStatus.PROVEN
    row = store.rows("sku == 'one'", "shop.stock")
    with store.behind_its_back("shop.stock") as table:
        place = row.schema.get_field_index("marked")
        changed = row.set_column(place, row.schema.field(place), pa.array([None], pa.string()))
        table.overwrite(changed.slice(0, 1), "sku == 'one'")
    finding = only(store.proof("shop.stock"))
    assert (finding.kind, keys(finding, "sku"), finding.examples[0].columns) == (Kind.ROWS_CHANGED, ["one"], ("marked",))


def test_a_table_that_was_never_run_has_no_data(tmp_path: Path) -> None:
    """Nothing was published, and nothing is claimed."""
    proof = Store(tmp_path).proof()
    assert (proof.status, proof.findings, proof.rows) == (ProofStatus.NO_DATA, (), None)


def test_raw_of_batches_before_a_reload_may_be_gone(store: Store) -> None:
    """Retention takes what no rebuild needs: the proof begins at the batch that replaced the table."""
    store.run(reload=[ORDERS])
    shutil.rmtree(store.batch(1))
    assert (store.proof().status, store.proof().rows) == (ProofStatus.PROVEN, 81)


def test_maintenance_and_a_rebuild_from_raw_leave_nothing_unproven(tmp_path: Path) -> None:
    """Files put together, snapshots expired, old raw removed, a mirror made anew: the same rows, and a proof of them."""
    store = Store(tmp_path, "orders", "visits", deletes="hard", max_delete_fraction=0.5)
    for table in store.lake.document["tables"]:
        table["maintenance"] = {"min_small_files": 2, "expire_days": 0, "keep_snapshots": 1, "raw_days": 0}
    store.lake.save()
    store.run()
    store.change(f"{LATER} DELETE FROM orders WHERE id < 10; INSERT INTO visits VALUES ('2026-06-02 00:00:00', '/', 1);")
    store.run()
    maintain(store, Mode.APPLY)
    assert {proof.status for proof in store.proofs().values()} == {ProofStatus.PROVEN}
    maintain(store, Mode.REBUILD)
    store.change("UPDATE orders SET amount = 1, updated_at = '2026-06-03 10:00:00' WHERE id = 40;")
    store.run()
    proofs = store.proofs()
    assert {name: (proof.status, proof.rows) for name, proof in proofs.items()} == {
        "shop.orders": (ProofStatus.PROVEN, 72),
        "shop.visits": (ProofStatus.PROVEN, 31),
    }
    # What the rows say of their origin is older than the batch of the rebuild, in whose files they now lie. Two of them came
    # once more with the batch after it: one that changed, and the one at the watermark.
    flip_a_byte(store.raw(3, 0, ORDERS))
    changed, unproven = store.proof().findings
    assert (changed.kind, unproven.kind, unproven.rows) == (Kind.RAW_FILE_CHANGED, Kind.UNPROVEN, 70)


def maintain(store: Store, mode: Mode) -> None:
    configuration = open_configuration(store.lake.path)
    report = maintenance.run(MaintenanceRequest(configuration, configuration.tables, mode), {})
    assert report.exit_code == 0, report


# ---------------------------------------------------------------- raw


def test_a_flipped_byte_of_a_raw_file_names_its_slice_and_what_rests_on_it(store: Store) -> None:
    """Only raw has changed, and nobody can know that: the rows of that slice are unproven, not added."""
    path = store.raw(1, 2)
    flip_a_byte(path)

    proof = store.proof()

    changed, unproven = proof.findings
    assert proof.status is ProofStatus.BROKEN
    assert (changed.kind, changed.slice, changed.batch) == (Kind.RAW_FILE_CHANGED, 2, store.batch_id(1))
    assert (changed.file, changed.covers is not None) == (str(path), True)
    assert (unproven.kind, unproven.slice, unproven.file) == (Kind.UNPROVEN, 2, str(path))
    standing = store.rows(f"_ingest_slice == '{store.batch_id(1)}/00002'")["id"].to_pylist()
    assert unproven.rows == len(standing) > 10
    assert {int(key or "") for key in keys(unproven)} <= set(standing)


def test_a_byte_that_raw_and_table_share_names_the_slice(tmp_path: Path) -> None:
    """A table that took raw's files over by links: one flipped bit changes both, and the hash still tells."""
    store = Store(tmp_path, "prices")
    store.run()
    path = store.raw(1, 0, "shop.prices")
    assert path.stat().st_nlink == 2
    flip_shared_byte(path)

    proof = store.proof("shop.prices")

    assert proof.status is ProofStatus.BROKEN
    changed = proof.findings[0]
    assert (changed.kind, changed.slice, changed.file) == (Kind.RAW_FILE_CHANGED, 0, str(path))
    assert {finding.kind for finding in proof.findings[1:]} <= {Kind.UNPROVEN, Kind.TABLE_FILE_SPOILT}, proof.findings


def test_a_removed_raw_file_names_its_slice(store: Store) -> None:
    """What it brought cannot be proven any more."""
    path = store.raw(2, 0)
    path.unlink()

    missing, unproven = store.proof().findings

    assert (missing.kind, missing.slice, missing.batch, missing.file) == (
        Kind.RAW_FILE_MISSING,
        0,
        store.batch_id(2),
        str(path),
    )
    assert (unproven.kind, keys(unproven)) == (Kind.UNPROVEN, ["100", "3", "30"])


def test_lost_tombstones_leave_unproven_what_they_may_have_deleted(tmp_path: Path) -> None:
    """Rows that are not in the table may be gone by right."""
    store = Store(tmp_path, deletes="hard")
    store.run()
    store.change("DELETE FROM orders WHERE id IN (8, 9);")
    store.run()
    store.raw(2, 0, tombstones=True).unlink()

    missing, unproven = store.proof().findings

    assert (missing.kind, missing.slice, missing.covers) == (
        Kind.RAW_FILE_MISSING,
        0,
        "keys that the source no longer had",
    )
    assert (unproven.kind, keys(unproven)) == (Kind.UNPROVEN, ["8", "9"])


def test_a_file_that_no_manifest_names_is_told(store: Store) -> None:
    """Whoever reads the directory would read it too."""
    shutil.copyfile(store.raw(1, 0), store.batch(1) / "slice-00000-00099.parquet")
    assert only(store.proof()).kind is Kind.RAW_FILE_UNKNOWN


def test_quarantined_rows_are_looked_at_too(tmp_path: Path) -> None:
    """They were read, and they are not in the table: raw is all there is of them."""
    store = Store(tmp_path, "stock")
    store.lake.document["tables"][0]["null_keys"] = "quarantine"
    store.lake.save()
    store.change("INSERT INTO stock VALUES (NULL, 1);")
    store.run()
    assert (store.proof("shop.stock").status, store.proof("shop.stock").files) == (ProofStatus.PROVEN, 2)
    (aside,) = (store.root / "raw" / "shop" / "stock" / "_quarantine").rglob("*.parquet")
    manifest = (aside.parent / "_MANIFEST.json").read_text()
    (aside.parent / "_MANIFEST.json").write_text(manifest + " ")
    finding = only(store.proof("shop.stock"))
    assert (finding.kind, finding.file) == (Kind.MANIFEST_CHANGED, str(aside.parent))
    (aside.parent / "_MANIFEST.json").write_text(manifest)
    flip_a_byte(aside)
    finding = only(store.proof("shop.stock"))
    assert (finding.kind, finding.file) == (Kind.RAW_FILE_CHANGED, str(aside))
    shutil.rmtree(aside.parent)
    assert only(store.proof("shop.stock")).kind is Kind.RAW_FILE_MISSING
    store.lake.document["tables"][0]["maintenance"] = {"raw_days": 30}
    store.lake.save()
    assert store.proof("shop.stock").status is ProofStatus.PROVEN, "retention takes them, and may"


def test_a_missing_batch_directory_is_named_by_the_batch_that_followed(store: Store) -> None:
    """Its rows are unproven, and those of the other batches are as they were."""
    name = store.batch_id(1)
    shutil.rmtree(store.batch(1))

    missing, unproven = store.proof().findings

    assert (missing.kind, missing.batch) == (Kind.BATCH_MISSING, name)
    assert (unproven.kind, unproven.batch, unproven.rows) == (Kind.UNPROVEN, name, 78)


def hide_a_file(manifest: dict[str, Any]) -> None:
    manifest["files"].pop(2)


def count_more(manifest: dict[str, Any]) -> None:
    manifest["files"][2]["rows"] += 1


def move_a_window(manifest: dict[str, Any]) -> None:
    manifest["batch"]["plan"]["slices"][2]["window"]["low"]["literal"] = "2026-06-01 10:00:59.000000"


def take_another_hash(manifest: dict[str, Any]) -> None:
    manifest["files"][2]["sha256"] = "0" * 64


@pytest.mark.parametrize("edit", [hide_a_file, count_more, move_a_window, take_another_hash])
def test_an_edited_manifest_names_the_slice(store: Store, edit: Callable[[dict[str, Any]], None]) -> None:
    """Whatever is written into it, something else says otherwise."""
    store.edit_manifest(1, edit)

    proof = store.proof()

    changed, *others = proof.findings
    assert (proof.status, changed.kind) == (ProofStatus.BROKEN, Kind.MANIFEST_CHANGED)
    assert {finding.slice for finding in others if finding.kind is not Kind.RAW_FILE_UNKNOWN} == {2}
    assert {finding.batch for finding in proof.findings} == {store.batch_id(1)}


def say_another_watermark(manifest: dict[str, Any]) -> None:
    manifest["batch"]["plan"]["watermark"]["literal"] = "2026-06-05 00:00:00.000000"


@pytest.mark.parametrize("batch", [1, 2])
def test_a_watermark_that_receipt_or_next_batch_contradict_is_told(store: Store, batch: int) -> None:
    """Rows between what is claimed and what was read would be skipped."""
    store.edit_manifest(batch, say_another_watermark)
    assert [finding.kind for finding in store.proof().findings] == [Kind.MANIFEST_CHANGED, Kind.RECORDS_DISAGREE]


def test_a_manifest_that_cannot_be_read_is_told(store: Store) -> None:
    """Nothing is guessed from what is left of it."""
    (store.batch(2) / "_MANIFEST.json").write_text('{"batch": ')
    findings = store.proof().findings
    assert findings[0].kind is Kind.MANIFEST_UNREADABLE
    assert findings[0].batch == store.batch_id(2)


def first_away(rows: pa.Table) -> pa.Table:
    return rows.slice(1)


def one_note(rows: pa.Table) -> pa.Table:
    return rows.set_column(1, rows.schema.field(1), rows["note"].take([0] * len(rows)))


def rewrite(store: Store, batch: int, piece: int, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Change the rows of a raw file, and have the manifest say what they are now; return the file."""
    path = store.raw(batch, piece)
    forged = change(pq.read_table(path))
    path.unlink()
    pq.write_table(forged, path)

    def fit(manifest: dict[str, Any]) -> None:
        (file,) = [file for file in manifest["files"] if file["path"] == path.name]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        file.update(size=path.stat().st_size, sha256=digest, rows=forged.num_rows)

    store.edit_manifest(batch, fit)
    return path


@pytest.mark.parametrize(("batch", "named_by"), [(1, "batch {}"), (2, "the table's receipt")])
def test_raw_that_was_rewritten_with_its_manifest_is_not_what_was_published(store: Store, batch: int, named_by: str) -> None:
    """Hashes and counts were made to fit. Its digest stands in the batch that followed, or in the table."""
    piece = 2 if batch == 1 else 0
    rewrite(store, batch, piece, one_note)

    by_files, by_rows = store.proofs(Wishes(rows=False))[ORDERS], store.proof()

    changed = only(by_files)
    assert (changed.kind, changed.batch, changed.file) == (
        Kind.MANIFEST_CHANGED,
        store.batch_id(batch),
        str(store.batch(batch)),
    )
    assert changed.message == (
        f"the manifest of batch {store.batch_id(batch)} is not the one that {named_by.format(store.batch_id(2))} names"
        " (its SHA-256 differs)"
    )
    assert by_rows.findings[0] == changed
    assert {(finding.kind, finding.batch) for finding in by_rows.findings[1:]} <= {
        (Kind.ROWS_CHANGED, store.batch_id(batch))
    }


def test_a_manifest_that_covers_up_for_another_is_told_as_well(store: Store) -> None:
    """Whoever makes the next batch say the digest of a forged one has to change that batch too, and so on to the table."""
    rewrite(store, 1, 2, one_note)
    digest = hashlib.sha256((store.batch(1) / "_MANIFEST.json").read_bytes()).hexdigest()
    store.edit_manifest(2, lambda manifest: manifest["batch"].update(base_manifest=digest))

    changed = only(store.proofs(Wishes(rows=False))[ORDERS])

    assert (changed.kind, changed.batch) == (Kind.MANIFEST_CHANGED, store.batch_id(2))


def test_a_marker_that_leads_past_a_batch_is_told(store: Store) -> None:
    """Nothing proves a marker: the manifest says what came before."""
    path = store.batch(2) / "_PUBLISHED"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"previous": None}))

    finding = only(store.proof())

    assert (finding.kind, finding.batch) == (Kind.RECORDS_DISAGREE, store.batch_id(2))
    assert f"before it is none by its marker and {store.batch_id(1)} by its manifest" in finding.message


def test_batches_of_a_version_that_took_no_digests_are_believed_and_said_to_be(store: Store) -> None:
    """They are proven as before. Batches that follow are covered, and say nothing of those."""
    forget_digests(store)
    (note,) = store.proof().findings
    assert (store.proof().status, note.kind, note.batch) == (ProofStatus.PROVEN, Kind.NOTE, store.batch_id(2))
    assert f"up to batch {store.batch_id(2)} (2 of 2)" in note.message

    store.change("UPDATE orders SET note = 'x', updated_at = '2026-06-03 10:00:00' WHERE id = 9;")
    store.run()

    proof = store.proof()
    assert (proof.status, [finding.message.count("(2 of 3)") for finding in proof.findings]) == (ProofStatus.PROVEN, [1])
    store.edit_manifest(3, lambda _: None)
    note, changed = sorted(store.proof().findings, key=lambda finding: finding.breaks)
    assert (note.kind, changed.kind, changed.batch) == (Kind.NOTE, Kind.MANIFEST_CHANGED, store.batch_id(3))


def forget_digests(store: Store) -> None:
    """Make table, state and raw those of a version that took no digests of manifests."""
    for number in (1, 2):
        store.edit_manifest(number, lambda manifest: manifest["batch"].pop("base_manifest"))
    receipt = store.lake.receipt(ORDERS)
    del receipt["manifest"]
    with store.lake.table(ORDERS).transaction() as change:
        change.set_properties({"ingest.receipt": json.dumps(receipt)})


@pytest.mark.parametrize("demanded", ["plain_count", "checksum"])
def test_raw_that_was_rewritten_with_its_manifest_is_contradicted_by_the_source(tmp_path: Path, demanded: str) -> None:
    """Hashes and counts were made to fit; what the source said of the slice as it was read was not."""
    store = Store(tmp_path, reconciliation={"before_publish": [demanded]})
    store.run()
    assert store.proof().status is ProofStatus.PROVEN
    path = rewrite(store, 1, 2, first_away if demanded == "plain_count" else one_note)

    findings = [finding for finding in store.proof().findings if finding.kind is Kind.RECORDS_DISAGREE]
    spoken = [finding for finding in findings if "its source spoke" in finding.message]
    assert [(finding.batch, finding.slice, finding.file) for finding in spoken] == [(store.batch_id(1), 2, str(path))]


# ---------------------------------------------------------------- the table


def test_a_row_deleted_behind_its_back_names_where_it_came_from(store: Store) -> None:
    """Once by the table's history, and once with nothing but the rows to tell: the same slice and file."""
    piece, path = slice_of(store, 44), str(store.raw(1, slice_of(store, 44)))
    with store.behind_its_back() as table:
        table.delete("id == 44")

    lost = only(store.proof())

    assert (lost.kind, lost.batch, lost.slice, lost.file) == (Kind.ROWS_LOST, store.batch_id(1), piece, path)
    assert (lost.rows, keys(lost)) == (1, ["44"])
    with pytest.warns(UserWarning, match="Merge on read"):
        store.lake.table(ORDERS).delete("id == 30")
    damage, *rows = store.proof().findings
    assert damage.kind is Kind.TABLE_DAMAGED
    assert "someone else wrote to it" in damage.message
    assert [(row.kind, row.batch, keys(row)) for row in rows] == [
        (Kind.ROWS_LOST, store.batch_id(1), ["44"]),
        (Kind.ROWS_LOST, store.batch_id(2), ["30"]),
    ]


def test_a_row_added_behind_its_back_is_told_with_what_it_says_of_itself(store: Store) -> None:
    """One with an origin of its own making, one that claims a slice, one that is there twice."""
    row = store.rows("id == 50")
    strange = row.set_column(0, row.schema.field(0), pa.array([777], row.schema.field(0).type))
    named = row.schema.get_field_index("_ingest_slice")
    nameless = strange.set_column(0, row.schema.field(0), pa.array([778], row.schema.field(0).type))
    nameless = nameless.set_column(named, row.schema.field(named), pa.array(["[red]nowhere"]))
    with store.behind_its_back() as table:
        table.append(pa.concat_tables([strange, nameless, row]))

    findings = store.proof().findings

    assert {finding.kind for finding in findings} == {Kind.ROWS_ADDED}
    told = {
        key: example.slice for finding in findings for example in finding.examples for key in example.key.values() if key
    }
    label = f"{store.batch_id(1)}/{slice_of(store, 51):05d}"
    assert {key: told[key] for key in ("777", "778", "50")} == {"777": label, "778": "[red]nowhere", "50": label}
    assert all("no published batch" in finding.message for finding in findings)


def test_a_changed_value_names_column_and_origin(store: Store) -> None:
    """The version that should stand there is that of the second batch."""
    row = store.rows("id == 30")
    place = row.schema.get_field_index("note")
    with store.behind_its_back() as table:
        table.overwrite(row.set_column(place, row.schema.field(place), pa.array(["note 30 "])), "id == 30")

    changed = only(store.proof())

    assert (changed.kind, changed.batch, changed.slice) == (Kind.ROWS_CHANGED, store.batch_id(2), 0)
    assert changed.file == str(store.raw(2, 0))
    assert (keys(changed), changed.examples[0].columns) == (["30"], ("note",))


def test_rows_without_a_key_are_counted_as_often_as_they_are_there(tmp_path: Path) -> None:
    """Of two equal rows one is gone: that one of them is left proves nothing."""
    store = Store(tmp_path, "visits")
    store.run()
    twin = "at == '2026-06-01T10:00:03' and page == '/0'"
    assert store.rows(twin, "shop.visits").num_rows == 1
    with store.behind_its_back("shop.visits") as table:
        table.append(store.rows(twin, "shop.visits"))
    (added,) = store.proof("shop.visits").findings
    assert (added.kind, added.rows) == (Kind.ROWS_ADDED, 1)
    assert added.examples[0].key == {"at": "2026-06-01 10:00:03.000000", "page": "/0", "bytes": "0"}
    with store.behind_its_back("shop.visits") as table:
        table.delete(twin)
    (lost,) = store.proof("shop.visits").findings
    assert (lost.kind, lost.rows, lost.slice, lost.file) == (Kind.ROWS_LOST, 1, 0, str(store.raw(1, 0, "shop.visits")))


def test_data_files_that_are_missing_or_cut_are_named(store: Store) -> None:
    """Readers fail on them; what they held is lost."""
    first, *_ = store.data_files()
    content = first.read_bytes()
    first.unlink()
    spoilt, *lost = store.proof().findings
    assert (spoilt.kind, spoilt.file) == (Kind.TABLE_FILE_SPOILT, str(first))
    assert {finding.kind for finding in lost} == {Kind.ROWS_LOST}
    first.write_bytes(content[: len(content) // 2])
    assert store.proof().findings[0].kind is Kind.TABLE_FILE_SPOILT
    # As long as it was and with its footer, so that only reading the rows tells.
    first.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    spoilt, *lost = store.proof().findings
    assert (spoilt.kind, spoilt.file) == (Kind.TABLE_FILE_SPOILT, str(first))
    assert {finding.kind for finding in lost} == {Kind.ROWS_LOST}


def test_a_table_that_is_gone_is_told_by_raw(store: Store) -> None:
    """Without a receipt the markers in raw say that there was one."""
    store.lake.catalog.drop_table(ORDERS)
    damage = only(store.proof())
    assert (damage.kind, damage.batch) == (Kind.TABLE_DAMAGED, store.batch_id(2))


def test_a_table_that_was_set_back_is_told_by_raw(tmp_path: Path) -> None:
    """Its metadata is that of the first publish, receipt and tag included: it is in order by itself."""
    store = Store(tmp_path, "prices", "stock")
    store.run()
    location = store.lake.table("shop.stock").metadata_location
    store.change("UPDATE stock SET quantity = 99 WHERE sku = 'a1';")
    store.run()
    with store.lake.catalog.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = 'stock'", (location,))

    damage, changed = store.proof("shop.stock").findings

    assert (damage.kind, damage.batch) == (Kind.TABLE_DAMAGED, store.batch_id(2, "shop.stock"))
    assert (changed.kind, keys(changed, "sku"), changed.examples[0].columns) == (Kind.ROWS_CHANGED, ["a1"], ("quantity",))
    assert store.proof("shop.prices").status is ProofStatus.PROVEN


# ---------------------------------------------------------------- how it looks


def test_files_only_compares_no_rows_and_says_so(store: Store) -> None:
    """Partly, because rows were left out; and not a warning, because that was asked for."""
    with store.behind_its_back() as table:
        table.delete("id == 44")
    proof = store.proofs(Wishes(rows=False))[ORDERS]
    assert (proof.status, proof.rows, proof.warns) == (ProofStatus.PARTLY, None, False)
    assert [hindrance.wished for hindrance in proof.unseen] == [True]


@pytest.mark.parametrize(
    ("setting", "value"), [("primary_keys", ["id", "note"]), ("primary_keys", ["nr"]), ("incremental_column", "note")]
)
def test_rows_that_were_merged_by_other_settings_are_no_finding(store: Store, setting: str, value: object) -> None:
    """By another key they would add up to other rows, none of which is lost."""
    store.change("UPDATE orders SET note = 'other', updated_at = '2026-06-03 10:00:00' WHERE id = 3")
    store.run()
    store.lake.document["tables"][0][setting] = value
    store.lake.save()
    proof = store.proof()
    assert (proof.status, proof.findings, proof.warns) == (ProofStatus.PARTLY, (), True)
    (unseen,) = proof.unseen
    assert unseen.reason == f"its rows were merged by other settings than those of now: {setting}"


def test_no_more_keys_are_named_than_asked_for_and_all_are_counted(store: Store) -> None:
    with store.behind_its_back() as table:
        table.delete("id > 0")
    proof = store.proofs(Wishes(examples=2))[ORDERS]
    lost = [finding for finding in proof.findings if finding.kind is Kind.ROWS_LOST]
    assert sum(finding.rows or 0 for finding in lost) == 81
    assert {len(finding.examples) for finding in lost} == {2}
    assert len({(finding.batch, finding.slice) for finding in lost}) == 5


def test_runs_that_publish_meanwhile_never_look_like_damage(store: Store) -> None:
    """No lease is taken, and what moved is looked at again: each proof is of one moment."""
    seen: list[TableProof] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(store.proof())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for day in range(3, 6):
            store.change(f"UPDATE orders SET amount = {day}, updated_at = '2026-06-{day:02} 10:00:00' WHERE id % 5 = 0;")
            store.run()
    finally:
        over.set()
        looking.join()

    # A batch gets its marker a moment after its publish; until then its absence is noted.
    told = {(p.status, *(f for f in p.findings if f.kind is not Kind.NOTE)) for p in seen if p.error is None}
    assert told <= {(ProofStatus.PROVEN,)}
    assert {proof.error.exit_code for proof in seen if proof.error} <= {3}
    assert len({proof.batch for proof in [*seen, store.proof()]}) > 1


def test_looking_leaves_no_trace(store: Store) -> None:
    """Neither in raw nor in the warehouse, the catalog or the state; and no lease is taken."""
    flip_a_byte(store.raw(1, 2))

    def everything() -> dict[str, bytes]:
        files = (path for path in store.root.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
        return {str(path): path.read_bytes() for path in files}

    before = everything()
    store.proofs()
    assert everything() == before
    assert json.loads((store.batch(1) / "_PUBLISHED").read_text())["batch_id"] == store.batch_id(1)
