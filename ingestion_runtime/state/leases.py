"""Keeps the leases of a run alive."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from ingestion_runtime.model.batch import Lease, TableKey
from ingestion_runtime.model.errors import LeaseHeldError
from ingestion_runtime.model.maintenance import RUN_PREFIX
from ingestion_runtime.model.state import Holder, StateStore

LIFETIME_SECONDS: Final = 45.0
RENEW_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_MARGIN_SECONDS: Final = 2.0  # the database's clock counts whole seconds; give up a little before it does
_LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a lease is waited for that a living run holds: so many seconds for maintenance, which needs a table for a
    moment only, and where ``for_all`` for any run.

    ``pause`` waits so many seconds and returns whether to give up.
    """

    seconds: float
    pause: Callable[[float], bool]
    for_all: bool = False

    def is_with(self, held: LeaseHeldError) -> bool:
        """Whether this holder is waited for."""
        return self.for_all or str(held.values.get("run_id", "")).startswith(RUN_PREFIX)


class LeaseKeeper:
    """Holds leases and renews them on a thread, until they are released or lost.

    A renewal that fails is tried again each second until the lease would have expired; then, or when the database
    says that it has gone to someone else, the lease is lost for good. A holder that does not look is stopped by the
    table's fence. Stopping the keeper releases nothing: a lease that its table did not release tells the next run to
    raise the fence.
    """

    def __init__(
        self,
        store: StateStore,
        holder: Holder,
        interval: float = RENEW_SECONDS,
        lifetime: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._holder = holder
        self._interval = interval
        self._lifetime = lifetime - min(_MARGIN_SECONDS, lifetime / 4)
        self._clock = clock
        self._deadlines: dict[Lease, float] = {}
        self._lost: set[Lease] = set()
        self._lock = threading.Lock()  # never held while the database is asked
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start renewing."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, name="lease-keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop renewing; leases still held run out by themselves."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> "LeaseKeeper":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def hold(self, key: TableKey, floor: int, patience: Patience | None = None) -> Lease:
        """Take the lease on a table and keep it; ``floor`` is the table's fence. Raises LeaseHeldError, after waiting for as
        long as ``patience`` says."""
        until = self._clock() + (patience.seconds if patience else 0)
        while True:
            begun = self._clock()
            try:
                lease = self._store.acquire_lease(key, self._holder, floor)
            except LeaseHeldError as held:
                if patience is None or begun >= until or not patience.is_with(held) or patience.pause(_LOOK_SECONDS):
                    raise
                continue
            with self._lock:
                self._deadlines[lease] = begun + self._lifetime
            return lease

    def release(self, lease: Lease) -> None:
        """Stop renewing a lease and give it back."""
        with self._lock:
            self._deadlines.pop(lease, None)
        self._store.release_lease(lease)

    def lost(self, lease: Lease) -> bool:
        """Return whether the lease was lost, or could not be renewed in time."""
        with self._lock:
            self._drop_expired()
            return lease in self._lost

    def renew_all(self) -> bool:
        """Renew every lease once; False when one could not be asked for and should be tried again soon."""
        with self._lock:
            self._drop_expired()
            leases = tuple(self._deadlines)
        answered = True
        for lease in leases:
            begun = self._clock()
            try:
                kept = self._store.renew_lease(lease)
            except Exception:  # noqa: BLE001  whatever it is, there is time left to try again
                answered = False
                continue
            with self._lock:
                if lease not in self._deadlines:
                    continue  # released, or expired, while the database was asked
                if kept:
                    self._deadlines[lease] = begun + self._lifetime
                else:
                    self._lose(lease)
        return answered

    def _work(self) -> None:
        pause = self._interval
        while not self._stop.wait(pause):
            pause = self._interval if self.renew_all() else min(self._interval, _RETRY_SECONDS)

    def _drop_expired(self) -> None:
        now = self._clock()
        for lease in [lease for lease, deadline in self._deadlines.items() if now >= deadline]:
            self._lose(lease)

    def _lose(self, lease: Lease) -> None:
        del self._deadlines[lease]
        self._lost.add(lease)
