"""A batch of jobs: terms checked before Ray starts, and outcomes as the returns that Hydra knows."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.utils import JobRuntime, JobStatus
from hydra.errors import CompactHydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher import _core
from hydra_plugins.hydra_ray_s3_launcher._compose import ComposedJob, ComposedOnce, Composer
from ray_decorator.core.errors import (
    InputError,
    JobCancelledError,
    JobError,
    Missing,
    MissingObjectError,
    RayS3Error,
)
from ray_decorator.core.values.model import Outcome
from ray_decorator.frontends.decorator import ray_decorator
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.terms import Terms


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[HydraContext, DictConfig]]:
    monkeypatch.chdir(tmp_path)
    with app(tmp_path, "{x: 0}") as running:
        JobRuntime.instance().set("name", "app")
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def job(home: Path) -> ComposedJob:
    with contextlib.chdir(home), app(home, "{x: 0}") as (context, config):
        return Composer(context.config_loader, config, StagePaths(Terms(), home)).compose(["x=3"], 2)


def test_a_value_is_a_completed_return_with_the_jobs_configs(
    job: ComposedJob, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(JobRuntime.instance().conf, "name", "app")
    returned = _core._job_return(job, Outcome(job.name, value=42))
    assert (returned.status, returned.return_value) == (JobStatus.COMPLETED, 42)
    assert (list(returned.overrides or ()), returned.working_dir, returned.task_name) == (
        ["x=3"],
        str(home),  # as in Hydra's own, where hydra.job.chdir is not set
        "app",
    )
    assert returned.cfg is not None and returned.cfg.x == 3
    assert returned.hydra_cfg is not None and returned.hydra_cfg.hydra.job.num == 2
    returned.cfg = DictConfig({"x": "mine"})
    assert returned.cfg.x == "mine" and returned.hydra_cfg.hydra.job.num == 2


def test_an_error_is_raised_when_the_value_is_read(job: ComposedJob) -> None:
    returned = _core._job_return(job, Outcome(job.name, error=KeyError("gone")))
    assert returned.status is JobStatus.FAILED
    with pytest.raises(KeyError, match="gone"):
        _ = returned.return_value


def test_an_exit_with_0_is_a_failure(job: ComposedJob) -> None:
    returned = _core._job_return(job, Outcome(job.name, error=SystemExit(0)))
    with pytest.raises(JobError, match="#2 x=3 ended with SystemExit: 0"):
        _ = returned.return_value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("a"), "#2 x=3 failed: KeyError: 'a'"),
        (ValueError(), "#2 x=3 failed: ValueError: no message"),
        (ValueError("one\ntwo"), "#2 x=3 failed: ValueError: one"),
        (JobError("#2 x=3 lost its node. Set …"), "#2 x=3 lost its node. Set …"),
    ],
)
def test_what_happened_is_one_line(job: ComposedJob, error: Exception, said: str) -> None:
    assert _core._what_happened(job, error) == said


def test_where_to_look_is_the_log_if_there_is_one(job: ComposedJob) -> None:
    assert _core._where_to_look(job) == f"Its directory: {job.directory}"
    job.directory.mkdir(parents=True)
    (job.directory / "app.log").touch()
    assert _core._where_to_look(job) == f"Its log: {job.directory / 'app.log'}"


@pytest.mark.parametrize(
    "error",
    [
        InputError(("a", "b")),
        InputError.of([Missing("a is gone", "/a")]),
        MissingObjectError(("d",), "s3://x"),
        JobError("it crashed"),
    ],
)
def test_an_error_for_hydra_is_the_same_one_without_hydras_traceback(error: RayS3Error) -> None:
    compact = _core._compact(error)
    assert isinstance(compact, type(error)) and isinstance(compact, CompactHydraException)
    assert (str(compact), vars(compact)) == (str(error), vars(error))
    assert type(compact).__name__ == type(error).__name__
    assert getattr(compact, "filename", None) == getattr(error, "filename", None)


def test_a_task_that_is_a_coroutine_or_generator_function_is_refused_before_ray_starts(
    started: tuple[HydraContext, DictConfig],
) -> None:
    async def awaited(cfg: Any) -> None: ...

    def yields(cfg: Any) -> Iterator[int]:
        yield cfg.x

    for task, cure in ((awaited, "asyncio.run"), (yields, "return list")):
        with pytest.raises(InputError, match=f"{task.__name__} is a .*{cure}") as caught:
            _core.prepare((), (), {}, *_order(started, task))
        assert isinstance(caught.value, CompactHydraException)


def test_terms_that_cannot_be_are_refused_before_ray_starts(started: tuple[HydraContext, DictConfig]) -> None:
    def task(cfg: Any) -> None: ...

    for deps, options, message in (
        ((), {"packages": "some"}, "packages is 'some'"),
        ("data.path", {}, "deps is 'data.path'; expected a list of keys"),
        ("dvc", {}, "is in no DVC repository"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            _core.prepare(deps, (), options, *_order(started, task))
        assert isinstance(caught.value, CompactHydraException)


def test_the_tasks_own_terms_count_and_must_reach_into_its_config(
    started: tuple[HydraContext, DictConfig],
) -> None:
    @ray_decorator(deps=["elsewhere.path"])
    def task(cfg: Any) -> None: ...

    with pytest.raises(InputError, match=r"deps key 'elsewhere.path' of @ray_decorator is no key of 'cfg'"):
        _core.prepare((), (), {}, *_order(started, task))


def test_the_sweeper_composes_through_the_launcher(
    started: tuple[HydraContext, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    @ray_decorator(deps=["cfg.x"], packages="none")
    def task(cfg: Any) -> None: ...

    made: list[Any] = []

    def session_for(settings: Any, progress: Any) -> Any:
        made.append(settings)
        return SimpleNamespace(progress=None)

    monkeypatch.setattr(_core, "session_for", session_for)
    context, config = started
    sweep = _core.prepare(("y",), (), {"code": "none"}, *_order(started, task))
    assert isinstance(context.config_loader, ComposedOnce)
    assert sweep.composer.loader is context.config_loader and sweep.config is config
    assert sweep.composer.paths.find(config).problems == (
        "deps key 'y' does not exist. Keys there are: 'x'",
        "deps key 'x' is 0 (int); expected a path, a list or dict of paths, or null",
    )
    assert (made[0].packages, made[0].code) == ("none", "none")
    assert not isinstance(sweep.context.config_loader, ComposedOnce)  # it travels to the workers


def _order(started: tuple[HydraContext, DictConfig], task: Any) -> tuple[HydraContext, Any, DictConfig]:
    context, config = started
    return context, task, config


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome("#0"), "COMPLETED"),
        (Outcome("#0", resumed=True), "RESUMED"),
        (Outcome("#0", error=ValueError(), resumed=True), "FAILED"),
        (Outcome("#0", error=JobCancelledError("stopped")), "CANCELLED"),
    ],
    ids=["completed", "resumed", "failed", "cancelled"],
)
def test_what_the_table_calls_it(outcome: Outcome, status: str) -> None:
    assert _core._status(outcome) == status


INTERRUPTED = """
from hydra_plugins.hydra_ray_s3_launcher._core import as_hydra_reports_it

def main():
    with as_hydra_reports_it():
        raise KeyboardInterrupt
"""


@pytest.mark.parametrize(
    ("program", "ends_with"),
    [
        ("main()", (130, "", "")),
        ("try: main()\nexcept Exception: print('never')", (130, "", "")),
        ("try: main()\nexcept KeyboardInterrupt: print('tidied up')", (0, "tidied up\n", "")),
    ],
)
def test_ctrl_c_is_caught_as_at_home_or_ends_the_program_quietly(
    program: str, ends_with: tuple[int, str, str]
) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED + program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == ends_with
