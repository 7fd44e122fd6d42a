"""Times as the state database keeps them."""

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select


def to_text(moment: datetime) -> str:
    """Return an aware time as UTC text of fixed width."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def from_text(text: str) -> datetime:
    """Return the time in ``text``, aware, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def database_now(connection: Connection) -> datetime:
    """Return the database's own present: the one clock that all runs share.

    A connection must speak UTC (SQLite always does; others are told when they connect).
    """
    now: datetime = connection.execute(select(func.current_timestamp())).scalar_one()
    return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
