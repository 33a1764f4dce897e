"""How long connections wait for a server that is gone without a word: a minute, not the two hours of the system."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = {"keepalives_idle": 30, "keepalives_interval": 10, "tcp_user_timeout": 60_000}
"""Under their names in libpq: seconds of silence before the other side is asked whether it is there, seconds between
two such questions, and milliseconds that anything sent may stay without an answer of its system."""
_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}


def bound(connected: socket.socket, patience: Mapping[str, int] = PATIENCE) -> None:
    """Let a connection break once the other side is gone; a system that lacks an option keeps its own time."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, option in _OPTIONS.items():
        if (number := getattr(socket, option, None)) is not None:
            connected.setsockopt(socket.IPPROTO_TCP, number, patience[name])


__all__ = ["PATIENCE", "bound"]
