"""MySQL and MariaDB: what their open transactions and running statements say about rows that may still come.

NOW() is the start of the statement here, and a statement belongs to a transaction that has not begun after it. InnoDB
lists its transactions, with whole seconds, but one that waits for a metadata lock has none yet and will commit the NOW()
from before the wait: statements that run count as well. Neither list knows databases, so both count for the whole server.
"""

import random
import secrets
import time
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from ingestion_runtime.endpoints.jdbc.dialect import fetch
from ingestion_runtime.endpoints.jdbc.dialects.mysql_errors import fault_of
from ingestion_runtime.endpoints.jdbc.dialects.shared_look import SharedLook
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.horizon import Horizon

_MICROS = 1_000_000
# Lists and clocks here have whole seconds, and a statement takes its NOW() some instructions before it shows itself.
PAD_MICROS = _MICROS
# InnoDB renews its list only when nobody has read it for 0.1 s; while somebody polls, it stays as it is (1.2 s seen).
_STALE_SECONDS = 0.11
_TRIES = 20
# Not allowed, not there, or (SingleStore) not known to the server.
_HIDDEN = (1044, 1064, 1109, 1142, 1146, 1193, 1227, 1238, 1298)

_OWN: "WeakSet[Any]" = WeakSet()
# One at a time: our own looks would keep the list from being renewed, so that each takes 0.1 s or more.
_LOOKS: SharedLook[Horizon] = SharedLook()
_TOKEN = secrets.token_hex(6)  # stands in the text of our reads; drawn once a process

# The list is spelled in the zone of the server's process. An hour that its clock shows twice is taken for the first one.
_BEGAN = "UNIX_TIMESTAMP(trx_started)"
_TRANSACTIONS = f"""
SELECT /* {{nonce}} */ trx_mysql_thread_id, coalesce(trx_query, ''), trx_rows_modified, CASE
         WHEN FROM_UNIXTIME({_BEGAN} - 3600) = trx_started THEN {_BEGAN} - 3600
         WHEN FROM_UNIXTIME({_BEGAN} - 1800) = trx_started THEN {_BEGAN} - 1800
         ELSE {_BEGAN} END
FROM information_schema.innodb_trx
"""
_STATEMENTS = "SELECT id, user, command, coalesce(info, ''), greatest(time, 0) FROM information_schema.processlist"


def remember_own(connection: Any) -> None:
    """Tell that a connection is ours and read-only: its transactions bring no rows."""
    _OWN.add(connection)


def mark_own(sql: str) -> str:
    """Return the statement with a comment by which `read_horizon` knows it as one of this process's reads."""
    return f"/* {_TOKEN} */ {sql}"


def read_horizon(connection: Any) -> Horizon:
    """Look at the open transactions and running statements of the server, in a transaction that ends with the look.

    Tables of one server that ask at about the same time share a look that began after each of them had asked.
    """
    # What a user is shown depends on the user.
    return _LOOKS.take((connection.host, connection.port, connection.user), lambda: _look_once(connection))


def _look_once(connection: Any) -> Horizon:
    try:
        return _look(connection)
    except Exception as error:
        fault = fault_of(error)
        if fault is None or fault.code not in _HIDDEN:
            raise
        grant = "Let an administrator run: GRANT PROCESS ON *.* TO the connection's user."
        why = f"the server does not show its transactions ({fault.text})"
        return Horizon(_now(connection), None, blind=why, grant=grant)
    finally:
        connection.rollback()
        _run(connection, "SET time_zone = '+00:00'")


def unseen_horizon(connection: Any) -> Horizon:
    """Return the horizon of a server that lists transactions for nobody: only the present is known."""
    return Horizon(_now(connection), None, blind="this server does not show its open transactions")


def resolution(native_type: str) -> int:  # noqa: ARG001 - the same for all
    """Return the microseconds to which values are cut: NOW() has none of them unless it is asked for some."""
    return _MICROS


def _look(connection: Any) -> Horizon:
    """Statements before transactions: one that waited leaves the first list for the second, never the other way."""
    _run(connection, "SET time_zone = 'SYSTEM'")  # of the server's process: in it the list of transactions is spelled
    _run(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")  # on the list from now on
    now = _now(connection)
    statements = fetch(connection, _STATEMENTS)
    transactions = _fresh_transactions(connection)
    prepared = _prepared(connection, transactions)
    why = _other_writers(connection, statements)
    if why:
        return Horizon(now, None, blind=why, grant="Read the primary.")
    ours = _own_ids(connection)
    started = [
        (int(began) * _MICROS, f"a transaction is open since {_spell(int(began))} UTC (thread {thread})")
        for thread, query, modified, began in transactions
        if thread not in ours and not (_TOKEN in query and not modified)
    ]
    started += [
        (now - (int(seconds) + 1) * _MICROS, f"a statement has been running for {int(seconds)} s (thread {thread})")
        for thread, _, _, info, seconds in statements
        if info and thread not in ours and _TOKEN not in info
    ]
    oldest, holder = min(started, default=(None, ""))
    moment = None if prepared else min(now - PAD_MICROS, now if oldest is None else oldest)
    return Horizon(now, moment, oldest, holder, prepared)


def _now(connection: Any) -> int:
    ((now,),) = fetch(connection, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)")
    return int(now)


def _fresh_transactions(connection: Any) -> Sequence[tuple[Any, ...]]:
    """Return the server's transactions as they are now.

    A list that was made for an earlier reader is told by what it lacks: our own transaction, at work on this very query.
    """
    for _ in range(_TRIES):
        nonce = secrets.token_hex(6)
        found = fetch(connection, _TRANSACTIONS.format(nonce=nonce))
        if any(nonce in query for _, query, _, _ in found):
            return found
        time.sleep(_STALE_SECONDS * random.uniform(1, 2))  # noqa: S311 - only to step out of another reader's beat
    raise TransientError(
        "The server did not renew its list of transactions: somebody reads information_schema.innodb_trx all the time.",
        remedy="Run again; end what polls it more than five times a second.",
    )


def _prepared(connection: Any, transactions: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """Name the transactions that wait for XA COMMIT. Of one found after a restart the list knows a later start."""
    try:
        found = fetch(connection, "XA RECOVER")
    except Exception as error:
        if fault_of(error) is None:
            raise
        return tuple("of a session that is gone" for thread, *_ in transactions if not thread)
    return tuple(bytes(row[3]).decode("utf-8", "replace") if isinstance(row[3], bytes) else str(row[3]) for row in found)


def _other_writers(connection: Any, statements: Sequence[tuple[Any, ...]]) -> str:
    if any(user == "system user" and command not in ("Daemon", "Sleep") for _, user, command, _, _ in statements):
        return "it is a replica, which does not show the transactions of its primary"
    if any(str(value).upper() == "ON" for _, value in fetch(connection, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'")):
        return "it is a node of a cluster, which does not show the transactions of the others"
    return ""


def _own_ids(connection: Any) -> set[int]:
    place = (connection.host, connection.port)
    return {own.thread_id() for own in tuple(_OWN) if own.open and (own.host, own.port) == place}


def _spell(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _run(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()
