"""hydra-zen's own tests of zen, with ray_zen in its place.

They are not in hydra-zen's source distribution (looked for in 0.13.0, 0.15.0, 0.16.0 and 0.17.2), so they
run where a checkout of its repository is named:

    HYDRA_ZEN_SOURCE=~/hydra-zen pytest tests/frontends/test_zen_own_tests.py      (needs hypothesis)

What is left out, and why, is in tests/README.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
SOURCE = os.environ.get("HYDRA_ZEN_SOURCE")
FILES = ["tests/test_zen.py", "tests/test_zen_context_isolation.py"]
LEFT_OUT = [
    "test_multiple_pre_calls",  # pre_calls record into a list of the driver's
    "test_hydra_main",  # starts a script of its own, which imports the real zen
    "test_context_isolation",  # functions that are local to a test use a global ContextVar
    "test_pre_call_shares_context_with_wrapped_func",  # likewise
]


@pytest.mark.skipif(SOURCE is None, reason="HYDRA_ZEN_SOURCE names no checkout of hydra-zen")
@pytest.mark.usefixtures("ray_session_address")
def test_hydra_zen_s_own_tests_pass_with_ray_zen() -> None:
    chosen = " and ".join(f"not {name}" for name in LEFT_OUT)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "zen_in_place", *FILES, "-k", chosen],
        cwd=SOURCE,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1] / 'support'}{os.pathsep}{SOURCE}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
