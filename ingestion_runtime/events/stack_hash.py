"""One short name for equal failures."""

import hashlib
import traceback
from collections.abc import Iterator
from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]
_MAX_CAUSES: Final = 10


def stack_hash(error: BaseException) -> str:
    """Return 12 hex characters that are equal for equal failures.

    Made of the exception types (causes included, those of a JVM too) and the functions of this package they passed
    through. Neither messages nor line numbers nor paths count, so a failure keeps its hash from table to table, from
    machine to machine, and mostly from release to release.
    """
    parts: list[str] = []
    for link in _chain(error):
        parts.append(f"{type(link).__module__}.{type(link).__qualname__}")
        parts.extend(f"java:{name}" for name in _java_classes(link))
        for frame, _line in traceback.walk_tb(link.__traceback__):
            module = str(frame.f_globals.get("__name__", ""))
            if module.partition(".")[0] == _PACKAGE:
                parts.append(f"{module}:{frame.f_code.co_qualname}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen and len(seen) < _MAX_CAUSES:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _java_classes(error: BaseException) -> list[str]:
    """The classes of the Java exception behind ``error`` and of its causes.

    py4j's errors hold it as ``java_exception``, pyspark's converted ones as ``_origin``. Both are known by their shape
    only: this room does not import them. A JVM that is gone has nothing to add.
    """
    names: list[str] = []
    try:
        java = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
        while java is not None and len(names) < _MAX_CAUSES:
            names.append(str(java.getClass().getName()))
            java = java.getCause()
    except Exception:  # noqa: BLE001  naming a failure must not cause another one
        return names
    return names
