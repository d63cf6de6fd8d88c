"""Whether somebody listens at an address."""

from __future__ import annotations

import socket


def connect_error(host: str, port: int, seconds: float) -> OSError | None:
    """Why a TCP connection to ``host`` and ``port`` cannot be made within ``seconds``; None where it can."""
    try:
        socket.create_connection((host.strip("[]"), port), timeout=seconds).close()
    except OSError as exc:
        return exc
    return None
