"""uv is told the driver's indexes in its environment alone, and what it says shows no password."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ray_decorator.core.values.bundles import Requirements
from ray_decorator.environment.uv import Uv, UvError, requirements_text

INDEXES = {"UV_INDEX": "https://of-the-driver/simple", "UV_INDEX_MINE_PASSWORD": "s3cret"}


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """One that writes down what it was given, and fails where it is told to."""
    (tmp_path / "envs").mkdir()
    program = tmp_path / "uv"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {tmp_path}/arguments; env > {tmp_path}/environment; cat > {tmp_path}/stdin; '
        f"pwd > {tmp_path}/cwd\n"
        'if [ "$1" = fail ]; then echo "cannot reach https://me:s3cret@of-the-driver/simple" >&2; exit 2; fi\n'
        'if [ "$1" = silent ]; then exit 3; fi\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    requirements = Requirements((3, 11), "linux", {}, (), INDEXES)
    return Uv(str(program), requirements, tmp_path, open(tmp_path / "lock", "w"))


def test_it_has_the_indexes_and_none_of_the_nodes_own_settings(
    uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CONSTRAINT", "of-the-node.txt")
    monkeypatch.setenv("PYTHONPATH", "/of/the/node")
    uv("pip", "install", stdin="a==1\n")
    environment = (tmp_path / "environment").read_text().splitlines()
    assert {f"{name}={value}" for name, value in INDEXES.items()} <= set(environment)
    assert not [line for line in environment if "of-the-node" in line or "/of/the/node" in line]
    assert (tmp_path / "arguments").read_text() == "pip install\n"
    assert (tmp_path / "stdin").read_text() == "a==1\n"
    assert Path((tmp_path / "cwd").read_text().strip()) == tmp_path / "envs"


def test_what_it_says_is_the_error_without_passwords(uv: Uv) -> None:
    with pytest.raises(UvError) as failed:
        uv("fail")
    assert "of-the-driver/simple" in str(failed.value) and "s3cret" not in str(failed.value)
    with pytest.raises(UvError, match=r"^\(nothing; exit code 3\)$"):
        uv("silent")


def test_requirements_are_pins_or_urls() -> None:
    assert (
        requirements_text({"b": "2.0", "a": "@ https://there/a.whl"}) == "a @ https://there/a.whl\nb==2.0\n"
    )
