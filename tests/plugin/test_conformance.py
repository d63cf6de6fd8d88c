"""Hydra's own conformance suites for launchers, whole, on a real Ray."""

from __future__ import annotations

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


@mark.usefixtures("ray_session_address")
@mark.parametrize(
    "task_launcher_cfg, extra_flags", [({"defaults": [{"override hydra/launcher": "ray_s3"}]}, ["-m"])]
)
class TestRayS3LauncherIntegration(IntegrationTestSuite):
    """Real apps in processes of their own, which join the session's Ray."""
