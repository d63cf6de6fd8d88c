"""The launcher as Hydra sees it. What it does is in ``_core``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig


class RayS3Launcher(Launcher):
    """Runs each Hydra job on a Ray cluster, carrying its deps there and its outs home.

    The parameters are the keys of ``hydra.launcher``, explained in ``config.RayS3LauncherConf``.
    """

    def __init__(
        self,
        *,
        deps: Sequence[str] = (),
        outs: Sequence[str] = (),
        s3_base_path: str | None = None,
        ray_address: str | None = None,
        ray_init_kwargs: Mapping[str, Any] | None = None,
        ray_remote_kwargs: Mapping[str, Any] | None = None,
        max_concurrent: int | None = None,
        packages: str | None = None,
        code: str | None = None,
        credentials: str | None = None,
        hydra_mode: RunMode | None = None,
    ) -> None:
        del hydra_mode  # Hydra has acted on it before it made a launcher: see config.py
        self.deps = tuple(deps)
        self.outs = tuple(outs)
        self.s3_base_path = s3_base_path
        self.ray_address = ray_address
        self.ray_init_kwargs = dict(ray_init_kwargs or {})
        self.ray_remote_kwargs = dict(ray_remote_kwargs or {})
        self.max_concurrent = max_concurrent
        self.packages = packages
        self.code = code
        self.credentials = credentials

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over, and let Ray start while the sweeper validates the jobs."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

        # lazy import to ensure plugin discovery remains fast
        from . import _core

        self.session = _core.prepare(self)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one job for each list of overrides; a return for each, in the same order."""
        # lazy import to ensure plugin discovery remains fast
        from . import _core

        return _core.launch(self, job_overrides, initial_job_idx)
