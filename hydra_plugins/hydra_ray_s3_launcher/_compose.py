"""From a job's overrides to its config, its directory at home, and the Call for the engine."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ray_decorator import mainmodule, pickling, slots
from ray_decorator.errors import InputError
from ray_decorator.model import Call, PathSlot, Slot

from ._task import HydraTask
from .ray_s3_launcher import RayS3Launcher

_PATHS, _DIRECTORY = ("args", 2), ("args", 3)  # of HydraTask's arguments


@dataclass(frozen=True, slots=True)
class ComposedJob:
    """A job's configs as Hydra returns them, and its directory at home."""

    num: int
    overrides: Sequence[str]
    task_config: DictConfig
    hydra_config: DictConfig
    directory: Path

    @property
    def name(self) -> str:
        """What the user sees: ``#3 lr=0.1``."""
        return f"#{self.num} {self.shown_overrides}".rstrip()

    @property
    def shown_overrides(self) -> str:
        return " ".join(filter_overrides(self.overrides))


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


def compose(launcher: RayS3Launcher, overrides: Sequence[str], num: int) -> tuple[ComposedJob, DictConfig]:
    """Compose one job, as Hydra's own launchers do: what stays of it, and the whole config that travels.

    HydraConfig is the job's afterwards.
    """
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{num}"
        config.hydra.job.num = num
    HydraConfig.instance().cfg = config  # type: ignore[assignment]  # for ${hydra:…} in the directory's name
    directory = Path(os.path.abspath(os.path.join(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))))
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(directory)
    HydraConfig.instance().set_config(config)
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    hydra_config = copy.deepcopy(HydraConfig.instance().cfg)  # without the whole config as its parent
    assert isinstance(hydra_config, DictConfig)
    task_overrides = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(task_overrides, list)
    return ComposedJob(num, task_overrides, task_config, hydra_config, directory), config


def call(launcher: RayS3Launcher, job: ComposedJob, config: DictConfig, task: HydraTask) -> Call:
    """The engine's Call for a job. Raises InputError with all that is wrong with its deps and outs.

    It holds the config pickled: a hundredth of a megabyte for each job that waits, instead of a tenth.
    """
    start = Path(job.hydra_config.hydra.runtime.cwd)
    problems: list[str] = []
    deps = _find(job, launcher.deps, "deps", start, problems)
    outs = _find(job, launcher.outs, "outs", start, problems)
    problems += slots.absent(deps)
    if problems:
        raise InputError(tuple(problems))
    job.directory.mkdir(parents=True, exist_ok=True)
    main = mainmodule.named_in(OmegaConf.to_container(job.task_config, resolve=False))
    paths = [*deps, *outs]
    listed = [PathSlot((*_PATHS, index), path.key, path.value) for index, path in enumerate(paths)]
    return Call(
        func=task,
        args=(
            pickling.dumps(config, f"the config of {job.name}"),
            [path.slot for path in paths],
            [str(path.value) for path in paths],
            str(job.directory),
            main,
        ),
        kwargs={},
        deps=tuple(listed[: len(deps)]),
        outs=tuple(listed[len(deps) :]),
        name=job.name,
        workspace=PathSlot(_DIRECTORY, "hydra.sweep.subdir", job.directory),
    )


def _find(
    job: ComposedJob, keys: Sequence[str], kind: str, start: Path, problems: list[str]
) -> tuple[PathSlot, ...]:
    found: dict[Slot, PathSlot] = {}
    for key in keys:
        try:
            found |= {path.slot: path for path in slots.find(job.task_config, key, kind=kind, start=start)}
        except InputError as exc:
            problems += exc.problems
    return tuple(found.values())
