"""A small package index on 127.0.0.1, and nodes' Pythons that hold what a test says."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import packaging

REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def _ray_brings() -> tempfile.TemporaryDirectory[str]:
    """What Ray requires and our own source uses on every node: modules without metadata."""
    directory = tempfile.TemporaryDirectory()
    Path(directory.name, "packaging").symlink_to(Path(packaging.__file__).parent)
    return directory


def python_path(*more: Path) -> str:
    """PYTHONPATH of a process that has our source and what Ray brings, and what ``more`` holds."""
    return os.pathsep.join(map(str, (*more, REPOSITORY, _ray_brings().name)))


def make_wheel(directory: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> Path:
    """A wheel with one module of the same name, whose ``version`` says which one was imported."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    directory.mkdir(parents=True, exist_ok=True)
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@dataclass
class Index:
    """A simple index (PEP 503) that serves a directory of wheels, to all or to one user."""

    wheels: Path
    password: str = ""
    delay: float = 0.0
    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"

    @property
    def url_with_password(self) -> str:
        return f"http://anna:{self.password}@127.0.0.1:{self.port}/simple"


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, index: Index, *arguments: Any) -> None:
        self._index = index
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._index.asked.append(self.path)
        wanted = "Basic " + base64.b64encode(f"anna:{self._index.password}".encode()).decode()
        if self._index.password and self.headers.get("Authorization") != wanted:
            self._answer(401, b"")
            return
        time.sleep(self._index.delay)
        name = self.path.strip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            self._answer(200, (self._index.wheels / name).read_bytes())
            return
        found = sorted(self._index.wheels.glob(f"{name.replace('-', '_')}-*.whl"))
        links = "".join(f'<a href="/files/{wheel.name}">{wheel.name}</a>' for wheel in found)
        self._answer(200 if found else 404, f"<html><body>{links}</body></html>".encode())

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:  # a client that was killed
        pass


def serve(index: Index) -> Iterator[Index]:
    with _Server(("127.0.0.1", 0), functools.partial(_Handler, index)) as server:
        index.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield index
        server.shutdown()
        thread.join()


def make_venv(path: Path, *wheels: Path) -> Path:
    """A bare virtual environment with these wheels; its Python."""
    subprocess.run(["uv", "venv", "-q", "--python", sys.executable, path], check=True)
    python = path / "bin" / "python"
    if wheels:
        command = ["uv", "pip", "install", "-q", "--offline", "--no-index", "--no-deps", "--python", python]
        subprocess.run([*command, *wheels], check=True)
    return python


@dataclass
class Node:
    """A machine of a cluster: a Python of its own that knows nothing of the driver's."""

    python: Path
    root: Path
    home: Path
    uv: bool = True

    def environ(self, **more: str) -> dict[str, str]:
        path = os.path.dirname(shutil.which("uv") or "") if self.uv else "/nowhere"
        # settings of images that must not lead uv astray
        astray = {"UV_SYSTEM_PYTHON": "1", "VIRTUAL_ENV": "/nowhere", "UV_EXCLUDE_NEWER": "2001-01-01"}
        return {"PATH": path, "HOME": str(self.home), "PYTHONPATH": python_path(), **astray, **more}

    def start(self, code: str, **more: str) -> subprocess.Popen[str]:
        ours = "from ray_decorator.environment import build, inventory\n"
        ours += "from ray_decorator.core.values.bundles import *\n"
        code = f"import json\n{ours}{code}"
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [self.python, "-c", code], env=self.environ(**more), stdout=pipe, stderr=pipe, text=True
        )

    def ask(self, code: str, **more: str) -> Any:
        with self.start(code, **more) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return json.loads(out)

    def interpreter(self, wanted: Mapping[str, Any] | None, **more: str) -> Answer:
        with self.start(asking(wanted, self.root), **more) as process:
            return answer(process)


@dataclass
class Answer:
    python: str
    error: str
    stderr: str

    @property
    def builds(self) -> int:
        return self.stderr.count("ray-s3: building an environment")


def asking(wanted: Mapping[str, Any] | None, root: Path) -> str:
    requirements = None if wanted is None else f"Requirements(**{dict(wanted)!r})"
    return f"""
from ray_decorator.core.errors import PackagesError
from pathlib import Path
answer = {{"python": "", "error": ""}}
try:
    answer["python"] = build.interpreter({requirements}, Path({str(root)!r}))
except PackagesError as exc:
    answer["error"] = str(exc)
print(json.dumps(answer))
"""


def answer(process: subprocess.Popen[str]) -> Answer:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return Answer(**json.loads(out), stderr=err)
