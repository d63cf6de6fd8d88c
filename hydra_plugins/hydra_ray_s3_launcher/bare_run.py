"""A bare run (no ``-m``, no sweep, no ``hydra.mode`` of the user's) is one job, as Hydra's own run is.

Hydra calls launchers in MULTIRUN mode only, through a sweeper. So a bare run comes to us as a sweep; this callback,
which stands in the defaults of ``hydra/launcher=ray_s3``, exchanges the sweeper before it is made: what is
configured for sweeps (params, Optuna) is left alone, as Hydra leaves it alone without ``-m``.

Hydra has no public name for how it was called: `is_bare` looks at the arguments of its function ``_run_app``.
Where there is no such call (hydra-zen's launch, another Hydra), nothing is taken for a bare run.
"""

from __future__ import annotations

import sys
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from .config import MODE

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_ONE_JOB = f"{__name__}.OneJob"


class BareRun(Callback):
    """Exchanges the sweeper of a bare run. At the end, it has the launcher show what its jobs came to."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls this before it makes the sweeper."""
        if is_bare(config):
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.sweeper = {"_target_": _ONE_JOB}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """The sweeper is done: a sweep shows its table, if our launcher has run it."""
        if (report := sys.modules.get(f"{__package__}._report")) is not None:
            report.end_all()


class OneJob(Sweeper):
    """The sweeper of a bare run. Hydra's basic one writes arguments anew, and a ``multirun.yaml``."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher, which is ours: this sweeper comes with its defaults alone."""
        self._launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the one job with these arguments, as they were given."""
        return self._launcher.run(arguments)


def is_bare(config: DictConfig) -> bool:
    """Whether this process's run is a bare one. ``config`` is Hydra's master config."""
    mode = OmegaConf.to_container(OmegaConf.masked_copy(config.hydra, "mode"), resolve=False)
    if mode != {"mode": MODE} or _asked_for_multirun():
        return False
    overrides = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))  # type: ignore[arg-type]
    except HydraException:  # the sweeper will say so
        return False
    return not any(override.is_sweep_override() for override in parsed)


def calls_once(config: DictConfig) -> bool:
    """Whether the sweeper hands all jobs over at once, in one call of the launcher."""
    sweeper = config.hydra.sweeper
    return sweeper.get("_target_") in (BASIC_SWEEPER, _ONE_JOB) and not sweeper.get("max_batch_size")


def _asked_for_multirun() -> bool:
    frame = sys._getframe()
    while (caller := frame.f_back) is not None:
        frame = caller
        if frame.f_code.co_name == "_run_app" and frame.f_globals.get("__name__") == "hydra._internal.utils":
            return bool(frame.f_locals.get("multirun", True))
    return True
