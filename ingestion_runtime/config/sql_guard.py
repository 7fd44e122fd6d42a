"""Judges the SQL that a configuration may hold, before it is put into a query.

Two judges, both must agree. The first reads characters under the strictest reading of any database: quotations closed,
brackets balanced, nothing that could swallow what follows. The second parses the text and looks at its tree.
What passes stays one self-contained expression (or query) when it is put in parentheses.
"""

import itertools
import logging
import re

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from ingestion_runtime.config.sql_text import SqlRefusedError, check_text

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it would print the text that it cannot parse

FILTER_ALLOWED = "allowed is one boolean expression over the table's own columns, such as status = 'open'"
QUERY_ALLOWED = "allowed is one SELECT, with or without a leading WITH"

FORBIDDEN_FUNCTIONS = re.compile(
    r"""
    pg_sleep(_for|_until)? | pg_(terminate|cancel)_backend | pg_reload_conf | pg_rotate_logfile | pg_notify
    | pg_(try_)?advisory_\w+ | pg_read_\w*file | pg_ls_\w+ | pg_stat_file | pg_file_\w+ | pg_logical_\w+
    | pg_replication_\w+ | pg_(create|drop|copy)_\w+ | pg_switch_wal | pg_promote | pg_wal_replay_\w+
    | pg_backup_\w+ | pg_stat_reset\w* | pg_stat_statements_reset
    | lo_\w+ | lowrite | loread | dblink\w* | set_config | nextval | setval
    | (query|cursor|table|schema|database)_to_xml\w* | xpath_table | crosstab\w*
    | load_extension | readfile | writefile | edit | fts3_tokenizer
    | (try_)?reflect | java_method
    | sleep | benchmark | (get|release|is_free|is_used)_lock | release_all_locks | load_file | sys_(exec|eval|get|set)
    | (master|source)_(pos|gtid)_wait | wait_(for|until)_\w+ | last_insert_id | lastval
    """,
    re.VERBOSE | re.IGNORECASE,
)
AGGREGATES = re.compile(
    r"\w+_agg(_strict)?|(json|jsonb)_group_\w+|json_(array|object)agg|group_concat|total|collect_(list|set)|regr_\w+|bool_(and|or)",
    re.IGNORECASE,
)

Refusals = tuple[tuple[tuple[type[exp.Expr], ...], str], ...]

NOT_IN_EXPRESSIONS: Refusals = (
    ((exp.DDL, exp.DML, exp.Drop, exp.Command), "a statement is not allowed"),
    ((exp.Query, exp.Subquery, exp.Exists, exp.Table, exp.With), "a subquery is not allowed"),
    ((exp.AggFunc,), "an aggregate function is not allowed"),
    ((exp.Window,), "a window function is not allowed"),
    ((exp.Placeholder, exp.Parameter, exp.SessionParameter), "a parameter is not allowed"),
    ((exp.Alias, exp.Aliases, exp.PropertyEQ, exp.Star), "an alias, an assignment or a star is not allowed"),
)
NOT_IN_QUERIES: Refusals = (
    ((exp.Into,), "SELECT INTO is not allowed"),
    ((exp.Lock,), "a locking clause (FOR UPDATE, FOR SHARE) is not allowed"),
    (
        (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Command),
        "a writing statement is not allowed",
    ),
    ((exp.Placeholder, exp.Parameter, exp.SessionParameter), "a parameter is not allowed"),
)


BOOLEAN_NODES = (exp.Predicate, exp.Boolean, exp.Column, exp.Func, exp.Dot, exp.Case)
NOT_IN_FILTERS = frozenset({"SELECT", "VALUES", "TABLE", "UNION", "INTERSECT", "EXCEPT", "INTO", "RETURNING"})


def check_filter(text: str, dialect: str) -> None:
    """Return if ``text`` is exactly one boolean expression of ``dialect``; raises SqlRefusedError if not."""
    tree = _parse(text, dialect, FILTER_ALLOWED)
    _refuse_nodes(tree, NOT_IN_EXPRESSIONS, FILTER_ALLOWED)
    _refuse_functions(text, dialect, FILTER_ALLOWED, aggregates=True)
    if any(token.token_type.name in NOT_IN_FILTERS for token in sqlglot.tokenize(text, dialect=dialect)):
        raise SqlRefusedError(f"a subquery is not allowed; {FILTER_ALLOWED}")
    if not _is_boolean(tree):
        raise SqlRefusedError(f"this is not a boolean expression; {FILTER_ALLOWED}")


def columns_of(text: str, dialect: str) -> frozenset[str]:
    """Return the names of the columns in an expression; none where it cannot be parsed."""
    try:
        return frozenset(column.name for column in _parse(text, dialect, FILTER_ALLOWED).find_all(exp.Column))
    except SqlRefusedError:
        return frozenset()


def check_query(text: str, dialect: str) -> None:
    """Return if ``text`` is exactly one SELECT that changes nothing; raises SqlRefusedError if not."""
    tree = _parse(text, dialect, QUERY_ALLOWED)
    if not isinstance(tree, (exp.Select, exp.SetOperation)):
        raise SqlRefusedError(f"this is not a SELECT; {QUERY_ALLOWED}")
    _refuse_nodes(tree, NOT_IN_QUERIES, QUERY_ALLOWED)
    _refuse_functions(text, dialect, QUERY_ALLOWED, aggregates=False)


def _parse(text: str, dialect: str, allowed: str) -> exp.Expr:
    check_text(text, dialect, allowed)
    try:
        trees = sqlglot.parse(text, dialect=dialect)
    except SqlglotError as error:
        raise SqlRefusedError(f"this cannot be parsed{_place(error)}; {allowed}") from None
    except (RecursionError, ValueError, TypeError, AttributeError, LookupError):
        # The parser promises only its own errors, but strange input finds its way to others.
        raise SqlRefusedError(f"this cannot be parsed; {allowed}") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Expr):
        raise SqlRefusedError(f"this is not one expression; {allowed}")
    return trees[0]


def _place(error: SqlglotError) -> str:
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line"), details[0].get("col")
    return f" (line {line}, column {column})" if line and column else ""


def _refuse_nodes(tree: exp.Expr, refused: Refusals, allowed: str) -> None:
    for node in tree.walk():
        for kinds, message in refused:
            if isinstance(node, kinds):
                raise SqlRefusedError(f"{message}; {allowed}")


def _refuse_functions(text: str, dialect: str, allowed: str, *, aggregates: bool) -> None:
    """Look at every word before an opening parenthesis: the tree knows some functions under other names."""
    tokens = sqlglot.tokenize(text, dialect=dialect)
    for word, following in itertools.pairwise(tokens):
        if following.token_type != TokenType.L_PAREN:
            continue
        if FORBIDDEN_FUNCTIONS.fullmatch(word.text):
            raise SqlRefusedError(f"the function {word.text.lower()} has side effects and is not allowed; {allowed}")
        if aggregates and AGGREGATES.fullmatch(word.text):
            raise SqlRefusedError(f"an aggregate function is not allowed; {allowed}")


def _is_boolean(tree: exp.Expr) -> bool:
    pending: list[object] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, (exp.And, exp.Or, exp.Xor)):
            pending += [node.this, node.expression]
        elif isinstance(node, (exp.Not, exp.Paren)):
            pending.append(node.this)
        elif isinstance(node, exp.Cast):
            if not node.is_type(exp.DataType.Type.BOOLEAN):
                return False
        elif not isinstance(node, BOOLEAN_NODES):
            return False
    return True
