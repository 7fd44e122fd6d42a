"""A signal that comes before any table was begun."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lake import Lake


@pytest.fixture
def foreground() -> Iterator[None]:
    """Processes start as from a prompt: what a shell starts in the background ignores Ctrl-C, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_ctrl_c_while_a_source_is_tried_ends_with_130_and_touches_nothing(tmp_path: Path) -> None:
    """The server takes the connection and never answers: the run stands in its first check, without any effect yet."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(60)
        connection = {
            "dialect": "postgresql",
            "host": "127.0.0.1",
            "port": mute.getsockname()[1],
            "database": "shop",
            "user": "reader",
            "connect_timeout_seconds": 120,
        }
        lake = Lake(tmp_path, connection, [{"schema": "public", "table": "people", "mode": "full"}])
        process = subprocess.Popen(lake.command(), stderr=subprocess.PIPE, text=True, start_new_session=True)
        peer, _ = mute.accept()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        peer.close()

    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["conf.json"]
