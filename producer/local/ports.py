"""Loopback ports: a free one, or the wanted one, or a refusal that says what to do."""

import socket

from shared.errors import ConflictError

LOOPBACK = "127.0.0.1"


def claim_port(wanted: int, option: str) -> int:
    """The port to listen on; 0 asks for any free one.

    Raises ConflictError naming the option that changes it when somebody listens there. The port
    is not kept: whoever is to listen on it takes it a moment later.
    """
    if wanted and is_taken(wanted):
        raise ConflictError(
            f"port {wanted} is in use by another program: choose another with {option} PORT"
        )
    return wanted or _free_port()


def is_taken(port: int) -> bool:
    """Whether nobody could listen on that loopback port now."""
    with socket.socket() as probe:
        # As servers do it: a port whose connections are only fading out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
