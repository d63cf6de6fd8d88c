"""What listens at an address, as far as it takes to say that it is no Ray.

All of Ray's services speak gRPC, which is HTTP/2: a server begins with a SETTINGS frame (RFC 9113, 3.4), at once.
Ray itself tries anything else for 20 to 30 seconds, and then says that it could not connect.
"""

from __future__ import annotations

import os
import socket
import string
from typing import Literal

from ...core.errors import ClusterError
from ...core.machine.network import connect_error, greeted, host_and_port
from .connect_errors import advice

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 8.0  # a head that is short of CPUs takes a while
_MORE_SECONDS = 2.0  # for a second question, to what is no Ray anyway
_SETTINGS = 4
_WANTS_TOKEN = b"Unauthorized: Missing authentication token"  # the answer of a dashboard that asks for one
_MOST_SHOWN = 60

_SAYS_TLS = (
    "speaks TLS, and this process does not. If it is Ray, set RAY_USE_TLS=1, RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT "
    "and RAY_TLS_SERVER_KEY as on the cluster's nodes"
)
_SAYS_NO_TLS = "does not speak TLS, and RAY_USE_TLS is set here. If it is Ray, unset that"
_CLOSES = (
    "closes each connection without an answer, as a tunnel does whose other end is not there (`ssh -L`, "
    "`kubectl port-forward`)"
)


def check_listener(address: str, *, tls: bool = False) -> None:
    """See that a gRPC server listens at ``host:port`` or ``ray://host:port``; raises ClusterError.

    ``tls``: Ray will speak TLS there, even if RAY_USE_TLS does not say so.
    """
    host, port = host_and_port(address)
    if (error := connect_error(host, port, _CONNECT_SECONDS)) is not None:
        raise ClusterError(f"Nobody answers at ray_address {address} ({error}). {advice(address)}") from error
    found = _found(host, port)
    tls = tls or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")  # as Ray reads it
    if found == ("tls" if tls else "grpc"):
        return
    if found == "dashboard":
        raise ClusterError(
            f"What listens at ray_address {address} is Ray's dashboard, which takes no jobs. Use {host}:6379 (the "
            f"GCS) or ray://{host}:10001 (Ray Client); the ports may differ if `ray start` was given others."
        )
    said = {"tls": _SAYS_TLS, "grpc": _SAYS_NO_TLS}.get(found, found)
    raise ClusterError(f"What listens at ray_address {address} {said}. {advice(address)}")


def _found(host: str, port: int) -> Literal["grpc", "tls", "dashboard"] | str:
    """What listens there; what is no service of Ray's in words, after "What listens there"."""
    try:
        answer = greeted(host, port, _ANSWER_SECONDS)
    except TimeoutError:
        return f"takes connections, but has said nothing for {_ANSWER_SECONDS:.0f} s"
    if len(answer) >= 9 and answer[3] == _SETTINGS and not any(answer[5:9]):
        return "grpc"
    if answer.startswith((b"HTTP/", b"<")):  # Python's own server answers as of before HTTP/1.0
        return _http(host, port)
    if answer.startswith(b"SSH-"):
        return f"is an SSH server ({_shown(answer)}), not Ray"
    if answer.startswith((b"-ERR", b"-NOAUTH", b"-DENIED")):
        return "is a Redis server, not Ray"
    if _speaks_tls(host, port):
        return "tls"
    return f"is not Ray: it answers {_shown(answer)!r}" if answer else _CLOSES


def _http(host: str, port: int) -> str:
    import http.client  # slow to import, as ssl is, and needed where something is wrong

    connection = http.client.HTTPConnection(host, port, timeout=_MORE_SECONDS)
    try:
        connection.request("GET", "/api/version")
        response = connection.getresponse()
        body = response.read(1000)
        if b'"ray_version"' in body or body == _WANTS_TOKEN:
            return "dashboard"
        server = response.getheader("Server")
        return f"is an HTTP server{f' ({_shown(server.encode())})' if server else ''}, not Ray"
    except (OSError, http.client.HTTPException):
        return "is an HTTP server, not Ray"
    finally:
        connection.close()


def _speaks_tls(host: str, port: int) -> bool:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), _MORE_SECONDS) as connection:
            context.wrap_socket(connection, server_hostname=host).close()
            return True
    except ssl.SSLError as exc:
        return "ALERT" in (exc.reason or "")  # it wants a certificate, say
    except OSError:
        return False


def _shown(answer: bytes) -> str:
    line = answer.split(b"\n", 1)[0][:_MOST_SHOWN].decode("ascii", "replace")
    return "".join(each if each in string.printable else "?" for each in line).strip()
