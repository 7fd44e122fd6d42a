"""What SQL a configuration may hold."""

import contextlib
import sqlite3

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from ingestion_runtime.config.sql_guard import check_filter, check_query
from ingestion_runtime.config.sql_text import SqlRefusedError


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("postgres", "status = 'open'"),
        ("postgres", "NOT is_test AND country IN ('DE', 'AT')"),
        ("postgres", "active"),
        ("postgres", "name ~ '^\\d+$' OR name ILIKE 'x%'"),
        ("postgres", "tags @> ARRAY['a'] AND data->>'x' = 'y'"),
        ("postgres", "updated_at > now() - interval '1 day'"),
        ("postgres", "(a, b) IN ((1, 2), (3, 4))"),
        ("postgres", "CASE WHEN a THEN b ELSE c END"),
        ("postgres", "extract(year from d) = 2024"),
        ("postgres", "\"semi;colon -- name\" = 'it''s; /* text */ $1 ?'"),
        ("postgres", "a BETWEEN 1 AND 2\nAND b IS NOT NULL"),
        ("sqlite", "[my column] GLOB 'x*' AND `b` = \"c\""),
        ("sqlite", "strftime('%Y', d) = '2024'"),
        ("mysql", "`my column` LIKE 'x\\_%' AND b = \"it's # ? -- {\" AND c RLIKE '^x'"),
        ("mysql", "d >= now() - INTERVAL 1 DAY AND j->>'$.a' = 'x' AND NOT (a <=> b)"),
        ("singlestore", "d >= date_sub(now(), INTERVAL 1 DAY) AND `a` IN (1, 2)"),
        ("spark", "target.order_date >= date'2024-01-01'"),
        ("spark", "order_date >= current_date() - interval 30 days"),
    ],
)
def test_boolean_expressions_pass(dialect: str, text: str) -> None:
    """Comparisons, functions of the row, and quotations that hold anything."""
    check_filter(text, dialect)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("a = 1;", "semicolon"),
        ("a = 1; DROP TABLE t", "semicolon"),
        ("a = 1 -- and more", "comment"),
        ("a = 1 /* x */", "comment"),
        ("a = 1 /* x", "comment"),
        ("a = 1) OR (1 = 1", "closed that was not opened"),
        ("(a = 1", "left open"),
        ("a = 'x", "quotation is left open"),
        ('"a = 1', "quotation is left open"),
        ("a = $$x$$", "dollar"),
        ("a = $1", "dollar"),
        ("a = ?", "question mark"),
        ("a = :name", "parameter"),
        ("a = {fn now()}", "brace"),
        ("a = E'\\' OR 1 = 1 --'", "backslash"),
        ("a = U&'\\0061'", "U&"),
        ("a = 'x\x00'", "control character"),
        ("a = (SELECT 1)", "subquery"),
        ("a IN (SELECT b FROM t)", "subquery"),
        ("EXISTS (SELECT 1)", "subquery"),
        ("a < ALL (VALUES (1))", "subquery"),
        ("a = 1 UNION SELECT 1", "subquery"),
        ("SELECT 1", "subquery"),
        ("DELETE FROM t", "statement"),
        ("DROP TABLE t", "statement"),
        ("count(*) > 1", "aggregate"),
        ("max(a) = 1", "aggregate"),
        ("jsonb_agg(a) IS NULL", "aggregate"),
        ("row_number() OVER () = 1", "window"),
        ("a AS b", "alias"),
        ("a b", "alias"),
        ("a DESC", "alias"),
        ("*", "star"),
        ("a, b", "cannot be parsed"),
        ("a = 1 ORDER BY b", "cannot be parsed"),
        ("a = 1 LIMIT 1", "cannot be parsed"),
        ("WHERE a = 1", ""),
        ("a + 1", "not a boolean expression"),
        ("'text'", "not a boolean expression"),
        ("a = 1 AND 2", "not a boolean expression"),
        ("pg_sleep(10) IS NULL", "side effects"),
        ("pg_catalog.pg_sleep (10) IS NULL", "side effects"),
        ('"pg_sleep"(10) IS NULL', "side effects"),
        ("a = nextval('s')", "side effects"),
        ("(" * 3000 + "a" + ")" * 3000, "cannot be parsed"),
        ("a = '" + "x" * 60_000 + "'", "longer than"),
    ],
)
def test_everything_else_is_refused_with_what_is_allowed(text: str, reason: str) -> None:
    """Statements, subqueries, comments, parameters, and text that reaches beyond its own end."""
    with pytest.raises(SqlRefusedError, match="allowed is one boolean expression") as caught:
        check_filter(text, "postgres")
    assert reason in str(caught.value)


@pytest.mark.parametrize("dialect", ["mysql", "singlestore"])
@pytest.mark.parametrize(
    "text",
    [
        "a = 1 # comment",
        "a = 1 #",
        "a = 1 /*! OR 1 = 1 */",
        "a = 'x\\' OR 1 = 1 #'",
        'a = "x\\" OR 1 = 1 #"',
        "a = @x",
        "a = @@hostname",
        "(@x := 1) = 1",
        "sleep(10) = 0",
        "SLEEP (10) = 0",
        "benchmark(1000000000, md5('x')) = 0",
        "get_lock('x', 10) = 1",
        "load_file('/etc/passwd') IS NULL",
        "`a = 1",
        "a = (SELECT 1)",
        "group_concat(a) = 'x'",
        "json_arrayagg(a) = 'x'",
    ],
)
def test_what_mysql_reads_otherwise_is_refused_too(dialect: str, text: str) -> None:
    """Its own comments, escapes, variables and functions."""
    with pytest.raises(SqlRefusedError):
        check_filter(text, dialect)


@pytest.mark.parametrize("dialect", ["mysql", "singlestore"])
@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM t INTO OUTFILE '/tmp/x'",
        "SELECT * INTO OUTFILE '/tmp/x' FROM t",
        "SELECT * INTO DUMPFILE '/tmp/x' FROM t",
        "SELECT a INTO @x FROM t",
        "SELECT @x := a FROM t",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t PROCEDURE ANALYSE()",
        "SELECT sleep(1)",
        "HANDLER t OPEN",
        "SHOW TABLES",
        "SET GLOBAL x = 1",
    ],
)
def test_queries_of_mysql_that_do_more_than_read_are_refused(dialect: str, text: str) -> None:
    """Nothing is written into files or variables, nothing is locked."""
    with pytest.raises(SqlRefusedError):
        check_query(text, dialect)


@pytest.mark.parametrize("function", ["reflect('java.lang.Runtime', 'x')", "java_method('a', 'b')", "try_reflect('a', 'b')"])
def test_a_merge_filter_cannot_call_java(function: str) -> None:
    """Spark would."""
    with pytest.raises(SqlRefusedError, match="side effects"):
        check_filter(f"{function} = 'x'", "spark")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a, b FROM t WHERE c = 'x'",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "SELECT a, count(*) AS n FROM t GROUP BY a HAVING count(*) > 1",
        "SELECT a FROM t UNION ALL SELECT a FROM u",
        "SELECT t.a, row_number() OVER (PARTITION BY b ORDER BY c) AS n FROM t JOIN u USING (id)",
    ],
)
def test_read_only_queries_pass(text: str) -> None:
    """Joins, groups, windows and common table expressions."""
    check_query(text, "postgres")
    check_query(text, "sqlite")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DELETE FROM t", "not a SELECT"),
        ("INSERT INTO t SELECT 1", "not a SELECT"),
        ("VALUES (1)", "not a SELECT"),
        ("COPY t TO '/x'", "not a SELECT"),
        ("EXPLAIN SELECT 1", "not a SELECT"),
        ("CALL f()", "not a SELECT"),
        ("a = 1", "not a SELECT"),
        ("SELECT 1; SELECT 2", "semicolon"),
        ("SELECT 1;", "semicolon"),
        ("SELECT 1 -- last", "comment"),
        ("SELECT /* x */ 1", "comment"),
        ("SELECT * INTO u FROM t", "SELECT INTO"),
        ("SELECT * FROM t FOR UPDATE", "locking"),
        ("SELECT * FROM t FOR SHARE", "locking"),
        ("SELECT * FROM (SELECT * FROM t FOR UPDATE) AS x", "locking"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "writing"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x", "writing"),
        ("WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x", "writing"),
        ("SELECT :a", "parameter"),
        ("SELECT 1) x, (SELECT 2", "closed that was not opened"),
        ("", "empty"),
        ("SELEC 1", ""),
    ],
)
def test_queries_that_do_more_than_read_are_refused(text: str, reason: str) -> None:
    """One SELECT, nothing written, nothing locked."""
    with pytest.raises(SqlRefusedError, match="allowed is one SELECT") as caught:
        check_query(text, "postgres")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [
        "pg_sleep",
        "pg_sleep_for",
        "pg_terminate_backend",
        "pg_cancel_backend",
        "pg_advisory_lock",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_ls_dir",
        "lo_import",
        "lo_export",
        "dblink",
        "dblink_exec",
        "set_config",
        "nextval",
        "setval",
        "query_to_xml",
        "load_extension",
        "PG_SLEEP",
    ],
)
@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_functions_with_side_effects_are_refused(function: str, dialect: str) -> None:
    """In the select list and as a table, with a schema in front or quoted."""
    for text in (f"SELECT {function}('1')", f"SELECT * FROM {function}('1') AS x", f"SELECT s.\"{function}\" ('1')"):
        with pytest.raises(SqlRefusedError, match="side effects"):
            check_query(text, dialect)


PIECES = [
    "a",
    "b",
    "1",
    "0",
    "=",
    "<",
    "OR",
    "AND",
    "NOT",
    "(",
    ")",
    "'",
    '"',
    "[",
    "]",
    "`",
    "--",
    "/*",
    "*/",
    ";",
    "\\",
]
PIECES += [
    "'x'",
    "''",
    "IS",
    "NULL",
    "LIKE",
    "ESCAPE",
    "\n",
    ",",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "IN",
    "E'",
    "$$",
    "x'",
]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).flatmap(
    lambda pieces: st.sampled_from([" ".join(pieces), "".join(pieces)])
)


def _passes(text: str, dialect: str) -> bool:
    try:
        check_filter(text, dialect)
    except SqlRefusedError:
        return False
    return True


@given(TEXTS)
def test_what_passes_cannot_leave_its_parentheses_in_sqlite(text: str) -> None:
    """Asked of SQLite itself: a condition that is false before the parentheses stays false behind them."""
    if not _passes(text, "sqlite"):
        return
    with sqlite3.connect(":memory:") as database:
        try:
            rows = database.execute(f"SELECT 1 FROM (SELECT 1 AS a, 2 AS b) WHERE 1 = 0 AND ({text})").fetchall()
        except sqlite3.OperationalError:
            return
    assert rows == []


@given(TEXTS, st.sampled_from(["postgres", "sqlite", "spark", "mysql", "singlestore"]))
def test_what_passes_stays_one_operand(text: str, dialect: str) -> None:
    """Between parentheses it is one operand of the AND that is written behind it."""
    if not _passes(text, dialect):
        return
    tree = sqlglot.parse_one(f"({text}) AND FALSE", dialect=dialect)
    assert isinstance(tree, exp.And)
    assert isinstance(tree.this, exp.Paren)
    assert tree.expression == exp.false()


@given(st.text(max_size=40), st.sampled_from(["postgres", "sqlite", "spark", "mysql", "singlestore"]))
def test_any_text_is_judged_without_another_exception(text: str, dialect: str) -> None:
    """Accepted or refused, whatever it is."""
    _passes(text, dialect)
    with contextlib.suppress(SqlRefusedError):
        check_query(text, dialect)
