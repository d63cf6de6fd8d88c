"""Addresses, and whether somebody listens there."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # the preface, and empty SETTINGS
_FRAME_HEAD = 9


def connect_error(host: str, port: int, seconds: float) -> OSError | None:
    """Why a TCP connection to ``host`` and ``port`` cannot be made within ``seconds``; None where it can."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as exc:
        return exc
    return None


def greeted(host: str, port: int, seconds: float) -> bytes:
    """The first bytes that come back for HTTP/2's greeting; none where the connection is closed or reset.

    A gRPC server begins with a SETTINGS frame at once (RFC 9113, 3.4), and one that wants TLS hangs up. A process
    that was stopped, or hangs, does neither: the system takes connections in its place. Raises OSError where there is
    no connection, TimeoutError where nothing comes; each may take ``seconds``.
    """
    with socket.create_connection((host, port), timeout=seconds) as connection:
        answer = b""
        try:
            connection.sendall(_HELLO)
            while len(answer) < _FRAME_HEAD and (data := connection.recv(256)):
                answer += data
        except TimeoutError:
            raise
        except OSError:  # it is reset
            pass
        return answer


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its own name for itself; asks no name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
