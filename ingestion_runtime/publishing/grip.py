"""A lease and the fencing token that comes with it."""

from typing import NoReturn, Protocol

from ingestion_runtime.model.batch import TableKey
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.state.leases import LeaseKeeper, Patience


class Hold(Protocol):
    """What whoever works on a table asks of its lease."""

    taken_over: bool

    @property
    def token(self) -> int:
        """The fencing token."""
        ...

    def raise_above(self, fence: int) -> None:
        """Take a token above the table's fence."""
        ...

    def require(self) -> None:
        """Raise TransientError when the lease ran out or went to someone else."""
        ...

    def release(self) -> None:
        """Give the lease back."""
        ...


class Untaken:
    """No lease at all, for whoever only looks; what needs one is a mistake. Implements ``Hold``."""

    taken_over = False

    @property
    def token(self) -> NoReturn:
        """There is none."""
        raise self._mistake()

    def raise_above(self, fence: int) -> NoReturn:  # noqa: ARG002 - the protocol's
        """There is nothing to raise."""
        raise self._mistake()

    def require(self) -> NoReturn:
        """There is nothing to publish under."""
        raise self._mistake()

    def release(self) -> None:
        """Nothing was taken."""

    def _mistake(self) -> RuntimeError:
        return RuntimeError("who only looks at a table holds no lease on it")


class Grip:
    """A lease on a target, and the fencing token under which its batches are published."""

    def __init__(self, keeper: LeaseKeeper, key: TableKey, patience: Patience | None = None) -> None:
        """Take the lease; raises LeaseHeldError, at once or after as long as ``patience`` says."""
        self._keeper = keeper
        self._key = key
        self._patience = patience
        self._lease = keeper.hold(key, 0, patience)
        self.taken_over = self._lease.taken_over

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._lease.token

    def raise_above(self, fence: int) -> None:
        """Take a token above the table's fence: another state database has been at work on this table."""
        if fence >= self._lease.token:
            self._keeper.release(self._lease)
            self._lease = self._keeper.hold(self._key, fence, self._patience)

    def require(self) -> None:
        """Raise TransientError when the lease ran out or went to someone else: the fence would refuse anyway."""
        if self._keeper.lost(self._lease):
            raise TransientError(
                f"{self._key}: the lease was lost while the table was worked on.",
                remedy="Another run may have taken over; run again when it has ended.",
                key=str(self._key),
            )

    def release(self) -> None:
        """Give the lease back."""
        self._keeper.release(self._lease)
