"""A batch of jobs, from their overrides to their returns: compose -> Calls -> engine -> JobReturns."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext

from ray_decorator.cluster.connection import Connection
from ray_decorator.core import settings
from ray_decorator.core.errors import InputError, JobCancelledError, JobError, RayS3Error, text_of
from ray_decorator.core.model import Call, Outcome
from ray_decorator.core.problems import Problems
from ray_decorator.display.progress import make_progress
from ray_decorator.display.table import JobRow, brief, show
from ray_decorator.frontends import hydra_state, main_module
from ray_decorator.frontends.terms import Terms, mark_of
from ray_decorator.run import engine

from ._compose import ComposedJob, ComposedOnce, call, compose
from ._task import HydraTask
from .ray_s3_launcher import RayS3Launcher

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """What stays the same from batch to batch: where to run, the connection there, Hydra's context."""

    settings: settings.Settings
    connection: Connection
    context: HydraContext


def prepare(launcher: RayS3Launcher) -> Session:
    """Check the settings, and let Ray start in the background while the sweeper validates its jobs."""
    try:
        terms = _terms(launcher)
        resolved = settings.resolve(
            ray_address=terms.ray_address,
            s3_base_path=terms.s3_base_path,
            ray_init_kwargs=terms.ray_init_kwargs,
            ray_remote_kwargs=terms.ray_remote_kwargs,
            max_concurrent=launcher.max_concurrent,
            packages=launcher.packages,
            code=launcher.code,
            credentials=launcher.credentials,
        )
    except RayS3Error as exc:
        raise _compact(exc) from exc
    launcher.deps, launcher.outs = terms.deps, terms.outs
    context = launcher.hydra_context
    task_context = HydraContext(context.config_loader, context.callbacks)
    # the sweeper holds the same context, so it composes through here as well
    context.config_loader = ComposedOnce(context.config_loader)  # type: ignore[assignment]
    return Session(resolved, Connection(resolved), task_context)


def _terms(launcher: RayS3Launcher) -> Terms:
    """What the launcher's config says, and below it what `@ray_decorator` or `ray_zen` say of the task."""
    ours = Terms(
        deps=launcher.deps,
        outs=launcher.outs,
        ray_address=launcher.ray_address,
        s3_base_path=launcher.s3_base_path,
        ray_init_kwargs=launcher.ray_init_kwargs,
        ray_remote_kwargs=launcher.ray_remote_kwargs,
    )
    mark = mark_of(launcher.task_function)
    return ours if mark is None else ours.over(mark.in_config())


def launch(
    launcher: RayS3Launcher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> Sequence[JobReturn]:
    """Run a batch of jobs; their returns in the same order. A job that failed is a FAILED return.

    :param job_overrides: one list of overrides for each job.
    :param initial_job_idx: the number of the batch's first job in its sweep.
    """
    setup_globals()
    configure_log(launcher.config.hydra.hydra_logging, launcher.config.hydra.verbose)
    _announce(launcher, job_overrides, initial_job_idx)
    try:
        return _Batch(launcher, job_overrides, initial_job_idx).run()
    except RayS3Error as exc:
        raise _compact(exc) from exc
    except KeyboardInterrupt:
        # all has been said, and a traceback through Hydra says nothing more; 130 is the shell's 128 + SIGINT
        raise SystemExit(130) from None


def _announce(launcher: RayS3Launcher, job_overrides: Sequence[Sequence[str]], first: int) -> None:
    where = launcher.session.settings
    sweep_dir = Path(str(launcher.config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    log.info("Launching %d job(s) on Ray (%s)", len(job_overrides), where.ray_address)
    log.info("Sweep output dir : %s", sweep_dir)
    if where.store_is_default and where.ray_address == "local":
        log.info(
            "Ray and the store (%s) are this machine's own; for a cluster set hydra.launcher.ray_address "
            "and hydra.launcher.s3_base_path, or RAY_ADDRESS and RAY_S3_BASE_PATH",
            where.store_url,
        )
    for num, overrides in enumerate(job_overrides, first):
        log.info("\t#%d : %s", num, " ".join(filter_overrides(overrides)))


class _Batch:
    """The jobs of one call to ``launch``."""

    def __init__(
        self, launcher: RayS3Launcher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> None:
        self._launcher = launcher
        self._overrides = list(enumerate(job_overrides, initial_job_idx))
        self._task = HydraTask(
            launcher.task_function, launcher.session.context, hydra_state.captured(), main_module.captured()
        )
        self._jobs: list[ComposedJob] = []
        self._rows: dict[int, JobRow] = {}

    def run(self) -> list[JobReturn]:
        session = self._launcher.session
        # with deps or outs, all that is wrong with any job is said before the first one starts
        checked = bool(self._launcher.deps or self._launcher.outs)
        calls = self._all_calls() if checked else self._calls()
        try:
            with make_progress() as progress:
                outcomes = engine.run_many(
                    calls,
                    session.settings,
                    session.connection,
                    progress,
                    landed=self._landed,
                    left_out=[Path(str(self._launcher.config.hydra.sweep.dir)).absolute()],
                )
        finally:
            show([self._rows[index] for index in sorted(self._rows)])
        return [_job_return(job, outcome) for job, outcome in zip(self._jobs, outcomes, strict=True)]

    def _calls(self) -> Iterator[Call]:
        for num, overrides in self._overrides:
            job = compose(self._launcher, overrides, num)
            self._jobs.append(job)
            yield call(self._launcher, job, self._task)

    def _all_calls(self) -> list[Call]:
        calls: list[Call] = []
        problems = Problems()
        for num, overrides in self._overrides:
            job = compose(self._launcher, overrides, num)
            self._jobs.append(job)
            try:
                calls.append(call(self._launcher, job, self._task))
            except InputError as exc:
                problems.add(job.name, exc.problems)
        problems.raise_if_any()
        return calls

    def _landed(self, index: int, outcome: Outcome) -> None:
        job = self._jobs[index]
        cancelled = isinstance(outcome.error, JobCancelledError)
        if outcome.error is not None and not cancelled:
            log.error("%s. %s", _what_happened(job, outcome.error), _where_to_look(job))
        self._rows[index] = JobRow(
            number=job.num,
            overrides=job.label,
            status="COMPLETED" if outcome.error is None else "CANCELLED" if cancelled else "FAILED",
            seconds=outcome.seconds,
            result=brief(outcome.value) if outcome.error is None else type(outcome.error).__name__,
            sent=outcome.sent,
            received=outcome.received,
            directory=os.path.relpath(job.directory),
            node=outcome.node,
        )


def _job_return(job: ComposedJob, outcome: Outcome) -> JobReturn:
    error = outcome.error
    if error is not None and not isinstance(error, Exception):
        # SystemExit(0), raised again by Hydra, would end the app as if all were well
        error = JobError(f"{job.name} ended with {type(error).__name__}: {error}")
        error.__cause__ = outcome.error
    returned = _Returned(job)
    returned.overrides = list(job.overrides)
    returned.working_dir = str(job.directory)
    returned.task_name = JobRuntime.instance().get("name")
    returned.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
    returned.return_value = outcome.value if error is None else error
    return returned


class _Returned(JobReturn):
    """A JobReturn that makes its configs when they are asked for: most sweepers never do."""

    def __init__(self, job: ComposedJob) -> None:
        self._job = job
        self._configs: tuple[Any, Any] | None = None
        super().__init__()

    @property
    def cfg(self) -> Any:
        return self._made()[0]

    @cfg.setter
    def cfg(self, value: Any) -> None:
        if value is not None:
            self._configs = (value, self._made()[1])

    @property
    def hydra_cfg(self) -> Any:
        return self._made()[1]

    @hydra_cfg.setter
    def hydra_cfg(self, value: Any) -> None:
        if value is not None:
            self._configs = (self._made()[0], value)

    def _made(self) -> tuple[Any, Any]:
        if self._configs is None:
            self._configs = self._job.configs()
        return self._configs


def _what_happened(job: ComposedJob, error: BaseException) -> str:
    text = (text_of(error).strip() or "no message").splitlines()[0]
    if isinstance(error, JobError) and text.startswith(job.name):
        return text
    return f"{job.name} failed: {type(error).__name__}: {text}"


def _where_to_look(job: ComposedJob) -> str:
    log_file = job.directory / f"{job.job_name}.log"
    return f"Its log: {log_file}" if log_file.exists() else f"Its directory: {job.directory}"


def _compact(error: RayS3Error) -> RayS3Error:
    """The same error, such that Hydra prints its message alone instead of a traceback through Hydra."""
    kind = type(error)
    compact = type(kind.__name__, (kind, CompactHydraException), {"__module__": kind.__module__})
    made: RayS3Error = compact.__new__(compact, *error.args)
    made.__dict__.update(error.__dict__)
    made.args = error.args
    return made
