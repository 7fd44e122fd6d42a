"""What the name of a column says: which ones move with every change of a row, and which only look like it."""

import time

import pytest

from ingestion_runtime.drafting.names import Role, names_its_day, names_utc, only_grows, role_of


@pytest.mark.parametrize(
    "name",
    [
        "updated_at",
        "UPDATED_AT",
        "updatedAt",
        "last_update",
        "LastUpdated",
        "last_updated_date",
        "modified",
        "ModifiedDate",
        "modification_ts",
        "date_modified",
        "changed",
        "changed_on",
        "last_change_time",
        "lastmodified",
        "upd_ts",
        "mtime",
        "mod_date",
        "updated_at_utc",
        "row_updated_ms",
        "SystemModstamp",
        "order_updated_at",  # the table is called orders
    ],
)
def test_a_time_of_change_is_known_by_its_name(name: str) -> None:
    assert role_of(name, "orders") is Role.CHANGE


@pytest.mark.parametrize(
    "name", ["password_changed_at", "status_updated_at", "price_modified", "last_login_update", "address_changed_on"]
)
def test_a_time_of_change_of_a_part_is_not_that_of_the_row(name: str) -> None:
    """Whoever reads by it misses every change of the rest."""
    assert role_of(name, "orders") is Role.PART


@pytest.mark.parametrize(
    "name", ["created_at", "CreateDate", "inserted_on", "date_added", "registered_at", "order_created_at", "event_created"]
)
def test_a_time_of_arrival_is_no_time_of_change(name: str) -> None:
    assert role_of(name, "event" if name.startswith("event") else "orders") is Role.CREATION


@pytest.mark.parametrize(
    "name", ["exchange_date", "credit", "mode", "model", "birth_date", "candidate", "shipped", "due_at", "id", "day", ""]
)
def test_other_names_say_nothing(name: str) -> None:
    assert role_of(name, "orders") is Role.NONE


def test_the_name_of_the_table_takes_nothing_away_from_a_name_that_says_it_all() -> None:
    """A table called updates may well have a column updated_at."""
    assert role_of("updated_at", "updates") is Role.CHANGE
    assert role_of("created", "creates") is Role.CREATION


def test_a_hostile_name_is_looked_at_quickly() -> None:
    """Names come from a database and may be made to match in very many ways."""
    begun = time.monotonic()
    for name in ("datetime" * 4000, "datetime" * 10 + "x", "s" * 80 + "!", "updated" + "timestamp" * 8 + "y"):
        assert role_of(name, "datetime") in (Role.NONE, Role.PART, Role.CHANGE)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("name", "expected"), [("updated_at_utc", True), ("UtcUpdated", True), ("cutcost", False), ("at", False)]
)
def test_utc_is_a_word_of_its_own(name: str, expected: bool) -> None:
    assert names_utc(name) is expected


@pytest.mark.parametrize(
    ("column", "table", "expected"),
    [
        ("order_date", "orders", True),
        ("InvoiceDate", "Invoice", True),
        ("created_at", "orders", True),
        ("category_day", "categories", True),
        ("required_date", "orders", False),
        ("birth_date", "employees", False),
        ("updated_at", "orders", False),
    ],
)
def test_the_day_on_which_a_thing_took_place_is_its_own_or_that_of_its_arrival(
    column: str, table: str, expected: bool
) -> None:
    assert names_its_day(column, table) is expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("audit_log", True),
        ("PageViews", False),
        ("pageviews", True),
        ("orderHistory", True),
        ("orders", False),
        ("blogs", False),
    ],
)
def test_tables_that_only_grow_are_called_so(table: str, expected: bool) -> None:
    assert only_grows(table) is expected
