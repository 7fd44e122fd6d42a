"""Schema policies, precision guardrails and wished types: what a file may say, and what a table carries of it."""

from collections.abc import Callable
from typing import Any

import pytest

from ingestion_runtime.model.policy import ColumnWish, Guardrail, Guardrails, OnChange, SchemaPolicy
from tests.unit.config.conftest import Desk

Block = dict[str, Any]


def with_policy(block: Block, table: Block | None = None) -> Callable[[Block], object]:
    """Return an edit that sets the policy for all tables, and for the first one."""

    def edit(content: Block) -> None:
        content["metadata"]["schema_policy"] = block
        if table is not None:
            content["tables"][0]["schema_policy"] = table

    return edit


def test_each_change_has_an_answer_of_its_own(desk: Desk) -> None:
    """What is left out has its default; nothing is lost by default, and nothing that may be lost passes."""
    (orders, products) = desk.load(with_policy({"added": "ignore", "renamed": "evolve"})).tables
    assert orders.policy == products.policy
    assert orders.policy == SchemaPolicy(
        require_snapshot=False,
        added=OnChange.IGNORE,
        dropped=OnChange.FAIL,
        narrowed=OnChange.EVOLVE,
        widened=OnChange.EVOLVE,
        renamed=OnChange.EVOLVE,
        retyped=OnChange.EVOLVE,
        nullability=OnChange.EVOLVE,
    )


@pytest.mark.parametrize(
    ("coarse", "kinds"),
    [
        ("allow_new_columns", ["added"]),
        ("allow_missing_columns", ["dropped"]),
        ("allow_type_changes", ["narrowed", "widened", "retyped"]),
    ],
)
@pytest.mark.parametrize(("allowed", "answer"), [(True, "evolve"), (False, "fail")])
def test_the_coarse_form_answers_for_its_changes(
    desk: Desk, coarse: str, kinds: list[str], allowed: bool, answer: str
) -> None:
    """True lets them evolve, false refuses them."""
    policy = desk.load(with_policy({coarse: allowed})).tables[0].policy
    assert {getattr(policy, kind) for kind in kinds} == {OnChange(answer)}


@pytest.mark.parametrize(
    ("block", "pointer"),
    [
        ({"allow_new_columns": True, "added": "fail"}, "/metadata/schema_policy/added"),
        ({"allow_missing_columns": False, "dropped": "ignore"}, "/metadata/schema_policy/dropped"),
        ({"allow_missing_columns": False, "dropped": "evolve"}, "/metadata/schema_policy/dropped"),
        ({"allow_type_changes": False, "widened": "evolve"}, "/metadata/schema_policy/widened"),
        ({"allow_type_changes": True, "retyped": "fail"}, "/metadata/schema_policy/retyped"),
    ],
)
def test_a_contradiction_between_the_forms_is_told(desk: Desk, block: Block, pointer: str) -> None:
    """Nobody can tell which of the two was meant."""
    (told,) = desk.refuse(with_policy(block)).items()
    assert told[0] == pointer
    assert "contradicts 'allow_" in told[1]


def test_the_fine_form_may_say_how_a_change_is_let_pass(desk: Desk) -> None:
    """Allowed, and ignored: no contradiction."""
    policy = desk.load(with_policy({"allow_missing_columns": True, "dropped": "ignore"})).tables[0].policy
    assert policy.dropped is OnChange.IGNORE


def test_a_table_overrides_key_by_key(desk: Desk) -> None:
    """Also a coarse key of the file by a fine one of the table; other tables are not touched."""
    edit = with_policy({"allow_type_changes": False, "added": "fail"}, {"widened": "evolve", "require_snapshot": True})
    (orders, products) = desk.load(edit).tables
    assert (orders.policy.widened, orders.policy.narrowed, orders.policy.added) == (
        OnChange.EVOLVE,
        OnChange.FAIL,
        OnChange.FAIL,
    )
    assert (orders.policy.require_snapshot, products.policy.require_snapshot) == (True, False)
    assert products.policy.widened is OnChange.FAIL


def test_wishes_are_types_that_a_column_can_land_in(desk: Desk) -> None:
    """With the guardrail of the file where they name none."""

    def edit(content: Block) -> None:
        content["metadata"]["precision_guardrails"] = {"policy": "warn", "unbounded": "decimal(38, 10)"}
        content["tables"][0]["columns"] = {
            "amount": {"type": "decimal(20,4)", "guardrail": "fail"},
            "note": {"type": "string"},
            "count": {"type": "long"},
        }

    (orders, products) = desk.load(edit).tables
    assert products.guardrails == Guardrails(Guardrail.WARN, "decimal128(38, 10)", ())
    assert orders.guardrails.wishes == (
        ColumnWish("amount", "decimal128(20, 4)", Guardrail.FAIL),
        ColumnWish("note", "string", Guardrail.WARN),
        ColumnWish("count", "int64", Guardrail.WARN),
    )


@pytest.mark.parametrize(
    "text", ["decimal(39,0)", "decimal(10,11)", "decimal(10)", "numeric(10,2)", "timestamp", "decimal(0,0)"]
)
def test_other_types_are_refused(desk: Desk, text: str) -> None:
    """With those that there are."""

    def edit(content: Block) -> None:
        content["tables"][0]["columns"] = {"amount": {"type": text}}

    (told,) = desk.refuse(edit).items()
    assert told[0] == "/tables/0/columns/amount/type"
    assert "decimal(p,s) with p up to 38" in told[1]


def test_the_cursor_lands_as_the_source_has_it(desk: Desk) -> None:
    """Newer and older are compared by it, at the source and in the lake."""

    def edit(content: Block) -> None:
        content["tables"][0]["columns"] = {"updated_at": {"type": "string"}}

    assert list(desk.refuse(edit)) == ["/tables/0/columns/updated_at"]
