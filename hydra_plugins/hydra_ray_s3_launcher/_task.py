"""What runs on the worker: Hydra's own ``run_job``, in a Hydra that is the driver's for the time being."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.utils import JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ray_decorator.core import slots
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.inherited import Variable
from ray_decorator.core.values.model import Paths, Slot
from ray_decorator.frontends import hydra_state
from ray_decorator.frontends.script import main_module
from ray_decorator.frontends.task import own_sessions
from ray_decorator.frontends.terms import as_task
from ray_decorator.job.process.inheritance import value_here
from ray_decorator.job.process.workplace import start_directory

_RESOLVER = re.compile(r"\$\{\s*(?!now\s*:|hydra\s*[:.])")


@dataclass(frozen=True, slots=True)
class Payload:
    """What one job adds: its pickled config, and the slots in it of its deps, then of its outs.

    ``place`` is its directory as the driver has resolved it: ``hydra.sweep.dir`` and ``subdir``, or
    ``hydra.run.dir`` where it is ``bare``, which is no job of a sweep. ``copied`` are the variables that
    ``hydra.job.env_copy`` names.
    """

    config: bytes
    slots: tuple[Slot, ...]
    place: tuple[str, ...]
    copied: Mapping[str, Variable] = field(repr=False, default_factory=dict)
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Exited:
    """What a bare run's job gives that ended by ``sys.exit()``: as at home, nothing went wrong."""

    def __repr__(self) -> str:
        return "exited"


@dataclass(frozen=True, slots=True)
class HydraTask:
    """The task function with all that the jobs of a batch share; pickled once for all of them.

    It is a ``ray_decorator.core.values.model.TaskFunction``.
    """

    task_function: TaskFunction
    hydra_context: HydraContext
    hydra: hydra_state.State
    main: main_module.Main

    def __call__(self, payload: bytes, paths: Paths) -> Any:
        """Run the job of the pickled `Payload`, and return what the task function returns.

        The config is the job's, with the paths of home: so it is saved in ``.hydra``. The task function
        sees this machine's ``paths`` in it.
        """
        with self.around():
            return self.call(payload, paths)

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """The driver's Hydra and `__main__`, which threads that the job leaves need until they are done."""
        with hydra_state.installed(self.hydra), main_module.installed(self.main, self.task_function):
            yield

    def call(self, payload: bytes, paths: Paths) -> Any:
        """The call itself, within `around`."""
        with own_sessions():
            given: Payload = pickling.loads(payload)
            try:
                return self._run(given, paths)
            except SystemExit as exc:
                if given.bare and exc.code in (None, 0):
                    return Exited()
                raise

    def forget(self) -> None:
        """See `main_module.forget`."""
        main_module.forget(self.main, self.task_function)

    def _run(self, given: Payload, paths: Paths) -> Any:
        assert paths.workspace is not None
        config: DictConfig = pickling.loads(given.config)
        main_module.settle(self.main, self.task_function)
        at_home = _move(config, paths.workspace, given)
        try:
            result = run_job(
                task_function=_with_paths(self.task_function, given, (*paths.deps, *paths.outs)),
                config=config,
                job_dir_key="hydra.run.dir" if given.bare else "hydra.sweep.dir",
                job_subdir_key=None if given.bare else "hydra.sweep.subdir",
                hydra_context=self.hydra_context,
            )
        finally:  # also where the job ends by sys.exit
            if at_home is not None:
                _save_as_at_home(at_home, Path(paths.workspace))
        if result.status == JobStatus.FAILED:
            raise result._return_value
        return result.return_value


def _with_paths(
    task_function: TaskFunction, given: Payload, paths: Sequence[str]
) -> Callable[[DictConfig], Any]:
    @functools.wraps(task_function)
    def task(config: DictConfig) -> Any:
        for place, path in zip(given.slots, paths, strict=True):
            slots.fill(config, place, path)
        try:
            with as_task(task_function):
                return task_function(config)
        except Exception as exc:
            if not given.bare:  # a job's log is what the user opens first when one of a sweep failed
                users = exc.__traceback__ and exc.__traceback__.tb_next  # the first frame is this one
                log = logging.getLogger(task_function.__module__)
                log.error("The job failed", exc_info=(type(exc), exc, users))
            raise

    return task


def _move(config: DictConfig, directory: str, given: Payload) -> DictConfig | None:
    """Let the job's directory be ``directory``, and the app have been started where this machine's code is.

    Returns Hydra's config as it was, if that was anything else. What the driver has resolved, the job's directory,
    is not resolved again.
    """
    start, place = start_directory(), given.place
    if start is not None or os.path.abspath(os.path.join(*place)) != directory:
        place = (directory,) if given.bare else os.path.split(directory)
    elif not _may_resolve_otherwise(config, given.bare):
        return None
    at_home = OmegaConf.masked_copy(config, "hydra")
    with read_write(config.hydra), read_write(config.hydra.runtime), open_dict(config.hydra):
        if given.bare:
            (config.hydra.run.dir,) = place
        else:
            config.hydra.sweep.dir, config.hydra.sweep.subdir = place
        if start is not None:
            config.hydra.runtime.cwd = str(start)
            _bring_logs_home(config.hydra.job_logging or {}, directory)
        for name, variable in given.copied.items():
            config.hydra.job.env_set[name] = value_here(variable)
    return at_home


def _bring_logs_home(job_logging: Mapping[str, Any], directory: str) -> None:
    """A log beside the code (``${hydra.job.name}.log``, as hydra-colorlog has it) would stay here."""
    for handler in (job_logging.get("handlers") or {}).values():
        with contextlib.suppress(OmegaConfBaseException):  # what the job's directory is, is not known yet
            name = handler.get("filename")
            if isinstance(name, str) and name and not os.path.dirname(name):
                handler.filename = os.path.join(directory, name)


def _may_resolve_otherwise(config: DictConfig, bare: bool) -> bool:
    """Whether more than Hydra's own resolvers is in the directory: the environment, or what an app made up."""
    hydra = OmegaConf.to_container(config.hydra.run if bare else config.hydra.sweep, resolve=False)
    assert isinstance(hydra, dict)
    return any(_RESOLVER.search(str(part)) for part in hydra.values())


def _save_as_at_home(hydra_config: DictConfig, directory: Path) -> None:
    """Hydra has saved its config with this machine's paths, which mean nothing at home."""
    if (subdir := hydra_config.hydra.output_subdir) is None:
        return
    if (saved := directory / subdir / "hydra.yaml").exists():
        OmegaConf.save(hydra_config, saved)
