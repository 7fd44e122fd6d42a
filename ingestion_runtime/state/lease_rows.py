"""Leases as rows: compare-and-set by conditional UPDATEs whose row count is checked."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert
from sqlalchemy.exc import IntegrityError

from ingestion_runtime.model.batch import Lease, TableKey
from ingestion_runtime.model.errors import LeaseHeldError
from ingestion_runtime.model.state import Holder
from ingestion_runtime.state import queries
from ingestion_runtime.state.queries import naming
from ingestion_runtime.state.rows import key_columns
from ingestion_runtime.state.tables import LEASES
from ingestion_runtime.state.times import database_now, from_text, to_text


class LeaseRows:
    """Takes, extends and gives back leases, inside transactions that the caller opens."""

    def __init__(self, lifetime: timedelta, is_alive: Callable[[Holder], bool]) -> None:
        self._lifetime = lifetime
        self._is_alive = is_alive

    def acquire(self, connection: Connection, key: TableKey, holder: Holder, floor: int) -> Lease | None:
        """Take the lease; None when someone changed the row in between, and it is worth another look.

        Raises LeaseHeldError when its holder lives.
        """
        now = database_now(connection)
        row = connection.execute(queries.LEASE, naming(key)).one_or_none()
        if row is None:
            return self._insert(connection, key, holder, floor, now)
        if not row.released and from_text(row.expires_at) > now:
            self._refuse_if_alive(key, row, holder)
        lease = Lease(key, holder.run_id, max(row.token, floor) + 1, taken_over=not row.released)
        seen = {"seen_token": row.token, "seen_released": row.released, "seen_expires_at": row.expires_at}
        new = {f"new_{name}": value for name, value in self._values(lease, holder, now).items()}
        taken = connection.execute(queries.TAKE, {**naming(key), **seen, **new})
        return lease if taken.rowcount == 1 else None

    def renew(self, connection: Connection, lease: Lease) -> bool:
        """Extend the lease; False when it is no longer the holder's."""
        expires = to_text(database_now(connection) + self._lifetime)
        renewed = connection.execute(queries.RENEW, {**_held(lease), "until": expires})
        return renewed.rowcount == 1

    def release(self, connection: Connection, lease: Lease) -> None:
        """Give the lease back, if it is still the holder's."""
        connection.execute(queries.RELEASE, _held(lease))

    def _insert(self, connection: Connection, key: TableKey, holder: Holder, floor: int, now: datetime) -> Lease | None:
        lease = Lease(key, holder.run_id, floor + 1, taken_over=False)
        try:
            with connection.begin_nested():
                connection.execute(insert(LEASES), {**key_columns(key), **self._values(lease, holder, now)})
        except IntegrityError:
            return None
        return lease

    def _values(self, lease: Lease, holder: Holder, now: datetime) -> dict[str, Any]:
        return {
            "holder": holder.run_id,
            "host": holder.host,
            "pid": holder.pid,
            "started": holder.started,
            "token": lease.token,
            "expires_at": to_text(now + self._lifetime),
            "released": False,
        }

    def _refuse_if_alive(self, key: TableKey, row: Row[Any], holder: Holder) -> None:
        present = Holder(run_id=row.holder, host=row.host, pid=row.pid, started=row.started)
        if present.host == holder.host and not self._is_alive(present):
            return
        raise LeaseHeldError(
            f"{key} is held by run {present.run_id} (process {present.pid} on {present.host}); "
            f"its lease lasts until {row.expires_at}.",
            remedy="Wait for that run to end, or stop it; if its host is gone, run again after that time.",
            key=str(key),
            run_id=present.run_id,
            host=present.host,
            pid=present.pid,
            expires_at=row.expires_at,
        )


def _held(lease: Lease) -> dict[str, Any]:
    return {**naming(lease.key), "held_token": lease.token, "held_by": lease.holder}
