"""From a job's overrides to its config, its directory at home, and the Call for the engine."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ray_decorator.core import pickling, slots
from ray_decorator.core.errors import InputError
from ray_decorator.core.model import Call, PathSlot

from ._task import HydraTask
from .ray_s3_launcher import RayS3Launcher

_PATHS, _DIRECTORY = ("args", 2), ("args", 3)  # of HydraTask's arguments


@dataclass(frozen=True, slots=True)
class ComposedJob:
    """What the driver keeps of a job: little, for a sweep may have thousands.

    ``pickled`` is the whole config, ``directory`` the job's at home, ``label`` what the user calls it.
    """

    num: int
    overrides: Sequence[str]
    label: str
    job_name: str
    start: Path
    directory: Path
    pickled: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What the user sees: ``#3 lr=0.1``."""
        return f"#{self.num} {self.label}".rstrip()

    def configs(self) -> tuple[DictConfig, DictConfig]:
        """The task's config and Hydra's own, as run_job returns them."""
        config: DictConfig = pickling.loads(self.pickled)
        hydra_config = OmegaConf.masked_copy(config, "hydra")
        OmegaConf.set_readonly(hydra_config.hydra, True)
        return _task_config(config), hydra_config


class ComposedOnce:
    """A config loader that composes each job once for its two callers.

    Sweepers compose every job to validate it, and the launcher composes it again: that is most of what a
    driver does in a sweep of short jobs. What the first one composed is kept for the second, pickled,
    which is a tenth of the size.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader
        self._kept: dict[tuple[str, ...], bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """As ConfigLoader's; the second call for the same overrides takes what the first one made."""
        key = tuple(sweep_overrides)
        if (kept := self._kept.pop(key, None)) is not None:
            config: DictConfig = pickle.loads(kept)
            return config
        config = self.loader.load_sweep_config(master_config, sweep_overrides)
        # a config that cannot be pickled is refused later, with a message that names the job
        with contextlib.suppress(Exception):
            self._kept[key] = pickle.dumps(config)
        return config


def compose(launcher: RayS3Launcher, overrides: Sequence[str], num: int) -> ComposedJob:
    """Compose one job, as Hydra's own launchers do. HydraConfig is the job's afterwards."""
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{num}"
        config.hydra.job.num = num
    HydraConfig.instance().cfg = config  # type: ignore[assignment]  # for ${hydra:…}
    directory = Path(os.path.abspath(os.path.join(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))))
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(directory)
    task_overrides = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(task_overrides, list)
    label = " ".join(filter_overrides(task_overrides))
    return ComposedJob(
        num=num,
        overrides=task_overrides,
        label=label,
        job_name=str(config.hydra.job.name),
        start=Path(config.hydra.runtime.cwd),
        directory=directory,
        pickled=pickling.dumps(config, f"the config of job #{num} {label}"),
    )


def call(launcher: RayS3Launcher, job: ComposedJob, task: HydraTask) -> Call:
    """The engine's Call for the job that was composed last.

    Raises InputError with all that is wrong with its deps and outs.
    """
    deps, outs = _paths(launcher, job)
    job.directory.mkdir(parents=True, exist_ok=True)
    paths = [*deps, *outs]
    listed = [PathSlot((*_PATHS, index), path.key, path.value) for index, path in enumerate(paths)]
    return Call(
        func=task,
        args=(
            job.pickled,
            [path.slot for path in paths],
            [str(path.value) for path in paths],
            str(job.directory),
        ),
        kwargs={},
        deps=tuple(listed[: len(deps)]),
        outs=tuple(listed[len(deps) :]),
        name=job.name,
        workspace=PathSlot(_DIRECTORY, "hydra.sweep.subdir", job.directory),
    )


def _paths(launcher: RayS3Launcher, job: ComposedJob) -> tuple[tuple[PathSlot, ...], tuple[PathSlot, ...]]:
    if not (launcher.deps or launcher.outs):
        return (), ()
    config: DictConfig = pickling.loads(job.pickled)
    task_config = _task_config(config)
    # hidden behind it, as Hydra does with its own: ${hydra.job.num} in a path is known before the task runs
    task_config._set_parent(config)
    deps, wrong_deps = slots.find(task_config, launcher.deps, kind="deps", start=job.start)
    outs, wrong_outs = slots.find(task_config, launcher.outs, kind="outs", start=job.start)
    if problems := (*wrong_deps, *wrong_outs, *slots.absent(deps)):
        raise InputError(problems)
    return deps, outs


def _task_config(config: DictConfig) -> DictConfig:
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    return task_config
