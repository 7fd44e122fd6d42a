"""SIGINT and SIGTERM as a request to stop, which long work looks at between its steps."""

import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_SECONDS = 0.1


class Interruption:
    """Turns SIGINT and SIGTERM into a request to stop; a second one gets the default treatment."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.signal: int | None = None
        self._over = threading.Event()

    @contextmanager
    def listening(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Listen while the block runs; ``cancel`` ends what is waiting for an engine."""
        with ExitStack() as stack:
            heard = None
            # Elsewhere than on the main thread nobody may listen; whoever called us from there has handlers of their own.
            if threading.current_thread() is threading.main_thread():
                heard = stack.enter_context(_arriving())
            watcher = threading.Thread(target=self._wait, args=(cancel, heard), name="interruption", daemon=True)
            watcher.start()
            stack.callback(self._over.set)
            for number in _SIGNALS if heard is not None else ():
                stack.callback(signal.signal, number, signal.signal(number, self._handle))
            yield

    def _wait(self, cancel: Callable[[], None], heard: socket.socket | None) -> None:
        # Not in the handler: it runs between two bytecodes of the main thread, which may hold any lock.
        while not self._over.wait(_LOOK_SECONDS):
            if heard is not None:
                self._hear(heard)
            if self.requested.is_set():
                cancel()  # again and again: a job may have started since

    def _hear(self, heard: socket.socket) -> None:
        """Take a signal for a request although its handler has not run: the main thread, where handlers run, may have begun
        to wait for the tables at that very moment, and would wait until they are done."""
        with suppress(OSError):  # nothing has come, or the work is over
            for number in heard.recv(64):
                if number in _SIGNALS:
                    self._request(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._request(number)
        signal.signal(number, signal.SIG_DFL)

    def _request(self, number: int) -> None:
        self.signal = number
        self.requested.set()


def wait_attentively(futures: Collection[Future[Any]]) -> None:
    """Wait until all are done; a SIGINT ends the waiting with KeyboardInterrupt within 0.1 s.

    Also one that comes just when the waiting begins, which would else be looked at when all are done.
    """
    while wait(futures, timeout=_LOOK_SECONDS).not_done:
        pass


@contextmanager
def _arriving() -> Iterator[socket.socket]:
    """Lend a socket from which the numbers of signals can be read that Python has a handler for, as they arrive."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(before)
