"""From a job's overrides to its config, its directory at home, and the Call for the session."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ray_decorator.core import slots
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.inherited import Variable
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.core.values.work import Work
from ray_decorator.dvc.tracked.outputs import Outputs
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.project import environ

from ._canonical import config_digest
from ._config_files import forget, read_once
from ._defaults import shared
from ._task import Payload
from ._work import with_job


@dataclass(frozen=True, slots=True)
class ComposedJob:
    """What the driver keeps of a job: little, for a sweep may have thousands.

    ``pickled`` is the whole config, ``directory`` the job's at home, ``label`` what the user calls it;
    ``working_dir`` is what ``JobReturn`` has under that name: where the task runs, in the terms of home.
    ``problems`` are what is wrong with its deps and outs; ``place``, ``copied`` and ``bare`` are as in `Payload`.
    ``digest`` is that of the config, as the ledger knows it.
    """

    num: int
    overrides: Sequence[str]
    label: str
    job_name: str
    directory: Path
    working_dir: Path
    deps: tuple[PathSlot, ...]
    outs: tuple[PathSlot, ...]
    problems: tuple[str, ...]
    pickled: bytes = field(repr=False)
    place: tuple[str, ...]
    copied: Mapping[str, Variable] = field(repr=False, default_factory=dict)
    bare: bool = False
    digest: str = ""

    @property
    def name(self) -> str:
        """What the user sees: ``#3 lr=0.1``."""
        return f"#{self.num} {self.label}".rstrip()

    def configs(self) -> tuple[DictConfig, DictConfig]:
        """The task's config and Hydra's own, as run_job returns them."""
        config: DictConfig = pickling.loads(self.pickled)
        hydra_config = OmegaConf.masked_copy(config, "hydra")
        OmegaConf.set_readonly(hydra_config.hydra, True)
        task_config = copy.deepcopy(config)
        with read_write(task_config), open_dict(task_config):
            del task_config["hydra"]
        return task_config, hydra_config

    def call(self, func: bytes, work: Work | None = None) -> Call:
        """The session's Call. ``func`` is the pickled `HydraTask`, ``work`` its task's. Makes the job's directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        slots = tuple(path.slot for path in (*self.deps, *self.outs))
        payload = pickle.dumps(Payload(self.pickled, slots, self.place, self.copied, self.bare))
        given = environ.inherited(func, payload)
        return Call(
            func=func,
            payload=payload,
            deps=self.deps,
            outs=self.outs,
            name=self.name,
            workspace=PathSlot.at((), "hydra.run.dir" if self.bare else "hydra.sweep.subdir", self.directory),
            inherited=given,
            work=work and self._work(work, {**given.environ, **self.copied}),
        )

    def _work(self, work: Work, variables: Mapping[str, Variable]) -> Work:
        return with_job(work, self.digest, variables, self.job_name, tuple(map(str, self.overrides)))


class ComposedOnce:
    """A config loader that composes each job once for its two callers.

    Sweepers compose every job to validate it, and the launcher composes it again: that is most of what a
    driver does in a sweep of short jobs. What the first one composed is kept for the second, pickled,
    which is a tenth of the size.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        read_once(loader)
        self.loader = shared(loader)
        self._kept: dict[tuple[str, ...], bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def forget(self) -> None:
        """A batch is composed: the next one is of what the config files hold then."""
        self._kept.clear()
        forget(self.loader)

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


@dataclass(frozen=True, slots=True)
class Composer:
    """Composes the jobs of one app. ``paths`` finds their deps and outs, beside their own directories.

    ``tracked`` is what DVC knows of deps that are not here.
    """

    loader: ComposedOnce
    config: DictConfig
    paths: StagePaths
    tracked: Outputs = field(default_factory=Outputs)

    def compose(self, overrides: Sequence[str], num: int) -> ComposedJob:
        """Compose one job of a sweep, as Hydra's own launchers do. HydraConfig is the job's afterwards."""
        config = self.loader.load_sweep_config(self.config, list(overrides))
        with read_write(config.hydra), open_dict(config):
            config.hydra.job.id = num
            config.hydra.job.num = num
            config.hydra.mode = config.hydra.mode  # saved as a word, not as what it was asked from
        return self._job(config, num)

    def compose_alone(self, arguments: Sequence[str]) -> DictConfig:
        """Compose a bare run from its arguments, as Hydra's own run does, which appends its mode to them."""
        return self.loader.loader.load_sweep_config(
            self.config, [*arguments, f"hydra.mode={RunMode.RUN.name}"]
        )

    def alone(self, config: DictConfig) -> ComposedJob:
        """The job of a bare run. ``config`` is what `compose_alone` gave; callbacks may have changed it."""
        return self._job(config, 0, bare=True)

    def _job(self, config: DictConfig, num: int, *, bare: bool = False) -> ComposedJob:
        HydraConfig.instance().cfg = config  # type: ignore[assignment]  # for ${hydra:…}
        hydra = config.hydra  # each look at a key of a config takes long
        job, runtime, sweep = hydra.job, hydra.runtime, hydra.sweep
        place = (str(hydra.run.dir),) if bare else (str(sweep.dir), str(sweep.subdir))
        directory = Path(os.path.abspath(os.path.join(*place)))
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = str(directory)
        task_overrides = OmegaConf.to_container(hydra.overrides.task)
        assert isinstance(task_overrides, list)
        label = " ".join(filter_overrides(task_overrides))
        start = Path(runtime.cwd)
        found = self.paths.find(config, directory)
        return ComposedJob(
            num=num,
            overrides=task_overrides,
            label=label,
            job_name=str(job.name),
            directory=directory,
            working_dir=directory if _changes_directory(job.chdir) else start,
            deps=found.deps,
            outs=found.outs,
            problems=(*found.problems, *slots.absent(self.tracked.untracked(found.deps))),
            pickled=pickling.dumps(config, f"the config of job #{num} {label}"),
            place=place,
            copied=environ.variables(map(str, job.env_copy)),
            bare=bare,
            digest=config_digest(config, (*found.deps, *found.outs), job.env_set),
        )


def _changes_directory(chdir: bool | None) -> bool:
    """As Hydra's ``run_job`` decides it from ``hydra.job.chdir``."""
    return not version.base_at_least("1.2") if chdir is None else bool(chdir)
