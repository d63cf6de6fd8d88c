"""A whole program, run to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest


def output_of(
    command: Sequence[str],
    cwd: Path,
    *,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float = 300,
) -> str:
    """What it prints, errors among the rest, when it is ``given`` this to read; it has to end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def long_program() -> Callable[..., str]:
    """`output_of`, for a program that runs for seconds. Its name marks the tests that use it."""
    return output_of
