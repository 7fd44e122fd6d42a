"""SIGINT and SIGTERM as a request to stop, which long work looks at between its steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Turns SIGINT and SIGTERM into a request to stop; a second one gets the default treatment."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.signal: int | None = None
        self._over = threading.Event()

    @contextmanager
    def listening(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Listen while the block runs; ``cancel`` ends what is waiting for an engine."""
        watcher = threading.Thread(target=self._wait, args=(cancel,), name="interruption", daemon=True)
        watcher.start()
        # Elsewhere than on the main thread nobody may listen; whoever called us from there has handlers of their own.
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        previous = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._over.set()

    def _wait(self, cancel: Callable[[], None]) -> None:
        # Not in the handler: it runs between two bytecodes of the main thread, which may hold any lock.
        while not self._over.wait(0.1):
            if self.requested.is_set():
                cancel()  # again and again: a job may have started since

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.requested.set()
        signal.signal(number, signal.SIG_DFL)
