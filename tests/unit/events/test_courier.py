"""Deliveries on a thread of their own: nobody waits for them, and nothing that happens to them is anybody's trouble."""

import json
import threading
import time

import pytest

from ingestion_runtime.events.courier import Courier, DeliveryError, finish_all


def test_everything_arrives_once_and_in_its_order() -> None:
    """Also what was added right before the end."""
    arrived: list[int] = []
    courier = Courier("here", arrived.append)
    for number in range(50):
        courier.add(number)
    courier.finish()
    assert courier.wait(10)
    assert arrived == list(range(50))


def test_without_anything_to_deliver_there_is_no_thread() -> None:
    """A run that tells nobody anything starts nothing."""
    before = threading.active_count()
    courier = Courier("here", lambda _: None)
    assert threading.active_count() == before
    courier.finish()
    assert courier.wait(0)


def test_what_comes_after_the_end_is_counted_and_not_delivered() -> None:
    """Nobody waits for it any more."""
    arrived: list[int] = []
    courier = Courier("here", arrived.append)
    courier.add(1)
    courier.finish()
    courier.add(2)
    assert courier.wait(10)
    assert (arrived, courier.dropped) == ([1], 1)


def test_a_receiver_that_never_answers_costs_the_wait_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Adding never blocks, what finds no room is counted, waiting ends in time, and all of it is said once."""
    release, entered = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        entered.set()
        release.wait(30)

    courier = Courier("the hanging one", hang, capacity=3)
    begun = time.monotonic()
    courier.add(0)
    assert entered.wait(10)
    for number in range(10):
        courier.add(number)
    finish_all((courier,), 0.2)
    assert time.monotonic() - begun < 5
    (message,) = caplog.messages
    told = json.loads(message)
    assert told == {"event": "delivery_unfinished", "to": "the hanging one", "undelivered": 4, "dropped": 7}
    release.set()


def test_several_receivers_that_hang_share_one_wait() -> None:
    """The end of a run is as late as for one of them."""
    release = threading.Event()
    couriers = tuple(Courier(str(number), lambda _: release.wait(30) and None) for number in range(5))
    for courier in couriers:
        courier.add(0)
    begun = time.monotonic()
    finish_all(couriers, 0.3)
    assert time.monotonic() - begun < 1.4
    release.set()


def test_what_waits_when_it_is_given_up_is_never_delivered() -> None:
    """A process that goes on after the run does not hear of it hours later."""
    release, entered, arrived = threading.Event(), threading.Event(), list[int]()

    def hang(number: int) -> None:
        arrived.append(number)
        entered.set()
        release.wait(30)

    courier = Courier("here", hang)
    courier.add(0)
    assert entered.wait(10)
    courier.add(1)
    courier.finish()
    assert not courier.wait(0)
    release.set()
    courier._thread.join(10)
    assert not courier._thread.is_alive()
    assert arrived == [0]


@pytest.mark.parametrize(
    ("error", "shown"), [(DeliveryError("refused with 500"), "refused with 500"), (OSError("https://secret.example"), "")]
)
def test_failures_are_told_once_and_only_our_own_words_are_shown(
    caplog: pytest.LogCaptureFixture, error: Exception, shown: str
) -> None:
    """What other people's libraries say may hold an address; later items are still tried."""
    tried: list[int] = []

    def fail(number: int) -> None:
        tried.append(number)
        raise error

    courier = Courier("mail", fail)
    courier.add(1)
    courier.add(2)
    courier.finish()
    assert courier.wait(10)
    assert tried == [1, 2]
    (message,) = caplog.messages
    told = {"event": "delivery_failed", "to": "mail", "error_type": type(error).__name__, "message": shown}
    assert json.loads(message) == told
