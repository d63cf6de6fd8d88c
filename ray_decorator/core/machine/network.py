"""Addresses, and whether somebody listens there."""

from __future__ import annotations

import socket
from typing import Any


def connect_error(host: str, port: int, seconds: float) -> OSError | None:
    """Why a TCP connection to ``host`` and ``port`` cannot be made within ``seconds``; None where it can."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as exc:
        return exc
    return None


def is_this_machine(host: str) -> bool:
    """Whether all addresses of ``host`` are this machine's own."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:  # nobody's
        return False
    return all(_is_own(family, address) for family, _, _, _, address in found)


def _is_own(family: int, address: tuple[Any, ...]) -> bool:
    with socket.socket(family) as own:
        try:
            own.bind(address)
        except OSError:
            return False
        return True


def host_and_port(address: str) -> tuple[str, int]:
    """The two of ``host:port`` or ``ray://host:port``, an IPv6 host without its brackets."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)
