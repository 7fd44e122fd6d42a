"""Keeping leases alive, and noticing when they are lost."""

import time
from dataclasses import dataclass, field

import pytest

from ingestion_runtime.model.batch import Lease, TableKey
from ingestion_runtime.model.errors import LeaseHeldError, TransientError
from ingestion_runtime.model.state import Holder
from ingestion_runtime.state.leases import LeaseKeeper, Patience

KEY = TableKey("lake", "shop", "orders")
HOLDER = Holder("run-1", "here", 1, 1.0)


@dataclass
class Leases:
    """The lease half of a store; ``answer`` is what the next renewals do."""

    answer: bool | Exception = True
    renewed: int = 0
    released: list[Lease] = field(default_factory=list)

    held_by: list[str] = field(default_factory=list)

    def acquire_lease(self, key: TableKey, holder: Holder, floor: int) -> Lease:
        if self.held_by:
            raise LeaseHeldError("it is held.", remedy="Wait.", run_id=self.held_by.pop(0))
        return Lease(key, holder.run_id, floor + 1, taken_over=False)

    def renew_lease(self, _lease: Lease) -> bool:
        self.renewed += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def release_lease(self, lease: Lease) -> None:
        self.released.append(lease)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(leases: Leases, clock: Clock) -> LeaseKeeper:
    return LeaseKeeper(leases, HOLDER, clock=clock)  # type: ignore[arg-type]


def test_a_renewed_lease_outlives_its_first_lifetime(keeper: LeaseKeeper, clock: Clock) -> None:
    """Renewed every ten seconds it is never lost."""
    lease = keeper.hold(KEY, 3)
    assert lease.token == 4
    for _ in range(20):
        clock.now += 10
        assert keeper.renew_all()
        assert not keeper.lost(lease)


def test_a_lease_that_went_to_someone_else_is_lost_at_once(keeper: LeaseKeeper, leases: Leases) -> None:
    """The database said so; it is not asked again."""
    lease = keeper.hold(KEY, 0)
    leases.answer = False
    keeper.renew_all()
    assert keeper.lost(lease)
    keeper.renew_all()
    assert leases.renewed == 1


def test_failing_renewals_are_tried_again_until_the_lease_expires(keeper: LeaseKeeper, leases: Leases, clock: Clock) -> None:
    """A database that is away for a moment costs nothing; one that stays away costs the lease, for good."""
    lease = keeper.hold(KEY, 0)
    leases.answer = TransientError("away.", remedy="")
    clock.now = 30
    assert not keeper.renew_all()
    assert not keeper.lost(lease)
    leases.answer = True
    assert keeper.renew_all()
    leases.answer = TransientError("away.", remedy="")
    clock.now = 70
    assert not keeper.renew_all()
    assert not keeper.lost(lease)
    clock.now = 76
    assert keeper.lost(lease)
    leases.answer = True
    keeper.renew_all()
    assert keeper.lost(lease)


def test_a_process_that_was_stopped_past_its_lease_knows_without_its_thread(keeper: LeaseKeeper, clock: Clock) -> None:
    """The look at the clock happens when the question is asked."""
    lease = keeper.hold(KEY, 0)
    clock.now = 100
    assert keeper.lost(lease)


def test_a_released_lease_is_not_renewed(keeper: LeaseKeeper, leases: Leases, clock: Clock) -> None:
    """Nor is it lost: it was given back."""
    lease = keeper.hold(KEY, 0)
    keeper.release(lease)
    clock.now = 100
    keeper.renew_all()
    assert leases.released == [lease]
    assert leases.renewed == 0
    assert not keeper.lost(lease)


def test_the_thread_renews_until_it_is_stopped_and_releases_nothing(leases: Leases) -> None:
    """An unreleased lease is the next run's sign to raise the fence."""
    with LeaseKeeper(leases, HOLDER, interval=0.01) as keeper:  # type: ignore[arg-type]
        keeper.hold(KEY, 0)
        deadline = time.monotonic() + 10
        while leases.renewed < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    seen = leases.renewed
    time.sleep(0.05)
    assert leases.renewed == seen
    assert leases.released == []


class TestPatience:
    """A lease that a living run holds: maintenance is waited for, other runs only by maintenance."""

    def keeper(self, leases: Leases, clock: Clock) -> LeaseKeeper:
        return LeaseKeeper(leases, HOLDER, clock=clock)  # type: ignore[arg-type]

    def patience(self, clock: Clock, *, seconds: float = 60, for_all: bool = False, gives_up: bool = False) -> Patience:
        def pause(wanted: float) -> bool:
            clock.now += wanted
            return gives_up

        return Patience(seconds, pause, for_all)

    def test_maintenance_is_waited_for(self, leases: Leases) -> None:
        """Until it gives the lease back."""
        clock = Clock()
        leases.held_by = ["maintenance-20260701T020000-0badca"] * 5
        assert self.keeper(leases, clock).hold(KEY, 7, self.patience(clock)).token == 8
        assert 1 <= clock.now < 5

    def test_it_is_not_waited_for_longer_than_that(self, leases: Leases) -> None:
        """Then the holder is named, as ever."""
        clock = Clock()
        leases.held_by = ["maintenance-x"] * 1000
        with pytest.raises(LeaseHeldError):
            self.keeper(leases, clock).hold(KEY, 0, self.patience(clock))
        assert 60 <= clock.now < 61

    @pytest.mark.parametrize("holder", ["20260701T020000-0badca", "", "nightly-maintenance-"])
    def test_another_run_is_not_waited_for_by_a_run(self, leases: Leases, holder: str) -> None:
        """It may take hours: exit code 4, at once."""
        clock = Clock()
        leases.held_by = [holder]
        with pytest.raises(LeaseHeldError):
            self.keeper(leases, clock).hold(KEY, 0, self.patience(clock))
        assert clock.now == 0

    def test_it_is_waited_for_by_maintenance(self, leases: Leases) -> None:
        """Which has time."""
        clock = Clock()
        leases.held_by = ["20260701T020000-0badca"] * 3
        assert self.keeper(leases, clock).hold(KEY, 0, self.patience(clock, for_all=True)).token == 1

    @pytest.mark.parametrize(("seconds", "gives_up"), [(0, False), (60, True)])
    def test_who_will_not_wait_is_told_at_once(self, leases: Leases, seconds: float, gives_up: bool) -> None:
        """No patience is configured, or the run was asked to stop."""
        clock = Clock()
        leases.held_by = ["maintenance-x"] * 9
        with pytest.raises(LeaseHeldError):
            self.keeper(leases, clock).hold(KEY, 0, self.patience(clock, seconds=seconds, gives_up=gives_up))
        assert len(leases.held_by) >= 8 - gives_up
