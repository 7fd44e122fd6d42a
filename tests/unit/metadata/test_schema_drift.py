"""What changed, and what may."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from ingestion_runtime.metadata.difference import Difference, as_published, compare, follow
from ingestion_runtime.metadata.drift import Verdict, judge
from ingestion_runtime.model.errors import TerminalError
from ingestion_runtime.model.policy import ChangeKind, ColumnWish, Guardrail, Guardrails, OnChange, SchemaPolicy
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot
from ingestion_runtime.model.spec import Deletes, PartitionField, SinkFormat, TableSpec

TABLE = TableSpec(
    schema="shop", table="orders", mode="scd1", connection="c", primary_keys=("id",), incremental_column="changed"
)


def every(answer: str) -> TableSpec:
    """Return the table with one answer to every kind of change."""
    return replace(TABLE, policy=SchemaPolicy(**dict.fromkeys(ChangeKind, OnChange(answer))))


def answering(**answers: str) -> TableSpec:
    """Return the table with these answers, and the usual ones to other changes."""
    return replace(TABLE, policy=replace(SchemaPolicy(), **{kind: OnChange(word) for kind, word in answers.items()}))


def snapshot(*columns: ColumnSnapshot, **landed: str) -> TableSnapshot:
    """Return a snapshot of these columns, or of columns by name and landed type."""
    described = tuple(ColumnSnapshot(name, "native", kind, True) for name, kind in landed.items())
    return TableSnapshot("shop", "orders", (*columns, *described), ("id",), None, datetime(2024, 1, 1, tzinfo=UTC))


def column(name: str, identity: str | None = None, native: str = "text", landed: str = "string") -> ColumnSnapshot:
    return ColumnSnapshot(name, native, landed, True, identity)


def difference_of(before: TableSnapshot, after: TableSnapshot) -> Difference:
    return compare(before, follow(before, after))


def found(difference: Difference) -> list[tuple[str, str | None, str | None]]:
    """Return the kinds of changes with the names before and after."""
    return [
        (c.kind.value, c.before.name if c.before else None, c.after.name if c.after else None) for c in difference.changes
    ]


def ruled(table: TableSpec, before: TableSnapshot, after: TableSnapshot, *, replaces: bool = False) -> Verdict:
    """Judge a difference to the target."""
    return judge(difference_of(before, after), table, published=True, replaces=replaces)


def test_equal_schemas_have_no_difference() -> None:
    """Order and ingest columns do not count."""
    difference = difference_of(
        snapshot(a="decimal128(10, 2)", b="string", _ingest_slice="string"),
        snapshot(b="string", a="decimal128(10, 2)", _ingest_run_id="string"),
    )
    assert difference == Difference()
    assert not difference


def test_every_kind_of_change_is_told_apart() -> None:
    """New, missing, each kind of type change, and a change of case alone."""
    before = snapshot(id="int32", amount="int32", when="date32[day]", gone="string", n="int64", t="int32")
    after = snapshot(id="int64", Amount="int32", when="date32[day]", n="int32", t="string", new="bool")
    difference = difference_of(before, after)
    assert found(difference) == [
        ("added", None, "new"),
        ("dropped", "gone", None),
        ("widened", "id", "id"),
        ("narrowed", "n", "n"),
        ("retyped", "t", "t"),
    ]
    assert difference.recased == (("amount", "Amount"),)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("int32", "int64", "widened"),
        ("float", "double", "widened"),
        ("decimal128(10, 2)", "decimal128(12, 2)", "widened"),
        ("int64", "int32", "narrowed"),
        ("double", "float", "narrowed"),
        ("decimal128(12, 2)", "decimal128(10, 2)", "narrowed"),
        ("decimal128(10, 2)", "decimal128(12, 3)", "retyped"),
        ("int32", "decimal128(12, 0)", "retyped"),
        ("int32", "string", "retyped"),
        ("date32[day]", "timestamp[us]", "retyped"),
        ("timestamp[us]", "timestamp[us, tz=UTC]", "retyped"),
        # The lake knows whole numbers of 32 bits and of 64: these are one type there.
        ("int16", "int32", None),
        ("int8", "int16", None),
        ("int16", "int64", "widened"),
    ],
)
def test_a_change_of_type_is_what_the_lake_can_do_about_it(before: str, after: str, kind: str | None) -> None:
    """Widened: it can grow in place; narrowed: it holds the new values already; retyped: neither."""
    kinds = [change.kind.value for change in difference_of(snapshot(n=before), snapshot(n=after)).changes]
    assert kinds == ([kind] if kind else [])


def test_nullability_is_a_difference_of_its_own() -> None:
    """A column may gain or lose NOT NULL, whatever else happens to it."""
    after = snapshot(ColumnSnapshot("n", "native", "int64", nullable=False))
    assert found(difference_of(snapshot(n="int32"), after)) == [("widened", "n", "n"), ("nullability", "n", "n")]


def test_two_columns_that_differ_in_case_are_two_columns() -> None:
    """Where both are there, one that goes is missing, not recased."""
    assert found(difference_of(snapshot(a="int32", A="int32"), snapshot(a="int32"))) == [("dropped", "A", None)]


# ---------------------------------------------------------------- renames


def test_a_rename_is_recognised_by_the_identity_of_the_column() -> None:
    """Wherever it stands now, and also when its type changed with it."""
    before = snapshot(column("a", "7.1"), column("b", "7.2"), column("c", "7.3", "int", "int32"))
    after = snapshot(column("c2", "7.3", "bigint", "int64"), column("a", "7.1"), column("b", "7.2"))
    assert found(difference_of(before, after)) == [("renamed", "c", "c2"), ("widened", "c", "c2")]


def test_another_column_of_the_same_type_is_no_rename_where_identities_are_known() -> None:
    """Dropped and added: the place and the type are the same, the column is not."""
    before, after = snapshot(column("a", "7.1"), column("b", "7.2")), snapshot(column("a", "7.1"), column("x", "7.3"))
    assert found(difference_of(before, after)) == [("added", None, "x"), ("dropped", "b", None)]


def test_a_table_made_anew_has_other_columns() -> None:
    """The same names are the same columns to the target; another name is another column."""
    before, after = snapshot(column("a", "7.1"), column("b", "7.2")), snapshot(column("a", "8.1"), column("x", "8.2"))
    assert found(difference_of(before, after)) == [("added", None, "x"), ("dropped", "b", None)]


def test_without_identities_the_same_type_in_the_same_place_is_a_rename() -> None:
    """When as many columns are there as before, and the former name is gone."""
    before, after = snapshot(column("a"), column("b"), column("c")), snapshot(column("a"), column("x"), column("c"))
    assert found(difference_of(before, after)) == [("renamed", "b", "x")]


@pytest.mark.parametrize(
    "after",
    [
        snapshot(column("a"), column("c"), column("x")),  # dropped in the middle, added at the end
        snapshot(column("a"), column("x", None, "int", "int32"), column("c")),  # another type
        snapshot(column("a"), column("x", None, "varchar(9)"), column("c")),  # another type in the source's words
        snapshot(column("a"), column("x"), column("c"), column("d")),  # one more
    ],
)
def test_without_identities_anything_less_is_no_rename(after: TableSnapshot) -> None:
    """A wrong guess would put one column's history under another's name."""
    kinds = {kind for kind, _, _ in found(difference_of(snapshot(column("a"), column("b"), column("c")), after))}
    assert kinds == {"added", "dropped"}


def test_a_column_that_was_dropped_long_ago_is_not_renamed_today() -> None:
    """The snapshot keeps it so that it arrives as NULL, and it is no candidate any more."""
    before = snapshot(column("a"), replace(column("b"), gone=True))
    assert found(difference_of(before, snapshot(column("a"), column("x")))) == [("added", None, "x"), ("dropped", "b", None)]


def test_a_rename_is_known_until_the_target_has_followed() -> None:
    """The snapshot was refreshed and the batch failed: the target still has the name before, or the one before that."""
    first = snapshot(column("a", "7.1"))
    second = follow(first, snapshot(column("b", "7.1")))
    third = follow(second, snapshot(column("c", "7.1")))
    target = pa.schema([("a", pa.string()), ("_ingest_run_id", pa.string())])
    for known in (second, third):
        now = follow(known, snapshot(column("c", "7.1")))
        assert found(compare(as_published(known, target, now), now)) == [("renamed", "a", "c")]


def test_exchanged_names_are_noticed() -> None:
    """By name alone nothing would have changed, and two columns would hold each other's history."""
    before, after = snapshot(column("a", "7.1"), column("b", "7.2")), snapshot(column("a", "7.2"), column("b", "7.1"))
    difference = difference_of(before, after)
    assert difference.swapped == (("b", "a"), ("a", "b"))
    with pytest.raises(TerminalError, match="names exchanged: b -> a, a -> b"):
        judge(difference, every("evolve"), published=True, replaces=True)


def test_a_name_that_another_column_took_over_is_noticed() -> None:
    """A column was renamed and a new one made under its old name: the target's column would go on with the new one's
    values, on top of the renamed one's. Whatever the policy, it is refused."""
    before = snapshot(column("a", "7.1"))
    after = snapshot(column("b", "7.1"), column("a", "7.2"))
    difference = difference_of(before, after)
    assert difference.swapped == (("a", "b"),)
    for answer in ("evolve", "ignore"):
        with pytest.raises(TerminalError, match="names exchanged: a -> b"):
            judge(difference, every(answer), published=True, replaces=False)
    plain = difference_of(before, snapshot(column("b", "7.1"), column("c", "7.2")))
    assert (plain.swapped, found(plain)) == ((), [("renamed", "a", "b"), ("added", None, "c")])


def test_a_column_made_anew_under_its_name_counts_as_dropped() -> None:
    """Where the source numbers its columns: older rows would keep the dropped one's values. All rows read anew have none,
    and `dropped: ignore` says that they may."""
    before, after = snapshot(column("a", "7.1")), snapshot(column("a", "7.2"))
    difference = difference_of(before, after)
    assert difference.remade == ("a",)
    with pytest.raises(TerminalError, match="dropped and made anew: a"):
        judge(difference, TABLE, published=True, replaces=False)
    for table, replaces in ((TABLE, True), (answering(dropped="ignore"), False), (answering(dropped="evolve"), False)):
        assert not judge(difference, table, published=True, replaces=replaces).changes
    assert not difference_of(before, snapshot(column("a", "8.1"))), "another table under the same name"
    assert not difference_of(snapshot(column("a")), after), "nothing was known of it"


def test_a_key_by_which_deletes_are_found_keeps_its_type() -> None:
    """The table's text '007' and the source's number 7 would be two keys, or one, depending on who compares."""
    before, after = snapshot(id="string"), snapshot(id="int64")
    following = replace(answering(retyped="evolve"), deletes=Deletes.HARD)
    with pytest.raises(TerminalError, match="type of a key by which deletes are found: id"):
        ruled(following, before, after)
    assert ruled(replace(following, deletes=Deletes.IGNORE), before, after).shape.landing
    assert ruled(following, before, after, replaces=True).changes


def test_a_wish_that_came_later_is_granted_when_all_rows_are_replaced() -> None:
    """The table's text would hold the numbers; the wish is for numbers."""
    before, after = snapshot(a="string"), snapshot(a="decimal128(10, 2)")
    wish = ColumnWish("a", "decimal128(10, 2)", Guardrail.FAIL)
    wishing = replace(every("evolve"), guardrails=Guardrails(wishes=(wish,)))
    assert ruled(wishing, before, after, replaces=True).shape.replaced == ("a",)
    assert ruled(wishing, before, after).shape.landing == (pa.field("a", pa.string()),)
    assert ruled(every("evolve"), before, after, replaces=True).shape.replaced == ()


def test_the_target_decides_what_there_was_before() -> None:
    """Its names and types, whatever the snapshot has seen since; what it cannot tell comes from the snapshot."""
    known = snapshot(ColumnSnapshot("a", "bigint", "int64", nullable=False), column("new"))
    target = pa.schema([("a", pa.int32()), ("lost", pa.string())])
    before = as_published(known, target, known)
    assert [(c.name, c.native_type, c.landed_type, c.nullable) for c in before.columns] == [
        ("a", "bigint", "int32", False),
        ("lost", "", "string", True),
    ]


# ---------------------------------------------------------------- policies


def test_what_evolves_asks_of_the_read() -> None:
    """A dropped column arrives as NULL in the target's type, a renamed one is told to the target; the rest just comes."""
    before = snapshot(column("old", "7.1"), id="int32", price="decimal128(10, 2)")
    after = snapshot(column("now", "7.1"), id="int64", new="bool")
    verdict = ruled(every("evolve"), before, after)
    assert verdict.shape.missing == (pa.field("price", pa.decimal128(10, 2), nullable=True),)
    assert verdict.shape.renamed == (("now", "old"),)
    assert (verdict.shape.skipped, verdict.shape.landing) == ((), ())
    assert {(c.column, c.change, c.refused) for c in verdict.changes} == {
        ("now", "renamed", False),
        ("new", "added", False),
        ("price", "dropped", False),
        ("id", "widened", False),
    }


def test_what_is_ignored_asks_of_the_read() -> None:
    """A new column is not read, a dropped one not touched by a merge, a wider one must fit; a rename is both former ones."""
    before = snapshot(column("old", "7.1"), id="int32", price="decimal128(10, 2)", n="int32", m="int64")
    after = snapshot(column("now", "7.1"), id="int32", new="bool", n="int64", m="int32")
    verdict = ruled(every("ignore"), before, after)
    assert verdict.shape.skipped == ("now", "new")
    assert verdict.shape.missing == ()
    assert verdict.shape.landing == (pa.field("n", pa.int32()),)
    assert verdict.shape.renamed == ()
    assert [(c.column, c.change) for c in verdict.changes if c.column in ("old", "now")] == [
        ("old", "dropped"),
        ("now", "added"),
    ]


@pytest.mark.parametrize("sink", [SinkFormat.ICEBERG, SinkFormat.PARQUET])
def test_an_ignored_drop_is_null_where_the_whole_table_is_replaced(sink: SinkFormat) -> None:
    """There is no former value that could stay."""
    table = replace(every("ignore"), sink=sink)
    verdict = ruled(table, snapshot(id="int64", note="string"), snapshot(id="int64"), replaces=sink is SinkFormat.ICEBERG)
    assert verdict.shape.missing == (pa.field("note", pa.string(), nullable=True),)


def test_a_column_without_which_nothing_can_be_read_is_never_left_out() -> None:
    """A key, the cursor, or what the target is partitioned by."""
    table = replace(every("ignore"), partition=(PartitionField("region", "identity"),))
    verdict = ruled(table, snapshot(a="int32"), snapshot(a="int32", id="int64", changed="date32[day]", region="string"))
    assert verdict.shape.skipped == ()


@pytest.mark.parametrize(
    ("before", "after", "fits"),
    [
        ("string", "int32", True),
        ("string", "timestamp[us]", True),
        ("decimal128(12, 2)", "int32", True),
        ("decimal128(11, 2)", "int32", False),
        ("decimal128(14, 4)", "decimal128(10, 2)", True),
        ("decimal128(10, 4)", "decimal128(10, 2)", False),
        ("double", "int32", True),
        ("double", "int64", False),
        ("int64", "string", False),
        ("timestamp[us]", "date32[day]", False),
    ],
)
def test_another_type_evolves_where_the_target_holds_every_value_of_it(before: str, after: str, fits: bool) -> None:
    """As the same value, or in a string as its text; elsewhere the table stops, naming both types and the remedy."""
    if fits:
        (landing,) = ruled(every("evolve"), snapshot(n=before), snapshot(n=after)).shape.landing
        assert str(landing.type) == before
    else:
        with pytest.raises(TerminalError, match="type that the table cannot hold: n") as caught:
            ruled(every("evolve"), snapshot(n=before), snapshot(n=after))
        assert "Cast it in query_sql" in str(caught.value)


def test_a_comparison_with_the_snapshot_alone_leaves_the_target_to_judge_types() -> None:
    """Only the target knows what it holds."""
    difference = difference_of(snapshot(n="int64"), snapshot(n="string"))
    assert judge(difference, every("evolve"), published=False, replaces=False).shape.landing == ()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            snapshot(price="double"),
            snapshot(),
            ["missing: price (double)", "metadata.schema_policy.allow_missing_columns: true", "dropped: ignore"],
        ),
        (
            snapshot(),
            snapshot(x="bool", y="string"),
            ["new: x (bool), y (string)", "metadata.schema_policy.allow_new_columns: true", "added: ignore"],
        ),
        (snapshot(n="int32"), snapshot(n="int64"), ["widened: n (int32 -> int64)", "widened: ignore"]),
        (snapshot(n="int64"), snapshot(n="int32"), ["narrowed: n (int64 -> int32)", "allow_type_changes: true"]),
        (snapshot(n="int32"), snapshot(n="string"), ["type changed: n (int32 -> string)", "allow_type_changes: true"]),
        (snapshot(column("a")), snapshot(column("b")), ["renamed: a -> b", "renamed: evolve", "renamed: ignore"]),
        (
            snapshot(n="int32"),
            snapshot(ColumnSnapshot("n", "int", "int32", nullable=False)),
            ["nullability: n (may not be NULL)", "nullability: evolve"],
        ),
    ],
)
def test_what_the_policy_forbids_is_refused(before: TableSnapshot, after: TableSnapshot, words: list[str]) -> None:
    """The message names table, columns and types, and what to do; the lenient policy lets the same pass."""
    with pytest.raises(TerminalError, match=r"shop\.orders") as caught:
        judge(difference_of(before, after), every("fail"), published=False, replaces=False)
    assert all(word in str(caught.value) for word in words)
    judge(difference_of(before, after), every("evolve"), published=False, replaces=False)


def test_all_complaints_come_at_once_with_the_whole_difference() -> None:
    """One run is enough to learn everything: what stops the table, and what would have passed."""
    before, after = snapshot(y="bool", n="int32"), snapshot(n="int64", x="bool")
    with pytest.raises(TerminalError) as caught:
        ruled(answering(added="fail", dropped="fail"), before, after)
    assert caught.value.values["reasons"] == ("new: x (bool)", "missing: y (bool)")
    changes = caught.value.values["changes"]
    assert isinstance(changes, tuple)
    assert [(c.column, c.before, c.after, c.change, c.policy, c.refused) for c in changes] == [
        ("x", "", "native (boolean)", "added", "fail", True),
        ("y", "native (boolean)", "", "dropped", "fail", True),
        ("n", "native (int)", "native (long)", "widened", "evolve", False),
    ]
    assert all(bool(c.advice) is c.refused for c in changes)


@pytest.mark.parametrize("name", ["id", "changed"])
@pytest.mark.parametrize("answer", ["evolve", "ignore"])
def test_a_key_or_cursor_is_never_allowed_to_be_missing(name: str, answer: str) -> None:
    """NULL in its place could not be merged, or would end every incremental read."""
    with pytest.raises(TerminalError, match="missing key or incremental column"):
        ruled(every(answer), snapshot(**{name: "int64"}), snapshot())


def test_a_change_of_case_is_always_refused() -> None:
    """The target cannot hold the old column as NULL beside the new one."""
    with pytest.raises(TerminalError, match="renamed in case only: amount -> Amount"):
        ruled(every("evolve"), snapshot(amount="int32"), snapshot(Amount="int32"))


def test_no_difference_passes_the_strictest_policy() -> None:
    """There is nothing to judge."""
    assert ruled(every("fail"), snapshot(a="int32"), snapshot(a="int32")) == Verdict()
