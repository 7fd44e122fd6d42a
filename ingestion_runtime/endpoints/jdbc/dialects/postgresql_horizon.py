"""PostgreSQL: what its open transactions say about rows that may still come.

now() inside a transaction is its start, so a transaction that is still open will commit clock values from its start on.
Three statements, in this order, of one transaction: each sees shared memory as it is when it runs, and a transaction
passes them in the same direction. It leaves the list of backends only after its rows have become visible, and a prepared
one only after it has entered the list of prepared transactions.
"""

import secrets
from typing import Any

from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.model.horizon import Horizon

# A backend takes its now() some instructions before it shows it. Whatever was not on the list took it less than this
# before the look, unless it was kept off the processor all the time in between.
PAD_MICROS = 100_000

# Ours are told by it: it is drawn once a process, and no other program has it.
_TOKEN = secrets.token_hex(6)
_LONGEST_NAME = 40  # of 63 bytes that the server keeps

_ABOUT = """
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_is_in_recovery(),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), current_user::text
"""

# xact_start is written a little later than query_start: an active client without the one counts by the other. With
# track_activities off a session shows neither. Autovacuum and WAL senders write no rows of users. A reader of ours that
# has no transaction id has written nothing; every other session counts, also one that only reads so far.
_OPEN = f"""
SELECT pid, state, (extract(epoch FROM coalesce(xact_start, query_start)) * 1000000)::bigint,
       to_char(coalesce(xact_start, query_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND backend_type NOT IN ('autovacuum worker', 'walsender')
  AND NOT (right(application_name, {len(_TOKEN)}) = '{_TOKEN}' AND backend_xid IS NULL)
  AND (xact_start IS NOT NULL OR state = 'disabled'
       OR (backend_type = 'client backend' AND state IN ('active', 'fastpath function call')))
ORDER BY 3
"""

# The time of PREPARE is known, the start is not.
_PREPARED = """
SELECT gid::text || ' since ' || to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared
"""


def own_name(configured: str | None = None) -> str:
    """Return the application name of this process's connections, by which `read_horizon` tells them from others."""
    return f"{(configured or 'ingestion-runtime')[:_LONGEST_NAME]} {_TOKEN}"


def read_horizon(connection: Any) -> Horizon:
    """Look at the open transactions of the connection's database, in a transaction that ends with the look."""
    try:
        ((now, standby, granted, role),) = fetch(connection, _ABOUT)
        if standby:
            return _blind(now, "it is a standby, which does not show the transactions of its primary", "Read the primary.")
        if not granted:
            grant = f'GRANT pg_read_all_stats TO "{role}"'
            return _blind(
                now, f"role {role!r} may not see the transactions of others", f"Let an administrator run: {grant}."
            )
        opened = fetch(connection, _OPEN)
        prepared = tuple(name for (name,) in fetch(connection, _PREPARED))
    finally:
        connection.rollback()
    if any(state == "disabled" for _, state, _, _ in opened):
        return _blind(now, "a session runs with track_activities off and hides its transaction", "Switch it on everywhere.")
    started = [(start, pid, state, since) for pid, state, start, since in opened if start is not None]
    oldest, holder = None, ""
    if started:
        oldest, pid, state, since = started[0]
        holder = f"a transaction is open since {since} UTC (pid {pid}, {state})"
    moment = None if prepared else min(now - PAD_MICROS, now if oldest is None else oldest)
    return Horizon(now, moment, oldest, holder, prepared)


def resolution(native_type: str) -> int:
    """Return the microseconds to which a column of this type rounds; a second where its type hides the precision."""
    plain = native_type.startswith("timestamp")
    if not plain:
        return 1_000_000
    _, bracket, rest = native_type.partition("(")
    return 10 ** (6 - int(rest.partition(")")[0])) if bracket else 1


def _blind(now: int, why: str, grant: str) -> Horizon:
    return Horizon(now, None, blind=why, grant=grant)
