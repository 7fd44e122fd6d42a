"""Named points between durable effects, at which a test may kill or hold the process.

``INGESTION_FAILPOINTS`` holds ``name=kill``, ``name=fail`` or ``name=hold:PATH``, separated by commas;
``name@schema.table`` limits one to a table. ``kill`` ends the whole process group with SIGKILL, as a lost machine would.
``hold`` creates ``PATH.reached`` and waits for ``PATH``. Without the variable every point is a single look into an empty
mapping.
"""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError, TerminalError, TransientError

VARIABLE = "INGESTION_FAILPOINTS"
_HOLD_SECONDS = 120.0


class Failpoints:
    """The active points of this process."""

    def __init__(self, actions: Mapping[str, str]) -> None:
        self._actions = dict(actions)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Failpoints":
        """Return the points named in the environment; raises ConfigError for what cannot be read."""
        actions: dict[str, str] = {}
        for item in filter(None, environment.get(VARIABLE, "").split(",")):
            name, separator, action = item.partition("=")
            if not separator or action.partition(":")[0] not in {"kill", "fail", "hold"}:
                raise ConfigError(f"{VARIABLE} holds {item!r}.", remedy="Write name=kill, name=fail or name=hold:PATH.")
            actions[name] = action
        return cls(actions)

    def hit(self, name: str, table: str) -> None:
        """Pass the point ``name`` for ``table`` (``schema.table``), unless it is active."""
        action = self._actions.get(f"{name}@{table}", self._actions.get(name))
        if action is not None:
            _act(name, action)


def _act(name: str, action: str) -> None:
    verb, _, argument = action.partition(":")
    if verb == "kill":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif verb == "hold":
        Path(f"{argument}.reached").touch()
        deadline = time.monotonic() + _HOLD_SECONDS
        while not Path(argument).exists():
            if time.monotonic() > deadline:
                raise TerminalError(f"Failpoint {name} was held too long.", remedy=f"Create {argument} in time.")
            time.sleep(0.02)
    else:
        raise TransientError(f"Failpoint {name} failed on request.", remedy=f"Unset {VARIABLE}.")
