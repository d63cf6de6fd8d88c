"""Credentials that end, from a `credential_process`, and an S3 server that knows when they do."""

from __future__ import annotations

import http.client
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import servers
from store_fixtures import use

_KEYS = 40
_PROCESS = """
import datetime, json, os, sys, time
directory, life = sys.argv[1], float(open(sys.argv[1] + "/life").read())
if os.path.exists(directory + "/broken"):
    sys.exit("the vault is locked")
number = len(open(directory + "/issued").readlines())
key, end = f"issuedkey{number:03}", time.time() + life
with open(directory + "/issued", "a") as log:
    log.write(json.dumps([key, end]) + "\\n")
print(json.dumps({
    "Version": 1, "AccessKeyId": key, "SecretAccessKey": f"issuedsecret{number:03}",
    "SessionToken": f"token-of-{key}",
    "Expiration": datetime.datetime.fromtimestamp(end, datetime.timezone.utc).isoformat(),
}))
"""


@dataclass
class Issuer:
    """Who gives new keys each time they are asked; what the server saw of them: key, token, its answer."""

    directory: Path
    endpoint: str = ""
    seen: list[tuple[str, str | None, int]] = field(default_factory=list)

    def issued(self) -> dict[str, float]:
        """Key -> when it ends, in the order in which they were given."""
        return dict(json.loads(line) for line in (self.directory / "issued").read_text().splitlines())

    def newest(self) -> str:
        return list(self.issued())[-1]

    def lasting(self, seconds: float) -> None:
        (self.directory / "life").write_text(str(seconds))

    def breaks(self, broken: bool = True) -> None:
        flag = self.directory / "broken"
        flag.touch() if broken else flag.unlink()

    @property
    def command(self) -> str:
        return f"{sys.executable} -IS {self.directory}/process.py {self.directory}"


@pytest.fixture(scope="session")
def issuing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    pairs = (f"--auth-key=issuedkey{n:03},issuedsecret{n:03}" for n in range(_KEYS))
    with servers.rclone(tmp_path_factory.mktemp("issuing"), *pairs) as server:
        yield server


@pytest.fixture
def issuer(
    issuing_server: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Issuer]:
    """The profile ``vault``, in use; its keys last for 2 s unless told otherwise."""
    directory = tmp_path / "vault"
    directory.mkdir()
    (directory / "process.py").write_text(_PROCESS)
    (directory / "issued").touch()
    made = Issuer(directory)
    made.lasting(2)
    with _proxy(issuing_server, made) as endpoint:
        made.endpoint = endpoint
        (directory / "config").write_text(
            f"[profile vault]\nregion = eu-west-7\nendpoint_url = {endpoint}\n"
            f"credential_process = {made.command}\n"
        )
        use(issuing_server, monkeypatch)
        for name in issuing_server.environment():
            monkeypatch.delenv(name)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(directory / "config"))
        monkeypatch.setenv("AWS_PROFILE", "vault")
        yield made


@contextmanager
def _proxy(server: servers.Server, issuer: Issuer) -> Iterator[str]:
    """Hands on requests whose key has not ended; answers as S3 does where it has."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
            key = found[1] if found else ""
            if issuer.issued().get(key, float("inf")) <= time.time():
                status, data = 400, b"<Error><Code>ExpiredToken</Code><Message>It has.</Message></Error>"
                headers: dict[str, str] = {}
            else:
                status, headers, data = self._ask(body)
            issuer.seen.append((key, self.headers.get("x-amz-security-token"), status))
            self.send_response(status)
            for name in ("etag", "last-modified", "content-type"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", headers.get("content-length", str(len(data))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(server.endpoint.removeprefix("http://"))
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                response = connection.getresponse()
                data = response.read()
                headers = {name.lower(): value for name, value in response.getheaders()}
                if self.command != "HEAD":
                    headers["content-length"] = str(len(data))
                return response.status, headers, data
            finally:
                connection.close()

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Proxy(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients hang up

    proxy = Proxy(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
