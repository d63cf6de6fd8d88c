"""The launcher as Hydra sees it. What it does is in ``_core``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from ._core import Sweep


class RayS3Launcher(Launcher):
    """Runs each Hydra job on a Ray cluster, carrying its deps there and its outs home.

    The parameters are the keys of ``hydra.launcher``, explained in ``config.RayS3LauncherConf``.
    """

    def __init__(
        self,
        *,
        deps: Sequence[str] | str = (),
        outs: Sequence[str] | str = (),
        hydra_mode: RunMode | None = None,
        **options: Any,
    ) -> None:
        """``options`` are the fields of ``ray_decorator.core.options.settings.Options``."""
        del hydra_mode  # Hydra has acted on it before it made a launcher: see config.py
        self.deps, self.outs, self.options = deps, outs, options
        self._sweep: Sweep | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over, and let Ray start while the sweeper validates the jobs."""
        # lazy import to ensure plugin discovery remains fast
        from . import _core

        self._sweep = _core.prepare(self.deps, self.outs, self.options, hydra_context, task_function, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one job for each list of overrides; a return for each, in the same order."""
        # lazy import to ensure plugin discovery remains fast
        from . import _core

        return _core.launch(self._prepared(), job_overrides, initial_job_idx)

    def run(self, arguments: Sequence[str]) -> JobReturn:
        """Run the one job of a bare run, as Hydra's own run does."""
        # lazy import to ensure plugin discovery remains fast
        from . import _alone

        return _alone.run(self._prepared(), arguments)

    def _prepared(self) -> Sweep:
        if self._sweep is None:
            raise RuntimeError("Hydra calls setup() before launch(); a launcher of its own has to do so too")
        return self._sweep
