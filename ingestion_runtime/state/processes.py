"""Which process holds a lease, and whether it still runs."""

import os
import socket
from datetime import datetime
from typing import Final

import psutil

from ingestion_runtime.model.state import Holder, LeaseHeld

_TOLERANCE_SECONDS: Final = 1.0


def current_holder(run_id: str) -> Holder:
    """Return this process as the holder of leases."""
    pid = os.getpid()
    return Holder(run_id=run_id, host=socket.gethostname(), pid=pid, started=float(psutil.Process(pid).create_time()))


def is_alive(holder: Holder) -> bool:
    """Return whether the holder, a process of this host, still runs.

    Its number may have been given to another process since; the start time tells them apart. A process that has ended
    but was not yet waited for by its parent runs no code any more. What may not be looked at counts as alive.
    """
    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(float(process.create_time()) - holder.started) <= _TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def is_at_work(lease: LeaseHeld, now: datetime) -> bool:
    """Return whether a lease keeps others away at ``now``: it has not run out, and its holder has not died on this host."""
    here = lease.holder.host == socket.gethostname()
    return lease.expires_at > now and not (here and not is_alive(lease.holder))
