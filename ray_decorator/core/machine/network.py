"""Addresses, and whether somebody listens there."""

from __future__ import annotations

import socket


def connect_error(host: str, port: int, seconds: float) -> OSError | None:
    """Why a TCP connection to ``host`` and ``port`` cannot be made within ``seconds``; None where it can."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as exc:
        return exc
    return None


def host_and_port(address: str) -> tuple[str, int]:
    """The two of ``host:port`` or ``ray://host:port``, an IPv6 host without its brackets."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)
