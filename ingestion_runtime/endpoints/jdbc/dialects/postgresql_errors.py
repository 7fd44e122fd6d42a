"""What PostgreSQL's errors mean, and what to do about them."""

import re

from ingestion_runtime.endpoints.jdbc.dialect import Fault
from ingestion_runtime.model.errors import ConfigError, IngestionError, OversizedReadError, TerminalError, TransientError

# A failed connection attempt carries no SQLSTATE in libpq, only the server's words.
_CONNECT_WORDS = (
    (re.compile(r"password authentication failed|no password supplied|role .* does not exist|pg_hba\.conf"), "28000"),
    (
        re.compile(r"authentication method|[Pp]eer authentication|certificate|does not support SSL|match host name"),
        "28000",
    ),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"permission denied for database"), "42501"),
    (re.compile(r"too many (connections|clients)|remaining connection slots"), "53300"),
)
_TIMEOUT = "Raise statement_timeout for this user (ALTER ROLE ... SET statement_timeout), or add an index on the cursor."
# Of a snapshot whose holder is gone: by now the server knows it no more, or knows that the holder has ended.
_NO_SNAPSHOT = re.compile(r"invalid snapshot identifier|could not import the requested snapshot|snapshot .* does not exist")
_HIDDEN_ROWS = (
    "Give the connection's user BYPASSRLS, or read a view that belongs to the table's owner; which rows are read is said by"
    " source_filter or by that view."
)
_COLUMNS = "Check the column names in the configuration against the source. If it was altered just now, run again."
_ADVICE: tuple[tuple[str, type[IngestionError], str], ...] = (
    ("28", ConfigError, "Check user, password reference and tls of this connection, and the server's pg_hba.conf."),
    ("3D000", ConfigError, "Check database of this connection."),
    ("42501", TerminalError, "Grant the connection's user SELECT on it (and USAGE on its schema)."),
    ("42P01", TerminalError, "Check schema and table, or query_sql, against the source."),
    ("3F000", TerminalError, "Check schema and table, or query_sql, against the source."),
    ("42703", TerminalError, _COLUMNS),
    ("42601", TerminalError, "Check source_filter and query_sql of this table."),
    ("53200", OversizedReadError, "The server lacks memory for so much at once; run the same command again later."),
    ("53400", OversizedReadError, "Raise temp_file_limit for this user at the server."),
    ("53300", TransientError, "Give this connection a max_connections within the server's limit, or run again later."),
    ("53", TransientError, "The server is short of disk, memory or connections; run the same command again later."),
    ("40", TransientError, "The source was busy with conflicting work; run the same command again."),
    ("55P03", TransientError, "The source is locked by other work; run the same command again."),
    ("57", TransientError, "The server is starting, stopping or cancelled the query; run the same command again."),
    ("58", TransientError, "The server met a system error; check its log, then run the same command again."),
    ("25P0", TransientError, "The server ended the transaction by a timeout; run the same command again."),
    ("08", TransientError, "Check that the server runs and is reachable, then run the same command again."),
)


def with_state(fault: Fault) -> Fault:
    """Return the fault with the SQLSTATE that a failed attempt to connect does not carry."""
    if fault.state not in (None, "08000"):
        return fault
    state = next((state for words, state in _CONNECT_WORDS if words.search(fault.text)), fault.state)
    return Fault(state, None, fault.text)


def classify(fault: Fault, place: str) -> IngestionError:
    """Return a fault as one of our errors, with a remedy."""
    # A person who cancels has the same SQLSTATE as a clock; only the words tell them apart.
    if fault.state == "57014" and "user request" not in fault.text:
        return OversizedReadError(f"{place}: {fault.text.rstrip('.')}.", remedy=_TIMEOUT, sqlstate=fault.state)
    if _NO_SNAPSHOT.search(fault.text):
        remedy = "The connection that kept the view of this read was lost; run the same command again."
        return TransientError(f"{place}: {fault.text.rstrip('.')}.", remedy=remedy, sqlstate=fault.state)
    if fault.state == "42501" and "row-level security" in fault.text:
        return TerminalError(f"{place}: {fault.text.rstrip('.')}.", remedy=_HIDDEN_ROWS, sqlstate=fault.state)
    for prefix, kind, remedy in _ADVICE:
        if (fault.state or "").startswith(prefix):
            return kind(f"{place}: {fault.text.rstrip('.')}.", remedy=remedy, sqlstate=fault.state)
    return TerminalError(
        f"{place}: {fault.text.rstrip('.')}.",
        remedy="Check the table's settings against the source; the server's log may say more.",
        sqlstate=fault.state,
    )
