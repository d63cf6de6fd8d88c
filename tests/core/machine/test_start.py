"""The environment of the moment at which this package was imported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
os.environ["BEFORE"] = "1"
import ray_decorator
os.environ["AFTER"] = "1"
from ray_decorator.core.machine import start
print([name in start.ENVIRON for name in ("BEFORE", "AFTER")])
"""


def test_it_is_noted_when_the_package_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[True, False]", done.stderr
