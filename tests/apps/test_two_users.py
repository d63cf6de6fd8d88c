"""Two users of one machine run the same app at once, with the same bucket: neither meets anything of the other's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import other_user
import pytest
import servers
from ray_fixtures import LESS_WORK

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root becomes another user"
)

ROOT, OTHER = 0, 65534
APP = """
import os
from pathlib import Path
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    for path in Path(cfg.data).iterdir():
        (out / path.name).write_bytes(path.read_bytes() + b" read")
    return os.getuid()

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that both users may write to, as /tmp; the path is short, for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="two", dir="/tmp") as name:
        path = Path(name)
        for folder in (path, path / "tmp"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o1777)
        yield path
        shutil.rmtree(path / "tmp", ignore_errors=True)


class User:
    def __init__(self, uid: int, shared: Path, server: servers.Server) -> None:
        self.uid, self.home = uid, shared / f"home{uid}"
        (self.home / "data").mkdir(parents=True)
        (self.home / "app.py").write_text(APP)
        for number in range(120):
            (self.home / "data" / f"{number}").write_bytes(b"both have %d" % number)
        (self.home / "data" / "own").write_bytes(b"of %d" % uid)
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, uid, uid)
        own = ("RAY_", "AWS_", "XDG_", "PYTEST")
        kept = {k: v for k, v in os.environ.items() if k in LESS_WORK or not k.startswith(own)}
        more = {"HOME": str(self.home), "USER": f"user{uid}", "TMPDIR": str(shared / "tmp")}
        self._environ = {**kept, **server.environment(), **more, "AWS_EC2_METADATA_DISABLED": "true"}
        self._environ |= {"PYTHONDONTWRITEBYTECODE": "1", "RAY_USAGE_STATS_ENABLED": "0"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, other_user.__file__, str(self.uid), sys.executable, *command],
            cwd=self.home, env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def files(self, place: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in place.iterdir()}

    def read(self) -> dict[str, bytes]:
        return {name: data + b" read" for name, data in self.files(self.home / "data").items()}


def test_no_interference_and_what_one_may_not_write_is_told(shared: Path, rclone: servers.Server) -> None:
    closed = shared / "closed"
    closed.mkdir(0o755)
    users = [User(uid, shared, rclone) for uid in (ROOT, OTHER)]
    running = [
        user.start(
            "app.py", "-m", "hydra/launcher=ray_s3", f"+out=outs/1,outs/2,{closed}/{user.uid}",
            "hydra.launcher.deps=[data]", "+data=data", "hydra.launcher.outs=[out]",
            f"hydra.launcher.s3_base_path=s3://{servers.BUCKET}/{shared.name}", "hydra.sweep.dir=swept",
        )
        for user in users
    ]  # fmt: skip
    said = [process.communicate(timeout=400)[0] for process in running]
    for user, output in zip(users, said, strict=True):
        for place in ("1", "2"):
            assert user.files(user.home / "outs" / place) == user.read(), output
        assert sorted(path.name for path in (user.home / "swept").iterdir()) == [
            "0",
            "1",
            "2",
            "multirun.yaml",
        ]
        assert {path.stat().st_uid for path in user.home.rglob("*")} == {user.uid}
    root, other = users
    assert (running[0].returncode, running[1].returncode) == (0, 1), said
    assert root.files(closed / f"{ROOT}") == root.read() and not (closed / f"{OTHER}").exists()
    assert (
        f"outs key 'out': {closed}/{OTHER} cannot be written (Permission denied). It is in the store"
        in said[1]
    )
    assert sorted(path.name for path in (shared / "tmp").glob("ray_s3_*")) == [
        f"ray_s3_{u.uid}" for u in users
    ]
    closed.chmod(0o1777)
    line = next(line for line in said[1].splitlines() if "bring it later with: " in line)
    command = shlex.split(line.partition("bring it later with: ")[2].partition(". Its ")[0])
    done = other.start("-m", "ray_decorator", *command[1:])
    assert "is complete" in done.communicate(timeout=120)[0]
    assert other.files(closed / f"{OTHER}") == other.read()
