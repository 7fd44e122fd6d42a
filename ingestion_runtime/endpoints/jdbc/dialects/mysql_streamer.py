"""One connection to a server of the MySQL family, as readers of record batches use it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from ingestion_runtime.endpoints.jdbc.columns import SourceColumn
from ingestion_runtime.endpoints.jdbc.dialect import Rows, fetch
from ingestion_runtime.endpoints.jdbc.dialects.mysql_horizon import mark_own
from ingestion_runtime.endpoints.jdbc.dialects.mysql_stream import stream_rows

_BATCH_ROWS = 65_536


class MySQLStreamer:
    """Implements ``Streamer`` over one of the dialect's own connections; ``interrupt`` ends what it runs.

    ``freeze`` starts a transaction that sees one state of what ``FROM ... WHERE ...`` reads. ``lines`` is for servers that
    spell whole rows as ``mysql_stream`` asks them to.
    """

    def __init__(
        self, connection: Any, interrupt: Callable[[], None], freeze: Callable[[str], None], *, lines: bool
    ) -> None:
        self._connection = connection
        self._interrupt = interrupt
        self._freeze = freeze
        self._lines = lines
        self._running = ExitStack()

    def begin(self, join: str | None) -> None:  # noqa: ARG002 - nothing to join: every statement sees its newest state
        self._connection.ping(reconnect=False)

    def run(self, sql: str, columns: Sequence[SourceColumn], batch_bytes: int) -> Rows:  # noqa: ARG002 - typed by the server
        stream = stream_rows(self._connection, sql, _BATCH_ROWS, batch_bytes=batch_bytes, lines=self._lines)
        reader = self._running.enter_context(stream)
        return Rows(reader.schema, iter(reader))

    def testify(self, source: str, question: str) -> Sequence[Any]:
        self._freeze(source)
        (answer,) = fetch(self._connection, mark_own(question))
        return answer

    def cancel(self) -> None:
        self._interrupt()

    def end(self) -> None:
        self._running.close()
        self._connection.rollback()

    def close(self) -> None:
        self._running.close()
        self._connection.close()
