"""A batch of jobs, from their overrides to their returns: compose -> Calls -> session -> JobReturns."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ray_decorator.core.errors import JobCancelledError, JobDiedError, JobError, RayS3Error, text_of
from ray_decorator.core.options.settings import OptionArguments
from ray_decorator.core.problems import Problems
from ray_decorator.core.values.model import Call, Outcome
from ray_decorator.display.progress import make_progress
from ray_decorator.display.table import JobRow, brief
from ray_decorator.dvc.remote import with_remote
from ray_decorator.frontends import hydra_state
from ray_decorator.frontends.script import main_module
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.supported import check_supported
from ray_decorator.frontends.terms import make_terms, mark_of
from ray_decorator.project import driver
from ray_decorator.run.session import Session
from ray_decorator.run.sessions import refuse_to_nest, session_for

from . import _tracebacks
from ._compose import ComposedJob, ComposedOnce, Composer
from ._report import SweepReport
from ._task import HydraTask
from ._work import work_of
from .bare_run import calls_once

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What stays the same from batch to batch of one Hydra app."""

    session: Session
    composer: Composer
    task_function: TaskFunction
    context: HydraContext
    report: SweepReport

    @property
    def config(self) -> DictConfig:
        """Hydra's master config."""
        return self.composer.config


def prepare(
    deps: Any,
    outs: Any,
    options: Mapping[str, Any],
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> Sweep:
    """Check the settings, and let Ray start in the background while the sweeper validates its jobs.

    ``deps``, ``outs`` and ``options`` are the launcher's config, as `make_terms` takes them.
    """
    try:
        refuse_to_nest()
        check_supported(task_function)
        terms = make_terms(deps, outs, (), cast(OptionArguments, options))
        if (mark := mark_of(task_function)) is not None:
            terms = terms.over(mark.in_config())
        paths = StagePaths(terms, Path(config.hydra.runtime.cwd), hidden="hydra")
        settings = with_remote(terms.options.resolve(), *driver.places())
        session = session_for(settings, make_progress)
    except RayS3Error as exc:
        raise _compact(exc) from exc
    task_context = HydraContext(hydra_context.config_loader, hydra_context.callbacks)
    # the sweeper holds the same context, so it composes through here as well
    once = ComposedOnce(hydra_context.config_loader)
    hydra_context.config_loader = once  # type: ignore[assignment]
    composer = Composer(once, config, paths)
    report = SweepReport(session.progress, many_batches=not calls_once(config))
    return Sweep(session, composer, task_function, task_context, report)


def launch(sweep: Sweep, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
    """Run a batch of jobs; their returns in the same order. A job that failed is a FAILED return.

    :param job_overrides: one list of overrides for each job.
    :param initial_job_idx: the number of the batch's first job in its sweep.
    """
    setup_globals()
    configure_log(sweep.config.hydra.hydra_logging, sweep.config.hydra.verbose)
    jobs = (sweep.composer.compose(each, num) for num, each in enumerate(job_overrides, initial_job_idx))
    with as_hydra_reports_it(), sweep.report.batch() as first:
        if first:
            _announce(sweep, job_overrides, initial_job_idx)
        return Batch(sweep, jobs, Path(str(sweep.config.hydra.sweep.dir)).absolute()).run()


class Interrupted(SystemExit, KeyboardInterrupt):
    """Ctrl-C: what a program catches as at home (``except KeyboardInterrupt``). Else it ends the program.

    All has been said then, and a traceback through Hydra says nothing more. The exit code is the shell's.
    """

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGINT)


@contextlib.contextmanager
def as_hydra_reports_it() -> Iterator[None]:
    """An error of ours is one whose message Hydra prints alone, and Ctrl-C is `Interrupted`."""
    try:
        driver.working_directory()
        yield
    except RayS3Error as exc:
        raise _compact(exc) from exc
    except KeyboardInterrupt:
        raise Interrupted from None


def _announce(sweep: Sweep, job_overrides: Sequence[Sequence[str]], first: int) -> None:
    where = sweep.session.settings
    sweep_dir = Path(str(sweep.config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    jobs = "a sweep" if sweep.report.many_batches else f"{len(job_overrides)} job(s)"
    log.info("Launching %s on Ray (%s)", jobs, where.ray_address)
    log.info("Sweep output dir : %s", sweep_dir)
    if sweep.report.many_batches:
        return  # each job says what it is when it has ended
    for num, overrides in enumerate(job_overrides, first):
        log.info("\t#%d : %s", num, " ".join(filter_overrides(overrides)))


class Batch:
    """Jobs that run together. ``directory`` is where theirs are: nothing in it is code that travels."""

    def __init__(self, sweep: Sweep, jobs: Iterable[ComposedJob], directory: Path) -> None:
        self._sweep, self._composed, self._directory = sweep, jobs, directory
        self._jobs: list[ComposedJob] = []
        self._work = work_of(sweep.task_function, sweep.config)
        self.errors: dict[int, BaseException] = {}

    def run(self) -> list[JobReturn]:
        """A return for each job, in their order."""
        task = partial(HydraTask, self._sweep.task_function, self._sweep.context, hydra_state.captured())
        func = main_module.dumps(task, "the task function")
        # with deps or outs, all that is wrong with any job is said before the first one starts
        at_once = self._sweep.composer.paths.carries_data or self._sweep.session.settings.resume
        calls = self._all_calls(func) if at_once else self._calls(func)
        try:
            outcomes = self._sweep.session.run(calls, self._done, left_out=[self._directory])
        finally:
            self._sweep.composer.loader.forget()
        return [_job_return(job, outcome) for job, outcome in zip(self._jobs, outcomes, strict=True)]

    def _calls(self, func: bytes) -> Iterator[Call]:
        for job in self._composed:
            self._jobs.append(job)
            yield job.call(func, self._work)

    def _all_calls(self, func: bytes) -> list[Call]:
        problems = Problems()
        for job in self._composed:
            self._jobs.append(job)
            problems.add(job.name, job.problems)
        problems.raise_if_any()
        self._sweep.composer.paths.tell()
        return [job.call(func, self._work) for job in self._jobs]

    def _done(self, index: int, outcome: Outcome) -> None:
        job = self._jobs[index]
        quiet = isinstance(outcome.error, JobCancelledError)
        if job.bare and isinstance(outcome.error, JobDiedError):
            quiet = outcome.error.exit_code == 0  # os._exit(0), which is no error at home
        if outcome.error is not None:
            self.errors[index] = outcome.error
        if outcome.error is not None and not quiet:
            log.error("%s. %s", _what_happened(job, outcome.error), _where_to_look(job))
            # Hydra shows no notes of its own exceptions, nor of any job's but the first; a bare run's come with its
            # traceback, if it shows one
            shown = job.bare and not _tracebacks.is_message_enough(outcome.error)
            for note in [] if shown else _tracebacks.added_here(outcome.error):
                log.error("%s: %s", job.name, note)
        row = JobRow(
            number=job.num,
            overrides=job.label,
            status=_status(outcome),
            seconds=outcome.seconds,
            result=brief(outcome.value) if outcome.error is None else type(outcome.error).__name__,
            sent=outcome.sent,
            received=outcome.received,
            directory=_from_here(job.directory),
            node=outcome.node,
            attempts=outcome.attempts,
            failed=", ".join(outcome.failed),
        )
        self._sweep.report.add(row, job.name)


def _status(outcome: Outcome) -> str:
    if outcome.error is None:
        return "RESUMED" if outcome.resumed else "COMPLETED"
    return "CANCELLED" if isinstance(outcome.error, JobCancelledError) else "FAILED"


def _job_return(job: ComposedJob, outcome: Outcome) -> JobReturn:
    error = outcome.error
    if error is not None and not isinstance(error, Exception):
        # SystemExit(0), raised again by Hydra, would end the app as if all were well
        error = JobError(f"{job.name} ended with {type(error).__name__}: {error}")
        error.__cause__ = outcome.error
    returned = _Returned(job)
    returned.overrides = list(job.overrides)
    returned.working_dir = str(job.working_dir)
    returned.task_name = JobRuntime.instance().get("name")
    returned.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
    returned.return_value = outcome.value if error is None else error
    return returned


class _Returned(JobReturn):
    """A JobReturn that makes its configs when they are asked for: most sweepers never do.

    Where what it raises would only be shown by Hydra, it shows that itself, without Hydra's frames.
    """

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

    @property
    def return_value(self) -> Any:
        if self.status != JobStatus.FAILED or not _tracebacks.does_hydra_show_it():
            return super().return_value
        _tracebacks.end_as_hydra(self._return_value, self.overrides)
        with as_hydra_reports_it():
            return super().return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value

    def _made(self) -> tuple[Any, Any]:
        if self._configs is None:
            self._configs = self._job.configs()
        return self._configs


def _from_here(directory: Path) -> str:
    try:
        return os.path.relpath(directory)
    except OSError:  # where this process is has gone meanwhile
        return str(directory)


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
    made: RayS3Error = compact(*error.args)
    made.__dict__.update(error.__dict__)
    return made
