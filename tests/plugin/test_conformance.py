"""Hydra's own conformance suites for launchers, whole, on a real Ray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import warm_python
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from pytest import mark


@mark.usefixtures("ray_session")
@mark.parametrize("launcher_name, overrides", [("ray_s3", [])])
class TestRayS3Launcher(LauncherTestSuite):
    """One process, one launcher."""


@mark.usefixtures("ray_session")
@mark.parametrize(
    "launcher_name, overrides", [("ray_s3", ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"])]
)
class TestRayS3LauncherBatched(BatchedSweeperTestSuite):
    """A sweeper that hands over its jobs in several batches."""


@pytest.fixture
def warm(ray_session_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's apps, which it starts itself, find their imports made."""
    begin = warm_python.starter()

    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Sequence[str], **options: Any) -> None:
            super().__init__([*begin, *args[1:]] if args[0] == sys.executable else args, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)


@mark.usefixtures("warm")
@mark.parametrize(
    "task_launcher_cfg, extra_flags", [({"defaults": [{"override hydra/launcher": "ray_s3"}]}, ["-m"])]
)
class TestRayS3LauncherIntegration(IntegrationTestSuite):
    """Real apps in processes of their own, which join the session's Ray."""
