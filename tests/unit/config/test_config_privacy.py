"""What a table may say of columns that it keeps out of the lake."""

from collections.abc import Mapping
from typing import Any

import pytest

from ingestion_runtime.model.digest import reading, work_digest
from ingestion_runtime.model.privacy import Exclusion, MaskMethod, Privacy
from ingestion_runtime.model.spec import Configuration

HASH = {"method": "hash", "salt": "${env:SALT}"}


def with_orders(**values: object) -> Any:
    return lambda c: c["tables"][0].update(values)


def reading_of(configuration: Configuration, number: int = 0) -> Mapping[str, str]:
    return dict(reading(configuration.tables[number], configuration.connections[0]))


def digest_of(configuration: Configuration, number: int = 0) -> str:
    return work_digest(configuration.tables[number], configuration.connections[0])


def test_exclusions_and_masks_are_read(desk: Any) -> None:
    """The salt is a reference, and shows itself as nothing else."""
    masks = {"mail": HASH, "phone": {"method": "truncate", "length": 4}, "note": {"method": "null"}}
    privacy = desk.load(with_orders(exclude_columns=["ssn", "notes_*"], mask=masks)).tables[0].privacy
    assert privacy.exclusions == (Exclusion("ssn"), Exclusion("notes_*"))
    assert [(m.column, m.method, m.length) for m in privacy.masks] == [
        ("mail", MaskMethod.HASH, None),
        ("phone", MaskMethod.TRUNCATE, 4),
        ("note", MaskMethod.NULL, None),
    ]
    assert "Salt('${env:SALT}')" in repr(privacy)
    assert [privacy.excludes(name) for name in ("SSN", "notes_2", "note")] == [True, True, False]


@pytest.mark.parametrize(
    ("values", "pointer", "words"),
    [
        ({"exclude_columns": ["Order_*"]}, "exclude_columns", "meets a column of primary_keys"),
        ({"exclude_columns": ["updated_at"]}, "exclude_columns", "meets a column of incremental_column"),
        ({"mask": {"ORDER_ID": {"method": "null"}}}, "mask", "meets a column of primary_keys"),
        (
            {"exclude_columns": ["x"], "partition_read": {"partitionColumn": "x", "numPartitions": 2}},
            "exclude_columns",
            "partition_read",
        ),
        (
            {"mask": {"day": {"method": "null"}}, "intermediate": {"partition": [{"column": "day"}]}},
            "mask",
            "meets a column of intermediate.partition",
        ),
        (
            {"exclude_columns": ["region"], "intermediate": {"merge_filter": "region = 'x'"}},
            "exclude_columns",
            "meets a column of intermediate.merge_filter",
        ),
        ({"exclude_columns": ["a\nb"]}, "exclude_columns/0", "without control characters"),
        ({"mask": {" ": {"method": "null"}}}, "mask", "without control characters"),
        ({"mask": {"a": {"method": "hash"}}}, "mask/a/salt", "whoever guesses a value"),
        ({"mask": {"a": {"method": "hash", "salt": "canary"}}}, "mask/a/salt", "must be a reference, never the salt"),
        ({"mask": {"a": {"method": "truncate"}}}, "mask/a/length", "the method 'truncate' needs it"),
        ({"mask": {"a": {"method": "truncate", "length": 0}}}, "mask/a/length", "must be at least 1"),
        ({"mask": {"a": {"method": "null", "length": 3}}}, "mask/a/length", "has no meaning for the method 'null'"),
        ({"mask": {"a": {"method": "hush"}}}, "mask/a/method", "did you mean 'hash'?"),
        ({"mask": {"a": {"method": "null"}, "A": {"method": "null"}}}, "mask/a", "named twice"),
        ({"mask": {"a": {"method": "null"}}, "exclude_columns": ["a"]}, "mask/a", "is excluded too"),
        ({"mask": {"a": {"method": "null"}}, "columns": {"A": {"type": "int"}}}, "columns", "excluded or masked"),
        ({"mask": {"a": HASH}, "engine": "spark"}, "engine", "use 'arrow'"),
    ],
)
def test_what_cannot_be_is_refused(desk: Any, values: dict[str, Any], pointer: str, words: str) -> None:
    """At its place, and without repeating what may be a secret."""
    found = desk.refuse(with_orders(**values))
    assert words in found[f"/tables/0/{pointer}"]
    assert "canary" not in str(found)


def test_what_a_table_says_must_be_met_and_defaults_need_not(desk: Any) -> None:
    """A typing error in a table's own entry is found; defaults are for all tables, whatever columns they have."""

    def edit(content: dict[str, Any]) -> None:
        content["defaults"] = {"exclude_columns": ["ssn"], "mask": {"mail": HASH, "phone": {"method": "null"}}}
        content["tables"][0]["mask"] = {"phone": {"method": "truncate", "length": 2}, "fax": {"method": "null"}}
        content["tables"][0]["exclude_columns"] = ["notes"]

    own, plain = (table.privacy for table in desk.load(edit).tables)
    assert [(item.pattern, item.required) for item in own.exclusions] == [("notes", True)]
    assert {m.column: (m.method.value, m.required) for m in own.masks} == {
        "phone": ("truncate", True),
        "fax": ("null", True),
        "mail": ("hash", False),
    }
    assert [(item.pattern, item.required) for item in plain.exclusions] == [("ssn", False)]
    assert {m.column for m in plain.masks if not m.required} == {"mail", "phone"}


def test_a_mask_of_its_own_method_leaves_the_defaults_settings_out(desk: Any) -> None:
    """Objects are merged key by key: the salt of a default is nothing to a table that truncates."""

    def edit(content: dict[str, Any]) -> None:
        content["defaults"] = {"mask": {"mail": HASH}}
        content["tables"][0]["mask"] = {"mail": {"method": "truncate", "length": 2}}

    (mask,) = desk.load(edit).tables[0].privacy.masks
    assert (mask.method, mask.length, mask.salt) == (MaskMethod.TRUNCATE, 2, None)


def test_digests_change_with_what_is_kept_out_and_with_nothing_else(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without such settings keeps the digests that it had before there were any."""
    monkeypatch.setenv("SALT", "a salt of some length")
    plain = desk.load()
    assert plain.tables[0].privacy == Privacy()
    assert "privacy" not in repr(plain.tables[0])
    assert desk.load(with_orders(exclude_columns=[], mask={})).tables[0] == plain.tables[0]
    digests = [digest_of(plain)]
    for values in ({"exclude_columns": ["a"]}, {"mask": {"a": {"method": "null"}}}, {"mask": {"a": HASH}}):
        changed = desk.load(with_orders(**values))
        digests.append(digest_of(changed))
        assert dict(reading_of(plain)).items() < reading_of(changed).items()
    monkeypatch.setenv("SALT", "another salt of some length")
    digests.append(digest_of(desk.load(with_orders(mask={"a": HASH}))))
    assert len(set(digests)) == 5
    assert "another salt" not in str(reading_of(desk.load(with_orders(mask={"a": HASH}))))


def test_what_is_wrong_in_an_entry_by_name_is_told_at_its_place(desk: Any) -> None:
    """Of masks and of columns alike, also a key that is misspelt; the other entries are still checked."""
    masks = {"a": {"method": "null", "lenght": 3}, "b": {"method": "hash"}}
    found = desk.refuse(with_orders(columns={"c": {"type": 3}, "d": {"type": "text"}}, mask=masks))
    assert set(found) == {f"/tables/0/{p}" for p in ("columns/c/type", "columns/d/type", "mask/a/lenght", "mask/b/salt")}
    assert "did you mean 'length'?" in found["/tables/0/mask/a/lenght"]
