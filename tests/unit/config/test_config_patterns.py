"""Patterns for tables: what they may say, and which tables they become."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from ingestion_runtime.config.patterns import TableShape, resolve_patterns
from ingestion_runtime.model.digest import work_digest
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.schema import ListedTable, Listing
from ingestion_runtime.model.spec import Configuration, TableSpec
from tests.unit.config.conftest import messages

CURSOR = {"mode": "scd1", "incremental_column": "updated_at", "incr_col_type": "timestamp"}
SHAPE = TableShape(frozenset({"id", "updated_at"}), ("id",))


class Shelf:
    """What a source lists, as a dictionary from ``schema.table``; and how often it was asked."""

    def __init__(self, *names: str, views: Sequence[str] = (), ignores_case: bool = False, **shapes: TableShape) -> None:
        self.names = names
        self.views = views
        self.ignores_case = ignores_case
        self.shape_of = shapes
        self.asked: list[tuple[str, str | None]] = []

    def listing(self, connection: str, schema: str | None) -> Listing:
        self.asked.append((connection, schema))
        return Listing(tuple(self._listed(name) for name in sorted((*self.names, *self.views))), self.ignores_case)

    def _listed(self, name: str) -> ListedTable:
        schema, _, table = name.partition(".")
        kind: Literal["table", "view"] = "view" if name in self.views else "table"
        return ListedTable(schema, table, kind, None)

    def shapes(self, connection: str, tables: Sequence[TableSpec]) -> Mapping[str, TableShape]:  # noqa: ARG002 - one source
        return {table.name: self.shape_of.get(table.table, SHAPE) for table in tables}


def entries(*tables: dict[str, Any]) -> Any:
    return lambda c: c.update(tables=list(tables))


def pattern(table: str = "*", schema: str = "sales", **values: object) -> dict[str, Any]:
    return {"schema": schema, "table": table, "mode": "full", **values}


def names(configuration: Configuration) -> list[str]:
    return [table.name for table in configuration.tables]


def resolve(desk: Any, shelf: Shelf, *tables: dict[str, Any]) -> Configuration:
    return resolve_patterns(desk.load(entries(*tables)), shelf)


def refuse(desk: Any, shelf: Shelf, *tables: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        resolve(desk, shelf, *tables)
    return messages(caught.value)


def test_a_pattern_becomes_the_tables_that_it_matches(desk: Any) -> None:
    """Sorted, at its place among the entries, each with everything else that the pattern says."""
    shelf = Shelf("sales.b", "sales.a", "hr.a", "sales.c1", "sales.c2", "sales.cx")
    found = resolve(
        desk,
        shelf,
        pattern("z", "other"),
        pattern("[ab]", fetch_size=5),
        pattern("y", "other"),
        pattern("c?", exclude=["sales.*x"]),
    )
    assert names(found) == ["other.z", "sales.a", "sales.b", "other.y", "sales.c1", "sales.c2"]
    assert [table.fetch_size for table in found.tables] == [10_000, 5, 5, 10_000, 10_000, 10_000]
    assert [item.matched for item in found.patterns] == [("sales.a", "sales.b"), ("sales.c1", "sales.c2")]


def test_a_source_is_asked_once_and_for_no_more_than_is_wanted(desk: Any) -> None:
    """One listing a connection, of one schema where that is all; a full pattern needs no columns."""
    shelf = Shelf("sales.a", "sales.b")
    resolve(desk, shelf, pattern("a*"), pattern("b*"))
    assert shelf.asked == [("sales", "sales")]
    wide = Shelf("sales.a")
    resolve(desk, wide, pattern("a*"), pattern("*", "s*", allow_empty=True))
    assert wide.asked == [("sales", None)]


def test_an_entry_of_its_own_takes_a_table_out_of_every_pattern(desk: Any) -> None:
    """Whichever stands first; it takes nothing from the pattern. Else the earlier pattern has the table."""
    shelf = Shelf("sales.a", "sales.b", "sales.c")
    own = pattern("b", sink="parquet")
    found = resolve(desk, shelf, pattern("*", fetch_size=5), own, pattern("c*", fetch_size=9))
    assert [(t.name, t.fetch_size, t.sink) for t in found.tables] == [
        ("sales.a", 5, "iceberg"),
        ("sales.c", 5, "iceberg"),
        ("sales.b", 10_000, "parquet"),
    ]
    assert found.patterns[1].matched == ()


def test_a_table_of_a_pattern_is_the_table_that_an_entry_would_be(desk: Any) -> None:
    """Equal settings, equal digest: an entry can become part of a pattern without being read anew."""
    written = desk.load(entries(pattern("a", **CURSOR, primary_keys=["id"])))
    found = resolve(desk, Shelf("sales.a", "sales.b"), pattern(**CURSOR))
    assert found.tables[0] == written.tables[0]
    connection = written.connection("sales")
    assert work_digest(found.tables[0], connection) == work_digest(written.tables[0], connection)


def test_keys_are_those_of_the_catalog_unless_named(desk: Any) -> None:
    """Each table has its own."""
    shapes = {"a": TableShape(frozenset({"x", "y", "updated_at"}), ("y", "x")), "b": SHAPE}
    found = resolve(desk, Shelf("sales.a", "sales.b", **shapes), pattern(**CURSOR))
    assert [table.primary_keys for table in found.tables] == [("y", "x"), ("id",)]


BARE = {"k": TableShape(frozenset({"id", "updated_at"}), ()), "c": TableShape(frozenset({"id"}), ("id",)), "a": SHAPE}


def test_tables_that_do_not_fit_are_refused_together(desk: Any) -> None:
    """With the reason, the names, and what can be done."""
    found = refuse(desk, Shelf("sales.a", "sales.k", "sales.c", **BARE), pattern(**CURSOR))
    assert set(found) == {"/tables/0"}
    first, second = sorted(found["/tables/0"].splitlines())
    assert "that have no primary key: sales.k; exclude them" in first
    assert "without the column 'updated_at': sales.c; exclude them" in second


def test_of_many_that_do_not_fit_some_are_named(desk: Any) -> None:
    """And the others counted."""
    shelf = Shelf(*(f"sales.k{n:02}" for n in range(40)), **{f"k{n:02}": BARE["k"] for n in range(40)})
    assert "sales.k09 and 30 more;" in refuse(desk, shelf, pattern(**CURSOR))["/tables/0"]


def test_tables_that_do_not_fit_may_be_loaded_whole(desk: Any) -> None:
    """As an entry of mode full with the same settings would be."""
    shelf = Shelf("sales.a", "sales.k", "sales.c", **BARE)
    settings = {"lag_seconds": 60, "deletes": "hard", "max_delete_fraction": 0.5, "fetch_size": 5}
    found = resolve(desk, shelf, pattern(**CURSOR, **settings, unfit="full"))
    assert [(table.name, table.mode) for table in found.tables] == [
        ("sales.a", "scd1"),
        ("sales.c", "full"),
        ("sales.k", "full"),
    ]
    assert found.tables[2] == desk.load(entries(pattern("k", fetch_size=5))).tables[0]


def test_a_full_pattern_with_keys_is_held_to_them(desk: Any) -> None:
    """A key of its own is asked for as everywhere; without one every table fits."""
    shelf = Shelf("sales.a", "sales.o", a=SHAPE, o=TableShape(frozenset({"x"}), ("x",)))
    assert "without the column 'id': sales.o" in refuse(desk, shelf, pattern(primary_keys=["id"]))["/tables/0"]
    found = resolve(desk, shelf, pattern(primary_keys=["id"], unfit="full"))
    assert [(table.name, table.primary_keys) for table in found.tables] == [("sales.a", ("id",)), ("sales.o", ())]


def test_tables_that_do_not_fit_may_be_left_out(desk: Any) -> None:
    """By name, so that a run can say which."""
    found = resolve(desk, Shelf("sales.a", "sales.k", "sales.c", **BARE), pattern(**CURSOR, unfit="skip"))
    assert names(found) == ["sales.a"]
    assert {table.name for table in found.patterns[0].skipped} == {"sales.k", "sales.c"}


@pytest.mark.parametrize(
    ("shelf", "entry", "words"),
    [
        (Shelf("sales.a"), pattern("ordres*"), "correct schema and table"),
        (Shelf("Sales.a"), pattern("*"), "letter case counts"),
        (Shelf(), pattern("*"), "of which its user may see no table at all"),
        (Shelf("sales.a"), pattern("*", exclude=["a"]), "that 'exclude' does not leave out"),
        (Shelf(views=["sales.v", "sales.w"]), pattern("*"), '2 views; take views with "views": true'),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(desk: Any, shelf: Shelf, entry: dict[str, Any], words: str) -> None:
    """A misspelt name must not silently ingest nothing; the message says what may be the matter."""
    assert words in refuse(desk, shelf, entry)["/tables/0"]
    assert names(resolve(desk, shelf, entry | {"allow_empty": True})) == []


def test_views_are_taken_when_asked_for(desk: Any) -> None:
    """By default a pattern means tables."""
    shelf = Shelf("sales.a", views=["sales.v"])
    assert names(resolve(desk, shelf, pattern())) == ["sales.a"]
    assert names(resolve(desk, shelf, pattern(views=True))) == ["sales.a", "sales.v"]


def test_letter_case_counts_where_it_does_for_the_database(desk: Any) -> None:
    """For the pattern, for exclusions, and for who has an entry of its own."""
    named = ("Sales.Orders", "Sales.Tmp_1", "Sales.Own")
    folding = Shelf(*named, ignores_case=True)
    assert names(resolve(desk, folding, pattern(exclude=["sales.tmp_*"]), pattern("own"))) == ["Sales.Orders", "sales.own"]
    exact = Shelf(*named)
    assert len(refuse(desk, exact, pattern())) == 1
    assert names(resolve(desk, exact, pattern(schema="Sales", exclude=["sales.tmp_*"]))) == sorted(named)


def test_an_exclusion_without_a_dot_is_for_every_schema(desk: Any) -> None:
    """With one it is for the whole name."""
    shelf = Shelf("a.tmp", "b.tmp", "b.x", "a.x")
    assert names(resolve(desk, shelf, pattern(schema="*", exclude=["tmp", "a.x"]))) == ["b.x"]


def test_tables_that_meet_in_the_lake_are_refused(desk: Any) -> None:
    """PostgreSQL tells Orders from orders; folders and Iceberg names do not. And each is told by its name."""
    found = refuse(desk, Shelf("sales.Orders", "sales.orders", "sales.x"), pattern("X"), pattern("[Oox]*"))
    first, second = found["/tables/1"].splitlines()
    assert "matches 'sales.orders', which is the same schema and table as /tables/1 ('sales.Orders')" in first
    assert "matches 'sales.x', which is the same schema and table as /tables/0 (letter" in second


def test_an_iceberg_name_that_two_tables_get_is_refused(desk: Any) -> None:
    """A table_pattern without the schema lets tables of two schemas meet."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"]["intermediate"]["table_pattern"] = "lake.{table}"
        entries(pattern("orders", "other"), pattern())(c)

    with pytest.raises(ConfigError) as caught:
        resolve_patterns(desk.load(edit), Shelf("sales.orders", "sales.x"))
    assert "matches 'sales.orders', which gets the same Iceberg name as /tables/0" in messages(caught.value)["/tables/1"]


@pytest.mark.parametrize("name", ["a/b", "a\nb", ".hidden", "_x", "a*b", " a", "x" * 201])
def test_a_name_without_a_place_in_the_lake_is_refused_with_what_to_do(desk: Any, name: str) -> None:
    """It is the source's name, so it cannot be corrected here: exclude it."""
    (found,) = refuse(desk, Shelf(f"sales.{name}", "sales.ok"), pattern()).values()
    assert repr(f"sales.{name}") in found
    assert "exclude it" in found
    assert "\n" not in found


def test_names_with_dots_and_markup_are_just_names(desk: Any) -> None:
    """For the Parquet sink, where nothing speaks against them."""
    shelf = Shelf("sales.a.b", "sales.<script>", "sales.[red]x", "sales.o'x", "sales.ü,ö")
    found = refuse(desk, shelf, pattern(sink="parquet"))["/tables/0"]
    assert "[red]x" in found
    kept = resolve(desk, shelf, pattern(sink="parquet", exclude=["[[]red[]]x"]))
    assert set(names(kept)) == {"sales.a.b", "sales.<script>", "sales.o'x", "sales.ü,ö"}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"query_sql": "SELECT 1 AS a"}, "query_sql"),
        ({"unfit": "skip"}, "unfit"),
        ({"unfit": "drop"}, "unfit"),
        ({"exclude": "tmp"}, "exclude"),
        ({"exclude": ["a\nb"]}, "exclude/0"),
        ({"table": "a/*"}, "table"),
        ({"schema": " s*"}, "schema"),
        ({"views": 1}, "views"),
    ],
)
def test_what_a_pattern_may_not_say(desk: Any, values: dict[str, Any], key: str) -> None:
    """Told at its key, before any source is asked."""
    assert set(desk.refuse(entries(pattern() | values))) == {f"/tables/0/{key}"}


@pytest.mark.parametrize("key", ["exclude", "views", "allow_empty", "unfit"])
def test_keys_of_patterns_belong_to_patterns(desk: Any, key: str) -> None:
    """In the entry of one table they would do nothing."""
    value = {"exclude": ["x"], "views": True, "allow_empty": True, "unfit": "skip"}[key]
    assert "belongs to a pattern" in desk.refuse(entries(pattern("a", **{key: value})))[f"/tables/0/{key}"]


def test_a_pattern_of_mode_scd1_needs_its_cursor_but_no_key(desk: Any) -> None:
    """The catalog has the key; which column is the cursor it does not know."""
    assert set(desk.refuse(entries(pattern() | {"mode": "scd1"}))) == {
        "/tables/0/incremental_column",
        "/tables/0/incr_col_type",
    }


def test_a_pattern_gets_its_defaults(desk: Any) -> None:
    """And passes them on."""

    def edit(c: dict[str, Any]) -> None:
        c["defaults"] = dict(CURSOR)
        entries({"schema": "sales", "table": "*"})(c)

    (table,) = resolve_patterns(desk.load(edit), Shelf("sales.a")).tables
    assert (table.mode, table.incremental_column, table.primary_keys) == ("scd1", "updated_at", ("id",))


def sqlite(c: dict[str, Any]) -> None:
    c["connections"]["sales"] = {"dialect": "sqlite", "database": "x.db"}


def test_an_sqlite_file_has_no_schemas(desk: Any) -> None:
    """The schema of a pattern is a name of your choice, and a table's own name tells it from others."""

    def edit(c: dict[str, Any]) -> None:
        sqlite(c)
        entries(pattern("*", "shop"), pattern("orders", "other"))(c)

    found = resolve_patterns(desk.load(edit), Shelf("main.orders", "main.items", ignores_case=True))
    assert names(found) == ["shop.items", "other.orders"]

    def with_pattern(c: dict[str, Any]) -> None:
        sqlite(c)
        entries(pattern("*", "sh*"))(c)

    assert "knows no schemas" in desk.refuse(with_pattern)["/tables/0/schema"]
