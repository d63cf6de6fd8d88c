"""How a job reaches a node: replies are plain data, and nothing is put down where others could write."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
import warm_python

from ray_decorator.core.errors import ClusterError
from ray_decorator.core.values.model import Receipt
from ray_decorator.node import entry


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This node's own directory, which is not there yet."""
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    monkeypatch.setattr(entry, "node_name", lambda: "worker1/abc123")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "node"


def common(**more: Any) -> dict[str, Any]:
    return {"home": {**entry.home([]), "prefix": "/another"}, "runtime": b"", "bundle": None, **more}


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return buffer.getvalue()


def test_replies_mean_what_they_say(node: Path) -> None:
    reply = entry.enter(common(), "run", b"", b"", b"", None)
    assert pickle.loads(reply) == ("unprepared", None)
    assert entry.decode(reply) == entry.Unprepared()
    assert entry.decode(pickle.dumps(("receipt", pickle.dumps(None)))) is None, "nothing to rescue"
    receipt = Receipt(node="worker1")
    assert entry.decode(pickle.dumps(("receipt", pickle.dumps(receipt)))) == receipt
    assert entry.decode(pickle.dumps(("refused", "no"))) == entry.Refused("no")
    assert entry.decode(pickle.dumps(("retired", None))) == entry.Retired()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (b"", "EOFError: Ran out of input"),
        (b"\x80garbage", "ValueError: unsupported pickle protocol"),
        (pickle.dumps(None), "TypeError: "),
        (pickle.dumps(("receipt", b"")), "EOFError: "),
        (pickle.dumps(("receipt", pickle.dumps(7))), "it is a 'receipt' with a bytes"),
        (pickle.dumps(("later", 1)), "it is a 'later' with a int"),
    ],
)
def test_what_is_no_reply(reply: bytes, problem: str) -> None:
    with pytest.raises(ClusterError) as caught:
        entry.decode(reply)
    assert str(caught.value).startswith(f"A node's reply could not be read ({problem}")
    assert "have the same Ray and the same minor version of Python" in str(caught.value)


@pytest.mark.parametrize("below", ["", "runtime"])
@pytest.mark.parametrize("verb", ["run", "rescue"])
def test_a_directory_that_others_could_write_to_is_refused_before_it_is_looked_at(
    verb: str, below: str, node: Path
) -> None:
    path = node / below
    path.mkdir(parents=True, mode=0o700)
    path.chmod(0o777)
    asked = common(bundle=b"not a bundle", runtime=archive(ray_decorator="raise SystemExit('it was run')"))
    answer = entry.decode(entry.enter(asked, verb, b"job-id", b"", b"", None))
    assert isinstance(answer, entry.Refused)
    assert answer.text.startswith(f"Node worker1/abc123: {path} can be written to by others than ")
    assert "RAY_S3_NODE_DIR" in answer.text
    assert list(path.rglob("*.py")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")
def test_another_users_directory_is_refused(node: Path) -> None:
    node.mkdir(mode=0o700)
    os.chown(node, 1000, 1000)
    answer = entry.decode(entry.enter(common(), "run", b"", b"", b"", None))
    assert isinstance(answer, entry.Refused)
    assert "not to the user of this process (uid 0)" in answer.text


def test_our_source_is_put_down_once_for_this_user_alone(node: Path) -> None:
    runtime = archive(put_down_by_a_test="NUMBER = 7")
    assert entry.refusal() is None
    entry.put_down(runtime)
    (target,) = (node / "runtime").iterdir()
    stamp = (target / "put_down_by_a_test.py").stat().st_ino
    entry.put_down(runtime)
    assert (target / "put_down_by_a_test.py").stat().st_ino == stamp
    assert sys.path[0] == str(target) and sys.path.count(str(target)) == 1
    assert __import__("put_down_by_a_test").NUMBER == 7
    assert (node.stat().st_mode & 0o777, target.parent.stat().st_mode & 0o777) == (0o700, 0o700)


def test_home_is_this_machine_interpreter_and_these_directories(tmp_path: Path) -> None:
    marked = entry.home([str(tmp_path)])
    assert entry.is_home(marked)
    assert not entry.is_home({**marked, "prefix": "/another"})
    for change in ({"boot_id": "another"}, {"inode": 1}, {"path": str(tmp_path / "nowhere")}):
        place = {**marked["places"][0], **change}
        assert not entry.is_home({**marked, "places": [place]})
    assert not entry.is_home(entry.home([str(tmp_path / "nowhere")]))


def test_it_needs_nothing_of_ours_on_a_node(tmp_path: Path) -> None:
    """`enter` travels by value: a node has Ray, and not this project."""
    entry.travel_by_value()
    sent = (entry.enter, entry.refusal, entry.is_home, entry.home([str(tmp_path)]))
    (tmp_path / "sent.pickle").write_bytes(ray.cloudpickle.dumps(sent))
    program = """
import pickle, sys
sys.modules["ray_decorator"] = None
enter, refusal, is_home, home = pickle.load(open("sent.pickle", "rb"))
assert is_home(home), home
assert "is a symlink (made by " in refusal(), refusal()
enter.__globals__["node_name"] = lambda: "worker1/abc123"
kind, text = pickle.loads(enter({"home": home}, "run", b"", b"", b"", None))
assert kind == "refused" and text.startswith("Node worker1/abc123: "), text
assert not [name for name in sys.modules if name.startswith("ray_decorator.")]
"""
    (tmp_path / "node").symlink_to(tmp_path)
    environ = {**os.environ, "RAY_S3_NODE_DIR": str(tmp_path / "node")}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, check=True)


_APP = """
import sys
from ray_decorator import ray_decorator

@ray_decorator(ray_init_kwargs={"runtime_env": {"env_vars": {"RAY_S3_NODE_DIR": sys.argv[1]}}})
def work():
    return 1

work()
"""


@pytest.mark.app
@pytest.mark.usefixtures("ray_session_address")
def test_a_refusal_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(_APP)
    (tmp_path / "node").mkdir()
    (tmp_path / "node").chmod(0o777)
    command = [*warm_python.starter(), "app.py", str(tmp_path / "node")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ray_decorator.core.errors.ClusterError: Node "), done.stderr
    assert f": {tmp_path}/node can be written to by others than " in last and "RAY_S3_NODE_DIR" in last
