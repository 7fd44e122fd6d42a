"""Where test servers listen: the loopback address, on a port that was free a moment ago."""

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
        return port
