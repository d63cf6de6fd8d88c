"""Addresses, and whether somebody listens there."""

from __future__ import annotations

import socket

import pytest

from ray_decorator.core.machine.network import (
    connect_error,
    greeted,
    host_and_port,
    is_loopback,
    is_this_machine,
)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://head:10001", ("head", 10001)),
        ("[::1]:6379", ("::1", 6379)),
        ("ray://[fe80::1]:10001", ("fe80::1", 10001)),
    ],
)
def test_host_and_port(address: str, found: tuple[str, int]) -> None:
    assert host_and_port(address) == found


def test_who_listens_and_who_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert connect_error("127.0.0.1", port, 5) is None
    assert isinstance(connect_error("127.0.0.1", port, 5), ConnectionRefusedError)


def test_who_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        greeted("127.0.0.1", listener.getsockname()[1], 0.2)


def test_what_this_machine_calls_itself_needs_no_name_server() -> None:
    assert all(map(is_loopback, ("localhost", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("localhost.lab", "10.0.0.1", "::2", "")))


def test_whose_addresses_are_this_machines() -> None:
    for host in ("localhost", "127.0.0.1", "127.1.2.3", socket.gethostname()):
        assert is_this_machine(host)
    for host in ("192.0.2.77", "no such host"):
        assert not is_this_machine(host)
