"""What a type checker sees of a decorated function: the function's own signature."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
from concurrent.futures import Future
from ray_decorator import ray_decorator, ray_zen

@ray_decorator(deps=["data"], outs=["out"])
def train(data: str, out: str, rate: float = 0.1) -> int: ...

class Trainer:
    @ray_decorator()
    def fit(self, times: int) -> str: ...

@ray_zen(deps=["data"])
def task(data: str) -> bytes: ...

value: int = train("data", out="model", rate=0.5)
here: int = train.local("data", "model")
later: Future[int] = train.submit("data", "model")
many: list[int] = train.map([("data", "m0"), ("data", "m1")])
some: list[int | BaseException] = train.map([], return_exceptions=True)
fitted: str = Trainer().fit(3)
done: bytes = task({"data": "data"})

train("data")  # E: Missing positional argument "out"
train("data", 3)  # E: Argument 2 has incompatible type "int"
train.local("data", "model", speed=1)  # E: Unexpected keyword argument "speed"
train.submit(1, "model")  # E: Argument 1 has incompatible type "int"
wrong: str = train("data", "model")  # E: Incompatible types in assignment
Trainer().fit("x")  # E: Argument 1 has incompatible type "str"
"""


SETTINGS = """
[mypy]
strict = True
disable_error_code = empty-body

[mypy-boto3.*,botocore.*,hydra.*,obstore.*,omegaconf.*,packaging.*,pathspec.*,ray.*,rich.*,yaml.*]
follow_imports = skip
"""
"""Other packages than ours are not read: they say nothing of these signatures, and are most of the work."""


@pytest.mark.app
def test_signatures_are_kept(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(SOURCE)
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("user.py:") and "error:" in line]
    numbered = enumerate(SOURCE.splitlines(), 1)
    expected = [(number, line.split("# E: ")[1]) for number, line in numbered if "# E: " in line]
    assert len(found) == len(expected), done.stdout
    for line, (number, text) in zip(found, expected, strict=True):
        assert line.startswith(f"user.py:{number}: error:")
        start, _, end = text.partition(" has ")
        assert start in line and end in line
