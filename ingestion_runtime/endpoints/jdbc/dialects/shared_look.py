"""One look for several who ask at about the same time."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedLook(Generic[T]):
    """Lets one look run at a time, and everybody take one that began after they had asked.

    Such a look is as good as one of their own: whatever was so when they asked, it found or came after. One that was
    already under way when they asked is not: it may have passed over what they must see.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()  # held for as long as a look takes
        self._begun = 0
        self._found: dict[Hashable, tuple[int, T]] = {}

    def take(self, place: Hashable, look: Callable[[], T]) -> T:
        """Return what ``look`` finds at ``place``, or what another look there found that began after this call.

        Raises what ``look`` raises; nobody else is given a failure.
        """
        asked = self._begun
        with self._turn:
            number, found = self._found.get(place, (0, None))
            if number > asked and found is not None:
                return found
            self._begun += 1
            found = look()
            self._found[place] = self._begun, found
            return found
