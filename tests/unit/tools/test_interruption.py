"""A request to stop is heard, wherever the main thread is."""

import os
import signal
import threading
from concurrent.futures import Future

import pytest

from ingestion_runtime.tools.interruption import Interruption, wait_attentively

WAIT = 20.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_a_stop_and_is_named(number: signal.Signals) -> None:
    interruption, cancelled = Interruption(), threading.Event()
    before = signal.getsignal(number)

    with interruption.listening(cancelled.set):
        os.kill(os.getpid(), number)
        assert cancelled.wait(WAIT)
        assert signal.getsignal(number) is signal.SIG_DFL  # a second one ends the process

    assert (interruption.requested.is_set(), interruption.signal) == (True, number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_does_not_wake_the_main_thread_is_heard(number: signal.Signals) -> None:
    """One that comes just when it begins to wait: as here, where another thread gets the signal, no handler runs until the
    waiting is over, and that may be when all tables are done."""
    interruption, cancelled = Interruption(), threading.Event()

    with interruption.listening(cancelled.set):
        other = threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), number))
        other.start()
        assert cancelled.wait(WAIT)
        assert interruption.signal == number
        other.join()


def test_what_was_there_before_is_there_afterwards() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)

    with Interruption().listening(lambda: None):
        pass

    after = signal.set_wakeup_fd(before)
    assert after == before


def test_other_signals_ask_for_nothing() -> None:
    interruption = Interruption()
    heard = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.set())
    try:
        with interruption.listening(lambda: None):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard.wait(WAIT)
            assert not interruption.requested.wait(0.5)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_elsewhere_than_on_the_main_thread_nobody_listens() -> None:
    """Who called us from there has handlers of their own; a stop that they ask for is carried out all the same."""
    interruption, cancelled = Interruption(), threading.Event()

    def work() -> None:
        with interruption.listening(cancelled.set):
            interruption.requested.set()
            assert cancelled.wait(WAIT)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert cancelled.is_set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_waiting_for_work_ends_with_a_signal_that_does_not_wake_the_main_thread() -> None:
    work: Future[None] = Future()
    late = threading.Timer(WAIT, lambda: work.set_result(None))
    late.start()
    other = threading.Timer(0.3, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            wait_attentively([work])
        assert not work.done()
    finally:
        signal.signal(signal.SIGINT, before)
        late.cancel()
        other.join()


def test_waiting_for_work_ends_with_the_work() -> None:
    done: Future[None] = Future()
    done.set_result(None)

    wait_attentively([done])
    wait_attentively([])
