"""A seeded schedule of overlapping transactions, played by one thread over several sessions while runs take place.

Which session opens, writes, commits or rolls back next is drawn from the seed, so transactions end in another order than
they began in. The player may always be one quota of transactions ahead of the runs: then it stops, with transactions
open, and waits for the run to end. So runs meet transactions that are open all along, and commits in their midst.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Of what a session in a transaction does next; one that is in none begins one.
_WRITE, _COMMIT, _ROLLBACK = 0.72, 0.25, 0.03


@dataclass
class Session:
    """One writer: its connection (PEP 249, in a transaction or not) and the rows that it has committed, by table.

    It updates only rows of its own, so that no session ever waits for another.
    """

    connection: Any
    committed: dict[str, list[int]] = field(default_factory=dict)
    pending: dict[str, list[int]] = field(default_factory=dict)
    open: bool = False

    def execute(self, sql: str, *values: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []


@dataclass(frozen=True)
class Statements:
    """What is written to one table: an insert that returns the new row's id, and an update of one id."""

    insert: str
    update: str


class Schedule:
    """``transactions`` of them in all, about ``1 / runs`` of them a run."""

    def __init__(
        self, seed: int, sessions: Sequence[Session], tables: dict[str, Statements], transactions: int, runs: int
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a schedule, no secret
        self._sessions = sessions
        self._tables = tables
        self._left = transactions
        self._quota = -(-transactions // runs)
        self._allowed = self._quota
        self._turn = threading.Condition()
        self._failure: BaseException | None = None
        self.most_open = 0
        self.open_during_runs = 0
        self.commits_out_of_order = 0
        self._order: list[Session] = []

    def play(self, run: Callable[[], None]) -> int:
        """Call ``run`` again and again until all transactions have ended; return how often."""
        thread = threading.Thread(target=self._play, name="schedule")
        thread.start()
        count = 0
        try:
            while thread.is_alive():
                self.open_during_runs += any(session.open for session in self._sessions)
                run()
                count += 1
                with self._turn:
                    self._allowed += self._quota
                    self._turn.notify_all()
        finally:
            with self._turn:
                self._allowed = self._left + self._quota * count + 10**9
                self._turn.notify_all()
            thread.join()
        if self._failure is not None:
            raise self._failure
        return count

    def _play(self) -> None:
        try:
            begun = 0
            while begun < self._left or any(session.open for session in self._sessions):
                session = self._random.choice(self._sessions)
                if session.open:
                    self._go_on(session)
                elif begun < self._left:
                    begun += 1
                    self._begin(session)
                    with self._turn:
                        self._turn.wait_for(lambda begun=begun: begun <= self._allowed)
        except BaseException as error:  # noqa: BLE001 - the thread that plays has nobody to tell
            self._failure = error

    def _begin(self, session: Session) -> None:
        session.open = True
        self._order.append(session)
        self.most_open = max(self.most_open, len(self._order))
        self._write(session)

    def _go_on(self, session: Session) -> None:
        what = self._random.choices(("write", "commit", "rollback"), (_WRITE, _COMMIT, _ROLLBACK))[0]
        if what == "write":
            self._write(session)
            return
        self.commits_out_of_order += self._order[0] is not session
        self._order.remove(session)
        if what == "commit":
            session.connection.commit()
            for table, rows in session.pending.items():
                session.committed.setdefault(table, []).extend(rows)
        else:
            session.connection.rollback()
        session.pending.clear()
        session.open = False

    def _write(self, session: Session) -> None:
        table = self._random.choice(tuple(self._tables))
        known = session.committed.get(table, [])
        if known and self._random.random() < 0.5:
            session.execute(self._tables[table].update, self._random.choice(known))
        else:
            ((number,),) = session.execute(self._tables[table].insert)
            session.pending.setdefault(table, []).append(number)
