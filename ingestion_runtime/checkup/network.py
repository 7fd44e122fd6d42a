"""Whether something listens at an address."""

import socket

from ingestion_runtime.checkup.findings import Findings

_CONNECT_SECONDS = 5.0


def look_at_address(findings: Findings, host: str, port: int, place: str) -> None:
    """Tell whether a connection to host and port is accepted; nothing is said over it."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        findings.red(
            f"{place} cannot be reached: {reason}", "Check that it runs, its address, and the firewall between.", exit_code=3
        )
    else:
        findings.green(f"{place} accepts connections")
